//! [`MultipartUpload`]: the handle on a multipart upload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{
    CompleteOptions, Multipart, Part, PartStream, PartUrlOptions, UploadId, stream_or_error,
};
use crate::payload::Payload;
use crate::storage::Storage;

/// A multipart upload: an object that is uploaded in parts, by any number of processes, over any
/// time. [`Storage::multipart`] begins one, [`Storage::resume_multipart`] continues it.
///
/// **Dropping a handle aborts nothing.** That is the difference from a [`Save`](crate::Save). An
/// upload ends only when it is [completed](Self::complete), [aborted](Self::abort), or swept by
/// [`Storage::abort_stale`]. Until then its parts take room, and on S3 they are billed.
///
/// Parts are numbered from 1 and have the [part size](Self::part_size), except the last one, which
/// may be shorter. They may be sent in any order, in parallel, and again. An empty object has one
/// empty part.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let upload = storage.multipart("a.txt").part_size(5).create_new().await?;
/// let (hello, world) = tokio::join!(upload.put_part(1, "hello"), upload.put_part(2, " you"));
/// (hello?, world?);
/// assert!(!storage.exists("a.txt").await?);
///
/// let meta = upload.complete().await?;
/// assert_eq!(meta.size, 9);
/// assert_eq!(storage.open("a.txt").await?.text().await?, "hello you");
/// # Ok(()) }
/// ```
///
/// Clones denote the same upload and share what was acknowledged.
#[derive(Debug, Clone)]
pub struct MultipartUpload {
    storage: Storage,
    key: Key,
    id: UploadId,
    /// The parts that were acknowledged to this handle and its clones.
    acknowledged: Arc<Mutex<BTreeMap<u32, Part>>>,
    /// Whether this handle began the upload, so that no part was sent before.
    has_begun: bool,
}

impl MultipartUpload {
    /// Creates the handle of an upload that has just begun.
    pub(super) fn begun(storage: Storage, key: Key, id: UploadId) -> Self {
        Self { has_begun: true, ..Self::resumed(storage, key, id) }
    }

    /// Creates the handle of an upload that may have parts.
    pub(super) fn resumed(storage: Storage, key: Key, id: UploadId) -> Self {
        Self { storage, key, id, acknowledged: Arc::default(), has_begun: false }
    }

    /// Returns the key of the object.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the id. Store it with the key to continue the upload in another process.
    #[must_use]
    pub fn id(&self) -> &UploadId {
        &self.id
    }

    /// Returns the size of each part but the last, in bytes, unless the id comes from a listing
    /// that does not contain it.
    #[must_use]
    pub fn part_size(&self) -> Option<u64> {
        self.id.plan().map(|plan| plan.part_size)
    }

    /// Stores one part and returns what describes it. The number is counted from 1.
    ///
    /// A part that was stored before under this number is replaced if the call succeeds. If it
    /// fails, one of the two is stored, whole. A part that was acknowledged is not lost when a
    /// process ends. If the future is dropped, the part is stored or not; send it again.
    ///
    /// # Errors
    /// - `NotFound` if the upload was completed, aborted or swept.
    /// - `InvalidInput` if the storage has no part of this number, `TooLarge` if the payload is
    ///   larger than the part size.
    /// - `Integrity` and every error of the payload, and other errors as for a
    ///   [`Save`](crate::Save).
    pub async fn put_part(&self, number: u32, payload: impl Into<Payload>) -> Result<Part> {
        let payload = payload.into();
        let stored = async {
            let multipart = self.multipart()?;
            check_number(number, multipart)?;
            let payload = self.check_size(payload, multipart)?;
            multipart.put_part(&self.key, &self.id, number, payload).await
        };
        let part = stored.await.map_err(|error| self.with_context(error, Operation::PutPart))?;
        self.acknowledged().insert(number, part.clone());
        Ok(part)
    }

    /// Lists the parts that are stored, in the order of their numbers. An error is the last item:
    /// `NotFound` if the upload was completed, aborted or swept.
    #[must_use]
    pub fn parts(&self) -> PartStream {
        let multipart = self.multipart();
        let parts =
            stream_or_error(multipart.map(|multipart| multipart.parts(&self.key, &self.id)));
        let upload = self.clone();
        parts
            .map(move |part| part.map_err(|error| upload.with_context(error, Operation::ListParts)))
            .boxed()
    }

    /// Makes the object visible, all or nothing, and returns its metadata.
    ///
    /// The parts that this handle has sent are compared with what is stored, so that one that
    /// another process replaced meanwhile is found. A handle that sent none compares none.
    ///
    /// The object consists of all parts that are stored, also those that other processes have sent,
    /// if the size was declared at the beginning: a part too many is found by the size. Without a
    /// declared size, a handle that began the upload and has sent the parts from 1 on without a gap
    /// refuses others, which another process may have sent late.
    /// [`complete_with`](Self::complete_with) names the parts.
    ///
    /// Succeeds again if the object under the key is the one of this upload, so that a caller that
    /// did not receive the first response can repeat it. If the future is dropped, the upload is
    /// completed or not.
    ///
    /// # Errors
    /// - `NotFound` if the upload was aborted or swept, or if its object was replaced or deleted.
    ///   The upload is lost: begin another.
    /// - `Conflict` if a part is missing, has the wrong size, or was replaced by other bytes, or if
    ///   another process has sent a part and no size was declared.
    /// - `Integrity` if the object has another size or checksum than was declared.
    /// - `AlreadyExists` or `PreconditionFailed`, by the mode of the beginning.
    /// - Other errors of the backend. After `Timeout` or a broken connection the object may be
    ///   there nevertheless: call it again.
    ///
    /// After every error except `NotFound` the upload is still there, unless the error says that
    /// the object is in its place.
    pub async fn complete(&self) -> Result<ObjectMeta> {
        let parts: Vec<_> = self.acknowledged().values().cloned().collect();
        let is_from_first = parts.iter().zip(1..).all(|(part, number)| part.number == number);
        let is_size_known = self.id.plan().is_none_or(|plan| plan.size.is_some());
        let sent_all = self.has_begun && !parts.is_empty() && is_from_first;
        let options = match sent_all && !is_size_known {
            true => CompleteOptions::new().only(parts),
            false => CompleteOptions::new().requiring(parts),
        };
        self.complete_with(options).await
    }

    /// Makes the object visible as [`complete`](Self::complete) does, with the parts that the
    /// caller knows to be stored.
    ///
    /// # Errors
    /// As `complete`.
    pub async fn complete_with(&self, options: CompleteOptions) -> Result<ObjectMeta> {
        let completed = async { self.multipart()?.complete(&self.key, &self.id, &options).await };
        completed.await.map_err(|error| self.with_context(error, Operation::CompleteMultipart))
    }

    /// Removes the upload with all its parts. Succeeds if there is no such upload. Never deletes an
    /// object.
    ///
    /// Do not call it while a completion may be running, such as after one that timed out: complete
    /// again, or leave the upload to [`abort_stale`](crate::Storage::abort_stale). Some services
    /// lose the object if they abort an upload while they complete it (Ceph).
    ///
    /// If the future is dropped, the upload may remain, whole or in part; call it again.
    ///
    /// # Errors
    /// `PermissionDenied` and other errors of the backend.
    pub async fn abort(&self) -> Result<()> {
        let aborted = async { self.multipart()?.abort(&self.key, &self.id).await };
        aborted.await.map_err(|error| self.with_context(error, Operation::AbortMultipart))
    }

    /// Makes a signed link with which a client stores one part by PUT.
    ///
    /// # Errors
    /// `Unsupported` if the driver makes no such links; the message says what to configure.
    /// `InvalidInput` for a number or an expiry out of range, `TooLarge` for a length above the
    /// part size.
    pub async fn part_url(&self, number: u32, options: PartUrlOptions) -> Result<Link> {
        let link = async {
            let multipart = self.multipart()?;
            check_number(number, multipart)?;
            if let (Some(length), Some(part_size)) = (options.content_length, self.part_size())
                && length > part_size
            {
                return Err(part_too_large(length, part_size));
            }
            multipart.part_url(&self.key, &self.id, number, &options).await
        };
        link.await.map_err(|error| self.with_context(error, Operation::Url))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.storage.driver().multipart()
    }

    /// Refuses a payload that is larger than a part, before its bytes are read if possible.
    fn check_size(&self, payload: Payload, multipart: &dyn Multipart) -> Result<Payload> {
        let Some(part_size) = self.part_size() else { return Ok(payload) };
        // An id may come from a client, and some drivers hold a part in memory.
        multipart.limits().check(part_size, None)?;
        match payload.size() {
            Some(size) if size > part_size => Err(part_too_large(size, part_size)),
            Some(_) => Ok(payload),
            None => Ok(payload.with_max_size(part_size)),
        }
    }

    // No code panics while it holds the lock.
    fn acknowledged(&self) -> MutexGuard<'_, BTreeMap<u32, Part>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_context(&self, error: Error, operation: Operation) -> Error {
        self.storage.with_context(error, operation, self.key.as_str())
    }
}

fn part_too_large(size: u64, part_size: u64) -> Error {
    let message = format!("the part has {size} bytes, but the part size is {part_size} bytes");
    Error::new(ErrorKind::TooLarge, message)
}

fn check_number(number: u32, multipart: &dyn Multipart) -> Result<()> {
    let max_parts = multipart.limits().max_parts;
    if (1..=max_parts).contains(&number) {
        return Ok(());
    }
    let message = format!("there is no part {number}: parts have the numbers 1 to {max_parts}");
    Err(Error::new(ErrorKind::InvalidInput, message))
}
