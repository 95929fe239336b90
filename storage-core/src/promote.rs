//! [`Promote`]: the builder that [`Storage::promote`] returns.

use std::future::IntoFuture;

use futures_core::future::BoxFuture;

use crate::error::{ErrorKind, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::Metadata;
use crate::options::{CopyMode, CopyOptions, RenameOptions};
use crate::storage::Storage;

impl Storage {
    /// Moves a verified version of an object from a temporary key to its final one: see
    /// [`Promote`].
    pub fn promote(&self, from: impl IntoKey, etag: ETag, to: impl IntoKey) -> Promote {
        Promote {
            storage: self.clone(),
            from: from.into_key(),
            to: to.into_key(),
            etag,
            mode: CopyMode::default(),
            metadata: None,
        }
    }
}

/// The move of a verified version from a temporary key to its final one, which has not begun yet.
/// Await it.
///
/// A client uploads to a temporary key, the application checks what is there, and then moves
/// exactly the version that it checked. A link for uploading may outlive the check, so a plain
/// rename would move what the client stored since.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// # storage.save("incoming/1", "a picture").await?;
/// let checked = storage.stat("incoming/1").await?;
/// // ... the application reads the object and finds it good ...
/// let etag = checked.etag.expect("this driver has ETags");
/// storage.promote("incoming/1", etag, "avatars/ada.png").create_new().await?;
/// assert!(!storage.exists("incoming/1").await?);
/// # Ok(()) }
/// ```
///
/// The object keeps its metadata and is [renamed](Storage::rename), in one step where the backend
/// can. With [`metadata`](Self::metadata) it is copied within the backend, and the source is then
/// deleted if it is still that version. A backend that cannot do either on this condition streams
/// the object through this process. Backends have no condition on a deletion, so an upload that
/// arrives at the temporary key between the last comparison and the deletion is deleted too: use
/// each temporary key once. The destination is all or nothing in each case. If a step fails
/// after the copy, or the future is dropped there, both objects exist: no object is lost.
///
/// # Errors
/// `NotFound` if there is no source, `PreconditionFailed` if it is another version, `AlreadyExists`
/// by mode, and the errors of [`rename`](Storage::rename), [`copy`](Storage::copy) and
/// [`delete`](Storage::delete).
#[derive(Debug)]
#[must_use = "nothing is moved until it is awaited"]
pub struct Promote {
    storage: Storage,
    from: Result<Key>,
    to: Result<Key>,
    etag: ETag,
    mode: CopyMode,
    metadata: Option<Metadata>,
}

impl Promote {
    /// Fails with `AlreadyExists` if there is an object under the final key.
    pub fn create_new(mut self) -> Self {
        self.mode = CopyMode::CreateNew;
        self
    }

    /// Gives the object this metadata in place of what the uploading client set. Without a content
    /// type, one is guessed from the final key.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    async fn run(self) -> Result<()> {
        let Self { storage, from, to, etag, mode, metadata } = self;
        let from = storage.checked_key(Operation::Rename, from)?;
        let to = storage.checked_key(Operation::Rename, to)?;
        let promotion = Promotion { storage, from, to, etag, mode, metadata };
        let moved = match &promotion.metadata {
            None => promotion.rename().await,
            Some(metadata) => promotion.copy(metadata.clone()).await,
        };
        match moved {
            Ok(()) if promotion.metadata.is_none() => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Unsupported && !error.took_effect() => {
                promotion.stream().await?;
            }
            moved => moved?,
        }
        // After the match: a storage that cannot delete has copied already.
        promotion.delete_source().await
    }
}

/// A promotion with valid keys.
struct Promotion {
    storage: Storage,
    from: Key,
    to: Key,
    etag: ETag,
    mode: CopyMode,
    metadata: Option<Metadata>,
}

impl Promotion {
    async fn rename(&self) -> Result<()> {
        let options = RenameOptions::new().mode(self.mode).if_source_match(self.etag.clone());
        self.storage.rename_with(&self.from, &self.to, options).await
    }

    async fn copy(&self, metadata: Metadata) -> Result<()> {
        let options = CopyOptions::new().mode(self.mode).if_source_match(self.etag.clone());
        self.storage.copy_with(&self.from, &self.to, options.metadata(metadata)).await
    }

    async fn stream(&self) -> Result<()> {
        let copy = self.storage.copy_to(&self.from, &self.storage, &self.to);
        let mut copy = copy.if_source_match(self.etag.clone());
        if self.mode == CopyMode::CreateNew {
            copy = copy.create_new();
        }
        if let Some(metadata) = &self.metadata {
            copy = copy.metadata(metadata.clone());
        }
        copy.await.map(drop)
    }

    /// Deletes the source if it is still the version that was moved.
    async fn delete_source(&self) -> Result<()> {
        // A copy onto itself may have the ETag of its source.
        if self.from == self.to {
            return Ok(());
        }
        let present = match self.storage.stat(&self.from).await {
            Err(error) if error.is_not_found() => return Ok(()),
            present => present?,
        };
        match present.etag {
            Some(etag) if etag.strong_eq(&self.etag) => self.storage.delete(&self.from).await,
            _ => Ok(()),
        }
    }
}

impl IntoFuture for Promote {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
