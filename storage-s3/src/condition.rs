//! [`Condition`]: the condition of a save or a copy.

use http::HeaderValue;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use storage_client::header_value;
use storage_core::{ETag, Error, ErrorKind, Result, SaveMode};

use crate::client::FailedRequest;
use crate::request::{Request, RetryRule};

/// What must be true for a save or a copy to take effect ("Conditional writes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    None,
    /// There is no object.
    IfAbsent,
    /// The object has this ETag.
    IfMatch(ETag),
}

impl Condition {
    /// Returns the condition of a save.
    ///
    /// # Errors
    /// `PreconditionFailed` for a weak ETag, which matches no object. `Unsupported` for a mode that
    /// the driver does not know.
    pub(crate) fn of_mode(mode: &SaveMode) -> Result<Self> {
        match mode {
            SaveMode::Overwrite => Ok(Self::None),
            SaveMode::IfMatch(etag) if etag.is_weak() => Err(version_mismatch(etag)),
            SaveMode::IfMatch(etag) => Ok(Self::IfMatch(etag.clone())),
            SaveMode::CreateNew | SaveMode::UniqueName => Ok(Self::IfAbsent),
            other => Err(Error::unsupported(format!(
                "the S3 driver does not support the save mode {other:?}"
            ))),
        }
    }

    /// Makes a request conditional. It is then retried only if the service did not start it.
    pub(crate) fn apply_to<'a>(&self, request: Request<'a>, quoted: bool) -> Result<Request<'a>> {
        match self {
            Self::None => Ok(request),
            Self::IfAbsent => Ok(request
                .header(IF_NONE_MATCH, HeaderValue::from_static("*"))
                .retry(RetryRule::OnlyIfNotStarted)),
            Self::IfMatch(etag) => {
                let value = if quoted {
                    header_value(&etag.to_string())?
                } else {
                    header_value(etag.opaque())?
                };
                Ok(request.header(IF_MATCH, value).retry(RetryRule::OnlyIfNotStarted))
            }
        }
    }

    /// Converts the failure of a conditional request to an error. If the request may have taken
    /// effect, the error is not retryable and reports that the outcome is unknown.
    pub(crate) fn interpret(&self, failed: FailedRequest) -> Error {
        let holds = failed.error.kind() != ErrorKind::PreconditionFailed;
        match self {
            Self::None => failed.error,
            Self::IfAbsent if !holds => {
                Error::new(ErrorKind::AlreadyExists, "the object exists already")
            }
            // S3 responds with 404 if the condition contains an ETag and there is no object.
            Self::IfMatch(etag) if !holds || failed.error.kind() == ErrorKind::NotFound => {
                version_mismatch(etag)
            }
            _ if failed.error.is_retryable() && failed.outcome_is_unknown() => {
                failed.error.with_retryable(false).with_context(
                    "whether the object was saved is unknown, so check it before you retry",
                )
            }
            _ => failed.error,
        }
    }
}

/// Returns `PreconditionFailed` for an object of another version.
pub(crate) fn version_mismatch(etag: &ETag) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("the object does not have the ETag {etag}"))
}
