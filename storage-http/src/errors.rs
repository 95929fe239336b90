//! Converts responses that are not a success to errors of the contract.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use storage_client::retry_after;
use storage_core::{Error, ErrorKind};
use url::Url;

/// Upper bound for the text of a server in a message, in characters.
const MAX_SHOWN: usize = 300;

/// Returns the error for a status. `place` is the name of the server for people, and `text` the
/// text of the response, which may be empty.
pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, place: &str, text: &str) -> Error {
    let (kind, advice) = kind_and_advice(status.as_u16());
    let mut message = format!("{place} responds with {status}");
    for more in [&*one_line(text), advice] {
        if !more.is_empty() {
            message = format!("{message}; {more}");
        }
    }
    let is_retryable = matches!(status.as_u16(), 408 | 423 | 425 | 429)
        || (status.is_server_error() && is_temporary(status));
    let error = Error::new(kind, message).with_retryable(is_retryable);
    match retry_after(headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn kind_and_advice(status: u16) -> (ErrorKind, &'static str) {
    match status {
        304 => (ErrorKind::NotModified, ""),
        401 => (ErrorKind::Unauthenticated, "set the credentials in the option headers"),
        403 | 407 | 451 => (ErrorKind::PermissionDenied, ""),
        404 | 410 => (ErrorKind::NotFound, ""),
        405 | 501 => (ErrorKind::Unsupported, "the server does not accept this method here"),
        408 | 504 => (ErrorKind::Timeout, ""),
        409 | 423 => (ErrorKind::Conflict, ""),
        412 => (ErrorKind::PreconditionFailed, ""),
        413 => (ErrorKind::TooLarge, "raise the limit of the server (nginx: client_max_body_size)"),
        414 => (ErrorKind::InvalidKey, "the key is longer than the server accepts"),
        416 => (ErrorKind::RangeNotSatisfiable, ""),
        429 | 503 => (ErrorKind::RateLimited, ""),
        507 => (ErrorKind::StorageFull, ""),
        _ => (ErrorKind::Unexpected, ""),
    }
}

/// Returns whether a server error may disappear although the server is not changed.
fn is_temporary(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 501 | 505 | 507 | 508)
}

/// Returns the text of a server on one line, with an upper bound for its length.
fn one_line(text: &str) -> String {
    let text = text.trim();
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Returns the error for a redirection. `url` is the URL of the request.
///
/// The error is `NotFound` if the URL names a directory, `Unexpected` if the redirection has no
/// target, and otherwise `InvalidConfig` with the host of the target.
pub(crate) fn of_redirection(url: &Url, headers: &HeaderMap, place: &str) -> Error {
    let location = headers.get(LOCATION).and_then(|value| url.join(value.to_str().ok()?).ok());
    let Some(location) = location else {
        return Error::new(
            ErrorKind::Unexpected,
            format!("{place} responds with a redirection that has no target"),
        );
    };
    if is_directory(url, &location) {
        return Error::not_found();
    }
    // The message contains no path, because the server chooses the target, which may be private.
    let same = (url.scheme(), url.host(), url.port())
        == (location.scheme(), location.host(), location.port());
    let target = match location.host_str() {
        _ if same => "another path on the same host".to_owned(),
        Some(host) => one_line(&format!("{}://{host}", location.scheme())),
        None => "another host".to_owned(),
    };
    let message = format!(
        "{place} redirects to {target}, and redirections are not followed: set the option base_url \
         to the URL of the files"
    );
    Error::new(ErrorKind::InvalidConfig, message)
}

/// Returns whether a redirection only adds a slash, as file servers redirect from the name of a
/// directory. Scheme and port may differ, because a server behind a proxy may not know them.
fn is_directory(url: &Url, location: &Url) -> bool {
    let decoded = |path: &str| percent_decode_str(path).collect::<Vec<u8>>();
    url.host() == location.host()
        && decoded(&format!("{}/", url.path())) == decoded(location.path())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::RETRY_AFTER;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn error(status: u16, text: &str) -> Error {
        of_status(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), "example.com", text)
    }

    fn redirected(url: &str, location: &'static str) -> Error {
        let headers = [(LOCATION, HeaderValue::from_static(location))].into_iter().collect();
        of_redirection(&url.parse().unwrap(), &headers, "example.com")
    }

    #[test]
    fn each_status_has_its_kind_and_retryability() {
        use ErrorKind::*;
        for (status, kind, is_retryable) in [
            (400, Unexpected, false),
            (401, Unauthenticated, false),
            (403, PermissionDenied, false),
            (404, NotFound, false),
            (405, Unsupported, false),
            (408, Timeout, true),
            (409, Conflict, false),
            (410, NotFound, false),
            (412, PreconditionFailed, false),
            (413, TooLarge, false),
            (414, InvalidKey, false),
            (416, RangeNotSatisfiable, false),
            (418, Unexpected, false),
            (423, Conflict, true),
            (429, RateLimited, true),
            (500, Unexpected, true),
            (501, Unsupported, false),
            (502, Unexpected, true),
            (503, RateLimited, true),
            (504, Timeout, true),
            (507, StorageFull, false),
        ] {
            let error = error(status, "");
            assert_eq!((error.kind(), error.is_retryable()), (kind, is_retryable), "{status}");
        }
    }

    #[test]
    fn the_text_of_a_server_is_shown_on_one_line_within_a_limit() {
        let error = error(403, &format!("no\r\nentry {}", "x".repeat(10_000)));
        assert!(
            error.message().starts_with("example.com responds with 403 Forbidden; no  entry x"),
            "{error}"
        );
        assert!(error.message().len() < 400, "{}", error.message().len());
    }

    #[test]
    fn retry_after_becomes_part_of_the_error() {
        let headers = [(RETRY_AFTER, HeaderValue::from_static("7"))].into_iter().collect();
        let error = of_status(StatusCode::TOO_MANY_REQUESTS, &headers, "example.com", "");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_redirection_that_adds_a_slash_means_a_directory() {
        for location in [
            "http://h/d/a%20b/",
            "/d/a%20b/",
            "https://h:8443/d/a%20b/",
            "http://h/d/a%20b/?x=1",
            "http://h/d/%61%20b/",
        ] {
            assert_eq!(
                redirected("http://h/d/a%20b", location).kind(),
                ErrorKind::NotFound,
                "{location}"
            );
        }
    }

    #[test]
    fn any_other_redirection_is_an_error_that_names_the_option_and_no_path() {
        for location in [
            "http://other/d/a/",
            "https://h/d/a",
            "/elsewhere/secret",
            "http://h/d/a/b/",
            "//other/d/a/",
        ] {
            let error = redirected("http://h/d/a", location);
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{location}");
            assert!(
                error.message().contains("base_url") && !error.message().contains("secret"),
                "{error}"
            );
        }
        let nowhere = of_redirection(&"http://h/a".parse().unwrap(), &HeaderMap::new(), "h");
        assert_eq!(nowhere.kind(), ErrorKind::Unexpected);
        let odd =
            [(HeaderName::from_static("location"), HeaderValue::from_bytes(b"\xff").unwrap())];
        let odd = of_redirection(&"http://h/a".parse().unwrap(), &odd.into_iter().collect(), "h");
        assert_eq!(odd.kind(), ErrorKind::Unexpected);
    }
}
