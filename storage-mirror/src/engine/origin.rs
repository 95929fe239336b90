//! Parts of a version, from origin.

use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, ObjectStream, Result, Storage};

/// Opens the rest of a version at origin.
///
/// # Errors
/// As [`part`].
pub(crate) async fn rest(origin: &Storage, meta: &ObjectMeta, from: u64) -> Result<ObjectStream> {
    part(origin, meta, from, meta.size).await
}

/// Opens a part of a version at origin, and never of another version.
///
/// # Errors
/// `Unexpected` if the version has no strong ETag; `PreconditionFailed` if origin has another
/// version by now; `Integrity` if origin sends another part or another size; origin's own errors.
pub(crate) async fn part(
    origin: &Storage,
    meta: &ObjectMeta,
    from: u64,
    to: u64,
) -> Result<ObjectStream> {
    let Some(etag) = meta.strong_etag() else {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "without a strong ETag the rest cannot be fetched from origin, because it might be of \
             another version",
        ));
    };
    let object = origin.open(&meta.key).if_match(etag.clone()).range(from..to).await?;
    if object.meta().size != meta.size || object.range() != (from..to) {
        return Err(Error::new(
            ErrorKind::Integrity,
            "origin has another object under the same ETag",
        ));
    }
    Ok(object.into_stream())
}

/// Logs that origin failed: one line for all requests that waited for the same fetch. `status` is
/// the response's, if one client alone waited.
pub(crate) fn log_failure(key: &Key, error: &Error, status: Option<u16>) {
    // As text, which subscribers escape: it may quote what a stranger sent.
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(key = &*escape_invisible(key.as_str()), %error, cause, status, "origin failed");
}
