//! `rename`: a copy of one version of the source, and then a delete of the source if it is still
//! that version.

use http::Method;
use http::header::IF_MATCH;
use storage_client::header_value;
use storage_core::{CopyMode, CopyOptions, ETag, Error, ErrorKind, Key, RenameOptions, Result};

use crate::copy::{self, MAX_ATTEMPTS, Source};
use crate::request::{Request, RetryRule};
use crate::shared::Shared;
use crate::stat;

pub(crate) async fn rename(
    s3: &Shared,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
) -> Result<()> {
    for _ in 0..MAX_ATTEMPTS {
        let source = stat::stat(s3, from).await?;
        if from == to {
            return options.rename_onto_itself(&source);
        }
        options.check_source(&source)?;
        let etag = source.etag.ok_or_else(|| {
            Error::unsupported("the service reports no ETag, and a rename has to compare it")
        })?;
        match copy_version(s3, from, to, options, &etag).await {
            // The source was replaced between the HEAD and the copy.
            Err(error)
                if error.kind() == ErrorKind::PreconditionFailed
                    && options.if_source_match.is_none() => {}
            copied => {
                copied?;
                return delete_source(s3, from, &etag)
                    .await
                    .map_err(|error| source_remains(error, options.mode));
            }
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the source was replaced during every attempt")
        .with_retryable(true))
}

async fn copy_version(
    s3: &Shared,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
    etag: &ETag,
) -> Result<()> {
    let mut copy = CopyOptions::default();
    copy.mode = options.mode;
    copy.if_source_match = Some(etag.clone());
    let source = Source::new(s3, from);
    if options.if_source_match.is_none() && options.mode == CopyMode::Overwrite {
        // A service that ignores the condition may copy a later version. Then the source is not
        // deleted, because it has another ETag.
        return copy::copy_at_service(s3, source, to, &copy).await;
    }
    copy::copy(s3, source, to, &copy).await
}

/// Deletes the source if it is still the version that was copied.
///
/// The HEAD protects a later version at services that ignore `If-Match` of a DELETE. There, an
/// object that is saved between the two requests is deleted.
async fn delete_source(s3: &Shared, from: &Key, etag: &ETag) -> Result<()> {
    match stat::stat(s3, from).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // The object was saved again.
        Ok(present) if present.etag.as_ref() != Some(etag) => return Ok(()),
        present => present?,
    };
    let delete = Request::new(Method::DELETE, from.as_str());
    let delete = match s3.features.conditional_delete {
        true => delete.header(IF_MATCH, header_value(&etag.to_string())?),
        // If the response is lost, a second attempt could delete a later version.
        false => delete.retry(RetryRule::OnlyIfNotStarted),
    };
    match s3.client.send(&delete).await {
        Ok(_) => Ok(()),
        Err(failed) => match failed.error.kind() {
            ErrorKind::NotFound | ErrorKind::PreconditionFailed => Ok(()),
            _ => Err(failed.error),
        },
    }
}

/// Returns the error for a source that was not deleted after its copy.
fn source_remains(error: Error, mode: CopyMode) -> Error {
    // With `create_new` a second attempt would find the copy of the first.
    let is_harmless = mode == CopyMode::Overwrite && error.kind() == ErrorKind::RateLimited;
    let message = "the object was copied, but deleting its source failed, so both may exist";
    let retryable = error.is_retryable() && is_harmless;
    error.with_context(message).with_retryable(retryable)
}
