//! [`Client`]: sends requests to one server, and reads what it answers.

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

/// The most that is read of an answer that says what went wrong, and for how long.
const MAX_REFUSAL: usize = 4 * 1024;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);

/// Sends requests to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    /// Ends in a slash.
    base: Url,
    /// Who is asked, for people: host and port.
    place: String,
    /// What goes along with every request.
    headers: HeaderMap,
    /// What of it must not show in errors, should the server repeat it.
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

    /// Where an object is. Every segment is encoded, so that no key leads out of the base.
    pub(crate) fn url(&self, key: &Key) -> Url {
        object_url(&self.base, key)
    }

    /// A request with what every request has.
    pub(crate) fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        // The bytes as they are stored, in whatever encoding: a range of others would be of
        // something else. No server compresses on the way for a `*`, and ours does not decode then.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity, *"));
        request
    }

    /// Sends a request without a body, or with a small one; answers whatever the server says.
    ///
    /// It has to be one that may happen twice: a server may close a connection that nobody uses at
    /// the moment when somebody does, so that what was lost without an answer is sent once more
    /// (RFC 9110, section 9.2.2).
    ///
    /// # Errors
    /// `Timeout` if the headers of the answer do not come in time; `Unexpected` if there is no
    /// connection or it breaks off.
    pub(crate) async fn send(&self, request: Request) -> Result<Response> {
        let again = request.try_clone();
        let attempts = async {
            let sent_at = Instant::now();
            match (self.http.execute(request).await, again) {
                (Err(cause), Some(again)) if !cause.is_connect() && !cause.is_timeout() => {
                    tracing::debug!(
                        place = self.place,
                        "a connection closed without an answer: asking once more"
                    );
                    self.execute(again).await
                }
                (executed, _) => self.answered(executed, sent_at),
            }
        };
        match tokio::time::timeout(self.header_timeout, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(timeout_error(&self.place, self.header_timeout, "option header_timeout")),
        }
    }

    /// Sends a request once, and without a limit of time.
    pub(crate) async fn execute(&self, request: Request) -> Result<Response> {
        let sent_at = Instant::now();
        self.answered(self.http.execute(request).await, sent_at)
    }

    fn answered(
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

    /// Asks for an object: its headers (HEAD), or all or a part of it (GET).
    ///
    /// # Errors
    /// What the status means, `NotModified` and `NotFound` included, and as [`send`](Self::send).
    pub(crate) async fn object(
        &self,
        method: Method,
        key: &Key,
        headers: HeaderMap,
    ) -> Result<Response> {
        let url = self.url(key);
        let mut request = self.request(method, url.clone());
        request.headers_mut().extend(headers);
        let answer = self.send(request).await?;
        match answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
            _ => Err(self.refused(answer, &url).await),
        }
    }

    /// What an answer means that is not the one that was hoped for.
    pub(crate) async fn refused(&self, mut answer: Response, asked: &Url) -> Error {
        match answer.status {
            StatusCode::NOT_MODIFIED => {
                Error::new(ErrorKind::NotModified, "the object has not changed")
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::not_found(),
            status if status.is_redirection() => {
                errors::of_redirection(asked, &answer.headers, &self.place)
            }
            status => {
                let said = self.without_secrets(said(&mut answer).await);
                errors::of_status(status, &answer.headers, &self.place, &said)
            }
        }
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// The values of the headers, and what follows the scheme in one like `Bearer ...`.
fn secrets(headers: &HeaderMap) -> Vec<String> {
    let values = headers.values().filter_map(|value| value.to_str().ok());
    let mut secrets: Vec<String> = values
        .flat_map(|value| [value, value.split_once(' ').map_or(value, |(_, rest)| rest)])
        .map(str::trim)
        // What is shorter may be in any sentence, and is no secret.
        .filter(|value| value.len() >= 4)
        .map(str::to_owned)
        .collect();
    // The longer first: a part of it must not hide it.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Shows the names of the headers alone.
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
async fn said(response: &mut Response) -> String {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    if !content_type.starts_with("text/plain") && !content_type.contains("json") {
        return String::new();
    }
    let start = response.body.read_start_within(MAX_REFUSAL, REFUSAL_PATIENCE).await;
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
    fn what_the_server_repeats_of_the_headers_is_not_shown() {
        let headers = [
            (http::header::AUTHORIZATION, HeaderValue::from_static("Bearer canary-token")),
            (HeaderName::from_static("x-key"), HeaderValue::from_static("canary-key")),
            (HeaderName::from_static("x-version"), HeaderValue::from_static("2")),
        ];
        let client = client("https://example.com/", headers.into_iter().collect());
        let said = "no canary-key, Bearer canary-token or canary-token for 2".to_owned();
        assert_eq!(client.without_secrets(said), "no ***, *** or *** for 2");
        let debug = format!("{client:?}");
        assert!(debug.contains("x-key") && !debug.contains("canary"), "{debug}");
    }
}
