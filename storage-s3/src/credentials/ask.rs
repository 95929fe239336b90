//! Asking small questions over HTTP, with a limit on time and size, of those who give credentials.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponseBody,
};
use storage_client::root_cause;
use storage_core::{Error, Result};
use url::Url;

use super::failure::Failure;

/// The most that is read of an answer. A token of the largest kind has some 20 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// How often a question is asked that gets no answer, or one that says to come back.
const ATTEMPTS: usize = 2;
/// How long after the first attempt the second one comes.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks one server.
pub(super) struct Asker {
    client: HttpClient,
    /// Scheme, host and port, for messages. Paths are left out of them: those of containers are as
    /// good as a password.
    place: String,
    patience: Duration,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The time by the server's clock, if it said so.
    pub(super) server_time: Option<SystemTime>,
}

impl Asker {
    /// `patience` is the longest that one attempt may take.
    ///
    /// # Errors
    /// `InvalidConfig` if no client can be made.
    pub(super) fn new(http: &dyn HttpConnector, url: &Url, patience: Duration) -> Result<Self> {
        let plain = url.scheme() == "http";
        let options = ClientOptions::new()
            .with_allow_http(plain)
            .with_connect_timeout(patience)
            .with_timeout(patience);
        let client = http.connect(&options).map_err(|_| {
            Error::config(
                "no HTTP client could be made to ask for credentials: check the TLS settings",
            )
        })?;
        Ok(Self { client, place: url.origin().ascii_serialization(), patience })
    }

    /// Who is asked, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Asks, and once more if no answer comes or one that says to come back.
    pub(super) async fn ask(&self, question: HttpRequest) -> Result<Answer, Failure> {
        let mut attempts = 1;
        loop {
            let answer = self.attempt(question.clone()).await;
            let is_final = answer.as_ref().is_ok_and(|answer| {
                !answer.status.is_server_error() && answer.status != StatusCode::TOO_MANY_REQUESTS
            });
            if is_final || attempts == ATTEMPTS {
                return answer;
            }
            attempts += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, question: HttpRequest) -> Result<Answer, Failure> {
        let answered = tokio::time::timeout(self.patience, async {
            let answer = self.client.execute(question).await?;
            let (parts, body) = answer.into_parts();
            let server_time = date(&parts.headers);
            Ok::<_, HttpError>(read(body).await?.map(|body| Answer {
                status: parts.status,
                body,
                server_time,
            }))
        });
        match answered.await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(Failure::new(format!(
                "{} answers more than the {MAX_BYTES} bytes expected",
                self.place
            ))),
            Ok(Err(error)) if error.kind() == HttpErrorKind::Timeout => Err(self.no_answer()),
            Ok(Err(error)) => {
                Err(Failure::new(format!("{} cannot be asked: {}", self.place, root_cause(&error)))
                    .passing())
            }
            Err(_) => Err(self.no_answer()),
        }
    }

    fn no_answer(&self) -> Failure {
        Failure::new(format!("no answer from {} within {} s", self.place, self.patience.as_secs()))
            .passing()
    }

    /// The failure of an answer that is no success; `said` is what it says, without secrets.
    pub(super) fn refused(&self, answer: &Answer, said: &str) -> Failure {
        let colon = if said.is_empty() { "" } else { ": " };
        let failure =
            Failure::new(format!("{} answers {}{colon}{said}", self.place, answer.status));
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            failure.passing()
        } else {
            failure
        }
    }
}

/// A body to its end; `None` if it is larger than any that is expected.
pub(super) async fn read(body: HttpResponseBody) -> Result<Option<Bytes>, HttpError> {
    let mut chunks = body.bytes_stream();
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > MAX_BYTES {
            return Ok(None);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(Some(all.freeze()))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

/// What a server says, as far as it can be shown: its first line, not too long, without `secret`,
/// should it be repeated. After the first line come details, such as all that was signed.
pub(super) fn shown(said: &str, secret: &str) -> String {
    const MAX_CHARS: usize = 300;
    let said = if secret.is_empty() { said.to_owned() } else { said.replace(secret, "...") };
    let line = said.trim().lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect()
}
