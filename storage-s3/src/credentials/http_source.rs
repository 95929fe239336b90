//! [`HttpSource`]: small requests for credentials, with limits on time and size.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use http::header::DATE;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponseBody,
};
use storage_client::{http_date, root_cause};
use storage_core::{Error, Result};
use url::Url;

use super::error::CredentialError;

/// The largest response, in bytes. The largest tokens have about 20 KiB.
const MAX_RESPONSE: usize = 256 * 1024;
/// How often a request is sent if there is no response, or one with the status 429 or 5xx.
const MAX_ATTEMPTS: usize = 2;
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Sends requests to one server.
pub(super) struct HttpSource {
    client: HttpClient,
    /// Scheme, host and port, for messages. The path is omitted, because that of a container is a
    /// secret.
    place: String,
    timeout: Duration,
}

/// A response, read completely.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The time by the server's clock, if the response contains it.
    pub(super) server_time: Option<SystemTime>,
}

impl HttpSource {
    /// Creates a client. `timeout` is that of one attempt.
    ///
    /// # Errors
    /// `InvalidConfig` if the HTTP client cannot be created.
    pub(super) fn new(http: &dyn HttpConnector, url: &Url, timeout: Duration) -> Result<Self> {
        let plain = url.scheme() == "http";
        let options = ClientOptions::new()
            .with_allow_http(plain)
            .with_connect_timeout(timeout)
            .with_timeout(timeout);
        let client = http.connect(&options).map_err(|_| {
            Error::config(
                "the HTTP client for credentials could not be built: are the system's root certificates installed?",
            )
        })?;
        Ok(Self { client, place: url.origin().ascii_serialization(), timeout })
    }

    /// Returns the server for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Sends a request, and once more if there is no response, or one with the status 429 or 5xx.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<Response, CredentialError> {
        let mut attempts = 1;
        loop {
            let response = self.attempt(request.clone()).await;
            let is_final = response.as_ref().is_ok_and(|response| {
                !response.status.is_server_error()
                    && response.status != StatusCode::TOO_MANY_REQUESTS
            });
            if is_final || attempts == MAX_ATTEMPTS {
                return response;
            }
            attempts += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&self, request: HttpRequest) -> Result<Response, CredentialError> {
        let response = tokio::time::timeout(self.timeout, async {
            let response = self.client.execute(request).await?;
            let (parts, body) = response.into_parts();
            let server_time = http_date(&parts.headers, &DATE);
            Ok::<_, HttpError>(read_body(body).await?.map(|body| Response {
                status: parts.status,
                body,
                server_time,
            }))
        });
        match response.await {
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(CredentialError::new(format!(
                "{} returned more than {MAX_RESPONSE} bytes",
                self.place
            ))),
            Ok(Err(error)) if error.kind() == HttpErrorKind::Timeout => Err(self.no_response()),
            Ok(Err(error)) => Err(CredentialError::new(format!(
                "{} cannot be reached: {}",
                self.place,
                root_cause(&error)
            ))
            .retryable()),
            Err(_) => Err(self.no_response()),
        }
    }

    fn no_response(&self) -> CredentialError {
        CredentialError::new(format!(
            "no response from {} within {} s",
            self.place,
            self.timeout.as_secs()
        ))
        .retryable()
    }

    /// Returns the error for a response that is not a success. `text` is the server's message
    /// without secrets.
    pub(super) fn rejection(&self, response: &Response, text: &str) -> CredentialError {
        let colon = if text.is_empty() { "" } else { ": " };
        let error = CredentialError::new(format!(
            "{} returned {}{colon}{text}",
            self.place, response.status
        ));
        if response.status.is_server_error() || response.status == StatusCode::TOO_MANY_REQUESTS {
            error.retryable()
        } else {
            error
        }
    }
}

/// Reads a body. Returns `None` if it is larger than any expected one.
pub(super) async fn read_body(body: HttpResponseBody) -> Result<Option<Bytes>, HttpError> {
    let mut chunks = body.bytes_stream();
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > MAX_RESPONSE {
            return Ok(None);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(Some(all.freeze()))
}

/// Returns the first line of a server's message, shortened and without `secret`. The lines after it
/// contain details such as the signed text.
pub(super) fn excerpt(text: &str, secret: &str) -> String {
    const MAX_CHARS: usize = 300;
    let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "...") };
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect()
}
