//! [`Condition`]: what must hold for a save to replace what is there.

use http::HeaderValue;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use storage_core::{ETag, Error, ErrorKind, Result};

use crate::client::Failed;
use crate::headers;
use crate::request::{Repeat, Request};

/// What must hold for a save to replace what is there ("Conditional writes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Always,
    /// There is no object.
    Missing,
    /// The object is this version.
    Is(ETag),
}

impl Condition {
    /// Makes a request conditional. It is then not repeated if it may have happened.
    pub(crate) fn put_on<'a>(&self, request: Request<'a>, quoted: bool) -> Result<Request<'a>> {
        match self {
            Self::Always => Ok(request),
            Self::Missing => Ok(request
                .header(IF_NONE_MATCH, HeaderValue::from_static("*"))
                .repeat(Repeat::IfNotBegun)),
            Self::Is(etag) => {
                let value = if quoted {
                    headers::header_value(&etag.to_string())?
                } else {
                    headers::header_value(etag.opaque())?
                };
                Ok(request.header(IF_MATCH, value).repeat(Repeat::IfNotBegun))
            }
        }
    }

    /// What a failure means for the condition.
    pub(crate) fn explain(&self, failed: Failed) -> Error {
        let is_met = failed.error.kind() != ErrorKind::PreconditionFailed;
        match self {
            Self::Always => failed.error,
            Self::Missing if !is_met => {
                Error::new(ErrorKind::AlreadyExists, "there is an object already")
            }
            // Of an object that is gone S3 says that there is none.
            Self::Is(etag) if !is_met || failed.error.kind() == ErrorKind::NotFound => {
                not_this(etag)
            }
            _ if failed.error.is_retryable() && failed.leaves_open() => {
                failed.error.with_retryable(false).with_context(
                    "whether the object was saved is not known: look before trying again",
                )
            }
            _ => failed.error,
        }
    }
}

/// `PreconditionFailed`, for a version that is not there.
pub(crate) fn not_this(etag: &ETag) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("the object is not the version {etag}"))
}
