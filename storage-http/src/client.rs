//! [`Client`]: sends requests to one server, and reads what it answers.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Request;
use storage_core::internal::object_url;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, innermost};
use url::Url;

use crate::errors;
use crate::headers;
use crate::response::response_meta;

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

/// An answer whose body has not been read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// When the request was sent.
    pub(crate) sent_at: Instant,
    response: reqwest::Response,
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
    pub(crate) async fn send(&self, request: Request) -> Result<Answer> {
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
            Err(_) => {
                let message = format!(
                    "{} gave no answer within {:?} (option header_timeout)",
                    self.place, self.header_timeout
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// Sends a request once, and without a limit of time.
    pub(crate) async fn execute(&self, request: Request) -> Result<Answer> {
        let sent_at = Instant::now();
        self.answered(self.http.execute(request).await, sent_at)
    }

    fn answered(
        &self,
        executed: reqwest::Result<reqwest::Response>,
        sent_at: Instant,
    ) -> Result<Answer> {
        let mut response = executed.map_err(|cause| errors::of_transport(cause, &self.place))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        Ok(Answer { status, headers, sent_at, response, idle_timeout: self.idle_timeout })
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
    ) -> Result<Answer> {
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
    pub(crate) async fn refused(&self, mut answer: Answer, asked: &Url) -> Error {
        match answer.status {
            StatusCode::NOT_MODIFIED => {
                Error::new(ErrorKind::NotModified, "the object has not changed")
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::not_found(),
            status if status.is_redirection() => {
                errors::of_redirection(asked, &answer.headers, &self.place)
            }
            status => {
                let said = self.without_secrets(answer.said().await);
                errors::of_status(status, &answer.headers, &self.place, &said)
            }
        }
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Returns what the headers of a response, whose request was sent at this time, tell of an object
/// and of the response.
pub(crate) fn meta_of(key: &Key, size: u64, headers: &HeaderMap, sent_at: Instant) -> ObjectMeta {
    let mut meta = headers::to_meta(key.clone(), size, headers);
    meta.response = Some(response_meta(headers, sent_at.elapsed()));
    meta
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

impl Answer {
    /// Returns what the headers tell of an object of this size, and of the response itself.
    pub(crate) fn meta(&self, key: &Key, size: u64) -> ObjectMeta {
        meta_of(key, size, &self.headers, self.sent_at)
    }

    /// The next piece of the body. One that stalls is `Timeout`, one that breaks off an error that
    /// may pass.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.idle_timeout, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(cause)) => Err(Error::new(ErrorKind::Unexpected, "the answer broke off")
                .with_retryable(true)
                .with_source(innermost(&cause.without_url()))),
            Err(_) => {
                let message =
                    format!("the answer stalled for {:?} (option idle_timeout)", self.idle_timeout);
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// All of the body.
    ///
    /// # Errors
    /// `TooLarge` above `max` bytes; as [`next`](Self::next).
    pub(crate) async fn read(&mut self, max: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            if all.len() + chunk.len() > max {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("the answer has more than {max} bytes"),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// What the server says beside a status, if it is text for people and not a page for browsers.
    async fn said(&mut self) -> String {
        let kind = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !kind.starts_with("text/plain") && !kind.contains("json") {
            return String::new();
        }
        let mut start = BytesMut::new();
        let reading = async {
            // What cannot be read of it is no reason to hide the status.
            while start.len() < MAX_REFUSAL
                && let Ok(Some(chunk)) = self.next().await
            {
                start.extend_from_slice(&chunk[..chunk.len().min(MAX_REFUSAL - start.len())]);
            }
        };
        let _ = tokio::time::timeout(REFUSAL_PATIENCE, reading).await;
        String::from_utf8_lossy(&start).into_owned()
    }
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
