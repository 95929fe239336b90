//! [`RequestBody`]: the bodies that requests may have.

use bytes::Bytes;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body that [`Serve`](crate::Serve) accepts, such as those of hyper and axum.
///
/// Implemented for every `http_body::Body` with `Bytes` as data. There is nothing to implement.
pub trait RequestBody:
    http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static
{
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> RequestBody for B {}
