//! The nonce of an upload, by which its object is recognised after the upload has ended.
//!
//! S3 forgets an upload that was completed, and an ETag says nothing about the upload that made it.
//! Each upload therefore has a random nonce, which is in its id if it outlives the process. The
//! user metadata of its object contains a digest of the nonce and the key. A copy under another key
//! keeps the metadata, and the digest shows that it is not the object of an upload of its own key.

use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use storage_core::internal::hex;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, UploadPlan, keys};

use crate::headers::{UPLOAD_NONCE, USER_PREFIX, to_object_meta};
use crate::shared::Shared;
use crate::stat;

/// The length of a digest in hexadecimal.
const DIGEST_CHARS: usize = 32;

/// Makes the nonce of one upload.
pub(super) fn new() -> Result<String> {
    Ok(hex(&keys::random_bytes::<16>()?))
}

/// Returns what the object under the key contains of a nonce: 128 bits of a digest, in hexadecimal.
fn digest(nonce: &str, key: &Key) -> String {
    // A nonce has a fixed length.
    let digest = Sha256::new().chain_update(nonce).chain_update(key.as_str()).finalize();
    hex(&digest[..DIGEST_CHARS / 2])
}

/// Adds a new nonce to the headers of an upload whose caller does not keep one, and returns it.
/// Returns `None` if they have one, because a copy of an object onto itself keeps that of the
/// object, and if the user metadata has no room for it. Then the outcome of a completion whose
/// response is lost stays unknown.
pub(super) fn insert_new(headers: &mut HeaderMap, key: &Key) -> Result<Option<String>> {
    if headers.contains_key(UPLOAD_NONCE) || !has_room(headers) {
        return Ok(None);
    }
    let nonce = new()?;
    insert(headers, &nonce, key)?;
    Ok(Some(nonce))
}

/// Returns whether the user metadata has room for a digest. S3 allows 2 KB of names and values
/// without the prefix of the headers ("Working with object metadata").
fn has_room(headers: &HeaderMap) -> bool {
    let of = |name: &str, value: &HeaderValue| match name.strip_prefix(USER_PREFIX) {
        Some(name) => name.len() + value.len(),
        None => 0,
    };
    let used: usize = headers.iter().map(|(name, value)| of(name.as_str(), value)).sum();
    let nonce = UPLOAD_NONCE.as_str().len() - USER_PREFIX.len() + DIGEST_CHARS;
    used + nonce <= storage_core::MAX_USER_METADATA_BYTES
}

/// Adds the header that stores the digest of a nonce with the object.
pub(super) fn insert(headers: &mut HeaderMap, nonce: &str, key: &Key) -> Result<()> {
    headers.insert(UPLOAD_NONCE, storage_client::header_value(&digest(nonce, key))?);
    Ok(())
}

/// Returns whether an object with these headers is the one of the upload of a nonce.
pub(super) fn is_of(headers: &HeaderMap, nonce: Option<&str>, key: &Key) -> bool {
    let found = headers.get(UPLOAD_NONCE).map(HeaderValue::as_bytes);
    let expected = nonce.map(|nonce| digest(nonce, key));
    found.is_some() && found == expected.as_deref().map(str::as_bytes)
}

/// Returns the object under the key if it is the one of this upload, and `None` if it is another
/// one or if there is none.
pub(super) async fn object_of(
    s3: &Shared,
    key: &Key,
    plan: &UploadPlan,
) -> Result<Option<ObjectMeta>> {
    let headers = match stat::head(s3, key.as_str()).await {
        Ok(headers) => headers,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !is_of(&headers, plan.nonce.as_deref(), key) {
        return Ok(None);
    }
    let size = storage_client::content_length(&headers).ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the response does not contain the size of the object")
    })?;
    Ok(Some(to_object_meta(key.clone(), size, &headers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_added_only_where_the_user_metadata_has_room() {
        let key = Key::new("a").unwrap();
        let with = |bytes: usize| {
            let value = HeaderValue::try_from("x".repeat(bytes)).unwrap();
            [(http::HeaderName::from_static("x-amz-meta-a"), value)].into_iter().collect()
        };
        let mut headers: HeaderMap = with(1990);
        assert!(insert_new(&mut headers, &key).unwrap().is_some());
        assert!(headers.contains_key(UPLOAD_NONCE));
        let mut headers: HeaderMap = with(2040);
        assert_eq!(insert_new(&mut headers, &key).unwrap(), None);
        assert!(!headers.contains_key(UPLOAD_NONCE));
    }
}
