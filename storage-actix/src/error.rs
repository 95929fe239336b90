//! [`StorageError`]: an error as a response.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use storage_core::Error;
use storage_serve::error_response_of_call;

use crate::convert;

/// The result of a handler: `?` converts the errors of a storage.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// An error of a storage as a response of a handler.
///
/// The status follows from the kind of the error: 404 for `NotFound`, 413 for `TooLarge`, 507 for
/// `StorageFull`. The table of [`error_response`](storage_serve::error_response) lists all kinds.
/// Errors of calls that read have the status of GET in this table, and all others that of POST. The
/// response contains one sentence for the status, because the message may contain the names of
/// buckets and directories. The log (`tracing`) contains the whole error.
///
/// ```
/// use actix_web::ResponseError;
/// use storage_actix::StorageError;
/// use storage_core::Error;
///
/// let response = StorageError::from(Error::not_found()).error_response();
/// assert_eq!(response.status(), 404);
/// ```
#[derive(Debug)]
pub struct StorageError(Error);

impl StorageError {
    /// Returns the error of the storage.
    #[must_use]
    pub fn into_inner(self) -> Error {
        self.0
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl ResponseError for StorageError {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        convert::response(error_response_of_call(&self.0))
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
