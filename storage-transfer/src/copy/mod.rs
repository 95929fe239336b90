//! [`copy`]: copies one object between any two storages.

mod metadata;
mod meter;
mod parts;
mod server_side;
mod source_look;
mod unfinished;

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_util::TryStreamExt;
use storage_core::{
    ETag, Error, ErrorKind, IntoKey, Key, Metadata, MultipartUpload, Object, ObjectEntry,
    ObjectMeta, OpenOptions, Operation, Result, SaveMode, SaveOptions, Storage,
};

pub use metadata::LostMetadata;
pub use meter::{Bandwidth, OnBytes};
pub use server_side::ServerSideCopy;
pub use unfinished::{UnfinishedCopy, UploadRecorder};

use meter::Meter;
use source_look::SourceLook;

/// How often a file that changed while it was copied is read again.
const MAX_CHANGES: u32 = 3;

/// Objects of this size and larger are copied in parts, where both sides allow it.
const LARGE: u64 = 64 * 1024 * 1024;

/// Copies one object to any storage: see [`ObjectCopy`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
/// media.save("a.txt", "hello").cache_control("no-cache").await?;
/// let copied = storage_transfer::copy(&media, "a.txt", &backup, "2026/a.txt").await?;
/// assert_eq!(copied.source.size, 5);
/// assert_eq!(backup.open("2026/a.txt").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
pub fn copy<'a>(
    from: &Storage,
    from_key: impl IntoKey,
    to: &Storage,
    to_key: impl IntoKey,
) -> ObjectCopy<'a> {
    ObjectCopy {
        source: from.clone(),
        from: from_key.into_key(),
        target: to.clone(),
        to: to_key.into_key(),
        mode: SaveMode::Overwrite,
        listed: None,
        version: None,
        lost: LostMetadata::Fail,
        map: None,
        server_side: ServerSideCopy::within_one_storage(),
        looks_before_copy: false,
        in_parts: true,
        part_concurrency: 4,
        meter: Meter::default(),
        requests: None,
        recorder: None,
        unfinished: None,
    }
}

/// Computes the metadata of a copy from that of its source.
type MapMetadata<'a> = Box<dyn Fn(&Metadata) -> Metadata + Send + Sync + 'a>;

/// A copy of one object that has not begun yet. Await it.
///
/// - **One version.** The bytes and the metadata of the copy belong to one version of the source,
///   also if the source is replaced meanwhile and the copy has many parts. A local file may be
///   written in place while it is read, which no driver can prevent. So it is looked up after its
///   last byte was read, before the copy is visible, and read again if it has changed, up to three
///   times. Then the copy fails with `Conflict`, or `PreconditionFailed` after
///   [`if_source_match`](Self::if_source_match), and the destination keeps its object. If the file
///   changed while the service stored the copy, the same happens, but the destination has a whole
///   copy of an earlier version.
/// - **All or nothing.** A reader of the destination sees the object that was there, or the whole
///   copy. A copy that fails, or whose future is dropped, leaves no object. Without
///   [`resumable`](Self::resumable) it also leaves no unfinished upload.
/// - **Metadata and checksums are kept.** [`lost_metadata`](Self::lost_metadata) decides about
///   metadata that the destination cannot keep. The destination compares the bytes with the
///   checksums of the source, and keeps them where it can.
/// - **Server side** where both ends are one storage, or where [`server_side`](Self::server_side)
///   finds one service behind both: no bytes pass through this process.
/// - **In parts**, several at a time, from 64 MiB on, if the source has strong ETags and the
///   destination has multipart uploads. Memory is bounded at any size.
///
/// # Errors
/// Those of [`Open`](storage_core::Open) for the source and of [`Save`](storage_core::Save) for
/// the copy: `NotFound` if there is no source, `PreconditionFailed` if it is another version than
/// [`if_source_match`](Self::if_source_match), `AlreadyExists` or `PreconditionFailed` by mode.
/// `InvalidInput` or `Unsupported` for metadata that the destination cannot keep.
#[must_use = "nothing is copied until it is awaited"]
pub struct ObjectCopy<'a> {
    source: Storage,
    from: Result<Key>,
    target: Storage,
    to: Result<Key>,
    mode: SaveMode,
    listed: Option<ObjectEntry>,
    version: Option<ETag>,
    lost: LostMetadata,
    map: Option<MapMetadata<'a>>,
    server_side: ServerSideCopy,
    looks_before_copy: bool,
    in_parts: bool,
    part_concurrency: usize,
    meter: Meter,
    requests: Option<Bandwidth>,
    recorder: Option<Arc<dyn UploadRecorder>>,
    unfinished: Option<UnfinishedCopy>,
}

/// What a copy did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The version that was copied. If it was copied by the service from an entry of a listing, it
    /// has what the listing contains: no metadata and no checksums.
    pub source: ObjectMeta,
    /// The metadata of the copy, unless the service copied it.
    pub target: Option<ObjectMeta>,
    /// Why fields of the metadata were dropped: one error of the kind `InvalidInput` or
    /// `Unsupported` for each. Also, after a [`resumable`](ObjectCopy::resumable) copy in parts,
    /// why a checksum was: only some can be composed from those of parts.
    pub dropped: Vec<Error>,
    /// How the bytes were transferred.
    pub method: CopyMethod,
    /// How many bytes passed through this process. After a resumed copy fewer than the object has.
    pub bytes: u64,
}

/// How the bytes of a copy were transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyMethod {
    /// The service copied the object.
    ServerSide,
    /// As one stream through this process.
    Stream,
    /// In parts through this process, several at a time.
    Parts,
}

impl<'a> ObjectCopy<'a> {
    /// Fails with `AlreadyExists` if there is an object under the destination.
    pub fn create_new(self) -> Self {
        self.mode(SaveMode::CreateNew)
    }

    /// Replaces the object under the destination only if it is this version. Fails with
    /// `PreconditionFailed` otherwise.
    pub fn if_match(self, etag: ETag) -> Self {
        self.mode(SaveMode::IfMatch(etag))
    }

    /// Sets what happens if there is an object under the destination. Defaults to `Overwrite`.
    /// [`SaveMode::UniqueName`] fails with `InvalidInput`, because a copy has the key that its
    /// caller names.
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Fails with `PreconditionFailed` unless the source is this version. A weak ETag never
    /// matches.
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.version = Some(etag);
        self
    }

    /// Passes what a listing contains about the source, which saves a request. If it has a strong
    /// ETag, the copy fails with `PreconditionFailed` if the source is another version.
    pub fn listed(mut self, entry: ObjectEntry) -> Self {
        self.version = entry.etag.clone().filter(|etag| !etag.is_weak()).or(self.version);
        self.listed = Some(entry);
        self
    }

    /// Sets what happens with metadata that the destination cannot keep. Defaults to
    /// [`LostMetadata::Fail`].
    pub fn lost_metadata(mut self, lost: LostMetadata) -> Self {
        self.lost = lost;
        self
    }

    /// Computes the metadata of the copy from that of the version that is copied. Defaults to the
    /// same metadata. Called once or more.
    pub fn map_metadata(mut self, map: impl Fn(&Metadata) -> Metadata + Send + Sync + 'a) -> Self {
        self.map = Some(Box::new(map));
        self
    }

    /// Sets the services that copy between two storages without this process. Defaults to copies
    /// within one storage.
    pub fn server_side(mut self, server_side: ServerSideCopy) -> Self {
        self.server_side = server_side;
        self
    }

    /// Lets a service that evaluates no condition on the destination copy the object, after a look
    /// at the destination. A save between the two is then replaced.
    pub(crate) fn looks_before_copy(mut self) -> Self {
        self.looks_before_copy = true;
        self
    }

    /// Copies the object as one stream, however large it is: for a source that changes often, whose
    /// parts would belong to a version that is gone.
    pub fn as_one_stream(mut self) -> Self {
        self.in_parts = false;
        self
    }

    /// Sets how many parts of a large object are transferred at a time. Defaults to 4; at least 1.
    pub fn part_concurrency(mut self, parts: usize) -> Self {
        self.part_concurrency = parts.max(1);
        self
    }

    /// Calls a function with each number of bytes that has passed through this process.
    pub fn on_bytes(mut self, on_bytes: OnBytes) -> Self {
        self.meter.on_bytes = Some(on_bytes);
        self
    }

    /// Limits the bytes per second that pass through this process, together with all other copies
    /// that have a clone of this limit.
    pub fn bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.meter.bandwidth = Some(bandwidth);
        self
    }

    /// Limits the requests per second for the parts of a large object.
    pub(crate) fn requests(mut self, requests: Bandwidth) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Makes the copy of a large object resumable. The recorder stores the upload before the first
    /// part is sent. A copy that fails or is dropped leaves the upload; pass what was recorded to
    /// [`resume`](Self::resume) to continue it. An upload that can never be completed, because the
    /// mode forbids it or a part is damaged, is aborted. A SHA-256 or MD5 of a large source
    /// is neither compared nor kept, because it cannot be composed from those of parts, and neither
    /// is any checksum at a service that composes none. [`Copied::dropped`] names them.
    pub fn resumable(mut self, recorder: Arc<dyn UploadRecorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Continues an upload that an earlier copy left. The parts that the destination lists are not
    /// sent again. If the source is another version now, if this copy has another
    /// [`mode`](Self::mode), or if the upload is gone, the copy begins again and the old upload is
    /// aborted. It is also aborted if the source is gone. It stays if the destination does not
    /// support this copy, and if it has all its bytes, because the service may be completing it.
    pub fn resume(mut self, unfinished: UnfinishedCopy) -> Self {
        self.unfinished = Some(unfinished);
        self
    }

    async fn run(self) -> Result<Copied> {
        if self.mode == SaveMode::UniqueName {
            let message = "a copy has the key that its caller names: use create_new";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut job = Job::new(self)?;
        let mut changes = 0;
        loop {
            let copied = match job.copy_once().await {
                // A later change must have a later time than the copy, so that a sync detects it.
                Ok((copied, true)) if !job.look(&copied.source).is_unchanged().await? => {
                    Some(copied)
                }
                Err(error) if job.is_changed_file(&error) => None,
                done => return done.map(|(copied, _)| copied),
            };
            changes += 1;
            if changes > MAX_CHANGES || job.options.version.is_some() {
                return Err(changed_meanwhile(&job));
            }
            if let Some(copied) = copied {
                job.replace(&copied).await?;
            }
        }
    }
}

fn changed_meanwhile(job: &Job<'_>) -> Error {
    let message = "the file changed while it was copied; copy it again";
    // Without a condition of the caller, a sync must not take this for another version, whose copy
    // it would compare with what is there.
    let kind = match job.options.version {
        Some(_) => ErrorKind::PreconditionFailed,
        None => ErrorKind::Conflict,
    };
    Error::new(kind, message).with_operation(Operation::Open).with_key(job.from.as_str())
}

/// A copy with checked keys.
struct Job<'a> {
    source: Storage,
    from: Key,
    target: Storage,
    to: Key,
    options: ObjectCopy<'a>,
}

impl<'a> Job<'a> {
    fn new(mut options: ObjectCopy<'a>) -> Result<Self> {
        let unset = || Err(Error::new(ErrorKind::Unexpected, "the key was taken"));
        let from = std::mem::replace(&mut options.from, unset())?;
        let to = std::mem::replace(&mut options.to, unset())?;
        let (source, target) = (options.source.clone(), options.target.clone());
        Ok(Self { source, from, target, to, options })
    }

    /// Copies the object once. Returns whether its bytes came from a local file.
    async fn copy_once(&self) -> Result<(Copied, bool)> {
        if let Some(copied) = server_side::try_copy(self).await? {
            self.abandon_unfinished().await;
            return Ok((copied, self.is_local()));
        }
        let object = match self.source.open_with(&self.from, self.open_options()).await {
            Ok(object) => object,
            Err(error) => {
                if error.is_not_found() {
                    self.abandon_unfinished().await;
                }
                return Err(error);
            }
        };
        // A small file is in memory here.
        let is_file = object.file().is_some() || self.is_local();
        // A local file is one read after another anyway. In parts it can be continued.
        if self.options.in_parts
            && (!is_file || self.options.recorder.is_some())
            && let Some(plan) = parts::plan(self, object.meta())
        {
            // Each part is opened by itself, so this body is not needed.
            drop(object);
            return Ok((parts::copy(self, plan).await?, is_file));
        }
        let copied = self.stream(object, is_file).await;
        // Some services refuse a large save on a condition. A copy without one can continue the
        // upload.
        if !copied.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            self.abandon_unfinished().await;
        }
        Ok((copied?, is_file))
    }

    /// Waits until so many requests for parts may be sent.
    async fn requests(&self, count: u64) {
        if let Some(requests) = &self.options.requests {
            requests.pass(count).await;
        }
    }

    /// Returns whether other programs may write into the object while it is copied.
    fn is_local(&self) -> bool {
        self.source.info().name == "fs"
    }

    /// Returns a look at the source, which was opened in this version.
    fn look(&self, opened: &ObjectMeta) -> SourceLook {
        SourceLook::new(&self.source, &self.from, opened)
    }

    /// Returns whether a copy failed because a local file changed while it was read.
    fn is_changed_file(&self, error: &Error) -> bool {
        self.is_local() && error.kind() == ErrorKind::Integrity && error.is_retryable()
    }

    /// Prepares another copy, which replaces the one before. Where the destination evaluates no
    /// conditions, it may also replace what another program has saved since, as the first copy may.
    async fn replace(&mut self, before: &Copied) -> Result<()> {
        self.options.unfinished = None;
        let target = match &before.target {
            Some(target) => Ok(target.clone()),
            None => self.target.stat(&self.to).await,
        };
        let conditions = self.target.info().capabilities;
        self.options.mode = match target {
            Ok(target) => {
                let etag = target.strong_etag().filter(|_| conditions.save_if_match).cloned();
                etag.map_or(SaveMode::Overwrite, SaveMode::IfMatch)
            }
            // Another program has deleted it.
            Err(error) if error.is_not_found() && conditions.create_new => SaveMode::CreateNew,
            Err(error) if error.is_not_found() => SaveMode::Overwrite,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Returns the metadata of the copy, and why fields were dropped.
    fn metadata(&self, source: &Metadata) -> Result<(Metadata, Vec<Error>)> {
        let mapped = match &self.options.map {
            Some(map) => map(source),
            None => source.clone(),
        };
        self.options.lost.fit(mapped, &self.target)
    }

    fn open_options(&self) -> OpenOptions {
        let mut open = OpenOptions::new();
        open.if_match.clone_from(&self.options.version);
        open
    }

    /// Copies the object as one stream.
    async fn stream(&self, object: Object, is_file: bool) -> Result<Copied> {
        let source = object.meta().clone();
        let (metadata, dropped) = self.metadata(&source.metadata)?;
        let mut payload = self.options.meter.payload(object.into());
        if is_file {
            payload = self.look(&source).guard(payload).await?;
        }
        let save = SaveOptions::new().mode(self.options.mode.clone()).metadata(metadata);
        let mut save = self.target.save_with(&self.to, payload, save);
        for checksum in source.checksums.iter() {
            save = save.expect_checksum(checksum.clone());
        }
        let target = save.await?;
        let bytes = target.size;
        Ok(Copied { source, target: Some(target), dropped, method: CopyMethod::Stream, bytes })
    }

    /// Aborts an upload that this copy does not continue. A failure is not reported, because the
    /// copy does not depend on it; a sweep of stale uploads finds what is left.
    async fn abandon_unfinished(&self) {
        let Some(unfinished) = &self.options.unfinished else { return };
        if let Ok(upload) = self.target.resume_multipart(&self.to, unfinished.upload.clone())
            && let Err(error) = abort_incomplete(&upload, unfinished.size).await
        {
            tracing::warn!(%error, "an upload that is not continued is left in the destination");
        }
    }
}

/// Aborts an upload of an object of this size, unless it has all its bytes: its completion may be
/// running then, and a service can lose the object if it aborts the upload meanwhile.
///
/// # Errors
/// `Conflict` if it has them, and those of the destination.
pub(crate) async fn abort_incomplete(upload: &MultipartUpload, size: u64) -> Result<()> {
    let mut stored = 0_u64;
    let mut parts = upload.parts();
    while let Some(part) = parts.try_next().await? {
        stored = stored.saturating_add(part.size);
    }
    if stored >= size {
        let message = "the upload has all its bytes, so that it may be completed at this moment";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    upload.abort().await
}

impl fmt::Debug for ObjectCopy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectCopy")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("mode", &self.mode)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for ObjectCopy<'a> {
    type Output = Result<Copied>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
