//! [`BlockingStorage`]: the verbs of a storage, which return when they are done.

use std::future::IntoFuture;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use super::body::{BlockingEntries, BlockingObject};
use super::reader::BlockingReader;
use super::runtime::Runtime;
use super::upload::BlockingUpload;
use super::writer::BlockingWriter;
use crate::error::Result;
use crate::etag::ETag;
use crate::key::{IntoKey, IntoPrefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{MultipartOptions, UnfinishedUpload, UploadId};
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;
use crate::storage::Storage;

impl Storage {
    /// Returns this storage for synchronous code: see [`blocking`](crate::blocking).
    ///
    /// ```
    /// # fn main() -> storage_core::Result<()> {
    /// let storage = storage_core::Memory::storage().blocking()?;
    /// storage.save("a.txt", "hello")?;
    /// assert_eq!(storage.stat("a.txt")?.size, 5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Unexpected` if the system starts no thread.
    pub fn blocking(&self) -> Result<BlockingStorage> {
        Ok(BlockingStorage { storage: self.clone(), runtime: Runtime::new()? })
    }
}

/// A [`Storage`] for synchronous code: see [`Storage::blocking`]. Cheap to clone.
///
/// Each verb returns what the verb of `Storage` returns when it is awaited, and has its errors. In
/// asynchronous code each one that waits fails with `Unsupported`; a listing yields that error.
#[derive(Debug, Clone)]
pub struct BlockingStorage {
    storage: Storage,
    runtime: Runtime,
}

impl BlockingStorage {
    /// Returns the storage for asynchronous code.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Runs any call of a [`Storage`], such as one that this type has no method for.
    ///
    /// ```
    /// # fn main() -> storage_core::Result<()> {
    /// let storage = storage_core::Memory::storage().blocking()?;
    /// let save = storage.storage().save("a.txt", "hello").content_type("text/x-mine").create_new();
    /// assert_eq!(storage.wait(save)?.content_type(), Some("text/x-mine"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error of the call, and `Unsupported` in asynchronous code.
    pub fn wait<T>(&self, call: impl IntoFuture<Output = Result<T>>) -> Result<T> {
        self.runtime.wait(async { call.await })?
    }

    /// Saves an object: see [`Storage::save`].
    pub fn save(&self, key: impl IntoKey, payload: impl Into<Payload>) -> Result<ObjectMeta> {
        self.wait(self.storage.save(key, payload))
    }

    /// Saves an object with these options: see [`Storage::save_with`].
    pub fn save_with(
        &self,
        key: impl IntoKey,
        payload: impl Into<Payload>,
        options: SaveOptions,
    ) -> Result<ObjectMeta> {
        self.wait(self.storage.save_with(key, payload, options))
    }

    /// Saves a file of the local disk: see [`Storage::save_file`].
    pub fn save_file(&self, key: impl IntoKey, path: impl AsRef<Path>) -> Result<ObjectMeta> {
        self.wait(self.storage.save_file(key, path))
    }

    /// Writes an object piece by piece: see [`BlockingWriter`].
    pub fn writer(&self, key: impl IntoKey) -> Result<BlockingWriter> {
        self.writer_with(key, SaveOptions::default())
    }

    /// Writes an object with these options: see [`Storage::writer_with`].
    pub fn writer_with(&self, key: impl IntoKey, options: SaveOptions) -> Result<BlockingWriter> {
        let writer = self.wait(self.storage.writer_with(key, options))?;
        Ok(BlockingWriter::new(self.runtime.clone(), writer))
    }

    /// Opens an object, whose body is read from its beginning: see [`Storage::open`].
    pub fn open(&self, key: impl IntoKey) -> Result<BlockingObject> {
        self.open_with(key, OpenOptions::default())
    }

    /// Opens an object with these options: see [`Storage::open_with`].
    pub fn open_with(&self, key: impl IntoKey, options: OpenOptions) -> Result<BlockingObject> {
        let object = self.wait(self.storage.open_with(key, options))?;
        Ok(BlockingObject::new(self.runtime.clone(), object))
    }

    /// Opens an object to read it at any position: see [`Storage::reader`].
    pub fn reader(&self, key: impl IntoKey) -> Result<BlockingReader> {
        let reader = self.wait(self.storage.reader(key))?;
        Ok(BlockingReader::new(self.runtime.clone(), reader))
    }

    /// Reads a whole object into memory: see [`Storage::read`].
    pub fn read(&self, key: impl IntoKey) -> Result<Bytes> {
        self.wait(self.storage.read(key))
    }

    /// Reads a whole object as text: see [`Storage::read_text`].
    pub fn read_text(&self, key: impl IntoKey) -> Result<String> {
        self.wait(self.storage.read_text(key))
    }

    /// Writes an object to a file of the local disk: see [`Storage::download`].
    pub fn download(&self, key: impl IntoKey, path: impl AsRef<Path>) -> Result<ObjectMeta> {
        self.wait(self.storage.download(key, path))
    }

    /// Returns the metadata of an object: see [`Storage::stat`].
    pub fn stat(&self, key: impl IntoKey) -> Result<ObjectMeta> {
        self.wait(self.storage.stat(key))
    }

    /// Returns whether there is an object: see [`Storage::exists`].
    pub fn exists(&self, key: impl IntoKey) -> Result<bool> {
        self.wait(self.storage.exists(key))
    }

    /// Deletes an object: see [`Storage::delete`].
    pub fn delete(&self, key: impl IntoKey) -> Result<()> {
        self.wait(self.storage.delete(key))
    }

    /// Deletes objects in batches, and returns how many are gone: see [`Storage::delete_many`].
    ///
    /// # Errors
    /// The first error, after all keys have been tried. If several failed, its message states how
    /// many.
    pub fn delete_many<I>(&self, keys: I) -> Result<u64>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        I::Item: IntoKey,
    {
        self.wait(self.storage.delete_many(stream::iter(keys)).finish())
    }

    /// Deletes everything below a directory, such as `"tmp/"`, and returns how many objects and
    /// folder markers are deleted: see [`Storage::delete_prefix`].
    ///
    /// ```
    /// # fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage().blocking()?;
    /// storage.save("tmp/1", "")?;
    /// storage.save("tmp/a/2", "")?;
    /// assert_eq!(storage.delete_prefix("tmp/")?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the prefix does not end in `/`. Otherwise the first error, after all
    /// entries have been tried. Its message states how many failed.
    pub fn delete_prefix(&self, prefix: impl IntoPrefix) -> Result<u64> {
        self.wait(self.storage.delete_prefix(prefix).finish())
    }

    /// Deletes every object and every folder marker, and returns how many are deleted: see
    /// [`Storage::delete_everything`].
    pub fn delete_everything(&self) -> Result<u64> {
        self.wait(self.storage.delete_everything().finish())
    }

    /// Lists the objects whose keys begin with a prefix: see [`Storage::list`].
    pub fn list(&self, prefix: impl IntoPrefix) -> BlockingEntries {
        self.list_with(prefix, ListOptions::default())
    }

    /// Lists objects with these options: see [`Storage::list_with`].
    pub fn list_with(&self, prefix: impl IntoPrefix, options: ListOptions) -> BlockingEntries {
        BlockingEntries::new(
            self.runtime.clone(),
            self.storage.list_with(prefix, options).entries(),
        )
    }

    /// Copies an object within the storage: see [`Storage::copy`].
    pub fn copy(&self, from: impl IntoKey, to: impl IntoKey) -> Result<()> {
        self.wait(self.storage.copy(from, to))
    }

    /// Copies an object with these options: see [`Storage::copy_with`].
    pub fn copy_with(
        &self,
        from: impl IntoKey,
        to: impl IntoKey,
        options: CopyOptions,
    ) -> Result<()> {
        self.wait(self.storage.copy_with(from, to, options))
    }

    /// Copies an object to another storage, and returns the metadata of the copy: see
    /// [`Storage::copy_to`]. For options, pass the call of `Storage` to [`wait`](Self::wait).
    ///
    /// ```
    /// # fn main() -> storage_core::Result<()> {
    /// # use storage_core::Memory;
    /// # let (media, backup) = (Memory::storage().blocking()?, Memory::storage().blocking()?);
    /// media.save("a.txt", "hello")?;
    /// media.copy_to("a.txt", &backup, "2026/a.txt")?;
    /// assert_eq!(backup.read_text("2026/a.txt")?, "hello");
    ///
    /// let copy = media.storage().copy_to("a.txt", backup.storage(), "2026/a.txt").create_new();
    /// assert!(media.wait(copy).unwrap_err().is_already_exists());
    /// # Ok(()) }
    /// ```
    pub fn copy_to(
        &self,
        from: impl IntoKey,
        target: &Self,
        to: impl IntoKey,
    ) -> Result<ObjectMeta> {
        self.wait(self.storage.copy_to(from, &target.storage, to))
    }

    /// Renames an object within the storage: see [`Storage::rename`].
    pub fn rename(&self, from: impl IntoKey, to: impl IntoKey) -> Result<()> {
        self.wait(self.storage.rename(from, to))
    }

    /// Renames an object with these options: see [`Storage::rename_with`].
    pub fn rename_with(
        &self,
        from: impl IntoKey,
        to: impl IntoKey,
        options: RenameOptions,
    ) -> Result<()> {
        self.wait(self.storage.rename_with(from, to, options))
    }

    /// Begins a multipart upload: see [`Storage::multipart_with`].
    pub fn multipart(
        &self,
        key: impl IntoKey,
        options: MultipartOptions,
    ) -> Result<BlockingUpload> {
        let upload = self.wait(self.storage.multipart_with(key, options))?;
        Ok(BlockingUpload::new(self.runtime.clone(), upload))
    }

    /// Returns a handle on an upload that was begun before: see [`Storage::resume_multipart`].
    pub fn resume_multipart(&self, key: impl IntoKey, id: UploadId) -> Result<BlockingUpload> {
        let upload = self.storage.resume_multipart(key, id)?;
        Ok(BlockingUpload::new(self.runtime.clone(), upload))
    }

    /// Returns the unfinished multipart uploads: see [`Storage::multipart_uploads`].
    pub fn multipart_uploads(&self, prefix: impl IntoPrefix) -> Result<Vec<UnfinishedUpload>> {
        self.wait(self.storage.multipart_uploads(prefix).try_collect())
    }

    /// Aborts old unfinished multipart uploads: see [`Storage::abort_stale`].
    pub fn abort_stale(&self, prefix: impl IntoPrefix, older_than: Duration) -> Result<u64> {
        self.wait(self.storage.abort_stale(prefix, older_than))
    }

    /// Moves a verified version to its final key: see [`Storage::promote`]. For options, pass the
    /// call of `Storage` to [`wait`](Self::wait).
    ///
    /// ```
    /// # fn main() -> storage_core::Result<()> {
    /// # use storage_core::Memory;
    /// # let media = Memory::storage().blocking()?;
    /// let uploaded = media.save("incoming/1", "a picture")?;
    /// let etag = uploaded.etag.expect("this driver has ETags");
    /// let promote = media.storage().promote("incoming/1", etag, "avatars/ada.png").create_new();
    /// media.wait(promote)?;
    /// assert!(media.exists("avatars/ada.png")?);
    /// # Ok(()) }
    /// ```
    pub fn promote(&self, from: impl IntoKey, etag: ETag, to: impl IntoKey) -> Result<()> {
        self.wait(self.storage.promote(from, etag, to))
    }

    /// Makes the public link to an object: see [`Storage::url`].
    pub fn url(&self, key: impl IntoKey) -> Result<Link> {
        self.wait(self.storage.url(key))
    }

    /// Makes a link with these options: see [`Storage::url_with`].
    pub fn url_with(&self, key: impl IntoKey, options: UrlOptions) -> Result<Link> {
        self.wait(self.storage.url_with(key, options))
    }
}

/// Returns the storage for asynchronous code.
impl From<BlockingStorage> for Storage {
    fn from(blocking: BlockingStorage) -> Self {
        blocking.storage
    }
}
