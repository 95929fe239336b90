//! `delete`, `delete_many` and `delete_folder_marker`.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use http::Method;
use storage_client::content_length;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Key, Prefix, Result};

use crate::checksums::BodyChecksum;
use crate::errors::ErrorResponse;
use crate::request::Request;
use crate::shared::Shared;
use crate::stat::head;
use crate::xml;

/// How many single deletes run at a time, if the service has no bulk delete.
const CONCURRENT_DELETES: usize = 16;

pub(crate) async fn delete(s3: &Shared, key: &Key) -> Result<()> {
    delete_object(s3, key.as_str()).await
}

/// Deletes a folder marker: an empty object whose name ends in a slash.
///
/// S3 has no request that deletes an object only if it is empty, so the size is looked up first. An
/// object that is written in between is deleted too.
pub(crate) async fn delete_folder_marker(s3: &Shared, marker: &Prefix) -> Result<()> {
    let name = marker.as_str();
    // An empty name would address the bucket.
    if name.is_empty() {
        return Ok(());
    }
    let headers = match head(s3, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        headers => headers?,
    };
    match content_length(&headers) {
        Some(0) => delete_object(s3, name).await,
        Some(size) => {
            let message = format!(
                "this object has {size} bytes, so it is not a folder marker; its name is not a valid key: delete it with a \
                 tool of the service"
            );
            Err(Error::new(ErrorKind::Conflict, message))
        }
        None => Err(Error::new(
            ErrorKind::Unexpected,
            "the service reports no size for the folder marker",
        )),
    }
}

async fn delete_object(s3: &Shared, name: &str) -> Result<()> {
    match s3.client.send(&Request::new(Method::DELETE, name)).await {
        Ok(_) => Ok(()),
        // S3 reports success for a missing object, but some services do not.
        Err(failed) if failed.error.kind() == ErrorKind::NotFound => Ok(()),
        Err(failed) => Err(failed.error),
    }
}

/// Whether one request can delete all of these keys.
fn can_bulk_delete(s3: &Shared, keys: &[Key]) -> bool {
    keys.len() > 1 && s3.features.bulk_delete && keys.iter().all(|key| xml::can_hold(key.as_str()))
}

/// Deletes keys by one request if the service supports it, and otherwise several at a time.
pub(crate) async fn delete_many(s3: &Shared, keys: &[Key]) -> Vec<Result<()>> {
    if !can_bulk_delete(s3, keys) {
        let deletes: Vec<_> = keys.iter().map(|key| delete(s3, key)).collect();
        return stream::iter(deletes).buffered(CONCURRENT_DELETES).collect().await;
    }
    match bulk_delete(s3, keys).await {
        Ok(failures) => {
            // An error of a key that was not sent may be that of any key.
            let other =
                failures.iter().find(|(key, _)| keys.iter().all(|sent| sent.as_str() != **key));
            let other = other.map(|(_, error)| error);
            let failure = |key: &Key| failures.get(key.as_str()).or(other).map(clone_error);
            keys.iter().map(|key| failure(key).map_or(Ok(()), Err)).collect()
        }
        // The error applies to every key.
        Err(error) => keys.iter().map(|_| Err(clone_error(&error))).collect(),
    }
}

/// Returns the keys that were not deleted, each with its error.
async fn bulk_delete(s3: &Shared, keys: &[Key]) -> Result<HashMap<String, Error>> {
    let body = xml::delete_objects(keys.iter().map(Key::as_str));
    // S3 requires a checksum for this request. Every service supports MD5.
    let checksum = Checksum::of(ChecksumAlgorithm::Md5, &body);
    let body_checksum = BodyChecksum { checksum, in_header: true, in_signature: false };
    let request = Request::new(Method::POST, "")
        .query("delete", "")
        .body(body)
        .with_checksum(&body_checksum)?;
    let response = s3.client.document(&request).await?;
    let deleted: xml::DeleteResult = xml::read_response("DeleteResult", &response.body)
        .map_err(|error| error.with_context("some or all of the objects may have been deleted"))?;
    let mut failures = HashMap::new();
    for xml::DeleteError { key, code, message } in deleted.errors {
        if code == "NoSuchKey" {
            continue;
        }
        let error_response = ErrorResponse::for_key(code, message, &response.headers);
        failures.insert(key, s3.client.error_for_key(error_response).await);
    }
    Ok(failures)
}

fn clone_error(error: &Error) -> Error {
    let copy =
        Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable());
    match error.retry_after() {
        Some(wait) => copy.with_retry_after(wait),
        None => copy,
    }
}
