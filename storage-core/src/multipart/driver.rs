//! [`Multipart`]: the extension of [`Driver`](crate::Driver) for multipart uploads.

use async_trait::async_trait;

use crate::error::Result;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{
    CompleteOptions, MultipartLimits, MultipartOptions, Part, PartStream, PartUrlOptions, UploadId,
    UploadStream,
};
use crate::payload::Payload;

/// The multipart uploads of a driver: uploads that outlive the process which began them.
///
/// [`Driver::multipart`](crate::Driver::multipart) returns it. A layer implements it too, or passes
/// that of the inner driver on.
///
/// An upload belongs to one key. It is in progress from [`begin`](Self::begin) until it is
/// completed or aborted, and survives the end of every process. Nothing of it is visible under the
/// key before it is completed. Any number of processes may use one upload at the same time.
///
/// `put_part` and `parts` fail with `NotFound` if the key has no unfinished upload of that id: it
/// was completed, aborted or swept, or is the upload of another key. So does `complete`, unless
/// the object under the key is the one of this upload. `abort` then succeeds, and `part_url` does
/// not check it. An id never gives access to anything outside of its key.
///
/// Parts are numbered from 1. All have the part size of the upload, except the last one, which may
/// be shorter. The handle has checked the number and the limits before it calls a driver.
///
/// If a future is dropped, its verb has happened completely or not at all, and the upload stays
/// usable.
#[async_trait]
pub trait Multipart: Send + Sync {
    /// Returns what the backend accepts. Must not block.
    fn limits(&self) -> MultipartLimits;

    /// Begins an upload and returns its id.
    ///
    /// The id contains the upload's plan, so that it is all that a later process needs. A driver
    /// always receives a content type, a [`part_size`](MultipartOptions::part_size) within its
    /// limits, and a mode and a checksum that they allow. The mode is evaluated at completion.
    ///
    /// If the future is dropped, an upload may remain whose id is lost. [`uploads`](Self::uploads)
    /// lists it.
    ///
    /// # Errors
    /// As [`Driver::save`](crate::Driver::save), without those of the payload and the mode.
    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId>;

    /// Stores one part, all or nothing, and returns what describes it.
    ///
    /// A part that was acknowledged is kept until the upload ends, also if the machine fails, as
    /// far as the driver promises this for a save. A part of the same number replaces the earlier
    /// one in one step. The same bytes may be sent again: the part is then equal. Parts may be sent
    /// in any order and at the same time; of two of the same number one stays, whole.
    ///
    /// # Errors
    /// `NotFound` if there is no such upload, `TooLarge` if the payload is larger than the part
    /// size, every error of the payload, and other errors as for a save. The part that was stored
    /// before, if any, is then unchanged, or replaced by the whole new one.
    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part>;

    /// Lists the parts that are stored, in the order of their numbers, in bounded memory.
    ///
    /// No request is sent before the stream is polled. An error is the last item: `NotFound` if
    /// there is no such upload.
    fn parts(&self, key: &Key, id: &UploadId) -> PartStream;

    /// Makes the object visible, all or nothing.
    ///
    /// Compares the stored parts with the plan and with those of the options by
    /// [`check_parts`](crate::check_parts), evaluates the mode, and stores the object with the
    /// metadata of the beginning. The guarantees of a save hold. Succeeds again if the object under
    /// the key is the one of this upload, after [`check_completed`](crate::check_completed).
    /// Returns the metadata as a save does.
    ///
    /// # Errors
    /// `NotFound` if there is no such upload and the object is not the one of this upload. The
    /// errors of `check_parts`. `AlreadyExists` or `PreconditionFailed` by mode. After an error
    /// the upload is still there, unless the error is `NotFound`; after `Timeout` or a broken
    /// connection it may be complete.
    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta>;

    /// Removes an unfinished upload with all its parts. Succeeds if there is none.
    ///
    /// Never deletes an object. A part that is being stored meanwhile fails or is removed too.
    ///
    /// # Errors
    /// `PermissionDenied` and other errors of the backend.
    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()>;

    /// Lists the unfinished uploads of the keys that begin with the prefix, in byte order of the
    /// key, in bounded memory.
    ///
    /// No request is sent before the stream is polled. An error is the last item, except that of an
    /// upload whose name is not a valid key or that cannot be read, after which the
    /// [listing continues](crate::Error::listing_continues). Uploads that other programs began are
    /// listed too if the backend has them in the same place.
    fn uploads(&self, prefix: &Prefix) -> UploadStream;

    /// Makes a signed link with which a client stores one part by PUT. Does not check whether the
    /// upload exists.
    ///
    /// # Errors
    /// `Unsupported` if the driver makes no such links; the message says what to configure.
    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link>;
}
