//! Copies of large objects: in parts, several at a time, which a later process may continue.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{
    Checksum, ETag, Error, ErrorKind, MultipartOptions, MultipartUpload, ObjectMeta, OpenOptions,
    Operation, Result, SaveMode,
};

use super::{Copied, CopyMethod, Job, LARGE, UnfinishedCopy};
use crate::retry::Retry;

/// How often a copy begins an upload, because the service no longer has the one that it continues.
const MAX_UPLOADS: u32 = 3;

/// The version that is copied, and how it is cut.
pub(super) struct Plan {
    source: ObjectMeta,
    version: ETag,
    part_size: u64,
}

/// Returns how to copy an opened object in parts, or `None` if it is copied as one stream.
pub(super) fn plan(job: &Job<'_>, source: &ObjectMeta) -> Option<Plan> {
    let limits = job.target.multipart_limits().ok()?;
    let accepts_mode = match &job.options.mode {
        SaveMode::Overwrite => true,
        SaveMode::CreateNew => limits.create_new,
        SaveMode::IfMatch(_) => limits.if_match,
        _ => false,
    };
    let version = source.strong_etag()?.clone();
    let size = source.known_size().filter(|size| *size >= LARGE)?;
    let part_size = limits.part_size(Some(size)).ok()?;
    // Only some checksums can be composed from those of parts. A stream keeps the others.
    let keeps_checksums = source
        .checksums
        .iter()
        .all(|checksum| checksum.algorithm().is_composable() && limits.checksum);
    let is_possible = accepts_mode && (keeps_checksums || job.options.recorder.is_some());
    is_possible.then(|| Plan { source: source.clone(), version, part_size })
}

/// Copies the version in parts.
pub(super) async fn copy(job: &Job<'_>, plan: Plan) -> Result<Copied> {
    let mut unfinished = job.options.unfinished.clone();
    for _ in 1..MAX_UPLOADS {
        match attempt(job, &plan, unfinished.take()).await {
            // The service no longer has the upload: it was swept, or completed by another process.
            Err(error) if is_upload_gone(&error) => {}
            done => return done,
        }
    }
    attempt(job, &plan, None).await
}

fn is_upload_gone(error: &Error) -> bool {
    let concerns_upload = matches!(
        error.operation(),
        Some(Operation::PutPart | Operation::ListParts | Operation::CompleteMultipart)
    );
    concerns_upload && error.kind() == ErrorKind::NotFound
}

/// Returns whether the upload can never be completed, so that nothing continues it.
fn is_final(error: &Error) -> bool {
    let is_of_completion = error.operation() == Some(Operation::CompleteMultipart);
    let is_permanent = matches!(
        error.kind(),
        ErrorKind::AlreadyExists
            | ErrorKind::PreconditionFailed
            | ErrorKind::Integrity
            | ErrorKind::InvalidInput
            | ErrorKind::TooLarge
    );
    is_of_completion && is_permanent && !error.is_retryable()
}

/// Returns whether a completion was refused, so that the service does not run it any more.
fn is_refused(error: &Error) -> bool {
    let is_unknown = matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::Timeout);
    error.operation() == Some(Operation::CompleteMultipart) && !is_unknown
}

async fn attempt(job: &Job<'_>, plan: &Plan, unfinished: Option<UnfinishedCopy>) -> Result<Copied> {
    let (metadata, mut dropped) = job.metadata(&plan.source.metadata)?;
    dropped.extend(lost_checksums(job, plan));
    let (upload, stored) = match unfinished {
        Some(unfinished) if is_same_copy(&unfinished, job, plan) => {
            continue_upload(job, unfinished).await?
        }
        Some(_) => {
            job.abandon_unfinished().await;
            (begin(job, plan, metadata).await?, BTreeSet::new())
        }
        None => (begin(job, plan, metadata).await?, BTreeSet::new()),
    };
    let is_continued = job.options.recorder.is_some();
    let mut guard = AbortGuard::new(upload, !is_continued);
    let sent = send_parts(job, plan, &guard.upload, &stored).await;
    let sent = match sent {
        Ok(bytes) if job.is_local() => job.look(&plan.source).check().await.map(|()| bytes),
        sent => sent,
    };
    let completed = match sent {
        Ok(bytes) => {
            job.requests(1).await;
            // A service that aborts an upload while it completes it can lose the object.
            guard.aborts = false;
            guard.upload.complete().await.map(|target| (target, bytes))
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &completed {
        guard.aborts |= is_final(error) || job.is_changed_file(error);
        guard.aborts |= !is_continued && is_refused(error);
    }
    let (target, bytes) = guard.settle(completed).await?;
    let source = plan.source.clone();
    Ok(Copied { source, target: Some(target), dropped, method: CopyMethod::Parts, bytes })
}

/// Returns whether an upload is of this version, and is completed on the condition of this copy:
/// the condition of an upload cannot be changed.
fn is_same_copy(unfinished: &UnfinishedCopy, job: &Job<'_>, plan: &Plan) -> bool {
    unfinished.source.strong_eq(&plan.version)
        && unfinished.size == plan.source.size
        && unfinished.mode.as_ref() == Some(&mode_text(&job.options.mode))
}

fn mode_text(mode: &SaveMode) -> String {
    match mode {
        SaveMode::Overwrite => "overwrite".to_owned(),
        SaveMode::CreateNew => "create-new".to_owned(),
        SaveMode::IfMatch(etag) => format!("if-match {etag}"),
        other => format!("{other:?}"),
    }
}

/// Begins an upload and stores that it has begun, before any part is sent.
async fn begin(
    job: &Job<'_>,
    plan: &Plan,
    metadata: storage_core::Metadata,
) -> Result<MultipartUpload> {
    let mut options = MultipartOptions::new()
        .metadata(metadata)
        .mode(job.options.mode.clone())
        .part_size(plan.part_size)
        .size(plan.source.size);
    if let Some(checksum) = composable_checksum(job, plan) {
        options = options.checksum(checksum.clone());
    }
    let upload = job.target.multipart_with(&job.to, options).await?;
    if let Some(recorder) = &job.options.recorder {
        let unfinished = UnfinishedCopy {
            source: plan.version.clone(),
            size: plan.source.size,
            upload: upload.id().clone(),
            mode: Some(mode_text(&job.options.mode)),
        };
        // Nothing continues an upload that is not stored.
        let guard = AbortGuard::new(upload.clone(), true);
        let begun = recorder.begun(&unfinished).await;
        guard.settle(begun).await?;
    }
    Ok(upload)
}

/// Returns the checksum of the source that the target verifies at completion.
fn composable_checksum<'a>(job: &Job<'_>, plan: &'a Plan) -> Option<&'a Checksum> {
    let verifies = job.target.multipart_limits().is_ok_and(|limits| limits.checksum);
    plan.source.checksums.iter().find(|checksum| verifies && checksum.algorithm().is_composable())
}

/// Returns an error for each checksum that the target does not verify: one that cannot be composed
/// from those of the parts, or that this service does not compose. Only a copy that must be
/// resumable is made in parts in spite of that.
fn lost_checksums(job: &Job<'_>, plan: &Plan) -> impl Iterator<Item = Error> {
    let kept = composable_checksum(job, plan).map(Checksum::algorithm);
    let algorithms = plan.source.checksums.iter().map(Checksum::algorithm);
    algorithms.filter(move |algorithm| Some(*algorithm) != kept).map(|algorithm| {
        let message = format!("{algorithm}: a copy in parts does not keep this checksum here");
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Returns an upload that an earlier process began, and the numbers of the parts that it has.
async fn continue_upload(
    job: &Job<'_>,
    unfinished: UnfinishedCopy,
) -> Result<(MultipartUpload, BTreeSet<u32>)> {
    let size = unfinished.size;
    let upload = job.target.resume_multipart(&job.to, unfinished.upload)?;
    let part_size = upload.part_size().unwrap_or(u64::MAX);
    let stored = upload
        .parts()
        .try_filter(|part| {
            let range = range_of(part.number, part_size, size);
            std::future::ready(part.size == range.end - range.start)
        })
        .map_ok(|part| part.number)
        .try_collect()
        .await?;
    Ok((upload, stored))
}

/// Sends the parts that are not stored, several at a time. Returns the number of bytes.
async fn send_parts(
    job: &Job<'_>,
    plan: &Plan,
    upload: &MultipartUpload,
    stored: &BTreeSet<u32>,
) -> Result<u64> {
    // A continued upload has the part size of its beginning.
    let part_size = upload.part_size().unwrap_or(plan.part_size).max(1);
    let count = u32::try_from(plan.source.size.div_ceil(part_size)).unwrap_or(u32::MAX);
    let sent = AtomicU64::new(0);
    let missing = (1..=count).filter(|number| !stored.contains(number));
    let parts = missing.map(|number| {
        let range = range_of(number, part_size, plan.source.size);
        let sent = &sent;
        async move {
            let bytes = range.end - range.start;
            send_part(job, plan, upload, number, range).await?;
            sent.fetch_add(bytes, Ordering::Relaxed);
            Ok::<_, Error>(())
        }
    });
    // A boxed stream, because the compiler cannot prove that the nested one is `Send`.
    let mut parts = stream::iter(parts.map(futures_util::FutureExt::boxed))
        .buffer_unordered(job.options.part_concurrency)
        .boxed();
    while let Some(part) = parts.next().await {
        part?;
    }
    drop(parts);
    Ok(sent.into_inner())
}

async fn send_part(
    job: &Job<'_>,
    plan: &Plan,
    upload: &MultipartUpload,
    number: u32,
    range: Range<u64>,
) -> Result<()> {
    let mut retry = Retry::default();
    loop {
        let open = OpenOptions::new().range(range.clone()).if_match(plan.version.clone());
        job.requests(2).await;
        let sent = async {
            let object = job.source.open_with(&job.from, open).await?;
            upload.put_part(number, job.options.meter.payload(object.into())).await
        };
        match sent.await {
            Ok(_) => return Ok(()),
            Err(error) => retry.wait(error).await?,
        }
    }
}

/// Returns the bytes of a part, whose number is counted from 1.
fn range_of(number: u32, part_size: u64, size: u64) -> Range<u64> {
    let start = part_size.saturating_mul(u64::from(number.saturating_sub(1))).min(size);
    start..start.saturating_add(part_size).min(size)
}

/// Aborts an upload that no later process continues, also if the copy is dropped before the
/// completion begins.
struct AbortGuard {
    upload: MultipartUpload,
    aborts: bool,
}

impl AbortGuard {
    fn new(upload: MultipartUpload, aborts: bool) -> Self {
        Self { upload, aborts }
    }

    /// Passes a result on, and aborts the upload if that is an error.
    async fn settle<T>(mut self, result: Result<T>) -> Result<T> {
        if result.is_err() && self.aborts {
            // The guard stays armed while this runs, in case it is dropped.
            if let Err(error) = self.upload.abort().await {
                tracing::debug!("an unfinished upload of {} is left: {error}", self.upload.key());
            }
        }
        if !self.aborts
            && let Err(error) = &result
            && error.operation() == Some(Operation::CompleteMultipart)
        {
            tracing::debug!(%error, "the upload of a copy is left, because it may be completed");
        }
        self.aborts = false;
        result
    }
}

impl Drop for AbortGuard {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.aborts {
            let upload = self.upload.clone();
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_object_without_gaps() {
        assert_eq!(range_of(1, 8, 20), 0..8);
        assert_eq!(range_of(2, 8, 20), 8..16);
        assert_eq!(range_of(3, 8, 20), 16..20);
        assert_eq!(range_of(4, 8, 20), 20..20);
        assert_eq!(range_of(u32::MAX, u64::MAX, 20), 20..20);
    }
}
