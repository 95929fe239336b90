//! Copies within the destination.

use storage_core::{CopyOptions, ETag, Error, Metadata, Result, Storage};

/// Copies an object, which may be copied onto itself, with other metadata. Returns the ETag of the
/// copy, for which it sends another request.
pub(crate) async fn replace_headers(
    destination: &Storage,
    from: &str,
    etag: Option<&ETag>,
    to: &str,
    metadata: Metadata,
) -> Result<Option<ETag>> {
    copy(destination, from, etag, to, Some(metadata)).await?;
    Ok(destination.stat(to).await?.etag)
}

/// Copies an object. Without `metadata`, the copy has that of the source. A storage that cannot
/// copy reads and saves it.
pub(crate) async fn copy(
    destination: &Storage,
    from: &str,
    etag: Option<&ETag>,
    to: &str,
    metadata: Option<Metadata>,
) -> Result<()> {
    let etag = etag.filter(|etag| !etag.is_weak());
    if destination.info().capabilities.copy {
        let mut options = CopyOptions::new();
        options.if_source_match = etag.cloned();
        if let Some(metadata) = metadata {
            options = options.metadata(metadata);
        }
        return destination.copy_with(from, to, options).await;
    }
    let mut copy = destination.copy_to(from, destination, to);
    if let Some(etag) = etag {
        copy = copy.if_source_match(etag.clone());
    }
    if let Some(metadata) = metadata {
        copy = copy.metadata(metadata);
    }
    copy.await.map(drop)
}

/// Returns the error of a stored page that is not there any more.
pub(crate) fn missing(error: Error, key: &str) -> Error {
    match error.is_not_found() {
        true => error.with_key(key).with_note(
            "the object belongs to a release: publish again, or roll back to another release",
        ),
        false => error,
    }
}
