//! [`Storage::read`], [`Storage::read_text`] and [`Storage::download`]: whole objects in one call.

use std::fmt;
use std::future::IntoFuture;
use std::path::Path;

use bytes::Bytes;
use futures_core::future::BoxFuture;

use crate::error::Result;
use crate::key::IntoKey;
use crate::metadata::ObjectMeta;
use crate::object::{Object, in_body, into_text};
use crate::open::Open;
use crate::storage::Storage;

impl Storage {
    /// Reads a whole object into memory: see [`Read`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// # storage.save("a.bin", "hello").await?;
    /// let bytes = storage.read("a.bin").max_size(1024 * 1024).await?;
    /// assert_eq!(bytes, "hello");
    /// # Ok(()) }
    /// ```
    pub fn read(&self, key: impl IntoKey) -> Read<Bytes> {
        Read { open: self.open(key), max_size: u64::MAX, convert: Ok }
    }

    /// Reads a whole object as text: see [`Read`]. Fails with `Unexpected` if it is not UTF-8.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// # storage.save("greeting.txt", "hello").await?;
    /// assert_eq!(storage.read_text("greeting.txt").await?, "hello");
    /// # Ok(()) }
    /// ```
    pub fn read_text(&self, key: impl IntoKey) -> Read<String> {
        Read { open: self.open(key), max_size: u64::MAX, convert: into_text }
    }

    /// Writes an object to a file on the local disk, and returns its metadata.
    ///
    /// The bytes are written to a temporary file in the same directory, which replaces the old file
    /// when it is complete: see [`Object::save_to_file`]. If the future is dropped, the old file
    /// stays, or, after the last step has begun, the new file is there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("report.csv");
    /// storage.save("reports/1.csv", "name,age\n").await?;
    /// storage.download("reports/1.csv", &path).await?;
    /// assert_eq!(std::fs::read(&path)?, b"name,age\n");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Open`], and any error of reading. Errors of writing the file are those of the operating
    /// system. After the object is open, the message of each error contains the path.
    pub async fn download(&self, key: impl IntoKey, path: impl AsRef<Path>) -> Result<ObjectMeta> {
        let path = path.as_ref();
        let object = self.open(key).await?;
        let meta = object.meta().clone();
        let written = object.save_to_file(path).await;
        written.map_err(|error| {
            let error = error.with_context(&path.display().to_string());
            self.with_context(error, crate::Operation::Open, meta.key.as_str())
        })?;
        Ok(meta)
    }
}

/// A read of a whole object that has not begun yet. Await it for the bytes or the text.
///
/// The object is in memory as a whole. Set [`max_size`](Self::max_size) for objects from untrusted
/// sources. Dropping the future stops the transfer.
///
/// # Errors
/// As [`Open`], any error of reading the body, and `TooLarge`.
#[must_use = "nothing is read until it is awaited"]
pub struct Read<T> {
    open: Open,
    max_size: u64,
    convert: fn(Bytes) -> Result<T>,
}

impl<T> Read<T> {
    /// Fails with `TooLarge` if the object has more bytes: before they are received, if the size is
    /// known. Defaults to no limit.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    async fn run(self) -> Result<T> {
        let object: Object = self.open.await?;
        let (key, driver) = (object.meta().key.clone(), object.driver.clone());
        let bytes = object.bytes_up_to(self.max_size).await?;
        (self.convert)(bytes).map_err(|error| in_body(error, key.as_str(), driver))
    }
}

impl<T: Send + 'static> IntoFuture for Read<T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<T> fmt::Debug for Read<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("open", &self.open)
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}
