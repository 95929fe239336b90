//! Objects that rows of a database refer to: [`Stored`] is the reference in the row, and [`Guard`]
//! deletes saved objects if the row is certainly not written.
//!
//! [docs/attachments.md](https://github.com/anystorage/anystorage/blob/main/docs/attachments.md)
//! shows how to store the reference, replace an object, create variants and delete objects without
//! a row.

use serde::{Deserialize, Serialize};
use storage_core::internal::escape_invisible;
use storage_core::{ETag, Key, ObjectMeta, Result, Storage};

/// A reference to a saved object, for a row of a database: key, size, content type and ETag. It
/// converts from the [`ObjectMeta`] that a save returns, and serializes with serde, for example to
/// a JSON column. The methods of [`Storage`] accept it as a key: `storage.open(&stored)`.
///
/// Deserialization fails if the key or the ETag is invalid, and ignores unknown fields.
///
/// ```
/// use anystorage::Storage;
/// use anystorage::attachments::Stored;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = anystorage::open("memory:")?;
/// let stored = Stored::from(storage.save("notes/a.txt", "hello").unique_name().await?);
/// let column = serde_json::to_string(&stored)?;
/// assert!(column.starts_with(r#"{"key":"notes/a.txt","size":5,"content_type":"text/plain"#));
///
/// let stored: Stored = serde_json::from_str(&column)?;
/// assert_eq!(storage.read_text(&stored).await?, "hello");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// The object's key.
    pub key: Key,
    /// The length of the object in bytes.
    pub size: u64,
    /// The content type that the object was saved with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The ETag of the saved version. `None` if the driver returned none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
}

impl Stored {
    /// Deletes the object, unless another save has replaced it. Returns `false` if it was replaced
    /// or is missing. Without an ETag, deletes whatever is under the key and returns `true`.
    ///
    /// Storages have no conditional deletion, so this method compares the ETag with that of a
    /// `stat` before the deletion, if the save returned one. A save between the two is lost, so use
    /// a new key for each upload: [`keys::unique`](crate::keys::unique), or `unique_name` of the
    /// save.
    ///
    /// If the future is dropped, the object may or may not be deleted.
    ///
    /// # Errors
    /// Those of [`Storage::stat`] except `NotFound`, and of [`Storage::delete`].
    pub async fn delete(&self, storage: &Storage) -> Result<bool> {
        if let Some(saved) = &self.etag {
            let present = match storage.stat(&self.key).await {
                Ok(meta) => meta.etag,
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error),
            };
            if !present.is_some_and(|etag| etag.weak_eq(saved)) {
                return Ok(false);
            }
        }
        storage.delete(&self.key).await?;
        Ok(true)
    }
}

impl From<ObjectMeta> for Stored {
    fn from(meta: ObjectMeta) -> Self {
        let ObjectMeta { key, size, etag, metadata, .. } = meta;
        Self { key, size, content_type: metadata.content_type, etag }
    }
}

impl From<Stored> for Key {
    fn from(stored: Stored) -> Self {
        stored.key
    }
}

impl From<&Stored> for Key {
    fn from(stored: &Stored) -> Self {
        stored.key.clone()
    }
}

/// Deletes saved objects if the row that refers to them is not written. Use it in a handler that
/// saves objects and then writes the row with [`write_row`](Self::write_row).
///
/// Dropping the guard deletes the objects that were added to it. That covers `?`, a panic, and a
/// client that disconnects, because the future of its request is dropped. A destructor cannot wait,
/// so the deletions run as a task of the current Tokio runtime. Without a runtime, the objects
/// remain and their keys are logged. The objects also remain, without a log entry, if the runtime
/// or the process ends before the task. [`scope`](Self::scope) and [`roll_back`](Self::roll_back)
/// wait for the deletions.
///
/// While the row is being written, it may exist: the database may have committed it when the
/// connection breaks, or when the client disconnects. A row without its object is worse than an
/// object without a row, so `write_row` then keeps the objects.
///
/// An object that another save has replaced is not deleted: see [`Stored::delete`]. The guard does
/// not restore an object that the save replaced, so save under new keys.
///
/// ```
/// use anystorage::attachments::{Guard, Stored};
/// use anystorage::{Storage, keys};
///
/// # struct Database;
/// # #[derive(Debug)] enum DatabaseError { Refused, Disconnected }
/// # impl std::fmt::Display for DatabaseError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") }
/// # }
/// # impl std::error::Error for DatabaseError {}
/// # impl Database {
/// #     async fn insert(&self, photo: &Stored) -> Result<(), DatabaseError> { Ok(()) }
/// # }
/// async fn add_photo(
///     storage: &Storage,
///     database: &Database,
///     photo: Vec<u8>,
/// ) -> Result<Stored, Box<dyn std::error::Error + Send + Sync>> {
///     let mut guard = Guard::new(storage);
///     let photo = guard.add(storage.save(keys::unique("photos", "photo.jpg")?, photo).await?);
///     let is_refused = |error: &DatabaseError| matches!(error, DatabaseError::Refused);
///     guard.write_row(database.insert(&photo), is_refused).await?;
///     Ok(photo)
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping the guard deletes the objects that were added to it"]
pub struct Guard {
    storage: Storage,
    stored: Vec<Stored>,
}

impl Guard {
    /// Creates a guard without objects.
    pub fn new(storage: &Storage) -> Self {
        Self { storage: storage.clone(), stored: Vec::new() }
    }

    /// Adds an object that was saved to the guard's storage, and returns the reference for the row.
    pub fn add(&mut self, saved: impl Into<Stored>) -> Stored {
        let stored = saved.into();
        self.stored.push(stored.clone());
        stored
    }

    /// Writes the row that refers to the objects. Keeps them unless the database refused the row.
    ///
    /// `is_refused` says of an error that the row was certainly not written, for example because
    /// of a constraint. Then the guard still deletes the objects, when it is dropped or rolled
    /// back. It returns `false` for an error after which the row may exist, such as a connection
    /// that broke.
    /// With sqlx: `|error| matches!(error, sqlx::Error::Database(_))`.
    ///
    /// If the future is dropped, or the write panics, the row may exist, so the objects are kept.
    /// Those without a row remain until a sweep deletes them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anystorage::Result<()> {
    /// use anystorage::attachments::Guard;
    ///
    /// let storage = anystorage::open("memory:")?;
    /// let mut guard = Guard::new(&storage);
    /// guard.add(storage.save("a.txt", "hello").await?);
    /// let disconnected = async { Err::<(), _>("the connection is closed") };
    /// assert!(guard.write_row(disconnected, |_| false).await.is_err());
    /// drop(guard);
    /// assert!(storage.exists("a.txt").await?, "the row may refer to it");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the write.
    pub async fn write_row<T, E>(
        &mut self,
        write: impl Future<Output = Result<T, E>>,
        is_refused: impl FnOnce(&E) -> bool,
    ) -> Result<T, E> {
        // From here on the row may exist, even if this future is dropped.
        let stored = std::mem::take(&mut self.stored);
        let result = write.await;
        if result.as_ref().is_err_and(is_refused) {
            self.stored = stored;
        }
        result
    }

    /// Keeps the objects. Call it before anything that may write the row, unless
    /// [`write_row`](Self::write_row) writes it.
    pub fn commit(mut self) {
        self.stored.clear();
    }

    /// Deletes the objects and waits for the deletions. If the future is dropped, the remaining
    /// objects are deleted as when the guard is dropped.
    ///
    /// # Errors
    /// The first error of [`Stored::delete`]. The other objects are still deleted.
    pub async fn roll_back(mut self) -> Result<()> {
        let mut result = Ok(());
        // Each object is removed from the guard after its deletion, so if this future is dropped,
        // the guard still deletes it.
        while let Some(stored) = self.stored.last() {
            let deleted = delete_or_log(stored, &self.storage).await;
            result = result.and(deleted);
            self.stored.pop();
        }
        result
    }

    /// Runs a closure with a guard. Keeps the objects if the closure returns `Ok`; otherwise
    /// deletes them and then returns the error. A closure that writes a row does so with
    /// [`write_row`](Self::write_row), which keeps the objects if the row may exist.
    ///
    /// If the future is dropped, or the closure panics, the guard is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anystorage::Result<()> {
    /// use anystorage::attachments::Guard;
    ///
    /// let storage = anystorage::open("memory:")?;
    /// let failed = Guard::scope(&storage, async |guard| {
    ///     guard.add(storage.save("a.txt", "hello").await?);
    ///     Err::<(), _>(anystorage::Error::not_found())
    /// });
    /// assert!(failed.await.is_err());
    /// assert!(!storage.exists("a.txt").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the closure. A deletion that fails is logged.
    pub async fn scope<T, E>(
        storage: &Storage,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut guard = Self::new(storage);
        let result = work(&mut guard).await;
        match &result {
            Ok(_) => guard.commit(),
            // `roll_back` has logged the error.
            Err(_) => drop(guard.roll_back().await),
        }
        result
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.stored.is_empty() {
            return;
        }
        let (storage, stored) = (self.storage.clone(), std::mem::take(&mut self.stored));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                // Not `roll_back`: if a runtime that shuts down drops the task, its guard would
                // spawn another one.
                runtime.spawn(async move {
                    for stored in &stored {
                        let _logged = delete_or_log(stored, &storage).await;
                    }
                });
            }
            Err(_) => {
                for Stored { key, .. } in stored {
                    tracing::warn!(
                        key = &*escape_invisible(key.as_str()),
                        "an object without a row remains, because there is no Tokio runtime to delete it"
                    );
                }
            }
        }
    }
}

async fn delete_or_log(stored: &Stored, storage: &Storage) -> Result<()> {
    match stored.delete(storage).await {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "an object without a row could not be deleted");
            Err(error)
        }
    }
}
