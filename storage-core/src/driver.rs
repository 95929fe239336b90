//! [`Driver`]: the small trait that every backend and every layer implements.
//!
//! Applications use [`Storage`](crate::Storage). The guarantees that a driver must give are stated
//! at each verb; the conformance suite of `storage-testkit` tests them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use crate::driver_ref::DriverRef;
use crate::entry::EntryStream;
use crate::error::Result;
use crate::forward;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::link_verifier::LinkVerifier;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;

/// A backend, or a layer around one.
///
/// There are no default methods, so a layer that omits a verb does not compile. The handle checks
/// arguments before it calls a driver: keys and prefixes are valid by their type, metadata and
/// ranges have been validated, and a delimiter is never empty.
///
/// A driver need not set the operation, the driver's name and the key of its errors: the handle
/// adds them.
///
/// `save` fails with `InvalidKey` for a key that the backend cannot hold. The other verbs may fail
/// in the same way, or treat the object as one that does not exist.
///
/// Every future may be dropped at any point. A verb whose future was dropped has either happened
/// completely or not at all, and leaves no debris. Of many deletes this holds for each object; of a
/// rename see [`rename`](Driver::rename). A save whose future was dropped before the payload had
/// ended has not happened.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// Returns name, location and capabilities. Called once per handle; must not block.
    fn info(&self) -> DriverInfo;

    /// Returns the driver below all layers, for
    /// [`Storage::driver_as`](crate::Storage::driver_as). Must not block.
    ///
    /// A driver returns itself: `Ok(DriverRef::new(self))`. A layer returns what the driver that it
    /// wraps returns, with its effect on keys: see [`DriverRef::with_prefix`].
    ///
    /// # Errors
    /// `PermissionDenied` if a layer forbids direct access, because it would allow what the layer
    /// refuses. [`ReadOnly`](crate::layers::ReadOnly) does so. `Unsupported` if a layer changes
    /// keys in a way that a prefix cannot express.
    fn innermost(&self) -> Result<DriverRef<'_>>;

    /// Stores the payload and its metadata under the key, all or nothing.
    ///
    /// A reader sees the old object or the new one, whole, with the metadata that belongs to it.
    /// Nothing becomes visible before the payload's stream has ended without an error. If the
    /// stream fails, or the future is dropped before its end, the old object is unchanged and
    /// nothing else is left. The size may be unknown; memory stays bounded regardless of the size.
    /// Metadata that cannot be kept is an error (`Unsupported`), never dropped.
    ///
    /// Returns the metadata of the stored object: its key (which differs from `key` only with
    /// [`SaveMode::UniqueName`](crate::SaveMode::UniqueName)), size, ETag, and the checksums that
    /// the payload computed. What the backend does not return for a save (`last_modified`, on S3)
    /// stays unset: the driver sends no second request for it.
    ///
    /// # Errors
    /// `AlreadyExists` or `PreconditionFailed`, by mode. `InvalidKey` if the backend cannot hold
    /// the key, `Conflict` if its state forbids the key. Every error of the payload, unchanged.
    /// `StorageFull`, `PermissionDenied`, and other errors of the backend.
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta>;

    /// Opens an object, or a range of it.
    ///
    /// The metadata and the bytes are of one version, also if the object is overwritten or deleted
    /// while it is read. Conditions are evaluated before the range. The metadata of a range is that
    /// of the whole object, but its checksums may be missing.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `NotModified`, `RangeNotSatisfiable`, and other errors of
    /// the backend. The body's stream yields an error as its last item if it cannot continue.
    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object>;

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// `NotFound` if it is certain that there is no object. Every other failure has another kind.
    async fn stat(&self, key: &Key) -> Result<ObjectMeta>;

    /// Returns whether there is an object. Returns `false` only if that is certain.
    ///
    /// # Errors
    /// Every failure that leaves the result uncertain, such as `PermissionDenied` or `Timeout`.
    async fn exists(&self, key: &Key) -> Result<bool>;

    /// Deletes an object. Succeeds if there is none.
    ///
    /// # Errors
    /// `PermissionDenied` if the object cannot be deleted, and other errors of the backend. After
    /// `Timeout` or a broken connection the object may be gone nevertheless.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Deletes at most [`MAX_DELETE_MANY`] objects, in as few requests as the backend needs.
    ///
    /// Returns one result for each key, in the order of the keys: the result that
    /// [`delete`](Self::delete) would return. One failure does not prevent the other deletions. A
    /// key may occur more than once. If the whole request fails, its error is the result of each
    /// key. If the future is dropped, each object is still there or gone.
    ///
    /// A driver whose backend has no such request calls [`delete_one_by_one`].
    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>>;

    /// Deletes a folder marker, which a listing yields as
    /// [`Entry::FolderMarker`](crate::Entry::FolderMarker). Succeeds if there is none.
    ///
    /// The name ends in `/`. The empty name denotes no marker. Deletes only the marker: the objects
    /// below it stay. A driver whose backend has no folder markers returns `Ok(())`, sends no
    /// request, and deletes no directory of that name.
    ///
    /// # Errors
    /// `Conflict` if the object of that name is not empty, and so is not a marker. Otherwise as
    /// [`delete`](Self::delete).
    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()>;

    /// Lists the objects whose keys begin with the prefix, in byte order of the key, in bounded
    /// memory.
    ///
    /// No request is sent before the stream is polled. An object that exists from before the first
    /// poll until after the last is listed exactly once.
    ///
    /// An error is the last item, unless the driver marks it with
    /// [`Error::with_listing_continues`](crate::Error::with_listing_continues). It does so if the
    /// failure concerns one name, which is the error's key, and the rest can be listed:
    ///
    /// - a name that is not a valid key (`InvalidKey`, with the raw name);
    /// - a directory that cannot be read (the key ends in `/`), or a file that cannot be looked up.
    ///   With the delimiter `/` a directory need not be read: it is listed as
    ///   [`Entry::Prefix`](crate::Entry::Prefix).
    ///
    /// After such an error everything at and below its key is unknown. A program that deletes what
    /// a listing lacks must keep everything at and below that key. After an error without the mark
    /// it must keep everything that sorts after the last entry.
    ///
    /// A folder marker is an [`Entry::FolderMarker`](crate::Entry::FolderMarker) at its place in
    /// the order. With a delimiter it is rolled up as a key is.
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream;

    /// Copies an object within the storage, with the backend's own copy request if it has one.
    ///
    /// The guarantees of [`save`](Self::save) hold for the destination. Source and destination may
    /// be the same key: then only the metadata changes (if it is replaced). Returns no metadata,
    /// because some backends report none: [`stat`](Self::stat) returns it. If the future is
    /// dropped, the copy has happened or not.
    ///
    /// With [`if_source_match`](CopyOptions::if_source_match) the bytes and the metadata of the
    /// copy are those of that version. The condition is evaluated also if source and destination
    /// are the same key.
    ///
    /// # Errors
    /// `NotFound` if there is no source, `PreconditionFailed` if it is not the version of
    /// `if_source_match`, `Unsupported` if the backend does not evaluate this condition; for the
    /// destination the errors of [`save`](Self::save).
    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()>;

    /// Moves an object to another key of the storage, with its bytes and its metadata.
    ///
    /// The guarantees of [`save`](Self::save) hold for the destination: a reader of `to` sees the
    /// object that was there or the whole moved one. After success there is no object under `from`,
    /// unless it was saved again. If source and destination are the same key, nothing changes and
    /// the condition is evaluated.
    ///
    /// A backend that renames in one step does so (a file system). Another driver copies the
    /// source, and then deletes it only if it is still the version that it copied, as far as the
    /// backend can compare them. If such a rename fails or is dropped between the two, both objects
    /// exist: no object is lost. A save of the source during a rename is moved, or stays under
    /// `from`.
    ///
    /// The ETag and the time of the moved object are those of the source, or new ones.
    ///
    /// # Errors
    /// `NotFound` if there is no source, `PreconditionFailed` if it is not the version of
    /// [`if_source_match`](RenameOptions::if_source_match), `AlreadyExists` by mode; as `save` for
    /// the destination. An error is retryable only if a second attempt cannot find the effect of
    /// the first.
    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()>;

    /// Makes a link. Does not check whether the object exists.
    ///
    /// # Errors
    /// `Unsupported` if this driver, as it is configured, cannot make such a link; the message
    /// states what to configure.
    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link>;

    /// Returns how a server at the public URL verifies the signed links that [`url`](Self::url)
    /// makes. Must not block.
    ///
    /// A driver that signs with a [`SigningKey`](crate::signed_url::SigningKey) returns a verifier
    /// with that key and its base. A layer returns what the driver that it wraps returns, with its
    /// effect on keys and uploads: see [`LinkVerifier::with_prefix`] and
    /// [`LinkVerifier::read_only`].
    ///
    /// # Errors
    /// `InvalidConfig` if the driver can sign such links but is not configured to do so; the
    /// message states what to configure. `Unsupported` if it cannot, or if a layer changes keys in
    /// a way that a prefix cannot express.
    fn link_verifier(&self) -> Result<LinkVerifier>;

    /// Returns the multipart uploads of this driver, an optional extension. Must not block.
    ///
    /// A layer returns what the driver that it wraps returns, or itself if it changes something
    /// about them.
    ///
    /// # Errors
    /// `Unsupported` if the driver has none, as it is configured; the message says what to do
    /// instead. `PermissionDenied` if a layer forbids them.
    fn multipart(&self) -> Result<&dyn Multipart>;
}

#[async_trait]
impl<D: Driver + ?Sized> Driver for Arc<D> {
    forward! {
        to **self: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// The largest number of keys that one call of [`Driver::delete_many`] receives: the limit of one
/// S3 request (API reference, `DeleteObjects`).
pub const MAX_DELETE_MANY: usize = 1000;

/// How many deletes [`delete_one_by_one`] runs at a time.
const DELETES_AT_A_TIME: usize = 16;

/// Implements [`Driver::delete_many`] for a backend that has no such request: calls
/// [`delete`](Driver::delete) for each key, for 16 keys at a time.
///
/// If the future is dropped, the remaining keys are not deleted. Each deletion that had begun may
/// or may not take effect.
pub async fn delete_one_by_one<D: Driver + ?Sized>(driver: &D, keys: &[Key]) -> Vec<Result<()>> {
    let deletes: Vec<_> = keys.iter().map(|key| driver.delete(key)).collect();
    stream::iter(deletes).buffered(DELETES_AT_A_TIME).collect().await
}

/// The name, the location and the capabilities of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The name that the option `driver` selects it by: `"fs"`.
    pub name: Cow<'static, str>,
    /// Where it keeps its objects, for people: `"/var/lib/app/media"`, `"s3://bucket/prefix"`.
    /// Contains no credentials.
    pub location: String,
    /// What it supports, as it is configured.
    pub capabilities: Capabilities,
}

impl DriverInfo {
    /// Creates the description of a driver.
    #[must_use]
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        location: impl Into<String>,
        capabilities: Capabilities,
    ) -> Self {
        Self { name: name.into(), location: location.into(), capabilities }
    }
}

/// What a driver supports beyond reading. A verb or mode that is `false` here fails with
/// `Unsupported`, or with `PermissionDenied` if a layer forbids it (the read-only layer).
///
/// Use it to decide early, as in a user interface or in the plan of a migration. The result of the
/// verb itself is authoritative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `save` and `delete` work.
    pub write: bool,
    /// `list` works.
    pub list: bool,
    /// `copy` works.
    pub copy: bool,
    /// `rename` works.
    pub rename: bool,
    /// `save` supports [`SaveMode::CreateNew`](crate::SaveMode::CreateNew) without a race.
    pub create_new: bool,
    /// `save` supports [`SaveMode::IfMatch`](crate::SaveMode::IfMatch).
    pub save_if_match: bool,
    /// Headers and user metadata are kept.
    pub metadata: bool,
    /// `url` makes public links.
    pub public_url: bool,
    /// `url` makes signed links for GET.
    pub signed_get: bool,
    /// `url` makes signed links for PUT.
    pub signed_put: bool,
    /// `url` makes signed forms for POST.
    pub signed_post: bool,
}

impl Capabilities {
    /// Returns all capabilities that need no web server: writing, listing, copying, renaming,
    /// conditions and metadata, but no links.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            write: true,
            list: true,
            copy: true,
            rename: true,
            create_new: true,
            save_if_match: true,
            metadata: true,
            public_url: false,
            signed_get: false,
            signed_put: false,
            signed_post: false,
        }
    }

    /// Returns the capabilities of a driver that only reads: all are `false`, and only `open`,
    /// `stat` and `exists` work.
    #[must_use]
    pub const fn read_only() -> Self {
        Self {
            write: false,
            list: false,
            copy: false,
            rename: false,
            create_new: false,
            save_if_match: false,
            metadata: false,
            ..Self::full()
        }
    }
}
