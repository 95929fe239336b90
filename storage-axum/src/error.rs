//! [`StorageError`]: an error as a response.

use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use storage_core::Error;
use storage_serve::error_response_of_call;

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
/// use axum::http::StatusCode;
/// use axum::response::IntoResponse;
/// use storage_axum::StorageError;
/// use storage_core::Error;
///
/// let response = StorageError::from(Error::not_found()).into_response();
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
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

impl IntoResponse for StorageError {
    fn into_response(self) -> Response {
        error_response_of_call(&self.0).map(Body::new)
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
