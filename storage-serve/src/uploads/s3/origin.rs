//! The URLs in responses: those of this service, which must be absolute, and those of objects.

use http::HeaderMap;
use http::header::{HOST, ORIGIN, REFERER};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use storage_core::Key;

use super::respond::Failed;
use crate::uploads::settings::Settings;

/// Returns the URL of a path below these routes.
pub(super) fn url(settings: &Settings, head: &Parts, path: &str) -> Result<String, Failed> {
    let origin = match &settings.s3.origin {
        Some(origin) => origin.clone(),
        None => of_request(head)?,
    };
    Ok(format!("{origin}{}/s3/{path}", settings.mount_path))
}

/// Returns the public URL of an object, if the storage has public URLs.
pub(super) async fn public_url(settings: &Settings, key: &Key) -> Option<String> {
    let link = settings.engine.storage.url(key).await.ok()?;
    Some(link.as_str().to_owned())
}

fn of_request(head: &Parts) -> Result<String, Failed> {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(head.uri.authority().map(Authority::as_str));
    let host = host.ok_or_else(|| Failed::bad("The request has no Host.".to_owned()))?;
    let scheme = if is_https(head) { "https" } else { "http" };
    // Rejects what is no host and port, such as a user name or a path.
    let url = url::Url::parse(&format!("{scheme}://{host}/"));
    let is_host = |url: &url::Url| {
        url.username().is_empty()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = url.ok().filter(is_host);
    let url = url.ok_or_else(|| Failed::bad("The Host is malformed.".to_owned()))?;
    Ok(url.origin().ascii_serialization())
}

/// Returns whether the client uses TLS. A page that was loaded with TLS sends no request without
/// it, except to its own machine.
fn is_https(head: &Parts) -> bool {
    if let Some(forwarded) = first(&head.headers, "x-forwarded-proto") {
        return forwarded.split(',').next().unwrap_or_default().trim() == "https";
    }
    let page = first(&head.headers, ORIGIN.as_str()).filter(|origin| *origin != "null");
    let page = page.or_else(|| first(&head.headers, REFERER.as_str()));
    match page {
        Some(page) => page.starts_with("https://"),
        None => head.uri.scheme() == Some(&Scheme::HTTPS),
    }
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn origin(headers: &[(&str, &str)]) -> Option<String> {
        let request = headers
            .iter()
            .fold(Request::get("/uploads/s3/params"), |it, (name, value)| it.header(*name, *value));
        of_request(&request.body(()).unwrap().into_parts().0).ok()
    }

    #[test]
    fn urls_have_the_host_of_the_request_and_the_scheme_of_the_page() {
        let host = ("host", "files.example.com:8443");
        let cases = [
            (&[host][..], "http://files.example.com:8443"),
            (&[host, ("origin", "https://example.com")], "https://files.example.com:8443"),
            (&[host, ("referer", "https://example.com/a")], "https://files.example.com:8443"),
            (&[host, ("x-forwarded-proto", "https, http")], "https://files.example.com:8443"),
            (
                &[host, ("x-forwarded-proto", "http"), ("origin", "https://example.com")],
                "http://files.example.com:8443",
            ),
        ];
        for (headers, expected) in cases {
            assert_eq!(origin(headers).as_deref(), Some(expected), "{headers:?}");
        }
        for host in ["a/b", "user@a", "a b", "", "a?b", "a#b"] {
            assert_eq!(origin(&[("host", host)]), None, "{host}");
        }
        assert_eq!(origin(&[]), None);
    }
}
