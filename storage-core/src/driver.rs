//! [`Driver`]: the small trait that every backend and every layer implements.
//!
//! Applications use [`Storage`](crate::Storage). Whoever writes a driver finds the guarantees here,
//! verb by verb; the conformance suite of `storage-testkit` proves them.

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
use crate::metadata::ObjectMeta;
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlOptions};
use crate::payload::Payload;

/// A backend, or a layer around one.
///
/// There are no default methods: a layer that forgets a verb does not compile. Arguments are
/// checked before they come here: keys and prefixes are valid by their type, metadata and ranges
/// have been validated, a delimiter is never empty.
///
/// Errors need neither operation nor driver nor key: the handle adds them.
///
/// A key that the backend cannot hold is refused by `save` with `InvalidKey`. The other verbs may
/// say the same of it, or what they say of an object that is not there.
///
/// Every future may be dropped at any point. A verb whose future was dropped has either happened
/// completely or not at all (of many deletes, each for itself), and leaves no debris; a save
/// dropped while it still waits for its payload has not happened.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// Who this is. Called once per handle; must not block.
    fn info(&self) -> DriverInfo;

    /// Returns the driver below all layers, for
    /// [`Storage::driver_as`](crate::Storage::driver_as). Must not block.
    ///
    /// A driver returns itself: `Ok(DriverRef::new(self))`. A layer returns what the driver that it
    /// wraps returns, with its effect on keys: see [`DriverRef::with_prefix`].
    ///
    /// # Errors
    /// `PermissionDenied` if a layer forbids direct access, because it would allow what the layer
    /// refuses. [`ReadOnly`](crate::layers::ReadOnly) does so. `Unsupported` if a layer changes keys
    /// in a way that a prefix cannot express.
    fn innermost(&self) -> Result<DriverRef<'_>>;

    /// Stores the payload and its metadata under the key, all or nothing.
    ///
    /// A reader sees the old object or the new one, whole, with the metadata that belongs to it.
    /// When this returns an error or is dropped, the old object is as it was and nothing else is
    /// left behind. Nothing becomes visible before the payload's stream has ended without an error.
    /// The size may be unknown; memory stays bounded whatever the size. Metadata that cannot be
    /// kept is an error (`Unsupported`), never dropped.
    ///
    /// Answers the stored object's metadata: its key (another one than asked for with
    /// [`SaveMode::UniqueName`](crate::SaveMode::UniqueName) only), size, ETag, and the checksums
    /// that the payload computed. What the backend does not tell at a save (`last_modified`, on S3)
    /// stays unset: no second request is made for it.
    ///
    /// # Errors
    /// `AlreadyExists` and `PreconditionFailed` by mode; `Conflict`, `InvalidKey` if the backend
    /// cannot hold the key; whatever the payload yields, unchanged; `StorageFull`,
    /// `PermissionDenied` and the like.
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta>;

    /// Opens an object, or a range of it.
    ///
    /// The metadata and the bytes are of one version, also if the object is overwritten or deleted
    /// while it is read. Conditions are evaluated before the range. The metadata of a range is that
    /// of the whole object, but its checksums may be missing.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, `NotModified`, `RangeNotSatisfiable` and the like. The
    /// body's stream yields an error, as its last item, if it cannot go on.
    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object>;

    /// Tells all that is known of an object.
    ///
    /// # Errors
    /// `NotFound` if it is certain that there is none; anything else for any doubt.
    async fn stat(&self, key: &Key) -> Result<ObjectMeta>;

    /// Tells whether there is an object. `false` is said only when that is certain.
    ///
    /// # Errors
    /// Any doubt: no permission, a timeout, a failure.
    async fn exists(&self, key: &Key) -> Result<bool>;

    /// Removes an object. That there is none is `Ok`.
    ///
    /// # Errors
    /// `PermissionDenied` and the like; then the object is still there.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes many objects: at most [`MAX_DELETE_MANY`], in as few requests as the backend needs.
    ///
    /// Answers once for each key, in the order of the keys, and each answer is what
    /// [`delete`](Self::delete) would say: that there is no object is `Ok`, and a key that cannot
    /// be removed does not keep the others. A key may be there twice. When the whole request fails,
    /// each key has its error. Dropped, each object is still there or gone.
    ///
    /// A backend that has no such request uses [`delete_one_by_one`].
    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>>;

    /// Removes a folder marker, which a listing yields as
    /// [`Entry::FolderMarker`](crate::Entry::FolderMarker). Succeeds if there is none.
    ///
    /// The name ends in `/`, or is empty, which names nothing. Only the marker goes: the objects
    /// below it stay. A driver whose backend has no folder markers returns `Ok(())` and sends no
    /// request. In particular it does not remove a directory of that name.
    ///
    /// # Errors
    /// `Conflict` if the object of that name is not empty, and so is not a marker.
    /// `PermissionDenied` and the like; then the marker is still there.
    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()>;

    /// Lists the objects whose keys begin with the prefix, in byte order of the key, in bounded
    /// memory.
    ///
    /// Nothing is asked of the backend before the stream is polled. An object that is there from
    /// before the first poll until after the last is listed once.
    ///
    /// An error is the last item, unless the driver marks it with
    /// [`Error::with_listing_continues`](crate::Error::with_listing_continues). It does so when the
    /// trouble concerns one name, which is the error's key, and the rest can be listed:
    ///
    /// - a name that is not a valid key (`InvalidKey`, with the raw name);
    /// - a directory that cannot be read (the key ends in `/`), or a file that cannot be looked up.
    ///   With the delimiter `/` a directory need not be read: it is listed as a common beginning.
    ///
    /// After such an error everything at and below its key is unknown. A program that deletes what
    /// a listing lacks must keep everything below that key, and after an error without the mark
    /// everything that sorts after the last entry.
    ///
    /// A folder marker is an [`Entry::FolderMarker`](crate::Entry::FolderMarker) at its place in
    /// the order. With a delimiter it is rolled up as a key is.
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream;

    /// Copies an object within the storage, by the backend's own means where it has them.
    ///
    /// The guarantees of [`save`](Self::save) hold for the destination. Source and destination may
    /// be the same key: then only the metadata changes (if it is replaced). Says nothing of the
    /// copy: some backends tell nothing of it, and who wants to know asks [`stat`](Self::stat).
    ///
    /// # Errors
    /// `NotFound` if there is no source; as `save` for the destination.
    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()>;

    /// Makes a link. Does not look whether the object exists.
    ///
    /// # Errors
    /// `Unsupported` if this driver, as it is configured, cannot make such a link, with what to
    /// configure.
    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link>;
}

#[async_trait]
impl<D: Driver + ?Sized> Driver for Arc<D> {
    forward! {
        to **self: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, url
    }
}

/// The most keys that one [`Driver::delete_many`] is given: what one request of S3 takes.
pub const MAX_DELETE_MANY: usize = 1000;

/// How many deletes [`delete_one_by_one`] has under way.
const DELETES_AT_A_TIME: usize = 16;

/// [`Driver::delete_many`] for a backend that has no such request: a [`delete`](Driver::delete) for
/// each key, 16 at a time.
///
/// Dropped, it stops; the deletes that were under way have happened or not.
pub async fn delete_one_by_one<D: Driver + ?Sized>(driver: &D, keys: &[Key]) -> Vec<Result<()>> {
    let deletes: Vec<_> = keys.iter().map(|key| driver.delete(key)).collect();
    stream::iter(deletes).buffered(DELETES_AT_A_TIME).collect().await
}

/// Who a driver is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The name it registers under: `"fs"`.
    pub name: Cow<'static, str>,
    /// Where it keeps its objects, for people: `"/var/lib/app/media"`, `"s3://bucket/prefix"`. No
    /// credentials.
    pub location: String,
    /// What it can do, as it is configured.
    pub capabilities: Capabilities,
}

impl DriverInfo {
    /// Name and location, with no capability beyond what the contract demands.
    #[must_use]
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        location: impl Into<String>,
        capabilities: Capabilities,
    ) -> Self {
        Self { name: name.into(), location: location.into(), capabilities }
    }
}

/// What a driver can do beyond reading. A verb or mode that is `false` here answers `Unsupported`,
/// or `PermissionDenied` where it was forbidden (the read-only layer).
///
/// For deciding early (a user interface, a migration's plan, which conformance cases apply); the
/// verbs themselves remain the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `save` and `delete` work.
    pub write: bool,
    /// `list` works.
    pub list: bool,
    /// `copy` works.
    pub copy: bool,
    /// Saves take [`SaveMode::CreateNew`](crate::SaveMode::CreateNew) and are race-free about it.
    pub create_new: bool,
    /// Saves take [`SaveMode::IfMatch`](crate::SaveMode::IfMatch).
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
    /// Everything that needs no web server: reading, writing, listing, copying, conditions,
    /// metadata.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            write: true,
            list: true,
            copy: true,
            create_new: true,
            save_if_match: true,
            metadata: true,
            public_url: false,
            signed_get: false,
            signed_put: false,
            signed_post: false,
        }
    }

    /// `open`, `stat` and `exists` alone.
    #[must_use]
    pub const fn read_only() -> Self {
        Self {
            write: false,
            list: false,
            copy: false,
            create_new: false,
            save_if_match: false,
            metadata: false,
            ..Self::full()
        }
    }
}
