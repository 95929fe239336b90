//! [`CopyTo`]: the builder that [`Storage::copy_to`] returns.

use std::fmt;
use std::future::IntoFuture;

use futures_core::future::BoxFuture;

use crate::error::{Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::{Metadata, ObjectMeta};
use crate::options::{OpenOptions, SaveMode, SaveOptions};
use crate::payload::Payload;
use crate::storage::Storage;

impl Storage {
    /// Copies an object to another storage: see [`CopyTo`]. Within one storage
    /// [`copy`](Self::copy) transfers no bytes.
    pub fn copy_to<'a>(
        &self,
        from: impl IntoKey,
        target: &Storage,
        to: impl IntoKey,
    ) -> CopyTo<'a> {
        CopyTo {
            source: self.clone(),
            from: from.into_key(),
            target: target.clone(),
            to: to.into_key(),
            open: OpenOptions::default(),
            mode: SaveMode::default(),
            metadata: Box::new(|source| Ok(source.metadata.clone())),
            payload: Box::new(|payload| payload),
        }
    }
}

type MapMetadata<'a> = Box<dyn FnOnce(&ObjectMeta) -> Result<Metadata> + Send + 'a>;
type MapPayload<'a> = Box<dyn FnOnce(Payload) -> Payload + Send + 'a>;

/// A copy to another storage that has not begun yet. Await it.
///
/// Opens one version of the source and saves its bytes with its metadata in the other storage, as a
/// stream in bounded memory. Returns the metadata of the saved object.
///
/// The copy is all or nothing, as a [`Save`](crate::Save) is. The target compares the bytes with
/// all checksums of the source, and keeps these checksums where it can. A copy whose source breaks
/// off or is replaced, or whose future is dropped before the last byte, leaves no object.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
/// media.save("a.txt", "hello").cache_control("no-cache").await?;
/// media.copy_to("a.txt", &backup, "2026/a.txt").create_new().await?;
///
/// let copy = backup.open("2026/a.txt").await?;
/// assert_eq!(copy.meta().metadata.cache_control.as_deref(), Some("no-cache"));
/// assert_eq!(copy.text().await?, "hello");
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of [`Open`](crate::Open) for the source and of [`Save`](crate::Save) for the copy. The
/// error names the storage and the key that it concerns. `InvalidInput` if metadata of the source,
/// which another program may have written, is invalid: see [`map_metadata`](Self::map_metadata).
#[must_use = "nothing is copied until it is awaited"]
pub struct CopyTo<'a> {
    source: Storage,
    from: Result<Key>,
    target: Storage,
    to: Result<Key>,
    open: OpenOptions,
    mode: SaveMode,
    metadata: MapMetadata<'a>,
    payload: MapPayload<'a>,
}

impl<'a> CopyTo<'a> {
    /// Fails with `AlreadyExists` if there is an object under the destination.
    pub fn create_new(mut self) -> Self {
        self.mode = SaveMode::CreateNew;
        self
    }

    /// Replaces the object under the destination only if it is this version. Fails with
    /// `PreconditionFailed` otherwise.
    pub fn if_match(mut self, etag: ETag) -> Self {
        self.mode = SaveMode::IfMatch(etag);
        self
    }

    /// Fails with `PreconditionFailed` unless the source is this version. A weak ETag never
    /// matches.
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.open.if_match = Some(etag);
        self
    }

    /// Sets the metadata of the copy. Defaults to the metadata of the source. Without a content
    /// type, the type is detected as for a [`Save`](crate::Save).
    pub fn metadata(self, metadata: Metadata) -> Self {
        self.map_metadata(|_| Ok(metadata))
    }

    /// Computes the metadata of the copy from the version that is copied. An error ends the copy
    /// before any byte is transferred.
    ///
    /// Another program may have stored metadata that no save accepts. This call drops it:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
    /// # media.save("a.txt", "hello").await?;
    /// let copy = media.copy_to("a.txt", &backup, "a.txt");
    /// copy.map_metadata(|source| Ok(source.metadata.clone().valid_part().0)).await?;
    /// # Ok(()) }
    /// ```
    pub fn map_metadata(
        mut self,
        map: impl FnOnce(&ObjectMeta) -> Result<Metadata> + Send + 'a,
    ) -> Self {
        self.metadata = Box::new(map);
        self
    }

    /// Wraps the payload of the save, for example to count or throttle its bytes. The bytes must
    /// stay the same.
    pub fn map_payload(mut self, map: impl FnOnce(Payload) -> Payload + Send + 'a) -> Self {
        self.payload = Box::new(map);
        self
    }

    async fn run(self) -> Result<ObjectMeta> {
        let from = self.source.checked_key(Operation::Open, self.from)?;
        // A wrong destination is reported before the source is opened.
        let to = self.target.checked_key(Operation::Save, self.to)?;
        let object = self.source.open_with(from, self.open).await?;
        let checksums = object.meta().checksums.clone();
        let options = SaveOptions { mode: self.mode, metadata: (self.metadata)(object.meta())? };
        let mut save = self.target.save_with(to, (self.payload)(object.into()), options);
        for checksum in checksums.iter() {
            save = save.expect_checksum(checksum.clone());
        }
        save.await
    }
}

impl fmt::Debug for CopyTo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyTo")
            .field("source", &self.source)
            .field("from", &self.from)
            .field("target", &self.target)
            .field("to", &self.to)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for CopyTo<'a> {
    type Output = Result<ObjectMeta>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
