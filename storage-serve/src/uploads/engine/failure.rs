//! [`Failure`]: why a request on an upload fails.

use http::StatusCode;
use storage_core::{Error, ErrorKind, Operation};

use crate::uploads::grant::Refusal;

/// Why a request on an upload fails.
#[derive(Debug)]
pub(in crate::uploads) enum Failure {
    /// The upload was removed, or its multipart upload is lost. It never continues.
    Gone,
    /// The request does not begin where the upload ends. Contains the offset of the upload.
    WrongOffset(u64),
    /// Another request has changed the upload, or wants to continue it. The client asks for the
    /// offset and continues.
    Superseded,
    /// Another request is at work on the upload, and has not ended in time. The client tries again.
    Busy,
    /// The group of the upload has as many open ones as its grant allows.
    TooMany,
    /// The upload consists of the bytes of others, and accepts none itself.
    Final,
    /// The upload would be larger than its length or than its grant allows.
    TooLarge,
    /// The request contains a length that contradicts the upload.
    WrongLength,
    /// The upload is complete, and its protocol accepts no further request.
    Completed,
    /// The body has another checksum than the client declares. None of its bytes is kept.
    WrongChecksum,
    /// The body ended with an error. What arrived before is stored.
    BrokeOff,
    /// No data arrived for too long. What arrived before is stored.
    Stalled,
    /// The object cannot be created: its key is taken, or its bytes were replaced.
    Rejected(Error),
    /// The type of the bytes is not allowed, or the application refuses the object.
    Refused(Refusal),
    /// The storage failed.
    Storage(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl Failure {
    /// Returns whether a completion failed of which the storage does not know the outcome.
    pub(super) fn may_be_completed(&self) -> bool {
        match self {
            Self::Storage(error) => {
                error.operation() == Some(Operation::CompleteMultipart)
                    && matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::Timeout)
            }
            _ => false,
        }
    }

    /// Returns the failure of an upload that was refused before.
    pub(super) fn refused(status: u16, text: String) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        Self::Refused(Refusal::new(status, text))
    }

    /// Sorts an error of a completion.
    pub(super) fn of_completion(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Gone,
            ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed | ErrorKind::Integrity => {
                Self::Rejected(error)
            }
            ErrorKind::Conflict if !error.is_retryable() => Self::Rejected(error),
            _ => Self::Storage(error),
        }
    }

    /// Returns whether the bytes that arrived before the failure are stored.
    pub(super) fn keeps_bytes(&self) -> bool {
        // The body contained more than the upload may have, or there is no such upload.
        !matches!(
            self,
            Self::TooLarge
                | Self::WrongLength
                | Self::WrongChecksum
                | Self::Gone
                | Self::Refused(_)
        )
    }
}
