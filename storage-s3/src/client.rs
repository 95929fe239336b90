//! [`Client`]: signs requests, sends them, tries again what may pass, and reads what the service says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use storage_client::{Backoff, root_cause};
use storage_core::{Checksum, Error, ErrorKind, Result};
use url::Url;

use crate::credentials::Renewal;
use crate::crypto::Sha256Provider;
use crate::endpoint::Bucket;
use crate::errors::Refusal;
use crate::request::{Chunks, Repeat, Request};

/// How many headers the signature and the HTTP client add to those of a request.
const ADDED_HEADERS: usize = 8;
/// How long a body may stall.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// The most that is read of an answer that says what went wrong.
const MAX_REFUSAL: usize = 64 * 1024;
/// The most that is read of a document: a page of 1,000 keys of 1,024 bytes, each percent-encoded
/// and with what belongs to it.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// Sends requests to one bucket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    bucket: Bucket,
    region: String,
    /// `None` for requests that are not signed.
    credentials: Option<AwsCredentialProvider>,
    /// Reads credentials again that the service refused.
    renewal: Option<Arc<dyn Renewal>>,
}

/// An answer of success, or of `304 Not Modified`, whose body has not been read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    response: reqwest::Response,
}

/// A document, read to its end.
pub(crate) struct Document {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer of success.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// What the service said, if it said something.
    pub(crate) refusal: Option<Box<Refusal>>,
    /// Whether an attempt before may have had its effect though no answer came.
    pub(crate) may_have_happened: bool,
    not_begun: bool,
    /// The credentials of the request, if they may be the reason.
    refused_with: Option<Arc<AwsCredential>>,
}

impl Failed {
    /// The service's code, empty if it named none.
    pub(crate) fn code(&self) -> &str {
        self.refusal.as_ref().map_or("", |refusal| &refusal.code)
    }

    /// The answer's status, if there was an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.refusal.as_ref().map(|refusal| refusal.status)
    }

    /// Whether the response is a 400 that says nothing more, as it is to a HEAD.
    pub(crate) fn is_bare_400(&self) -> bool {
        self.status() == Some(400) && self.refusal.as_ref().is_some_and(|refusal| refusal.is_bare())
    }

    /// Whether what was asked for may have been done all the same.
    pub(crate) fn leaves_open(&self) -> bool {
        !self.not_begun && self.refusal.as_deref().is_none_or(Refusal::leaves_open)
    }

    fn may_be_repeated(&self, repeat: Repeat) -> bool {
        match repeat {
            Repeat::Always => self.error.is_retryable(),
            Repeat::IfNotBegun => self.error.is_retryable() && self.not_begun,
        }
    }

    fn wait(&self) -> Option<Duration> {
        self.refusal.as_deref().and_then(Refusal::retry_after)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            refusal: None,
            may_have_happened: false,
            not_begun: false,
            refused_with: None,
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Client {
    pub(crate) fn new(
        http: reqwest::Client,
        bucket: Bucket,
        region: String,
        credentials: Option<AwsCredentialProvider>,
        renewal: Option<Arc<dyn Renewal>>,
    ) -> Self {
        Self(Arc::new(Inner { http, bucket, region, credentials, renewal }))
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.0.bucket
    }

    pub(crate) fn region(&self) -> &str {
        &self.0.region
    }

    /// The credentials of this moment; `None` where requests are not signed.
    pub(crate) async fn credential(&self) -> Result<Option<Arc<AwsCredential>>> {
        match &self.0.credentials {
            Some(provider) => {
                let credential =
                    provider.get_credential().await.map_err(crate::credentials::error)?;
                check_credential(&credential)?;
                Ok(Some(credential))
            }
            None => Ok(None),
        }
    }

    /// Sends a request whose answer's body is to be streamed, or is of no interest.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        self.attempts(request, || self.attempt(request)).await
    }

    /// Sends a request whose answer is a document. An error in an answer of success is one, as it
    /// is where the service began to answer before it had finished.
    pub(crate) async fn document(&self, request: &Request<'_>) -> Result<Document, Failed> {
        self.attempts(request, || async {
            let mut answer = self.attempt(request).await?;
            let body = answer.read(MAX_DOCUMENT).await.map_err(Failed::from)?;
            match Refusal::in_success(&answer.headers, &body) {
                Some(refusal) => Err(self.refused(refusal).await),
                None => Ok(Document { headers: answer.headers, body }),
            }
        })
        .await
    }

    async fn attempts<T, F>(
        &self,
        request: &Request<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let mut waits = Backoff::default();
        let mut may_have_happened = false;
        let mut is_renewed = false;
        loop {
            let failed = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(failed) => Failed { may_have_happened, ..failed },
            };
            // A request whose signature is refused has not begun, whatever its condition is.
            if !is_renewed && self.has_other_credentials(&failed).await {
                is_renewed = true;
                continue;
            }
            let wait = if failed.may_be_repeated(request.repeat) {
                waits.next_delay(failed.wait())
            } else {
                None
            };
            let Some(wait) = wait else { return Err(failed) };
            may_have_happened |= !failed.not_begun;
            tracing::debug!(
                method = %request.method,
                kind = %failed.error.kind(),
                code = failed.code(),
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "an S3 request is tried again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether the request may succeed with other credentials than those that were refused, and
    /// there are others by now.
    async fn has_other_credentials(&self, failed: &Failed) -> bool {
        match (&self.0.renewal, &failed.refused_with) {
            (Some(renewal), Some(refused)) => {
                let is_named = failed.refusal.as_deref().is_some_and(|refusal| !refusal.is_bare());
                renewal.renewed(refused, is_named).await.is_some()
            }
            _ => false,
        }
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        let unsigned = |error| Failed { not_begun: true, ..Failed::from(error) };
        let (signed, credential) = self.signed(request).await.map_err(unsigned)?;
        let limit = request.time_limit();
        let mut response = match tokio::time::timeout(limit, self.0.http.execute(signed)).await {
            Ok(Ok(response)) => response,
            Ok(Err(cause)) => return Err(self.not_sent(cause)),
            Err(_) => return Err(no_answer(limit).into()),
        };
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut answer = Answer { status, headers, response };
        if status.is_success() {
            return Ok(answer);
        }
        // What cannot be read of an error's document is no reason to hide the error.
        let body = if request.method == Method::HEAD {
            Bytes::new()
        } else {
            answer.read_start(MAX_REFUSAL).await
        };
        let refusal = Refusal::read(status, &answer.headers, &body);
        let refused_with = credential.clone().filter(|_| refusal.may_be_of_old_credentials());
        Err(Failed { refused_with, ..failed(refusal, credential.as_deref()) })
    }

    async fn refused(&self, refusal: Refusal) -> Failed {
        let credential = self.credential().await.ok().flatten();
        failed(refusal, credential.as_deref())
    }

    /// A service's word about one key of many, as an error.
    pub(crate) async fn error_of(&self, refusal: Refusal) -> Error {
        self.refused(refusal).await.error
    }

    async fn signed(
        &self,
        request: &Request<'_>,
    ) -> Result<(reqwest::Request, Option<Arc<AwsCredential>>)> {
        let inner = &*self.0;
        let url = inner.bucket.url(request.key, &request.query);
        let credential = self.credential().await?;
        let mut headers = request.headers.clone();
        headers.reserve(ADDED_HEADERS);
        if let Some(credential) = &credential {
            headers = self.sign(&url, request, headers, credential)?;
        }
        let len = request.body.len();
        if len > 0 || matches!(request.method, Method::PUT | Method::POST) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        if request.accepts_gzip {
            // After the signature, because front ends of Google change this header on its way.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let url = Url::parse(&url)
            .map_err(|cause| Error::unexpected("the request has no valid URL", cause))?;
        let mut signed = reqwest::Request::new(request.method.clone(), url);
        *signed.headers_mut() = headers;
        if len > 0 {
            *signed.body_mut() = Some(Chunks::into_reqwest(request.body.clone()));
        }
        Ok((signed, credential))
    }

    /// Signs what is in the headers, and the body by its SHA-256, if that was computed. Otherwise
    /// its checksum is part of the signature, which is a header like others.
    fn sign(
        &self,
        url: &str,
        request: &Request<'_>,
        headers: HeaderMap,
        credential: &AwsCredential,
    ) -> Result<HeaderMap> {
        let mut unsigned = HttpRequest::new(HttpRequestBody::empty());
        *unsigned.method_mut() = request.method.clone();
        *unsigned.uri_mut() = url.parse().map_err(|cause| {
            Error::unexpected("the request has no valid URL", format!("{cause}"))
        })?;
        *unsigned.headers_mut() = headers;
        let digest = request.digest.as_ref().map(Checksum::value);
        AwsAuthorizer::new(credential, "s3", self.region())
            .with_crypto(&Sha256Provider)
            .with_sign_payload(digest.is_some() || request.body.len() == 0)
            .try_authorize(&mut unsigned, digest)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the request could not be signed"))?;
        Ok(std::mem::take(unsigned.headers_mut()))
    }

    fn not_sent(&self, cause: reqwest::Error) -> Failed {
        let host = self.0.bucket.url("", &[]);
        let place = host.split('/').nth(2).unwrap_or_default().to_owned();
        let is_connect = cause.is_connect();
        let error = if is_connect {
            Error::new(
                ErrorKind::Unexpected,
                format!("no connection to {place}: check endpoint, network and TLS"),
            )
        } else if cause.is_timeout() {
            Error::new(ErrorKind::Timeout, format!("{place} gave no answer in time"))
        } else {
            Error::new(
                ErrorKind::Unexpected,
                format!("the connection to {place} broke off before an answer came"),
            )
        };
        let error = error.with_retryable(true).with_source(root_cause(&cause.without_url()));
        Failed { not_begun: is_connect, ..Failed::from(error) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bucket", &self.0.bucket)
            .field("region", &self.0.region)
            .finish_non_exhaustive()
    }
}

/// The signer takes for granted that they fit into a header.
fn check_credential(credential: &AwsCredential) -> Result<()> {
    let fits = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if fits(&credential.key_id) && credential.token.as_deref().is_none_or(fits) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unauthenticated,
        "access key id or session token hold a space, a line break or another character that neither can have",
    ))
}

fn failed(refusal: Refusal, credential: Option<&AwsCredential>) -> Failed {
    let refusal = match credential {
        Some(credential) => refusal.without_secrets(credential),
        None => refusal,
    };
    let not_begun = refusal.was_not_begun();
    let error = refusal.clone().into_error();
    Failed { refusal: Some(Box::new(refusal)), not_begun, ..Failed::from(error) }
}

fn no_answer(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {} s", limit.as_secs()))
}

impl Answer {
    /// The next piece of the body. One that stalls is `Timeout`, one that breaks off an error that
    /// may pass.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        match tokio::time::timeout(BODY_PATIENCE, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(cause)) => Err(Error::new(ErrorKind::Unexpected, "the answer broke off")
                .with_retryable(true)
                .with_source(root_cause(&cause.without_url()))),
            Err(_) => {
                let message = format!("the answer stalled for {} s", BODY_PATIENCE.as_secs());
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    async fn read(&mut self, max: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            if chunk.len() > max.saturating_sub(all.len()) {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    format!("the service's answer has more than {max} bytes"),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    async fn read_start(&mut self, max: usize) -> Bytes {
        let mut start = BytesMut::new();
        while start.len() < max
            && let Ok(Some(chunk)) = self.next().await
        {
            start.extend_from_slice(&chunk[..chunk.len().min(max.saturating_sub(start.len()))]);
        }
        start.freeze()
    }
}
