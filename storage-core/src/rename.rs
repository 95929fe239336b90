//! [`RenameObject`]: the builder that [`Storage::rename`] returns.

use std::future::IntoFuture;

use futures_core::future::BoxFuture;

use crate::copy::concerned_key;
use crate::error::{Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::options::RenameOptions;
use crate::storage::Storage;

impl Storage {
    /// Moves an object to another key of this storage: see [`RenameObject`].
    pub fn rename(&self, from: impl IntoKey, to: impl IntoKey) -> RenameObject {
        self.rename_with(from, to, RenameOptions::default())
    }

    /// Moves an object with these options, which the setters of [`RenameObject`] may change.
    pub fn rename_with(
        &self,
        from: impl IntoKey,
        to: impl IntoKey,
        options: RenameOptions,
    ) -> RenameObject {
        RenameObject { storage: self.clone(), from: from.into_key(), to: to.into_key(), options }
    }
}

/// A rename that has not begun yet. Await it.
///
/// The object keeps its bytes and its metadata. Its content type stays even if the new key has
/// another extension. An object under the destination is replaced, unless
/// [`create_new`](Self::create_new) is set.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("inbox/1.txt", "hello").await?;
/// storage.rename("inbox/1.txt", "done/1.txt").await?;
/// assert!(!storage.exists("inbox/1.txt").await?);
/// assert_eq!(storage.open("done/1.txt").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
///
/// # Guarantees
///
/// - A reader of the destination sees the object that was there or the whole moved one.
/// - After success there is no object under the source, unless one was saved there meanwhile.
/// - No object is lost if the rename fails. The file system and memory rename in one step. S3 has
///   no such request: the driver copies the object, and then deletes the source if it is still the
///   version that was copied. If the second step fails, or the future is dropped before it, both
///   objects exist.
/// - An object that is saved under the source during the rename is moved, or stays there.
///
/// A rename onto itself changes nothing. A layer does not repeat a rename after a failure, except
/// after `RateLimited`: a second attempt would report `NotFound` if the first succeeded, or move an
/// object that was saved since.
///
/// # Errors
/// `NotFound` if there is no source, `PreconditionFailed` if it is another version than
/// [`if_source_match`](Self::if_source_match), `Unsupported` if the driver does not rename; for the
/// destination the errors of [`Save`](crate::Save). The error's key is the destination for
/// `AlreadyExists`, `Conflict` and `StorageFull`, unless the driver sets one, and the source
/// otherwise.
#[derive(Debug)]
#[must_use = "nothing is renamed until it is awaited"]
pub struct RenameObject {
    storage: Storage,
    from: Result<Key>,
    to: Result<Key>,
    options: RenameOptions,
}

impl RenameObject {
    /// Fails with `AlreadyExists` if there is an object under the destination.
    pub fn create_new(mut self) -> Self {
        self.options = self.options.create_new();
        self
    }

    /// Fails with `PreconditionFailed` unless the source is this version. A weak ETag never
    /// matches.
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.options = self.options.if_source_match(etag);
        self
    }

    async fn run(self) -> Result<()> {
        let Self { storage, from, to, options } = self;
        let from = storage.checked_key(Operation::Rename, from)?;
        let to = storage.checked_key(Operation::Rename, to)?;
        let renamed = storage.driver().rename(&from, &to, &options).await;
        renamed.map_err(|error| {
            let key = concerned_key(&error, &from, &to);
            storage.with_context(error, Operation::Rename, key.as_str())
        })
    }
}

impl IntoFuture for RenameObject {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
