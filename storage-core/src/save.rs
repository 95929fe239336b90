//! [`Save`]: the builder that [`Storage::save`] returns.

use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures_core::future::BoxFuture;

use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::content_type;
use crate::error::{Error, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::{Metadata, ObjectMeta};
use crate::options::SaveOptions;
use crate::payload::Payload;
use crate::storage::Storage;

impl Storage {
    /// Saves an object: see [`Save`]. Returns the metadata of the stored object.
    pub fn save(&self, key: impl IntoKey, payload: impl Into<Payload>) -> Save {
        self.save_with(key, payload, SaveOptions::default())
    }

    /// Saves an object with these options, which the setters of [`Save`] may change.
    pub fn save_with(
        &self,
        key: impl IntoKey,
        payload: impl Into<Payload>,
        options: SaveOptions,
    ) -> Save {
        let (key, payload) = (key.into_key(), payload.into());
        Save { storage: self.clone(), key, payload, file: None, options, target: () }
    }

    /// Saves a file on the local disk: see [`Save`], whose setters apply. Returns the metadata of
    /// the stored object.
    ///
    /// The file is streamed. It is opened when the save is awaited: see [`Payload::from_file`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// let meta = storage.save_file("docs/manifest.toml", "Cargo.toml").create_new().await?;
    /// assert_eq!(meta.content_type(), Some("application/toml"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Save`]. If the file cannot be opened, the error has the kind of [`Payload::from_file`]
    /// and its message contains the path.
    pub fn save_file(&self, key: impl IntoKey, path: impl AsRef<Path>) -> Save {
        let mut save = self.save_with(key, "", SaveOptions::default());
        save.file = Some(path.as_ref().to_owned());
        save
    }
}

/// A save that has not begun yet. Await it for the metadata of the stored object.
///
/// The metadata has what the backend returns for a save: key, size, ETag and checksums. Not every
/// backend returns `last_modified`; call [`stat`](Storage::stat) for it.
///
/// A save is all or nothing: a reader sees the old object or the new one, whole. If the payload
/// fails, or the future is dropped before the payload has ended, the old object is unchanged and
/// nothing else is left. If the future is dropped later, the save has happened or not.
///
/// Without a content type, one is guessed from the key, then from the first bytes:
/// [`content_type`](crate::content_type).
///
/// [`Storage::writer`] returns a `Save<PipeWriter>`, which is awaited for a
/// [`Writer`](crate::Writer) in place of the metadata.
///
/// # Errors
/// - `AlreadyExists` or `PreconditionFailed`, by mode.
/// - `InvalidKey` if the key breaks a rule or the backend cannot hold it; `Conflict` if the state
///   of the backend forbids it.
/// - `InvalidInput` for metadata that breaks a rule; `Unsupported` for metadata or a mode that the
///   backend does not support.
/// - `TooLarge`, `Integrity` and every error of the payload.
/// - `StorageFull`, `PermissionDenied`, and other errors of the backend. After `Timeout` or a
///   broken connection the save may have happened nevertheless.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let report = storage.save("reports/1.csv", "a,b\n").create_new().user_metadata("by", "ada");
/// assert_eq!(report.await?.size, 4);
///
/// let error = storage.save("reports/1.csv", "c,d\n").create_new().await.unwrap_err();
/// assert!(error.is_already_exists());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is saved until it is awaited"]
pub struct Save<T = ()> {
    storage: Storage,
    key: Result<Key>,
    payload: Payload,
    /// A local file whose bytes replace those of the payload.
    file: Option<PathBuf>,
    options: SaveOptions,
    /// What a writer needs beside the save.
    target: T,
}

impl<T> Save<T> {
    /// Fails with `AlreadyExists` if there is an object under the key. Of any number of concurrent
    /// callers exactly one succeeds.
    pub fn create_new(self) -> Self {
        self.with_options(SaveOptions::create_new)
    }

    /// Fails with `PreconditionFailed` unless the object under the key is this version, and with
    /// `Unsupported` if the backend has no such condition.
    pub fn if_match(self, etag: ETag) -> Self {
        self.with_options(|options| options.if_match(etag))
    }

    /// Never replaces an object: if the key is taken, saves under another one, made by
    /// [`keys::alternative`](crate::keys::alternative). The returned metadata contains it.
    pub fn unique_name(self) -> Self {
        self.with_options(SaveOptions::unique_name)
    }

    /// Sets all metadata at once, as when copying from another storage. Later setters change single
    /// fields.
    pub fn metadata(self, metadata: Metadata) -> Self {
        self.with_options(|options| options.metadata(metadata))
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

    /// Adds a name and a value to the user metadata.
    pub fn user_metadata(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_metadata(|metadata| metadata.user(name, value))
    }

    /// Fails with `TooLarge` if the payload has more bytes. Nothing of it is left.
    pub fn max_size(self, bytes: u64) -> Self {
        self.with_payload(|payload| payload.with_max_size(bytes))
    }

    /// Fails with `Integrity` if the payload has another checksum. Nothing of it is left. Otherwise
    /// the checksum is kept with the object. Needs the feature `checksums`.
    pub fn expect_checksum(self, checksum: Checksum) -> Self {
        self.with_payload(|payload| payload.with_expected_checksum(checksum))
    }

    /// Computes a checksum while saving and keeps it with the object. Needs the feature
    /// `checksums`.
    pub fn compute_checksum(self, algorithm: ChecksumAlgorithm) -> Self {
        self.with_payload(|payload| payload.with_computed_checksum(algorithm))
    }

    fn with_options(mut self, set: impl FnOnce(SaveOptions) -> SaveOptions) -> Self {
        self.options = set(self.options);
        self
    }

    fn with_metadata(mut self, set: impl FnOnce(Metadata) -> Metadata) -> Self {
        self.options.metadata = set(self.options.metadata);
        self
    }

    pub(crate) fn with_payload(mut self, set: impl FnOnce(Payload) -> Payload) -> Self {
        self.payload = set(self.payload);
        self
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Returns the key, if it is valid.
    pub(crate) fn valid_key(&self) -> Option<&Key> {
        self.key.as_ref().ok()
    }

    /// Splits off the target.
    pub(crate) fn into_parts(self) -> (Save, T) {
        let Self { storage, key, payload, file, options, target } = self;
        (Save { storage, key, payload, file, options, target: () }, target)
    }
}

impl Save {
    pub(crate) fn with_target<T>(self, target: T) -> Save<T> {
        let Self { storage, key, payload, file, options, target: () } = self;
        Save { storage, key, payload, file, options, target }
    }

    async fn run(self) -> Result<ObjectMeta> {
        let Self { storage, key, mut payload, file, mut options, target: () } = self;
        let key = storage.checked_key(Operation::Save, key)?;
        let with_context = |error| storage.with_context(error, Operation::Save, key.as_str());
        if let Some(path) = file {
            let opened = Payload::from_file(&path).await;
            let in_path = |error: Error| error.with_context(&path.display().to_string());
            payload = payload.with_body_of(opened.map_err(in_path).map_err(with_context)?);
        }
        // A storage that cannot be written to fails before it waits for the first bytes.
        if options.metadata.content_type.is_none() && storage.info().capabilities.write {
            let guessed = content_type::of_payload(&key, &mut payload).await;
            options.metadata.content_type = Some(guessed.map_err(with_context)?);
        }
        options.metadata = options.metadata.validated().map_err(with_context)?;
        storage.driver().save(&key, payload, &options).await.map_err(with_context)
    }
}

impl IntoFuture for Save {
    type Output = Result<ObjectMeta>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
