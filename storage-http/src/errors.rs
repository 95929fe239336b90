//! What an answer that is no success means, in the kinds of the contract.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use storage_client::retry_after;
use storage_core::{Error, ErrorKind};
use url::Url;

/// How much of a server's text is shown: what it says is not ours to trust.
const MAX_SHOWN: usize = 300;

/// The error that a status means. `place` is who said it, `said` what else.
pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, place: &str, said: &str) -> Error {
    let (kind, advice) = verdict(status.as_u16());
    let mut message = format!("{place} answers {status}");
    for more in [&*shown(said), advice] {
        if !more.is_empty() {
            message = format!("{message}; {more}");
        }
    }
    let passes = matches!(status.as_u16(), 408 | 423 | 425 | 429)
        || (status.is_server_error() && may_pass(status));
    let error = Error::new(kind, message).with_retryable(passes);
    match retry_after(headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn verdict(status: u16) -> (ErrorKind, &'static str) {
    match status {
        304 => (ErrorKind::NotModified, ""),
        401 => (ErrorKind::Unauthenticated, "what authenticates belongs into the option headers"),
        403 | 407 | 451 => (ErrorKind::PermissionDenied, ""),
        404 | 410 => (ErrorKind::NotFound, ""),
        405 | 501 => (ErrorKind::Unsupported, "the server does not take this method here"),
        408 | 504 => (ErrorKind::Timeout, ""),
        409 | 423 => (ErrorKind::Conflict, ""),
        412 => (ErrorKind::PreconditionFailed, ""),
        413 => (ErrorKind::TooLarge, "nginx: client_max_body_size"),
        414 => (ErrorKind::InvalidKey, "the key is longer than the server takes"),
        416 => (ErrorKind::RangeNotSatisfiable, ""),
        429 | 503 => (ErrorKind::RateLimited, ""),
        507 => (ErrorKind::StorageFull, ""),
        _ => (ErrorKind::Unexpected, ""),
    }
}

/// Of those that are the server's fault, these stay.
fn may_pass(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 501 | 505 | 507 | 508)
}

/// Text of the server on one line, at most so long.
fn shown(text: &str) -> String {
    let text = text.trim();
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// What an answer means that leads elsewhere.
pub(crate) fn of_redirection(asked: &Url, headers: &HeaderMap, place: &str) -> Error {
    let location = headers.get(LOCATION).and_then(|value| asked.join(value.to_str().ok()?).ok());
    let Some(location) = location else {
        return Error::new(
            ErrorKind::Unexpected,
            format!("{place} answers with a redirection to nowhere"),
        );
    };
    if is_directory(asked, &location) {
        return Error::not_found();
    }
    // The path may hold what is nobody's business: it is the server's, not the caller's.
    let same = (asked.scheme(), asked.host(), asked.port())
        == (location.scheme(), location.host(), location.port());
    let target = match location.host_str() {
        _ if same => "another path on itself".to_owned(),
        Some(host) => shown(&format!("{}://{host}", location.scheme())),
        None => "another place".to_owned(),
    };
    let message = format!(
        "{place} redirects to {target}, and redirections are not followed: set the option base_url to where the files are"
    );
    Error::new(ErrorKind::InvalidConfig, message)
}

/// Servers of files lead from the name of a directory to the same with a slash. Behind a front they
/// may be wrong about scheme and port.
fn is_directory(asked: &Url, location: &Url) -> bool {
    let decoded = |path: &str| percent_decode_str(path).collect::<Vec<u8>>();
    asked.host() == location.host()
        && decoded(&format!("{}/", asked.path())) == decoded(location.path())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::RETRY_AFTER;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn error(status: u16, said: &str) -> Error {
        of_status(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), "example.com", said)
    }

    fn redirected(asked: &str, location: &'static str) -> Error {
        let headers = [(LOCATION, HeaderValue::from_static(location))].into_iter().collect();
        of_redirection(&asked.parse().unwrap(), &headers, "example.com")
    }

    #[test]
    fn each_status_has_its_kind_and_says_whether_it_passes() {
        use ErrorKind::*;
        for (status, kind, passes) in [
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
            assert_eq!((error.kind(), error.is_retryable()), (kind, passes), "{status}");
        }
    }

    #[test]
    fn the_servers_text_is_short_and_on_one_line() {
        let error = error(403, &format!("no\r\nentry {}", "x".repeat(10_000)));
        assert!(
            error.message().starts_with("example.com answers 403 Forbidden; no  entry x"),
            "{error}"
        );
        assert!(error.message().len() < 400, "{}", error.message().len());
    }

    #[test]
    fn the_server_says_how_long_to_leave_it_alone() {
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
    fn any_other_redirection_names_the_option_to_mend_and_no_path() {
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
