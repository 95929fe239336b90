//! Objects that the rows of a database refer to: [`Stored`] for the column, and [`Guard`], which
//! deletes what was saved if the row is not written.
//!
//! [docs/attachments.md](https://github.com/anystorage/anystorage/blob/main/docs/attachments.md)
//! shows the columns of databases, replacing, variants and sweeping.

use serde::{Deserialize, Serialize};
use storage_core::{ETag, Key, ObjectMeta, Result, Storage};

/// A saved object, as a database refers to it: key, size, content type and ETag.
///
/// It converts from the [`ObjectMeta`] that a save returns, serialises with serde (a JSON column is
/// enough), and is a key for the verbs of [`Storage`]: `storage.open(&stored)`.
///
/// Deserialising fails for a text that is not a valid key or ETag, and ignores unknown fields.
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
    /// The version that was saved. `None` if the driver returned none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
}

impl Stored {
    /// Deletes the object, unless another save has replaced it. Returns whether it was deleted.
    ///
    /// Compares the ETag with that of a `stat` before the deletion, if the save returned one,
    /// because storages delete without conditions. A save between the two is lost, so give each
    /// upload a key of its own: [`keys::unique`](crate::keys::unique), or `unique_name` of the
    /// save.
    ///
    /// If the future is dropped, the object is still there or gone.
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

/// Deletes saved objects, unless [`commit`](Self::commit) is called: for a handler that saves
/// objects and then writes a row that refers to them, and may fail between the two.
///
/// Dropping the guard deletes what was added to it. That covers `?`, a panic, and a request whose
/// client has gone, so that its future is dropped. As dropping cannot wait, the deletions run as a
/// task of the current Tokio runtime. Without a runtime, or if the runtime or the process ends
/// first, the objects stay; the log contains their keys where that is known. [`scope`](Self::scope)
/// and [`roll_back`](Self::roll_back) wait for the deletions.
///
/// An object that another save has replaced is not deleted: see [`Stored::delete`]. An object that
/// the save itself replaced does not come back, so save under new keys.
///
/// ```
/// use anystorage::attachments::{Guard, Stored};
/// use anystorage::{Storage, keys};
///
/// # struct Database;
/// # impl Database {
/// #     async fn insert(&self, photo: &Stored) -> std::io::Result<()> { Ok(()) }
/// # }
/// async fn add_photo(
///     storage: &Storage,
///     database: &Database,
///     photo: Vec<u8>,
/// ) -> Result<Stored, Box<dyn std::error::Error + Send + Sync>> {
///     let mut guard = Guard::new(storage);
///     let photo = guard.add(storage.save(keys::unique("photos", "photo.jpg")?, photo).await?);
///     database.insert(&photo).await?; // on an error, the guard deletes the object
///     guard.commit();
///     Ok(photo)
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping the guard deletes what was added to it"]
pub struct Guard {
    storage: Storage,
    stored: Vec<Stored>,
}

impl Guard {
    /// Returns a guard of no objects.
    pub fn new(storage: &Storage) -> Self {
        Self { storage: storage.clone(), stored: Vec::new() }
    }

    /// Adds an object that was saved to the storage of the guard, and returns it for the row.
    pub fn add(&mut self, saved: impl Into<Stored>) -> Stored {
        let stored = saved.into();
        self.stored.push(stored.clone());
        stored
    }

    /// Keeps the objects. Call it after the row is committed.
    pub fn commit(mut self) {
        self.stored.clear();
    }

    /// Deletes the objects and waits for it. If the future is dropped, the rest is deleted as if
    /// the guard was dropped.
    ///
    /// # Errors
    /// The first error of [`Stored::delete`]. The other objects are deleted even so.
    pub async fn roll_back(mut self) -> Result<()> {
        let mut result = Ok(());
        // Removed after its deletion, so that dropping this future loses none.
        while let Some(stored) = self.stored.last() {
            let deleted = delete_or_log(stored, &self.storage).await;
            result = result.and(deleted);
            self.stored.pop();
        }
        result
    }

    /// Runs a closure with a guard: keeps the objects if it returns `Ok`, and deletes them before
    /// returning its error.
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
            // Logged.
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
                // Not `roll_back`, whose guard would spawn again when a runtime that shuts down
                // drops the task.
                runtime.spawn(async move {
                    for stored in &stored {
                        let _logged = delete_or_log(stored, &storage).await;
                    }
                });
            }
            Err(_) => {
                for Stored { key, .. } in stored {
                    tracing::warn!(
                        %key,
                        "an object without a row stays, because no Tokio runtime is there to delete it"
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
