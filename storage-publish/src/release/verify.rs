//! Compares an object that exists already with the one that a release needs.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{
    ChecksumAlgorithm, ETag, Error, ErrorKind, Hasher, Metadata, ObjectMeta, Result, Storage,
};

use super::copy::replace_headers;
use super::digest::Sha256;
use super::rules::PLAIN_SHA256;

/// An object that a release needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'o> {
    pub(crate) key: &'o str,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
    pub(crate) metadata: &'o Metadata,
}

/// Checks that the object has the wanted bytes, and gives it the wanted headers. Returns its ETag,
/// and whether the headers were replaced.
///
/// # Errors
/// `Integrity` if it has other bytes: it was cut off, or another program stored it.
pub(crate) async fn verify(
    destination: &Storage,
    wanted: Wanted<'_>,
) -> Result<(Option<ETag>, bool)> {
    let meta = destination.stat(wanted.key).await?;
    if meta.size != wanted.size || hash(destination, &meta).await? != wanted.sha256 {
        let message = "an object with other bytes has this name, although the name contains a hash \
                       of the bytes: it was cut off, or another program stored it; delete it, then \
                       publish again";
        return Err(Error::new(ErrorKind::Integrity, message).with_key(wanted.key));
    }
    if meta.metadata == *wanted.metadata {
        return Ok((meta.etag, false));
    }
    let (key, etag, metadata) = (wanted.key, meta.etag.as_ref(), wanted.metadata.clone());
    Ok((replace_headers(destination, key, etag, key, metadata).await?, true))
}

/// Returns the object if it is a form of the file with this size and hash: its plain bytes, or an
/// encoding of them that a publish has stored.
pub(crate) async fn form_of(
    destination: &Storage,
    key: &str,
    (size, sha256): (u64, Sha256),
) -> Result<Option<ObjectMeta>> {
    let meta = destination.stat(key).await?;
    let is_form = match meta.metadata.user_metadata.get(PLAIN_SHA256) {
        Some(plain) => *plain == sha256.to_string(),
        None => meta.size == size && hash(destination, &meta).await? == sha256,
    };
    Ok(is_form.then_some(meta))
}

/// Returns whether the object has one of these sizes and hashes.
pub(crate) async fn has_bytes_of(
    destination: &Storage,
    key: &str,
    versions: &[(u64, Sha256)],
) -> Result<bool> {
    let meta = match destination.stat(key).await {
        Ok(meta) => meta,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    };
    if !versions.iter().any(|(size, _)| *size == meta.size) {
        return Ok(false);
    }
    let hash = hash(destination, &meta).await?;
    Ok(versions.contains(&(meta.size, hash)))
}

/// Returns the hash that the storage computed when the object was saved, else that of its bytes.
async fn hash(destination: &Storage, meta: &ObjectMeta) -> Result<Sha256> {
    if let Some(known) = meta.checksums.get(ChecksumAlgorithm::Sha256) {
        return known.to_hex().parse();
    }
    let mut open = destination.open(&meta.key);
    if let Some(etag) = meta.strong_etag() {
        open = open.if_match(etag.clone());
    }
    let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
    let mut chunks = open.await?.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        let chunk: Bytes = chunk;
        hasher.update(&chunk);
    }
    hasher.finish().to_hex().parse()
}
