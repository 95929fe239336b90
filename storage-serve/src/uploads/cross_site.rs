//! [`is_forged`]: requests that a page of another site sends with the cookies of its visitor.
//!
//! The requests of most protocols have headers for which a browser asks with a preflight. A plain
//! POST has none: any page can send it as a form. Neither has a GET, which begins an upload in the
//! protocol of Uppy's S3 plugin.

use http::Method;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

use super::draft;
use crate::cors::Cors;

/// Returns whether a GET or POST without the headers of a protocol comes from a page of another
/// origin that is not allowed. An origin that is allowed without credentials must send none.
/// `own_origin` is that of the service, if it is configured.
///
/// Browsers say so in `Sec-Fetch-Site` (Fetch Metadata Request Headers, section 2.4), and older
/// ones in `Origin`. Other clients send neither.
pub(super) fn is_forged(head: &Parts, cors: Option<&Cors>, own_origin: Option<&str>) -> bool {
    let is_simple = matches!(head.method, Method::GET | Method::HEAD | Method::POST);
    if !is_simple || draft::is_of_draft(&head.headers) {
        return false;
    }
    let origin = head.headers.get(ORIGIN);
    let has_credentials = head.headers.contains_key(COOKIE) || has_login_of_browser(head);
    let is_allowed = |origin| cors.is_some_and(|cors| cors.accepts(origin, has_credentials));
    let is_own_origin = |origin: &HeaderValue| own_origin.is_some_and(|own| origin == own);
    if origin.is_some_and(|origin| is_allowed(origin) || is_own_origin(origin)) {
        return false;
    }
    match head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => origin.is_some_and(|origin| !is_own(head, origin)),
    }
}

/// Returns whether a browser may have added the `Authorization`. It adds no bearer token, which the
/// page itself has.
fn has_login_of_browser(head: &Parts) -> bool {
    let is_bearer = |value: &HeaderValue| {
        value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    };
    head.headers.get_all(AUTHORIZATION).iter().any(|value| !is_bearer(value))
}

/// Returns whether an origin has the host of the request. A proxy may change the scheme.
fn is_own(head: &Parts, origin: &HeaderValue) -> bool {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(head.uri.authority().map(Authority::as_str));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    host.zip(origin).is_some_and(|(host, (_, origin))| host.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn refused(headers: &[(&str, &str)], cors: Option<&Cors>) -> bool {
        [Method::POST, Method::GET].into_iter().all(|method| {
            let request = Request::builder().method(method).header("host", "files.example.com");
            let request =
                headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
            is_forged(&request.body(()).unwrap().into_parts().0, cors, Some("https://own.example"))
        })
    }

    #[test]
    fn only_browsers_on_pages_of_other_origins_are_refused() {
        for allowed in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://files.example.com")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://files.example.com")],
            // A proxy passes another host than that of the page.
            &[("origin", "https://own.example")],
            &[("sec-fetch-site", "cross-site"), ("upload-complete", "?1")],
        ] {
            assert!(!refused(allowed, None), "{allowed:?}");
        }
        for forged in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://www.example.com")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://files.example.com")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://files.example.com.evil.example")],
        ] {
            assert!(refused(forged, None), "{forged:?}");
        }
    }

    #[test]
    fn a_listed_origin_may_send_forms_with_cookies_only_if_it_has_credentials() {
        let page = [("sec-fetch-site", "same-site"), ("origin", "https://www.example.com")];
        let with_cookie = [page[0], page[1], ("cookie", "session=1")];
        let listed = Cors::origins(["https://www.example.com"]).unwrap();
        assert!(!refused(&page, Some(&listed)));
        assert!(refused(&with_cookie, Some(&listed)));
        assert!(!refused(&with_cookie, Some(&listed.credentials().unwrap())));
        assert!(refused(&page, Some(&Cors::origins(["https://other.example.com"]).unwrap())));
        assert!(!refused(&page, Some(&Cors::any_origin())));
        assert!(refused(&with_cookie, Some(&Cors::any_origin())));
        let with_token = [page[0], page[1], ("authorization", "Bearer t")];
        assert!(!refused(&with_token, Some(&Cors::any_origin())), "a browser adds no token");
        let with_login = [page[0], page[1], ("authorization", "Basic YTpi")];
        assert!(refused(&with_login, Some(&Cors::any_origin())));
    }
}
