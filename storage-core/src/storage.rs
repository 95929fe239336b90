//! [`Storage`]: the handle that applications hold.
//!
//! The handle does once what is the same for all drivers: it checks arguments, guesses content
//! types and adds operation, driver and key to errors. The verbs with options are in the files of
//! the builders that they return: `open.rs`, `save.rs`, `list.rs`, `copy.rs`, `rename.rs`,
//! `url_builder.rs`, `delete_many.rs` and `delete_prefix.rs`.

use std::fmt;
use std::sync::Arc;

use crate::driver::{Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::error::{Error, Operation, Result};
use crate::key::{IntoKey, Key};
use crate::layers;
use crate::link_verifier::LinkVerifier;
use crate::metadata::ObjectMeta;

/// A handle on a place that keeps objects. Cheap to clone; all clones use the same driver.
///
/// Verbs with options return builders that are awaited:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let image = &b"\x89PNG"[..];
/// let meta = storage.save("avatars/ada.png", image).cache_control("public, max-age=60").await?;
/// assert_eq!(meta.content_type(), Some("image/png"));
///
/// let start = storage.open("avatars/ada.png").range(0..2).await?.bytes().await?;
/// assert_eq!(&start[..], b"\x89P");
/// assert!(storage.exists("avatars/ada.png").await?);
/// storage.delete("avatars/ada.png").await?;
/// # Ok(()) }
/// ```
///
/// Options that are decided elsewhere are passed as a whole:
///
/// ```
/// use storage_core::{Memory, OpenOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = Memory::storage();
/// # storage.save("a.txt", "hello").await?;
/// let options = OpenOptions::new().range(0..4);
/// assert_eq!(storage.open_with("a.txt", options).await?.text().await?, "hell");
/// # Ok(()) }
/// ```
///
/// A key is a [`Key`], or text that is checked when the verb runs (`InvalidKey`). The error of a
/// verb contains the operation, the driver's name and the key.
#[derive(Clone)]
pub struct Storage {
    driver: Arc<dyn Driver>,
    info: Arc<DriverInfo>,
}

impl Storage {
    /// Creates a handle on a driver.
    pub fn new(driver: impl Driver) -> Self {
        Self::from_arc(Arc::new(driver))
    }

    /// Creates a handle on a shared driver.
    #[must_use]
    pub fn from_arc(driver: Arc<dyn Driver>) -> Self {
        let info = Arc::new(driver.info());
        Self { driver, info }
    }

    /// Returns the driver's name, location and capabilities.
    #[must_use]
    pub fn info(&self) -> &DriverInfo {
        &self.info
    }

    /// Returns the driver, layers included, so that another layer can wrap it.
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
    /// `Unsupported` if the driver is of another type; the message contains its name.
    /// `PermissionDenied` if a layer forbids direct access, as [`read_only`](Self::read_only) does.
    pub fn driver_as<T: Driver>(&self) -> Result<DriverRef<'_, T>> {
        let driver = self.driver.innermost().and_then(DriverRef::downcast);
        driver.map_err(|error| error.with_driver(self.info.name.clone()))
    }

    /// Returns a verifier of this storage's signed links, for a server at its `public_url`. It
    /// takes the signing key, the URL and the prefixes from the driver and its layers.
    ///
    /// # Errors
    /// - `InvalidConfig` if `public_url` or `signing_key` is not set.
    /// - `Unsupported` if the storage's links lead to a server that verifies them in its own way,
    ///   as those of S3 do, or if its driver signs none.
    pub fn link_verifier(&self) -> Result<LinkVerifier> {
        let verifier = self.driver.link_verifier();
        verifier.map_err(|error| self.with_driver(error, Operation::Url))
    }

    /// Returns the same storage with a layer around it.
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

    /// Returns the part of this storage below a prefix as a storage of its own.
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
    /// `InvalidKey` if no key can begin with the prefix.
    pub fn prefixed(&self, prefix: impl AsRef<str>) -> Result<Self> {
        Ok(Self::new(layers::Prefixed::new(Arc::clone(&self.driver), prefix.as_ref())?))
    }

    /// Returns this storage for reading only: every verb that changes it fails with
    /// `PermissionDenied`.
    #[must_use]
    pub fn read_only(&self) -> Self {
        self.layer(layers::ReadOnly::new)
    }

    /// Returns the metadata of an object.
    ///
    /// # Errors
    /// `NotFound` if it is certain that there is no object. Every other failure, such as
    /// `PermissionDenied` or `Timeout`, has another kind.
    pub async fn stat(&self, key: impl IntoKey) -> Result<ObjectMeta> {
        let key = self.checked_key(Operation::Stat, key.into_key())?;
        let meta = self.driver.stat(&key).await;
        meta.map_err(|error| self.with_context(error, Operation::Stat, key.as_str()))
    }

    /// Returns whether there is an object. Returns `false` only if that is certain.
    ///
    /// # Errors
    /// Every failure that leaves the result uncertain, such as `PermissionDenied` or `Timeout`.
    pub async fn exists(&self, key: impl IntoKey) -> Result<bool> {
        let key = self.checked_key(Operation::Exists, key.into_key())?;
        let exists = self.driver.exists(&key).await;
        exists.map_err(|error| self.with_context(error, Operation::Exists, key.as_str()))
    }

    /// Deletes an object. Succeeds if there is none.
    ///
    /// If the future is dropped, the object is still there or gone.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unsupported` if the object cannot be deleted. After `Timeout` or a
    /// broken connection the object may be gone nevertheless.
    pub async fn delete(&self, key: impl IntoKey) -> Result<()> {
        let key = self.checked_key(Operation::Delete, key.into_key())?;
        let deleted = self.driver.delete(&key).await;
        deleted.map_err(|error| self.with_context(error, Operation::Delete, key.as_str()))
    }

    /// Adds operation, driver and key to an error.
    pub(crate) fn with_context(&self, error: Error, operation: Operation, key: &str) -> Error {
        self.with_driver(error, operation).with_key(key)
    }

    /// Adds operation and driver to an error that has a key or concerns none.
    pub(crate) fn with_driver(&self, error: Error, operation: Operation) -> Error {
        error.with_operation(operation).with_driver(self.info.name.clone())
    }

    /// Adds operation and driver to the error of an invalid key.
    pub(crate) fn checked_key(&self, operation: Operation, key: Result<Key>) -> Result<Key> {
        key.map_err(|error| self.with_driver(error, operation))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("driver", &self.info.name)
            .field("location", &self.info.location)
            .finish()
    }
}
