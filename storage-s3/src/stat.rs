//! `stat` and `exists`: send a HEAD, and a GET of one byte if its failure needs an explanation.

use std::sync::atomic::Ordering;

use http::header::RANGE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_client::content_length;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::client::FailedRequest;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;

/// Requests the checksums that S3 stores.
pub(crate) const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

pub(crate) async fn stat(s3: &Shared, key: &Key) -> Result<ObjectMeta> {
    let headers = head(s3, key.as_str()).await?;
    let size = content_length(&headers).ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the response does not contain the size of the object")
    })?;
    Ok(headers::to_object_meta(key.clone(), size, &headers))
}

pub(crate) async fn exists(s3: &Shared, key: &Key) -> Result<bool> {
    match head(s3, key.as_str()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the headers of an object. Fails with `NotFound` only if that is certain.
pub(crate) async fn head(s3: &Shared, key: &str) -> Result<HeaderMap> {
    let mut request =
        Request::new(Method::HEAD, key).accepts_gzip(!s3.features.sends_stored_encoding);
    if s3.checksum_policy.headers {
        request = request.header(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
    }
    match s3.client.send(&request).await {
        Ok(response) => {
            s3.bucket_exists.store(true, Ordering::Relaxed);
            Ok(response.headers)
        }
        Err(failed) => Err(explain_failure(s3, key, failed).await),
    }
}

/// Finds the reason of a failed HEAD, whose response has no document.
///
/// A missing bucket, or a server that does not implement S3, looks like a missing object. Until a
/// response has shown that the bucket exists, a GET of one byte distinguishes them, because its
/// response has a document. The same GET explains a 400 without a code, which S3 returns for a
/// wrong region.
async fn explain_failure(s3: &Shared, key: &str, failed: FailedRequest) -> Error {
    let is_not_found = failed.status() == Some(404);
    if is_not_found && s3.bucket_exists.load(Ordering::Relaxed) {
        return Error::not_found();
    }
    if !is_not_found && !failed.is_bare_400() {
        return failed.error;
    }
    let byte = Request::new(Method::GET, key).header(RANGE, HeaderValue::from_static("bytes=0-0"));
    match s3.client.send(&byte).await {
        Ok(_) if !is_not_found => failed.error,
        // The object was saved after the HEAD.
        Ok(_) => Error::not_found(),
        Err(failed) => {
            if failed.error.kind() == ErrorKind::NotFound {
                s3.bucket_exists.store(true, Ordering::Relaxed);
            }
            failed.error
        }
    }
}
