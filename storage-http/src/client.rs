//! [`Client`]: sends requests to one server and reads its responses.

use std::fmt;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Request;
use storage_client::{Response, send_error, timeout_error};
use storage_core::internal::object_url;
use storage_core::{Error, ErrorKind, Key, Result};
use url::Url;

use crate::errors;

/// Upper bound for the text of an error response, in bytes, and the time limit for reading it.
const MAX_ERROR_TEXT: usize = 4 * 1024;
const ERROR_TEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends requests to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    /// Ends in a slash.
    base: Url,
    /// Host and port, for messages.
    place: String,
    /// The headers of every request.
    headers: HeaderMap,
    /// Values of the headers. They are removed from the text of error responses, which may repeat
    /// them.
    secrets: Vec<String>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl Client {
    pub(crate) fn new(
        http: reqwest::Client,
        base: Url,
        headers: HeaderMap,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        let host = base.host_str().unwrap_or_default();
        let place = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let secrets = secrets(&headers);
        Self { http, base, place, headers, secrets, header_timeout, idle_timeout }
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.header_timeout
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Returns the URL of an object. Every segment is encoded, so that no key leads out of the
    /// base.
    pub(crate) fn url(&self, key: &Key) -> Url {
        object_url(&self.base, key)
    }

    /// Creates a request with the headers of every request.
    pub(crate) fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        // Requests the bytes as they are stored, in any encoding, because ranges count these bytes.
        // With `*`, file servers do not compress, and `storage-mirror` decodes nothing.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity, *"));
        request
    }

    /// Sends a request without a body, or with a small one, and returns a response of any status.
    ///
    /// The request must be idempotent: a server may close an unused connection at the moment when
    /// it is used again, so a request without a response is sent once more (RFC 9110, section
    /// 9.2.2).
    ///
    /// # Errors
    /// `Timeout` if the headers of the response do not arrive in time. `Unexpected`, retryable, if
    /// no connection opens or it breaks off.
    pub(crate) async fn send(&self, request: Request) -> Result<Response> {
        let again = request.try_clone();
        let attempts = async {
            let sent_at = Instant::now();
            match (self.http.execute(request).await, again) {
                (Err(cause), Some(again)) if !cause.is_connect() && !cause.is_timeout() => {
                    tracing::debug!(
                        place = self.place,
                        "a connection closed without a response; the request is sent again"
                    );
                    self.execute(again).await
                }
                (executed, _) => self.received(executed, sent_at),
            }
        };
        match tokio::time::timeout(self.header_timeout, attempts).await {
            Ok(response) => response,
            Err(_) => Err(timeout_error(&self.place, self.header_timeout, "option header_timeout")),
        }
    }

    /// Sends a request once, without a time limit.
    pub(crate) async fn execute(&self, request: Request) -> Result<Response> {
        let sent_at = Instant::now();
        self.received(self.http.execute(request).await, sent_at)
    }

    fn received(
        &self,
        executed: reqwest::Result<reqwest::Response>,
        sent_at: Instant,
    ) -> Result<Response> {
        let response = executed.map_err(|cause| {
            send_error(cause, &self.place, "option base_url", "option header_timeout")
        })?;
        let mut response = Response::new(response, sent_at, self.idle_timeout);
        response.body = response.body.with_limit_name("option idle_timeout");
        Ok(response)
    }

    /// Requests an object: its headers (HEAD), or all or a part of it (GET).
    ///
    /// # Errors
    /// The error of the status, including `NotModified` and `NotFound`. Otherwise as
    /// [`send`](Self::send).
    pub(crate) async fn object(
        &self,
        method: Method,
        key: &Key,
        headers: HeaderMap,
    ) -> Result<Response> {
        let url = self.url(key);
        let mut request = self.request(method, url.clone());
        request.headers_mut().extend(headers);
        let response = self.send(request).await?;
        match response.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(self.error_of(response, &url).await),
        }
    }

    /// Converts a response that is not a success to an error. `url` is the URL of the request.
    pub(crate) async fn error_of(&self, mut response: Response, url: &Url) -> Error {
        match response.status {
            StatusCode::NOT_MODIFIED => {
                Error::new(ErrorKind::NotModified, "the object has not changed")
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::not_found(),
            status if status.is_redirection() => {
                errors::of_redirection(url, &response.headers, &self.place)
            }
            status => {
                let text = self.without_secrets(error_text(&mut response).await);
                errors::of_status(status, &response.headers, &self.place, &text)
            }
        }
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Returns the values of the headers, and of a value like `Bearer ...` also the part after the
/// scheme.
fn secrets(headers: &HeaderMap) -> Vec<String> {
    let values = headers.values().filter_map(|value| value.to_str().ok());
    let mut secrets: Vec<String> = values
        .flat_map(|value| [value, value.split_once(' ').map_or(value, |(_, rest)| rest)])
        .map(str::trim)
        // A shorter value occurs in ordinary text, and is too short for a secret.
        .filter(|value| value.len() >= 4)
        .map(str::to_owned)
        .collect();
    // Longer values first, because a shorter one may be a part of them.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Shows the names of the headers without their values.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().map(http::HeaderName::as_str).collect();
        f.debug_struct("Client")
            .field("base_url", &self.base.as_str())
            .field("headers", &headers)
            .field("header_timeout", &self.header_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

/// Returns the text of an error response, unless it is a page for browsers.
async fn error_text(response: &mut Response) -> String {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    if !content_type.starts_with("text/plain") && !content_type.contains("json") {
        return String::new();
    }
    let start = response.body.read_start_within(MAX_ERROR_TEXT, ERROR_TEXT_TIMEOUT).await;
    String::from_utf8_lossy(&start).into_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn client(base: &str, headers: HeaderMap) -> Client {
        let second = Duration::from_secs(1);
        Client::new(reqwest::Client::new(), base.parse().unwrap(), headers, second, second)
    }

    #[test]
    fn no_key_leads_out_of_the_base() {
        let client = client("https://example.com/a/b/", HeaderMap::new());
        for key in [
            "..%2f..%2fx",
            "%2e%2e",
            "...",
            "..a",
            "a\\..\\b",
            "http://other/x",
            "a?b#c",
            "@other",
            "%00",
        ] {
            let Ok(key) = Key::new(key) else { continue };
            let url = client.url(&key);
            assert!(url.as_str().starts_with("https://example.com/a/b/"), "{key:?} leads to {url}");
            assert!(url.query().is_none() && url.fragment().is_none(), "{key:?} leads to {url}");
        }
    }

    #[test]
    fn secrets_that_the_server_repeats_are_hidden() {
        let headers = [
            (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer canary-token")),
            (HeaderName::from_static("x-key"), HeaderValue::from_static("canary-key")),
            (HeaderName::from_static("x-version"), HeaderValue::from_static("2")),
        ];
        let client = client("https://example.com/", headers.into_iter().collect());
        let text = "no canary-key, Bearer canary-token or canary-token for 2".to_owned();
        assert_eq!(client.without_secrets(text), "no ***, *** or *** for 2");
        let debug = format!("{client:?}");
        assert!(debug.contains("x-key") && !debug.contains("canary"), "{debug}");
    }
}
