//! Opens parts of a version at origin.

use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, ObjectStream, Result, Storage};

/// Opens the rest of a version at origin.
///
/// # Errors
/// As [`part`].
pub(crate) async fn rest(origin: &Storage, meta: &ObjectMeta, from: u64) -> Result<ObjectStream> {
    part(origin, meta, from, meta.size).await
}

/// Opens a part of exactly this version at origin.
///
/// # Errors
/// Fails with `Unexpected` if the version has no strong ETag, with `PreconditionFailed` if origin
/// has another version, with `Integrity` if origin sends another range or size, and with the errors
/// of origin.
pub(crate) async fn part(
    origin: &Storage,
    meta: &ObjectMeta,
    from: u64,
    to: u64,
) -> Result<ObjectStream> {
    let Some(etag) = meta.strong_etag() else {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the rest cannot be fetched from origin without a strong ETag, because it might be of \
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

/// Logs a failure of origin, once for all requests that waited for the same fetch. `status` is that
/// of the response, if only one client waited.
pub(crate) fn log_failure(key: &Key, error: &Error, status: Option<u16>) {
    // As text, which subscribers escape, because it may quote input from clients or origin.
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(key = &*escape_invisible(key.as_str()), %error, cause, status, "origin failed");
}
