//! Copies that the service makes: within one storage, or between two storages of one service.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use storage_core::{
    CopyOptions, Error, ErrorKind, Key, MetadataDirective, ObjectMeta, Result, SaveMode, Storage,
};

use super::{Copied, CopyMethod, Job};

/// Copies between two storages without this process, or returns `None` if that is impossible.
type CopyBetween = dyn Fn(&Storage, &Key, &Storage, &Key, CopyOptions) -> Option<BoxFuture<'static, Result<()>>>
    + Send
    + Sync;

/// The services that copy between two storages without this process.
///
/// [`within_one_storage`](Self::within_one_storage) copies within one storage only. A crate of a
/// driver provides functions for two storages of its service, such as two buckets. The facade's
/// `anystorage::transfer::server_side()` returns those of all drivers that are built in.
#[derive(Clone, Default)]
pub struct ServerSideCopy {
    between: Vec<Arc<CopyBetween>>,
}

impl ServerSideCopy {
    /// Copies within one storage only.
    #[must_use]
    pub fn within_one_storage() -> Self {
        Self::default()
    }

    /// Adds a function that copies between two storages of one service. It returns `None` if it
    /// cannot, without a request.
    ///
    /// Its future must be as [`Driver::copy`](storage_core::Driver::copy) is: one version, all or
    /// nothing. If it fails with `Unsupported`, `PermissionDenied`, `PreconditionFailed` or
    /// `InvalidConfig`, the object is copied through this process, unless the copy was made all the
    /// same ([`Error::took_effect`]).
    #[must_use]
    pub fn with<F>(mut self, between: F) -> Self
    where
        F: Fn(
                &Storage,
                &Key,
                &Storage,
                &Key,
                CopyOptions,
            ) -> Option<BoxFuture<'static, Result<()>>>
            + Send
            + Sync
            + 'static,
    {
        self.between.push(Arc::new(between));
        self
    }

    fn begin(
        &self,
        job: &Job<'_>,
        options: &CopyOptions,
    ) -> Option<BoxFuture<'static, Result<()>>> {
        let (source, from, target, to) = (&job.source, &job.from, &job.target, &job.to);
        if Arc::ptr_eq(source.driver(), target.driver()) {
            let can_copy = source.info().capabilities.copy;
            let copy = source.copy_with(from, to, options.clone());
            return can_copy.then(|| copy.into_future());
        }
        self.between.iter().find_map(|between| between(source, from, target, to, options.clone()))
    }
}

impl fmt::Debug for ServerSideCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSideCopy").field("services", &self.between.len()).finish()
    }
}

/// Copies the object without this process. Returns `None` if nothing was copied because the object
/// must be transferred.
pub(super) async fn try_copy(job: &Job<'_>) -> Result<Option<Copied>> {
    let Some((mut options, checks_target)) = conditions(job) else { return Ok(None) };
    let Some((source, dropped)) = prepare(job, &mut options).await? else { return Ok(None) };
    if checks_target {
        check_target(job).await?;
    }
    let Some(copy) = job.options.server_side.begin(job, &options) else { return Ok(None) };
    match copy.await {
        Ok(()) => Ok(Some(Copied {
            source,
            target: None,
            dropped,
            method: CopyMethod::ServerSide,
            bytes: 0,
        })),
        // The service cannot copy this object, or the source was replaced since. A stream is of
        // one version, and evaluates the conditions of the caller again.
        Err(error) if is_worth_streaming(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns options that a service accepts, and whether the destination must be looked at before the
/// copy. Returns `None` if no service can copy on the conditions of the caller.
fn conditions(job: &Job<'_>) -> Option<(CopyOptions, bool)> {
    let mut options = CopyOptions::new();
    options.if_source_match.clone_from(&job.options.version);
    let services = &job.options.server_side;
    let accepts = |options: &CopyOptions| services.begin(job, options).is_some();
    match &job.options.mode {
        SaveMode::CreateNew => {
            let create_new = options.clone().create_new();
            if accepts(&create_new) {
                return Some((create_new, false));
            }
        }
        // Requests for copies have no such condition.
        SaveMode::IfMatch(_) => {}
        _ => return accepts(&options).then_some((options, false)),
    }
    (job.options.looks_before_copy && accepts(&options)).then_some((options, true))
}

/// Compares the object under the destination with what the copy may replace. A save in the moment
/// before the copy is replaced, too.
async fn check_target(job: &Job<'_>) -> Result<()> {
    let found = match job.target.stat(&job.to).await {
        Ok(found) => Some(found),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let error = match (&job.options.mode, found) {
        (SaveMode::CreateNew, None) => return Ok(()),
        (SaveMode::CreateNew, Some(_)) => {
            Error::new(ErrorKind::AlreadyExists, "there is an object under the destination")
        }
        (SaveMode::IfMatch(expected), found) => {
            let etag = found.and_then(|found| found.etag);
            if etag.is_some_and(|etag| etag.strong_eq(expected)) {
                return Ok(());
            }
            let message =
                format!("the object under the destination does not have the ETag {expected}");
            Error::new(ErrorKind::PreconditionFailed, message)
        }
        _ => return Ok(()),
    };
    Err(error.with_key(job.to.as_str()))
}

fn is_worth_streaming(error: &Error) -> bool {
    let was_refused = matches!(
        error.kind(),
        // Some services report a bucket that the destination's credentials may not see as missing.
        ErrorKind::Unsupported
            | ErrorKind::PreconditionFailed
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidConfig
    );
    was_refused && !error.took_effect()
}

/// Finds the version to copy, and sets the metadata of the copy if it is not that of the source.
/// Returns `None` if the object must be streamed.
async fn prepare(
    job: &Job<'_>,
    options: &mut CopyOptions,
) -> Result<Option<(ObjectMeta, Vec<Error>)>> {
    // A service copies metadata as it is, so it need not be read. A disk is looked up, because it
    // has no condition on the version: what it copies may be newer than the listing.
    if !job.is_local()
        && let (None, Some(listed)) = (&job.options.map, &job.options.listed)
    {
        let mut source = ObjectMeta::new(listed.key.clone(), listed.size);
        (source.etag, source.last_modified) = (listed.etag.clone(), listed.last_modified);
        return Ok(Some((source, Vec::new())));
    }
    let source = job.source.stat(&job.from).await?;
    let wanted = match &job.options.map {
        Some(map) => map(&source.metadata),
        None => source.metadata.clone(),
    };
    let drops = job.options.lost != super::LostMetadata::Fail;
    let is_valid = !drops || wanted.clone().valid_part().1.is_empty();
    if wanted == source.metadata && is_valid {
        return Ok(Some((source, Vec::new())));
    }
    let (kept, dropped) = job.metadata(&source.metadata)?;
    // Changed metadata of one version must not be stored with the bytes of another.
    let version = source.etag.clone().filter(|etag| !etag.is_weak());
    // A save also detects a missing content type from the bytes.
    if version.is_none() || kept.content_type.is_none() {
        return Ok(None);
    }
    if job.options.version.is_none() {
        options.if_source_match = version;
    }
    options.metadata = MetadataDirective::Replace(kept);
    Ok(Some((source, dropped)))
}
