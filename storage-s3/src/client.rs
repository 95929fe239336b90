//! [`Client`]: signs, sends and retries requests, and reads responses.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use storage_client::{Backoff, Response, send_error};
use storage_core::{Checksum, Error, ErrorKind, Result};
use url::Url;

use crate::credentials::Renewal;
use crate::crypto::Sha256Provider;
use crate::endpoint::Bucket;
use crate::errors::ErrorResponse;
use crate::request::{Chunks, Request, RetryRule};

/// How many headers the signature and the HTTP client add to a request.
const ADDED_HEADERS: usize = 8;
/// The time limit for each chunk of a body (30 s).
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit for a whole document (600 s). The service may send spaces in place of a document
/// while it copies, so that the limit of a chunk alone would end no request.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// Upper bound for reading the body of an error response, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Upper bound for a document, in bytes. A page of a listing may have 1,000 keys of 1,024 bytes,
/// each percent-encoded, with their metadata.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// Sends requests to one bucket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    bucket: Bucket,
    region: String,
    /// `None` if requests are not signed.
    credentials: Option<AwsCredentialProvider>,
    /// Fetches new credentials if the service rejects the current ones.
    renewal: Option<Arc<dyn Renewal>>,
}

/// A response whose body has been read as a document.
pub(crate) struct Document {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The failure of a request.
#[derive(Debug)]
pub(crate) struct FailedRequest {
    pub(crate) error: Error,
    /// The service's error response, if there was one.
    pub(crate) error_response: Option<Box<ErrorResponse>>,
    /// Whether an earlier attempt, whose response was lost, may have taken effect.
    pub(crate) may_have_succeeded: bool,
    not_started: bool,
    /// The credentials of the request, if they may be the reason of the failure.
    rejected_credential: Option<Arc<AwsCredential>>,
}

impl FailedRequest {
    /// Returns S3's error code, or an empty text if there is none.
    pub(crate) fn code(&self) -> &str {
        self.error_response.as_ref().map_or("", |error_response| &error_response.code)
    }

    /// Returns the status of the response, if there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.error_response.as_ref().map(|error_response| error_response.status)
    }

    /// Whether the response is a 400 without a code or a region, as the response to a HEAD is.
    pub(crate) fn is_bare_400(&self) -> bool {
        self.status() == Some(400)
            && self.error_response.as_ref().is_some_and(|error_response| error_response.is_bare())
    }

    /// Whether the request may have taken effect.
    pub(crate) fn outcome_is_unknown(&self) -> bool {
        !self.not_started
            && self.error_response.as_deref().is_none_or(ErrorResponse::outcome_is_unknown)
    }

    fn may_be_retried(&self, retry: RetryRule) -> bool {
        match retry {
            RetryRule::Always => self.error.is_retryable(),
            RetryRule::OnlyIfNotStarted => self.error.is_retryable() && self.not_started,
        }
    }

    fn wait(&self) -> Option<Duration> {
        self.error_response.as_deref().and_then(ErrorResponse::retry_after)
    }
}

impl From<Error> for FailedRequest {
    fn from(error: Error) -> Self {
        Self {
            error,
            error_response: None,
            may_have_succeeded: false,
            not_started: false,
            rejected_credential: None,
        }
    }
}

impl From<FailedRequest> for Error {
    fn from(failed: FailedRequest) -> Self {
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

    /// Returns the current credentials for a signed link. Fails with `Unsupported` without any.
    pub(crate) async fn credential_of_links(&self) -> Result<Arc<AwsCredential>> {
        self.credential().await?.ok_or_else(|| {
            Error::unsupported(
                "a link cannot be signed without credentials: remove anonymous = true and set \
                 credentials",
            )
        })
    }

    /// Returns the current credentials, or `None` if requests are not signed.
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

    /// Sends a request. The body of the response can be streamed.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Response, FailedRequest> {
        self.attempts(request, || self.attempt(request)).await
    }

    /// Sends a request whose response is a document. S3 may send the status 200 before it has
    /// finished, so an error document in a response with that status is an error.
    pub(crate) async fn document(&self, request: &Request<'_>) -> Result<Document, FailedRequest> {
        self.attempts(request, || async {
            let mut response = self.attempt(request).await?;
            let body = read_document(&mut response).await?;
            match ErrorResponse::in_success_response(&response.headers, &body) {
                Some(error_response) => Err(self.error_from(error_response).await),
                None => Ok(Document { headers: response.headers, body }),
            }
        })
        .await
    }

    async fn attempts<T, F>(
        &self,
        request: &Request<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, FailedRequest>
    where
        F: Future<Output = Result<T, FailedRequest>>,
    {
        let mut backoff = Backoff::default();
        let mut may_have_succeeded = false;
        let mut renewed = false;
        loop {
            let failed = match attempt().await {
                Ok(response) => return Ok(response),
                Err(failed) => FailedRequest { may_have_succeeded, ..failed },
            };
            // The service does not start a request with a rejected signature, so it may always be
            // repeated.
            if !renewed && self.renew_credentials(&failed).await {
                renewed = true;
                continue;
            }
            let wait = if failed.may_be_retried(request.retry) {
                backoff.next_delay(failed.wait())
            } else {
                None
            };
            let Some(wait) = wait else { return Err(failed) };
            may_have_succeeded |= !failed.not_started;
            tracing::debug!(
                method = %request.method,
                kind = %failed.error.kind(),
                code = failed.code(),
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "an S3 request is repeated"
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns whether the credentials were rejected and others are available now.
    async fn renew_credentials(&self, failed: &FailedRequest) -> bool {
        match (&self.0.renewal, &failed.rejected_credential) {
            (Some(renewal), Some(refused)) => {
                let is_named = failed
                    .error_response
                    .as_deref()
                    .is_some_and(|error_response| !error_response.is_bare());
                renewal.renewed(refused, is_named).await.is_some()
            }
            _ => false,
        }
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Response, FailedRequest> {
        let unsigned = |error| FailedRequest { not_started: true, ..FailedRequest::from(error) };
        let (signed, credential) = self.signed(request).await.map_err(unsigned)?;
        let limit = request.response_timeout();
        let sent_at = Instant::now();
        let sent = match tokio::time::timeout(limit, self.0.http.execute(signed)).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(cause)) => return Err(self.transport_error(cause)),
            Err(_) => return Err(no_response(limit).into()),
        };
        let mut response = Response::new(sent, sent_at, CHUNK_TIMEOUT);
        if response.status.is_success() {
            return Ok(response);
        }
        // If the document cannot be read, the status is still an error.
        let body = if request.method == Method::HEAD {
            Bytes::new()
        } else {
            response.body.read_start(MAX_ERROR_BODY).await
        };
        let error_response = ErrorResponse::read(response.status, &response.headers, &body);
        let rejected_credential =
            credential.clone().filter(|_| error_response.may_be_stale_credentials());
        Err(FailedRequest {
            rejected_credential,
            ..failed_request(error_response, credential.as_deref())
        })
    }

    async fn error_from(&self, error_response: ErrorResponse) -> FailedRequest {
        let credential = self.credential().await.ok().flatten();
        failed_request(error_response, credential.as_deref())
    }

    /// Returns the error for one key of a bulk request.
    pub(crate) async fn error_for_key(&self, error_response: ErrorResponse) -> Error {
        self.error_from(error_response).await.error
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
            // Added after the signature, because Google's front ends change this header.
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

    /// Signs the headers, and the body by its SHA-256 if that was computed. Otherwise the checksum
    /// header of the body is signed.
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

    fn transport_error(&self, cause: reqwest::Error) -> FailedRequest {
        let is_connect = cause.is_connect();
        let error = send_error(cause, self.0.bucket.authority(), "endpoint", "");
        FailedRequest { not_started: is_connect, ..FailedRequest::from(error) }
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

/// Checks that headers can contain the credentials, because the signer does not check it.
fn check_credential(credential: &AwsCredential) -> Result<()> {
    let fits = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if fits(&credential.key_id) && credential.token.as_deref().is_none_or(fits) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unauthenticated,
        "the access key id or the session token contains a space, a line break or another invalid character",
    ))
}

fn failed_request(
    error_response: ErrorResponse,
    credential: Option<&AwsCredential>,
) -> FailedRequest {
    let error_response = match credential {
        Some(credential) => error_response.without_secrets(credential),
        None => error_response,
    };
    let not_started = error_response.was_not_started();
    let error = error_response.clone().into_error();
    FailedRequest {
        error_response: Some(Box::new(error_response)),
        not_started,
        ..FailedRequest::from(error)
    }
}

/// Reads the document of a response.
async fn read_document(response: &mut Response) -> Result<Bytes> {
    let read = tokio::time::timeout(DOCUMENT_TIMEOUT, response.body.read(MAX_DOCUMENT)).await;
    let read = read.unwrap_or_else(|_| Err(no_end(DOCUMENT_TIMEOUT)));
    read.map_err(|error| match error.kind() {
        // `TooLarge` would mean that the object of the caller is too large.
        ErrorKind::TooLarge => Error::new(ErrorKind::Unexpected, error.message().to_owned()),
        _ => error,
    })
}

fn no_end(limit: Duration) -> Error {
    let message = format!("the response did not end within {} s", limit.as_secs());
    Error::new(ErrorKind::Timeout, message)
}

fn no_response(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no response within {} s", limit.as_secs()))
}
