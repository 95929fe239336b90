//! `stat` and `exists`: one HEAD.

use std::sync::atomic::Ordering;

use http::header::RANGE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::client::Failed;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;

/// Has the answer tell the checksums that S3 keeps.
pub(crate) const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");

pub(crate) async fn stat(s3: &Shared, key: &Key) -> Result<ObjectMeta> {
    let headers = head(s3, key.as_str()).await?;
    let size = headers::content_length(&headers).ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the service does not tell the object's size")
    })?;
    Ok(headers::to_meta(key.clone(), size, &headers))
}

pub(crate) async fn exists(s3: &Shared, key: &Key) -> Result<bool> {
    match head(s3, key.as_str()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The headers of an object; `NotFound` only if that is certain.
pub(crate) async fn head(s3: &Shared, key: &str) -> Result<HeaderMap> {
    let mut request =
        Request::new(Method::HEAD, key).accepts_gzip(!s3.abilities.sends_stored_encoding);
    if s3.checking.headers {
        request = request.header(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
    }
    match s3.client.send(&request).await {
        Ok(answer) => {
            s3.bucket_is_there.store(true, Ordering::Relaxed);
            Ok(answer.headers)
        }
        Err(failed) => Err(explained(s3, key, failed).await),
    }
}

/// An answer to a HEAD has no document, so that a missing bucket, or a server that is no S3, looks
/// like a missing object. Once the bucket is known to be there, a 404 is clear; before that, a GET
/// of one byte makes sure, whose answer has a document. The same GET finds out what a bare 400
/// means: a wrong region, which the document names.
async fn explained(s3: &Shared, key: &str, failed: Failed) -> Error {
    let is_absence = failed.status() == Some(404);
    if is_absence && s3.bucket_is_there.load(Ordering::Relaxed) {
        return Error::not_found();
    }
    if !is_absence && !failed.is_bare_400() {
        return failed.error;
    }
    let byte = Request::new(Method::GET, key).header(RANGE, HeaderValue::from_static("bytes=0-0"));
    match s3.client.send(&byte).await {
        Ok(_) if !is_absence => failed.error,
        // Somebody saved it meanwhile: when the HEAD was answered, it was not there.
        Ok(_) => Error::not_found(),
        Err(failed) => {
            if failed.error.kind() == ErrorKind::NotFound {
                s3.bucket_is_there.store(true, Ordering::Relaxed);
            }
            failed.error
        }
    }
}
