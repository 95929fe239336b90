//! [`Storage`]: the handle that applications hold, and the builders its verbs return.
//!
//! Everything that is the same for all drivers happens here, once: arguments are checked, content
//! types guessed, errors told apart by operation, driver and key.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};

use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::content_type;
use crate::delete_many::DeleteMany;
use crate::delete_prefix::DeletePrefix;
use crate::driver::{Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::entry::{Entry, EntryStream};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, IntoPrefix, Key, Prefix};
use crate::layers;
use crate::link::Link;
use crate::metadata::{Metadata, ObjectMeta};
use crate::object::Object;
use crate::options::{
    CopyMode, CopyOptions, ListOptions, MetadataDirective, OpenOptions, SaveMode, SaveOptions,
};
use crate::payload::Payload;
use crate::range::ByteRange;
use crate::url_builder::UrlBuilder;

/// A place to keep files in. Cheap to clone, and all clones are the same place.
///
/// Verbs with options return builders that are awaited:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let meta = storage.save("avatars/ada.png", &b"\x89PNG"[..]).cache_control("public, max-age=60").await?;
/// assert_eq!(meta.content_type(), Some("image/png"));
///
/// let start = storage.open("avatars/ada.png").range(0..2).await?.bytes().await?;
/// assert_eq!(&start[..], b"\x89P");
/// assert!(storage.exists("avatars/ada.png").await?);
/// storage.delete("avatars/ada.png").await?;
/// # Ok(()) }
/// ```
///
/// Every error names the operation, the driver and the key. A key can be given as text (checked
/// when the verb runs: `InvalidKey`) or as a [`Key`].
#[derive(Clone)]
pub struct Storage {
    driver: Arc<dyn Driver>,
    info: Arc<DriverInfo>,
}

impl Storage {
    /// A handle on a driver.
    pub fn new(driver: impl Driver) -> Self {
        Self::from_arc(Arc::new(driver))
    }

    /// A handle on a driver that others hold too.
    #[must_use]
    pub fn from_arc(driver: Arc<dyn Driver>) -> Self {
        let info = Arc::new(driver.info());
        Self { driver, info }
    }

    /// Who the driver is, and what it can do.
    #[must_use]
    pub fn info(&self) -> &DriverInfo {
        &self.info
    }

    /// The driver itself, to put another layer around it.
    #[must_use]
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// Returns the driver below all layers with its own type, for methods beyond the contract.
    ///
    /// Calls on it bypass the layers: see [`DriverRef`], which also converts keys.
    ///
    /// ```
    /// use storage_core::Memory;
    ///
    /// let media = Memory::storage().prefixed("media")?;
    /// let memory = media.driver_as::<Memory>()?;
    /// assert_eq!(memory.key("ada.png")?.as_str(), "media/ada.png");
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` if the driver is of another type, which the message names. `PermissionDenied`
    /// if a layer forbids direct access, as [`read_only`](Self::read_only) does.
    pub fn driver_as<T: Driver>(&self) -> Result<DriverRef<'_, T>> {
        let driver = self.driver.innermost().and_then(DriverRef::downcast);
        driver.map_err(|error| error.with_driver(self.info.name.clone()))
    }

    /// The same storage with a layer around it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use storage_core::{Memory, layers::Timeout};
    ///
    /// let storage = Memory::storage().layer(|inner| Timeout::new(inner, Duration::from_secs(10)));
    /// ```
    #[must_use]
    pub fn layer<D: Driver>(&self, wrap: impl FnOnce(Arc<dyn Driver>) -> D) -> Self {
        Self::new(wrap(Arc::clone(&self.driver)))
    }

    /// The part of this storage below a prefix, as a storage of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// let avatars = storage.prefixed("avatars")?;
    /// avatars.save("ada.png", "...").await?;
    /// assert!(storage.exists("avatars/ada.png").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidKey` if the prefix could not be the beginning of a key.
    pub fn prefixed(&self, prefix: impl AsRef<str>) -> Result<Self> {
        Ok(Self::new(layers::Prefixed::new(Arc::clone(&self.driver), prefix.as_ref())?))
    }

    /// This storage for reading only: whatever would change it is `PermissionDenied`.
    #[must_use]
    pub fn read_only(&self) -> Self {
        self.layer(layers::ReadOnly::new)
    }

    /// Saves an object: see [`Save`]. Answers the metadata of what is stored.
    pub fn save(&self, key: impl IntoKey, payload: impl Into<Payload>) -> Save {
        Save {
            storage: self.clone(),
            key: key.into_key(),
            payload: payload.into(),
            options: SaveOptions::default(),
        }
    }

    /// Opens an object: see [`Open`].
    pub fn open(&self, key: impl IntoKey) -> Open {
        Open { storage: self.clone(), key: key.into_key(), options: OpenOptions::default() }
    }

    /// All that is known of an object.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn stat(&self, key: impl IntoKey) -> Result<ObjectMeta> {
        let key = self.checked(Operation::Stat, key.into_key())?;
        self.driver
            .stat(&key)
            .await
            .map_err(|error| self.told(error, Operation::Stat, key.as_str()))
    }

    /// Whether there is an object; `false` only when that is certain.
    ///
    /// # Errors
    /// Any doubt: no permission, a timeout, a failure.
    pub async fn exists(&self, key: impl IntoKey) -> Result<bool> {
        let key = self.checked(Operation::Exists, key.into_key())?;
        self.driver
            .exists(&key)
            .await
            .map_err(|error| self.told(error, Operation::Exists, key.as_str()))
    }

    /// Removes an object. That there is none is `Ok`.
    ///
    /// # Errors
    /// `PermissionDenied` and the like; then the object is still there.
    pub async fn delete(&self, key: impl IntoKey) -> Result<()> {
        let key = self.checked(Operation::Delete, key.into_key())?;
        self.driver
            .delete(&key)
            .await
            .map_err(|error| self.told(error, Operation::Delete, key.as_str()))
    }

    /// Removes many objects, in as few requests as the backend needs: see [`DeleteMany`].
    pub fn delete_many<S>(&self, keys: S) -> DeleteMany
    where
        S: Stream + Send + 'static,
        S::Item: IntoKey,
    {
        DeleteMany::new(self.clone(), keys.map(IntoKey::into_key).boxed())
    }

    /// Removes everything below a directory, such as `"avatars/"`: objects and folder markers. See
    /// [`DeletePrefix`].
    ///
    /// The prefix ends in `/`, so that `avatars/` does not remove `avatars-old/x`. Any other one is
    /// `InvalidInput`, and so is `""`: call [`delete_everything`](Self::delete_everything).
    pub fn delete_prefix(&self, prefix: impl IntoPrefix) -> DeletePrefix {
        DeletePrefix::new(self.clone(), prefix.into_prefix().and_then(checked_directory))
    }

    /// Removes every object and every folder marker of this storage: see [`DeletePrefix`].
    ///
    /// Of a storage that [`prefixed`](Self::prefixed) has made, that is what is below its prefix.
    pub fn delete_everything(&self) -> DeletePrefix {
        DeletePrefix::new(self.clone(), Ok(Prefix::empty()))
    }

    /// Removes a folder marker, which [`List::with_folder_markers`] shows. Succeeds if there is
    /// none.
    ///
    /// Only the marker goes; the objects below it stay. Backends without folder markers do nothing.
    /// Dropped, the marker is gone or still there.
    ///
    /// # Errors
    /// `InvalidInput` if the name does not end in `/`, `Conflict` if the object of that name is not
    /// empty, `PermissionDenied` and the like.
    pub async fn delete_folder_marker(&self, marker: impl IntoPrefix) -> Result<()> {
        let marker = marker.into_prefix().and_then(|marker| match marker.as_str() {
            "" => Ok(marker),
            _ => checked_directory(marker),
        });
        let marker = marker.map_err(|error| self.told(error, Operation::Delete, ""))?;
        let deleted = self.driver.delete_folder_marker(&marker).await;
        deleted.map_err(|error| self.told(error, Operation::Delete, marker.as_str()))
    }

    /// Lists the objects whose keys begin with a prefix: see [`List`]. `""` lists all.
    pub fn list(&self, prefix: impl IntoPrefix) -> List {
        List {
            storage: self.clone(),
            prefix: prefix.into_prefix(),
            options: ListOptions::default(),
            folder_markers: false,
        }
    }

    /// Copies an object within this storage: see [`CopyObject`].
    pub fn copy(&self, from: impl IntoKey, to: impl IntoKey) -> CopyObject {
        CopyObject {
            storage: self.clone(),
            from: from.into_key(),
            to: to.into_key(),
            options: CopyOptions::default(),
        }
    }

    /// Makes a link to an object: see [`UrlBuilder`]. Does not look whether it exists.
    pub fn url(&self, key: impl IntoKey) -> UrlBuilder {
        UrlBuilder::new(self.clone(), key.into_key())
    }

    /// Adds to an error what the driver need not say.
    pub(crate) fn told(&self, error: Error, operation: Operation, key: &str) -> Error {
        error.with_operation(operation).with_driver(self.info.name.clone()).with_key(key)
    }

    pub(crate) fn checked(&self, operation: Operation, key: Result<Key>) -> Result<Key> {
        key.map_err(|error| self.with_driver(error, operation))
    }

    /// Adds operation and driver to an error that has a key or concerns none.
    pub(crate) fn with_driver(&self, error: Error, operation: Operation) -> Error {
        error.with_operation(operation).with_driver(self.info.name.clone())
    }
}

/// Refuses a prefix that does not name a directory.
fn checked_directory(prefix: Prefix) -> Result<Prefix> {
    if prefix.as_str().ends_with('/') {
        return Ok(prefix);
    }
    let message = if prefix.is_empty() {
        "an empty prefix means every object of the storage: call delete_everything if that is what you want".to_owned()
    } else {
        format!(
            "{prefix:?} also begins the keys of other directories: write \"{prefix}/\" for what is inside"
        )
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with_key(prefix.as_str()))
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("driver", &self.info.name)
            .field("location", &self.info.location)
            .finish()
    }
}

/// A save that has not been sent off yet. Await it for the metadata of what is stored, as far as
/// the backend tells it at a save: key, size, ETag and checksums, but not `last_modified`
/// everywhere.
///
/// All or nothing: a reader sees the old object or the new one, whole; if the payload fails or the
/// future is dropped, the old object is untouched and nothing is left behind.
///
/// Without a content type, one is guessed from the key, then from the first bytes.
#[derive(Debug)]
#[must_use = "nothing is saved until it is awaited"]
pub struct Save {
    storage: Storage,
    key: Result<Key>,
    payload: Payload,
    options: SaveOptions,
}

impl Save {
    /// `AlreadyExists` if there is an object already. Of any number of concurrent callers one
    /// succeeds.
    pub fn create_new(mut self) -> Self {
        self.options.mode = SaveMode::CreateNew;
        self
    }

    /// `PreconditionFailed` unless the object is this version. `Unsupported` where the backend has
    /// no such condition.
    pub fn if_match(mut self, etag: ETag) -> Self {
        self.options.mode = SaveMode::IfMatch(etag);
        self
    }

    /// Never replaces: if the key is taken, the object is saved under a similar one. The answer
    /// says which.
    pub fn unique_name(mut self) -> Self {
        self.options.mode = SaveMode::UniqueName;
        self
    }

    /// Sets all metadata at once, as when copying from another storage. Later setters change single
    /// fields.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.options.metadata = metadata;
        self
    }

    /// Sets `Content-Type` instead of guessing it.
    pub fn content_type(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_type(value))
    }

    /// Sets `Content-Encoding`. The bytes are stored as given.
    pub fn content_encoding(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_encoding(value))
    }

    /// Sets `Content-Disposition`.
    pub fn content_disposition(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_disposition(value))
    }

    /// Sets `Content-Language`.
    pub fn content_language(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.content_language(value))
    }

    /// Sets `Cache-Control`.
    pub fn cache_control(self, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.cache_control(value))
    }

    /// Sets `Expires`.
    pub fn expires(self, at: SystemTime) -> Self {
        self.with_metadata(|metadata| metadata.expires(at))
    }

    /// Adds a name and a value of the user's own.
    pub fn user_metadata(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.user(name, value))
    }

    /// Refuses a larger payload with `TooLarge`; nothing is left of it.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.payload = self.payload.with_max_size(bytes);
        self
    }

    /// Refuses other bytes than those with this checksum, with `Integrity`; nothing is left of
    /// them. The checksum is kept with the object.
    pub fn expect_checksum(mut self, checksum: Checksum) -> Self {
        self.payload = self.payload.with_expected_checksum(checksum);
        self
    }

    /// Computes a checksum on the way and keeps it with the object.
    pub fn compute_checksum(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.payload = self.payload.with_computed_checksum(algorithm);
        self
    }

    fn with_metadata(mut self, set: impl FnOnce(Metadata) -> Metadata) -> Self {
        self.options.metadata = set(self.options.metadata);
        self
    }

    async fn run(self) -> Result<ObjectMeta> {
        let Self { storage, key, mut payload, mut options } = self;
        let key = storage.checked(Operation::Save, key)?;
        let told = |error| storage.told(error, Operation::Save, key.as_str());
        // A storage that cannot be written to refuses before anybody waits for the first bytes.
        if options.metadata.content_type.is_none() && storage.info.capabilities.write {
            options.metadata.content_type =
                Some(content_type::of_payload(&key, &mut payload).await.map_err(told)?);
        }
        options.metadata = options.metadata.validated().map_err(told)?;
        storage.driver.save(&key, payload, &options).await.map_err(told)
    }
}

/// An open that has not been sent off yet. Await it for an [`Object`].
#[derive(Debug)]
#[must_use = "nothing is opened until it is awaited"]
pub struct Open {
    storage: Storage,
    key: Result<Key>,
    options: OpenOptions,
}

impl Open {
    /// Only these bytes: `0..1024`, `1024..`, `0..=1023`, [`ByteRange::last`].
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.options.range = Some(range.into());
        self
    }

    /// `PreconditionFailed` unless the object is this version.
    pub fn if_match(mut self, etag: ETag) -> Self {
        self.options.if_match = Some(etag);
        self
    }

    /// `NotModified` if the object is still this version.
    pub fn if_none_match(mut self, etag: ETag) -> Self {
        self.options.if_none_match = Some(etag);
        self
    }

    /// `NotModified` if the object has not been saved since, in whole seconds.
    pub fn if_modified_since(mut self, time: SystemTime) -> Self {
        self.options.if_modified_since = Some(time);
        self
    }

    /// Allows an object of unknown size, which is whole whatever the range. See
    /// [`OpenOptions::allow_unknown_size`].
    pub fn allow_unknown_size(mut self) -> Self {
        self.options.allow_unknown_size = true;
        self
    }

    async fn run(self) -> Result<Object> {
        let Self { storage, key, mut options } = self;
        let key = storage.checked(Operation::Open, key)?;
        let told = |error| storage.told(error, Operation::Open, key.as_str());
        options.range = options.range.map(ByteRange::validated).transpose().map_err(told)?;
        let object = storage.driver.open(&key, &options).await.map_err(told)?;
        Ok(object.with_driver(storage.info.name.clone()))
    }
}

/// A listing that has not begun yet.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("a/1", "").await?;
/// storage.save("a/b/2", "").await?;
/// let mut entries = storage.list("a/").delimiter("/").entries();
/// let mut names = Vec::new();
/// while let Some(entry) = entries.next().await {
///     names.push(entry?.name().to_owned());
/// }
/// assert_eq!(names, ["a/1", "a/b/"]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is listed until its entries are read"]
pub struct List {
    storage: Storage,
    prefix: Result<Prefix>,
    options: ListOptions,
    folder_markers: bool,
}

impl List {
    /// Rolls up keys that have this text after the prefix into one entry. `"/"` lists one level.
    pub fn delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.options.delimiter = Some(delimiter.into());
        self
    }

    /// Only entries whose name sorts after this text: the last one seen, to go on from there.
    pub fn start_after(mut self, name: impl Into<String>) -> Self {
        self.options.start_after = Some(name.into());
        self
    }

    /// Yields folder markers too, as [`Entry::FolderMarker`]. Without it they are passed over, and
    /// [`Entries::folder_markers`] counts them.
    pub fn with_folder_markers(mut self) -> Self {
        self.folder_markers = true;
        self
    }

    /// The entries, in byte order of their names.
    #[must_use]
    pub fn entries(self) -> Entries {
        let Self { storage, prefix, options, folder_markers } = self;
        let prefix = prefix.and_then(|prefix| match options.delimiter.as_deref() {
            Some("") => Err(Error::new(
                ErrorKind::InvalidInput,
                "the delimiter is empty: leave it unset to list all levels",
            )),
            _ => Ok(prefix),
        });
        let (entries, prefix) = match prefix {
            Ok(prefix) => (storage.driver.list(&prefix, &options), prefix.to_string()),
            Err(error) => (stream::iter([Err(error)]).boxed(), String::new()),
        };
        Entries {
            entries,
            prefix,
            storage,
            yields_folder_markers: folder_markers,
            folder_markers: 0,
        }
    }
}

/// The entries of a listing: a `Stream`, with [`next`](Self::next) at hand for those who need no
/// more.
pub struct Entries {
    entries: EntryStream,
    prefix: String,
    storage: Storage,
    yields_folder_markers: bool,
    folder_markers: u64,
}

impl Entries {
    /// Returns the next entry; `None` at the end.
    ///
    /// After an error that [continues the listing](Error::listing_continues) the next entries
    /// follow: one name is not a valid key, or one directory cannot be read. What is at and below
    /// the error's key is unknown. Any other error is the last item. A program that deletes what a
    /// listing lacks must keep what is unknown.
    ///
    /// Cancel-safe: an entry that was not returned is not lost.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        StreamExt::next(self).await
    }

    /// All entries in memory: for listings known to be short. Folder markers are no entries and no
    /// errors.
    ///
    /// # Errors
    /// The first error item, odd names included.
    pub async fn collect(mut self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await {
            all.push(entry?);
        }
        Ok(all)
    }

    /// Returns how many [folder markers](Entry::FolderMarker) the listing has met so far.
    #[must_use]
    pub fn folder_markers(&self) -> u64 {
        self.folder_markers
    }
}

impl Stream for Entries {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let entry = std::task::ready!(self.entries.poll_next_unpin(cx));
            if let Some(Ok(Entry::FolderMarker(_))) = &entry {
                self.folder_markers += 1;
                if !self.yields_folder_markers {
                    continue;
                }
            }
            let told = entry.map(|entry| {
                entry.map_err(|error| self.storage.told(error, Operation::List, &self.prefix))
            });
            return Poll::Ready(told);
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("storage", &self.storage)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A copy that has not been sent off yet. Await it.
///
/// All or nothing, as a [`Save`]. It answers nothing of the copy, since not every backend tells:
/// [`stat`](Storage::stat) does.
#[derive(Debug)]
#[must_use = "nothing is copied until it is awaited"]
pub struct CopyObject {
    storage: Storage,
    from: Result<Key>,
    to: Result<Key>,
    options: CopyOptions,
}

impl CopyObject {
    /// `AlreadyExists` if there is an object under the destination already.
    pub fn create_new(mut self) -> Self {
        self.options.mode = CopyMode::CreateNew;
        self
    }

    /// Gives the copy this metadata in place of the source's. Without a content type, one is
    /// guessed from the destination's key.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.options.metadata = MetadataDirective::Replace(metadata);
        self
    }

    async fn run(self) -> Result<()> {
        let Self { storage, from, to, mut options } = self;
        let from = storage.checked(Operation::Copy, from)?;
        let to = storage.checked(Operation::Copy, to)?;
        let told = |error: Error| {
            let is_about_the_copy = matches!(
                error.kind(),
                ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::StorageFull
            );
            let key = if is_about_the_copy { &to } else { &from };
            storage.told(error, Operation::Copy, key.as_str())
        };
        if let MetadataDirective::Replace(metadata) = options.metadata {
            let mut metadata = metadata.validated().map_err(told)?;
            metadata.content_type.get_or_insert_with(|| content_type::of_key(&to));
            options.metadata = MetadataDirective::Replace(metadata);
        }
        storage.driver.copy(&from, &to, &options).await.map_err(told)
    }
}

macro_rules! awaited {
    ($($builder:ty => $output:ty),*) => {
        $(impl IntoFuture for $builder {
            type Output = Result<$output>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.run()) as Pin<Box<dyn Future<Output = Self::Output> + Send>>
            }
        })*
    };
}

awaited!(Save => ObjectMeta, Open => Object, CopyObject => (), UrlBuilder => Link);
