//! [`CopyObject`]: the builder that [`Storage::copy`] returns.

use std::future::IntoFuture;

use futures_core::future::BoxFuture;

use crate::content_type;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::Metadata;
use crate::options::{CopyOptions, MetadataDirective};
use crate::storage::Storage;

impl Storage {
    /// Copies an object within this storage: see [`CopyObject`].
    pub fn copy(&self, from: impl IntoKey, to: impl IntoKey) -> CopyObject {
        self.copy_with(from, to, CopyOptions::default())
    }

    /// Copies an object with these options, which the setters of [`CopyObject`] may change.
    pub fn copy_with(
        &self,
        from: impl IntoKey,
        to: impl IntoKey,
        options: CopyOptions,
    ) -> CopyObject {
        CopyObject { storage: self.clone(), from: from.into_key(), to: to.into_key(), options }
    }
}

/// A copy that has not begun yet. Await it.
///
/// A copy is all or nothing, as a [`Save`](crate::Save) is. If the future is dropped, the copy has
/// happened or not. It returns no metadata, because some backends report none: call
/// [`stat`](Storage::stat) for it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let draft = storage.save("draft.txt", "hello").await?;
/// let etag = draft.etag.expect("this driver has ETags");
/// storage.copy("draft.txt", "final.txt").if_source_match(etag).create_new().await?;
/// assert_eq!(storage.open("final.txt").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
///
/// # Errors
/// `NotFound` if there is no source, `PreconditionFailed` if it is another version than
/// [`if_source_match`](Self::if_source_match); for the destination the errors of
/// [`Save`](crate::Save). The error's key is the destination for `AlreadyExists`, `Conflict` and
/// `StorageFull`, unless the driver sets one, and the source otherwise.
#[derive(Debug)]
#[must_use = "nothing is copied until it is awaited"]
pub struct CopyObject {
    storage: Storage,
    from: Result<Key>,
    to: Result<Key>,
    options: CopyOptions,
}

impl CopyObject {
    /// Fails with `AlreadyExists` if there is an object under the destination. Of any number of
    /// concurrent callers exactly one succeeds.
    pub fn create_new(mut self) -> Self {
        self.options = self.options.create_new();
        self
    }

    /// Fails with `PreconditionFailed` unless the source is this version. A weak ETag never
    /// matches.
    ///
    /// Fails with `Unsupported` if the backend does not evaluate the condition.
    pub fn if_source_match(mut self, etag: ETag) -> Self {
        self.options = self.options.if_source_match(etag);
        self
    }

    /// Gives the copy this metadata in place of the source's. Without a content type, one is
    /// guessed from the destination's key.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.options = self.options.metadata(metadata);
        self
    }

    async fn run(self) -> Result<()> {
        let Self { storage, from, to, mut options } = self;
        let from = storage.checked_key(Operation::Copy, from)?;
        let to = storage.checked_key(Operation::Copy, to)?;
        let with_context = |error: Error| {
            let key = concerned_key(&error, &from, &to);
            storage.with_context(error, Operation::Copy, key.as_str())
        };
        if let MetadataDirective::Replace(metadata) = options.metadata {
            let mut metadata = metadata.validated().map_err(with_context)?;
            metadata.content_type.get_or_insert_with(|| content_type::of_key(&to));
            options.metadata = MetadataDirective::Replace(metadata);
        }
        storage.driver().copy(&from, &to, &options).await.map_err(with_context)
    }
}

/// Returns the key that the error of a copy or a rename concerns.
pub(crate) fn concerned_key<'a>(error: &Error, from: &'a Key, to: &'a Key) -> &'a Key {
    match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::StorageFull => to,
        _ => from,
    }
}

impl IntoFuture for CopyObject {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
