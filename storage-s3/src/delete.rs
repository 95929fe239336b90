//! `delete`, and many of them in one request.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use http::Method;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Key, Prefix, Result};

use crate::checksums::Proof;
use crate::errors::Refusal;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;
use crate::stat::head;
use crate::xml;

/// How many single deletes are under way at a time, where the service has no bulk delete.
const CONCURRENT_DELETES: usize = 16;

pub(crate) async fn delete(s3: &Shared, key: &Key) -> Result<()> {
    delete_named(s3, key.as_str()).await
}

/// Removes an empty object whose name ends in a slash. S3 has no request that deletes an object
/// only if it is empty, so the size is looked up first; an object that is written in between is
/// deleted too.
pub(crate) async fn delete_folder_marker(s3: &Shared, marker: &Prefix) -> Result<()> {
    let name = marker.as_str();
    // An empty name would be the bucket's own.
    if name.is_empty() {
        return Ok(());
    }
    let headers = match head(s3, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        headers => headers?,
    };
    match headers::content_length(&headers) {
        Some(0) => delete_named(s3, name).await,
        Some(size) => {
            let message = format!(
                "this object has {size} bytes, so it is not a folder marker; its name is not a key, so delete it with a \
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

async fn delete_named(s3: &Shared, name: &str) -> Result<()> {
    match s3.client.send(&Request::new(Method::DELETE, name)).await {
        Ok(_) => Ok(()),
        // S3 says success of what is not there; some services do not.
        Err(failed) if failed.error.kind() == ErrorKind::NotFound => Ok(()),
        Err(failed) => Err(failed.error),
    }
}

/// Whether the service can be asked to delete all of them at once.
fn can_be_one_request(s3: &Shared, keys: &[Key]) -> bool {
    keys.len() > 1 && s3.abilities.bulk_delete && keys.iter().all(|key| xml::can_hold(key.as_str()))
}

/// Deletes keys: in one request where the service has such a request, otherwise several at a time.
pub(crate) async fn delete_many(s3: &Shared, keys: &[Key]) -> Vec<Result<()>> {
    if !can_be_one_request(s3, keys) {
        let deletes: Vec<_> = keys.iter().map(|key| delete(s3, key)).collect();
        return stream::iter(deletes).buffered(CONCURRENT_DELETES).collect().await;
    }
    match delete_at_once(s3, keys).await {
        Ok(failures) => keys
            .iter()
            .map(|key| failures.get(key.as_str()).map_or(Ok(()), |error| Err(copy_of(error))))
            .collect(),
        // The one failure is every key's.
        Err(error) => keys.iter().map(|_| Err(copy_of(&error))).collect(),
    }
}

/// The keys that were not deleted, and why.
async fn delete_at_once(s3: &Shared, keys: &[Key]) -> Result<HashMap<String, Error>> {
    let objects = keys.iter().map(|key| xml::ToDelete { key: key.as_str() }).collect();
    let body = xml::write("Delete", &xml::Delete { objects, quiet: true })?;
    // The one request that S3 does not take without a checksum; this one every service knows.
    let checksum = Checksum::of(ChecksumAlgorithm::Md5, &body);
    let proof = Proof { checksum, in_header: true, in_signature: false };
    let request =
        Request::new(Method::POST, "").query("delete", "").body(body).verified_by(&proof)?;
    let answer = s3.client.document(&request).await?;
    let deleted: xml::Deleted = xml::answer("DeleteResult", &answer.body)
        .map_err(|error| error.with_context("the objects may be deleted, some or all"))?;
    let mut failures = HashMap::new();
    for xml::NotDeleted { key, code, message } in deleted.errors {
        if code == "NoSuchKey" {
            continue;
        }
        let refusal = Refusal::of_key(code, message, &answer.headers);
        failures.insert(key, s3.client.error_of(refusal).await);
    }
    Ok(failures)
}

fn copy_of(error: &Error) -> Error {
    let copy =
        Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable());
    match error.retry_after() {
        Some(wait) => copy.with_retry_after(wait),
        None => copy,
    }
}
