//! Maps error responses of S3 to the kinds of the contract. Messages contain S3's code and request
//! id.

use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, StatusCode};
use object_store::aws::AwsCredential;
use storage_client::{http_date, retry_after};
use storage_core::{Error, ErrorKind};

use crate::xml::{self, Element, FromElement};

/// Upper bound for an excerpt of a service's text in a message, in characters.
const MAX_EXCERPT: usize = 300;
/// Advice that the service's own message does not contain.
const METADATA_ADVICE: &str = "the metadata exceeds a limit of the service: S3 accepts 2 KB of user \
                              metadata, and a service that limits the number of headers accepts \
                              fewer than 100 names (Garage: 91)";

/// An error response of the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorResponse {
    pub(crate) status: u16,
    /// S3's code: `NoSuchKey`. Empty if the response has none, as the response to a HEAD.
    pub(crate) code: String,
    message: String,
    request_id: String,
    host_id: String,
    /// The bucket's region, if the response contains it.
    region: Option<String>,
    /// The time by the service's clock.
    date: Option<SystemTime>,
    retry_after: Option<Duration>,
}

/// The document of an error ("Error responses" of the API reference).
#[derive(Debug, Default)]
struct Document {
    code: String,
    message: String,
    request_id: String,
    host_id: String,
    region: Option<String>,
}

impl FromElement for Document {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            code: element.text("Code"),
            message: element.text("Message"),
            request_id: element.text("RequestId"),
            host_id: element.text("HostId"),
            region: element.optional("Region"),
        })
    }
}

impl ErrorResponse {
    /// Reads the status, the headers and the beginning of the body of a response.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let document: Document = xml::read(body).unwrap_or_default();
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let or_header = |text: String, name| {
            if text.is_empty() { header(name).unwrap_or_default() } else { text }
        };
        Self {
            status: status.as_u16(),
            code: document.code,
            message: document.message,
            request_id: or_header(document.request_id, "x-amz-request-id"),
            host_id: or_header(document.host_id, "x-amz-id-2"),
            region: header("x-amz-bucket-region").or(document.region),
            date: http_date(headers, &DATE),
            retry_after: retry_after(headers),
        }
    }

    /// Returns the error in a response with a status of success. S3 may send one at the end of a
    /// long copy or completion.
    pub(crate) fn in_success_response(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let response = Self::read(StatusCode::OK, headers, body);
        (xml::root(body).as_deref() == Some("Error")).then_some(response)
    }

    /// Returns the error for one key of a bulk request.
    pub(crate) fn for_key(code: String, message: String, headers: &HeaderMap) -> Self {
        Self { code, message, ..Self::read(StatusCode::OK, headers, b"") }
    }

    /// Returns how long the service asked the client to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the source of a copy may be too large for one request. S3 has no code for it.
    pub(crate) fn may_be_too_large(&self) -> bool {
        matches!(self.code.as_str(), "InvalidRequest" | "InvalidArgument" | "EntityTooLarge")
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        if self.is_key_too_long_for_lmdb() {
            return false;
        }
        self.was_not_started()
            || matches!(
                self.code.as_str(),
                "RequestTimeout" | "OperationAborted" | "BadDigest" | "InternalError"
            )
            || self.code.starts_with("XAmzContent")
            || matches!(self.status, 500 | 502 | 503 | 504)
    }

    /// Whether Garage cannot store the key in LMDB, which it reports as a temporary failure (503).
    fn is_key_too_long_for_lmdb(&self) -> bool {
        self.message.contains("MDB_BAD_VALSIZE")
    }

    /// Whether the service certainly did not start the request.
    pub(crate) fn was_not_started(&self) -> bool {
        const CODES: &[&str] = &[
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "ServiceUnavailable",
            "ThrottlingException",
            "RequestLimitExceeded",
            "TooManyRequests",
            "ConditionalRequestConflict",
        ];
        let is_refusal = self.status == 429 || (self.status == 503 && !self.is_of_gateway());
        CODES.contains(&self.code.as_str()) || (is_refusal && self.code != "InternalError")
    }

    /// Whether a 503 may be from a gateway that lost its connection to the service, after the
    /// service received the request. Envoy reports this with 503. A service has a code for each
    /// refusal, and `Retry-After` announces one, too (RFC 9110 section 15.6.4).
    fn is_of_gateway(&self) -> bool {
        self.status == 503 && self.is_bare() && self.retry_after.is_none()
    }

    /// Whether the service may have carried out the request and failed afterwards.
    pub(crate) fn outcome_is_unknown(&self) -> bool {
        self.code == "InternalError"
            || (matches!(self.status, 500 | 502 | 503 | 504) && !self.was_not_started())
    }

    /// Removes the credentials of the request, which the service may have repeated. Must be called
    /// before any text is shown or shortened, because a part of a secret would not be recognised.
    pub(crate) fn without_secrets(self, credential: &AwsCredential) -> Self {
        let clean = |text| without_secrets(text, credential);
        Self {
            code: clean(self.code),
            message: clean(self.message),
            request_id: clean(self.request_id),
            host_id: clean(self.host_id),
            region: self.region.map(clean),
            ..self
        }
    }

    /// Whether the request may succeed with newer credentials. A response to a HEAD has no
    /// document, so for it the status decides.
    pub(crate) fn may_be_stale_credentials(&self) -> bool {
        const CODES: &[&str] = &[
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
        ];
        CODES.contains(&self.code.as_str())
            || (self.is_bare() && matches!(self.status, 400 | 401 | 403))
    }

    /// Whether the response contains neither a code nor the bucket's region.
    pub(crate) fn is_bare(&self) -> bool {
        self.code.is_empty() && self.region.is_none()
    }

    /// Converts the response to an error of the contract.
    pub(crate) fn into_error(self) -> Error {
        let (kind, advice) = self.classify();
        let mut message = self.summary();
        if let Some(advice) = advice {
            message = format!("{message}; {advice}");
        }
        let error = Error::new(kind, message).with_retryable(self.is_retryable());
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    /// Returns `NoSuchBucket (404): The specified bucket does not exist [request 4442587FB7D0A2F9,
    /// host ...]`.
    fn summary(&self) -> String {
        let mut summary = match self.code.as_str() {
            "" => format!("the service responded with status {}", self.status),
            code => format!("{} ({})", excerpt(code), self.status),
        };
        if !self.message.is_empty() {
            summary = format!("{summary}: {}", excerpt(self.message.trim_end_matches('.')));
        }
        match (self.request_id.as_str(), self.host_id.as_str()) {
            ("", _) => summary,
            (request, "") => format!("{summary} [request {}]", excerpt(request)),
            (request, host) => {
                format!("{summary} [request {}, host {}]", excerpt(request), excerpt(host))
            }
        }
    }

    fn classify(&self) -> (ErrorKind, Option<String>) {
        if let Some(advice) = self.wrong_region_advice() {
            return (ErrorKind::InvalidConfig, Some(advice));
        }
        if self.is_key_too_long_for_lmdb() {
            let advice = "the service keeps keys in LMDB, of at most 479 bytes with Garage: use shorter keys or prefixes";
            return (ErrorKind::InvalidKey, Some(advice.to_owned()));
        }
        if self.code == "RequestTimeTooSkewed" {
            return (ErrorKind::Unauthenticated, Some(self.clock_advice()));
        }
        // `RateLimited` would mean that the service certainly did not start the request.
        if self.is_of_gateway() {
            return (ErrorKind::Unexpected, None);
        }
        match kind_of_code(&self.code) {
            Some((kind, advice)) => (kind, (!advice.is_empty()).then(|| advice.to_owned())),
            None => {
                let (kind, advice) = kind_of_status(self.status, self.code.is_empty());
                (kind, (!advice.is_empty()).then(|| advice.to_owned()))
            }
        }
    }

    fn wrong_region_advice(&self) -> Option<String> {
        const CODES: &[&str] = &[
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "IncorrectEndpoint",
        ];
        let is_redirect = matches!(self.status, 301 | 302 | 307 | 308);
        // The response to a HEAD has no document. A 400 with a region means a wrong region.
        let has_region = self.status == 400 && self.code.is_empty() && self.region.is_some();
        if !is_redirect && !has_region && !CODES.contains(&self.code.as_str()) {
            return None;
        }
        Some(match &self.region {
            Some(region) => format!("the bucket is in another region: set region = \"{}\"", excerpt(region)),
            None => "the bucket is in another region or at another endpoint: correct the options region and endpoint"
                .to_owned(),
        })
    }

    /// Returns the advice for a wrong clock. S3 refuses a signature whose time differs from its
    /// clock by more than 15 minutes.
    fn clock_advice(&self) -> String {
        let here = SystemTime::now();
        let Some(there) = self.date else {
            return "this machine's clock is wrong: set it (NTP)".to_owned();
        };
        let (seconds, direction) = match here.duration_since(there) {
            Ok(ahead) => (ahead.as_secs(), "ahead of"),
            Err(behind) => (behind.duration().as_secs(), "behind"),
        };
        format!("this machine's clock is {seconds} s {direction} the service's: set it (NTP)")
    }
}

fn kind_of_code(code: &str) -> Option<(ErrorKind, &'static str)> {
    Some(match code {
        "NoSuchKey" | "NoSuchVersion" => (ErrorKind::NotFound, ""),
        "NoSuchBucket" => {
            (ErrorKind::InvalidConfig, "create the bucket, or correct the option bucket")
        }
        "InvalidBucketName" => (ErrorKind::InvalidConfig, "correct the option bucket"),
        "AccessDenied" => (
            ErrorKind::PermissionDenied,
            "the policy of the user or of the bucket does not allow it; without s3:ListBucket a \
             missing object has the same response; some services also send it for an unknown key: \
             check access_key_id and secret_access_key",
        ),
        "AccountProblem" | "AllAccessDisabled" | "NotSignedUp" => (ErrorKind::PermissionDenied, ""),
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSecurity"
        | "MissingAuthenticationToken" => (
            ErrorKind::Unauthenticated,
            "check access_key_id and secret_access_key, or where they come from",
        ),
        "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" | "RequestExpired" => (
            ErrorKind::Unauthenticated,
            "the credentials have expired or belong to another service: get new ones",
        ),
        // Another write of the key, or a rule of the bucket, completed or aborted the upload.
        "NoSuchUpload" => (
            ErrorKind::Conflict,
            "another write of the key, or a lifecycle rule of the bucket, ended this upload: save again",
        ),
        "PreconditionFailed" => (ErrorKind::PreconditionFailed, ""),
        "ConditionalRequestConflict" => {
            (ErrorKind::Conflict, "another save of the key was in progress: try again")
        }
        "InvalidRange" => (ErrorKind::RangeNotSatisfiable, ""),
        // The codes of AWS, Ceph and MinIO for a key that they cannot store.
        "KeyTooLongError" | "InvalidObjectName" | "XMinioInvalidObjectName" => {
            (ErrorKind::InvalidKey, "")
        }
        "InvalidArgument" | "InvalidTag" => (ErrorKind::InvalidInput, ""),
        "MetadataTooLarge" => (ErrorKind::TooLarge, METADATA_ADVICE),
        "EntityTooLarge" | "MaxMessageLengthExceeded" => (ErrorKind::TooLarge, ""),
        "InvalidStorageClass" | "InvalidEncryptionAlgorithmError" | "KMS.NotFoundException" => {
            (ErrorKind::InvalidConfig, "correct the options storage_class, sse or sse_kms_key_id")
        }
        "AccessControlListNotSupported" => (
            ErrorKind::InvalidConfig,
            "the bucket has ACLs disabled, which is the default: remove the option acl and use a bucket policy",
        ),
        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch" => {
            (ErrorKind::Integrity, "the bytes changed during the transfer")
        }
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests" => (ErrorKind::RateLimited, ""),
        "RequestTimeout" => (ErrorKind::Timeout, ""),
        "QuotaExceeded" | "XMinioStorageFull" | "StorageFull" | "InsufficientStorage" => {
            (ErrorKind::StorageFull, "")
        }
        "NotImplemented" | "UnsupportedOperation" | "MethodNotAllowed" => (
            ErrorKind::Unsupported,
            "the service does not support this: the option quirks may have a profile for it",
        ),
        "InvalidObjectState" => {
            (ErrorKind::Unsupported, "the object is archived: restore it first")
        }
        _ => return None,
    })
}

fn kind_of_status(status: u16, is_bare: bool) -> (ErrorKind, &'static str) {
    match status {
        304 => (ErrorKind::NotModified, ""),
        401 => (ErrorKind::Unauthenticated, "check the credentials"),
        403 if is_bare => (
            ErrorKind::PermissionDenied,
            "the credentials are wrong, or the policy does not allow it; without s3:ListBucket a missing object has the same response",
        ),
        403 => (ErrorKind::PermissionDenied, ""),
        // A 404 without S3's code may come from a proxy, or from a server that does not implement
        // S3. It does not prove that the object is missing.
        404 => (ErrorKind::Unexpected, "is the endpoint an S3 service?"),
        405 | 501 => (ErrorKind::Unsupported, ""),
        408 | 504 => (ErrorKind::Timeout, ""),
        412 => (ErrorKind::PreconditionFailed, ""),
        413 => (ErrorKind::TooLarge, ""),
        416 => (ErrorKind::RangeNotSatisfiable, ""),
        431 => (ErrorKind::TooLarge, METADATA_ADVICE),
        429 | 503 => (ErrorKind::RateLimited, ""),
        507 => (ErrorKind::StorageFull, ""),
        _ => (ErrorKind::Unexpected, ""),
    }
}

/// Returns the beginning of a service's text, on one line.
fn excerpt(text: &str) -> String {
    let mut excerpt: String =
        text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if excerpt.len() < text.len() {
        excerpt.push_str("...");
    }
    excerpt
}

/// Replaces credentials, and runs of 64 or more hexadecimal digits, which may be a signature.
fn without_secrets(mut message: String, credential: &AwsCredential) -> String {
    let secrets =
        [Some(&credential.secret_key), credential.token.as_ref(), Some(&credential.key_id)];
    for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
        message = message.replace(secret.as_str(), "***");
    }
    let mut kept = String::with_capacity(message.len());
    let mut run = String::new();
    for c in message.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        kept.push_str(if run.len() >= 64 { "***" } else { &run });
        run.clear();
        kept.push(c);
    }
    kept.pop();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let credential = AwsCredential {
            key_id: "AKCANARY".to_owned(),
            secret_key: "canary-secret".to_owned(),
            token: Some("canary-token".to_owned()),
        };
        let response =
            ErrorResponse::read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
        response.without_secrets(&credential).into_error()
    }

    #[test]
    fn an_error_contains_code_message_and_ids() {
        let body = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message>\
                    <RequestId>4442587FB7D0A2F9</RequestId><HostId>abc/def=</HostId></Error>";
        let error = error(404, &[], body);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(
            error.message(),
            "NoSuchBucket (404): The specified bucket does not exist [request 4442587FB7D0A2F9, host abc/def=]; \
             create the bucket, or correct the option bucket"
        );
    }

    #[test]
    fn an_error_names_the_right_region_wherever_the_response_contains_it() {
        let malformed =
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
        let region = ("x-amz-bucket-region", "eu-west-1");
        for error in
            [error(400, &[], malformed), error(301, &[region], ""), error(400, &[region], "")]
        {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.message().contains("set region = \"eu-west-1\""), "{error}");
        }
        assert!(error(301, &[], "").message().contains("region and endpoint"));
    }

    #[test]
    fn a_wrong_clock_is_named_as_the_cause() {
        let there = SystemTime::now() - Duration::from_secs(3600);
        let date = httpdate::fmt_http_date(there);
        let error =
            error(403, &[("date", &date)], "<Error><Code>RequestTimeTooSkewed</Code></Error>");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(
            error.message().contains("clock is 36") && error.message().contains("s ahead of"),
            "{error}"
        );
    }

    #[test]
    fn an_error_contains_no_secret_that_the_service_repeats() {
        let signature = "0123456789abcdef".repeat(4);
        let body = format!(
            "<Error><Code>SignatureDoesNotMatch</Code><Message>AKCANARY canary-secret {signature} canary-token\n</Message></Error>"
        );
        let error = error(403, &[("x-amz-request-id", "canary-token")], &body);
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        for secret in ["canary", "CANARY", &signature, "\n"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }

    #[test]
    fn not_found_needs_a_code_of_the_service() {
        assert_eq!(
            error(404, &[], "<Error><Code>NoSuchKey</Code></Error>").kind(),
            ErrorKind::NotFound
        );
        assert_eq!(error(404, &[], "<html>not found</html>").kind(), ErrorKind::Unexpected);
        assert_eq!(error(404, &[], "").kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn a_temporary_error_is_retryable() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (400, "RequestTimeout"),
            (502, ""),
        ] {
            assert!(
                error(status, &[], &format!("<Error><Code>{code}</Code></Error>")).is_retryable(),
                "{status} {code}"
            );
        }
        assert!(!error(403, &[], "<Error><Code>AccessDenied</Code></Error>").is_retryable());
        assert_eq!(
            error(503, &[("retry-after", "7")], "").retry_after(),
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn an_error_about_too_much_metadata_names_the_limit() {
        for error in
            [error(431, &[], ""), error(400, &[], "<Error><Code>MetadataTooLarge</Code></Error>")]
        {
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(
                error.message().contains("2 KB") && error.message().contains("Garage: 91"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_that_lmdb_cannot_store_is_invalid_and_not_retryable() {
        let body = "<Error><Code>ServiceUnavailable</Code><Message>Internal error: Could not reach quorum of 1. \
                    DB error: LMDB: MDB_BAD_VALSIZE: Unsupported size of key/DB name/data</Message></Error>";
        let error = error(503, &[], body);
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InvalidKey, false), "{error}");
        assert!(error.message().contains("479 bytes"), "{error}");
    }

    #[test]
    fn a_denial_advises_to_check_the_keys() {
        let denied = error(403, &[], "<Error><Code>AccessDenied</Code></Error>");
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        assert!(denied.message().contains("check access_key_id and secret_access_key"), "{denied}");
    }

    #[test]
    fn an_error_in_a_response_of_success_is_detected() {
        let none = HeaderMap::new();
        let body = b"<?xml version=\"1.0\"?>\n  <Error><Code>InternalError</Code></Error>";
        assert!(ErrorResponse::in_success_response(&none, body).unwrap().is_retryable());
        assert!(
            ErrorResponse::in_success_response(
                &none,
                b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"
            )
            .is_none()
        );
    }
}
