//! [`DeletePrefix`]: deletes everything below a directory.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};

use crate::deletions::Deletions;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{IntoPrefix, Prefix};
use crate::storage::Storage;

impl Storage {
    /// Deletes everything below a directory, such as `"avatars/"`: objects and folder markers. See
    /// [`DeletePrefix`].
    ///
    /// The prefix must end in `/`, so that `avatars/` does not delete `avatars-old/x`. Any other
    /// prefix fails with `InvalidInput`, including `""`: see
    /// [`delete_everything`](Self::delete_everything).
    pub fn delete_prefix(&self, prefix: impl IntoPrefix) -> DeletePrefix {
        DeletePrefix::new(self.clone(), prefix.into_prefix().and_then(checked_directory))
    }

    /// Deletes every object and every folder marker of this storage: see [`DeletePrefix`].
    ///
    /// In a storage that [`prefixed`](Self::prefixed) returned, deletes everything below its
    /// prefix.
    pub fn delete_everything(&self) -> DeletePrefix {
        DeletePrefix::new(self.clone(), Ok(Prefix::empty()))
    }

    /// Deletes a folder marker, which
    /// [`List::with_folder_markers`](crate::List::with_folder_markers) shows. Succeeds if there is
    /// none.
    ///
    /// Only the marker is deleted; the objects below it stay. Does nothing on backends without
    /// folder markers. In a storage that [`prefixed`](Self::prefixed) returned, `""` is the marker
    /// of its prefix. If the future is dropped, the marker is still there or gone.
    ///
    /// # Errors
    /// `InvalidInput` if the name does not end in `/`. `Conflict` if the object of that name is not
    /// empty. Otherwise as [`delete`](Self::delete).
    pub async fn delete_folder_marker(&self, marker: impl IntoPrefix) -> Result<()> {
        let marker = marker.into_prefix().and_then(|marker| match marker.as_str() {
            "" => Ok(marker),
            _ => checked_directory(marker),
        });
        let marker = marker.map_err(|error| self.with_context(error, Operation::Delete, ""))?;
        let deleted = self.driver().delete_folder_marker(&marker).await;
        deleted.map_err(|error| self.with_context(error, Operation::Delete, marker.as_str()))
    }
}

/// Refuses a prefix that does not name a directory.
fn checked_directory(prefix: Prefix) -> Result<Prefix> {
    if prefix.as_str().ends_with('/') {
        return Ok(prefix);
    }
    let message = if prefix.is_empty() {
        "an empty prefix contains every object of the storage: call delete_everything to delete all \
         of them"
            .to_owned()
    } else {
        format!(
            "{prefix:?} also begins the keys of other directories: write \"{prefix}/\" to delete what \
             is below this directory"
        )
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with_key(prefix.as_str()))
}

/// Deletes all objects and [folder markers](Entry::FolderMarker) below a directory.
/// [`Storage::delete_prefix`] and [`Storage::delete_everything`] return it.
///
/// Await it to delete them all and to learn how many they were: see [`finish`](Self::finish). It is
/// also a `Stream` of the deleted entries, in the order of the listing. It continues after
/// failures. Each entry that cannot be deleted is one error item with its name as the key: an
/// object that the backend refuses to delete, a name that is not a valid key (`InvalidKey`: delete
/// it with the backend's own tools), or a directory that cannot be read. After an error that ends
/// the listing, the remaining objects stay.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("tmp/1", "").await?;
/// storage.save("tmp/a/2", "").await?;
/// storage.save("tmp.txt", "").await?;
/// assert_eq!(storage.delete_prefix("tmp/").await?, 2);
/// assert!(storage.exists("tmp.txt").await?);
/// # Ok(()) }
/// ```
///
/// Objects that are saved below the directory in the meantime may stay. Batches, memory, order and
/// dropping are those of [`DeleteMany`](crate::DeleteMany).
#[must_use = "nothing is deleted until it is awaited or read"]
pub struct DeletePrefix(Deletions<Entry>);

impl DeletePrefix {
    fn new(storage: Storage, prefix: Result<Prefix>) -> Self {
        let entries = match prefix {
            Ok(prefix) => {
                let entries = storage.list(prefix.clone()).with_folder_markers().entries();
                entries.map(move |entry| checked_entry(entry, &prefix)).boxed()
            }
            Err(error) => stream::iter([Err(error.with_operation(Operation::Delete))]).boxed(),
        };
        Self(Deletions::new(storage, entries))
    }

    /// Returns the next deleted entry, or the error of one that is not deleted; `None` at the end.
    ///
    /// Cancel-safe: dropping the future loses no entry.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        StreamExt::next(self).await
    }

    /// Deletes all remaining entries and returns how many objects and folder markers are deleted.
    ///
    /// Dropping the future stops it, as dropping the stream does.
    ///
    /// # Errors
    /// The first error, after all entries have been tried. If several failed, its message states
    /// how many.
    pub async fn finish(self) -> Result<u64> {
        self.0.finish("entries").await
    }
}

/// Refuses an entry that a listing of all levels below the prefix cannot contain. Otherwise a
/// server that ignores the prefix would have all objects of the storage deleted.
fn checked_entry(entry: Result<Entry>, prefix: &Prefix) -> Result<Entry> {
    match entry {
        Ok(entry) if !entry.name().starts_with(prefix.as_str()) => {
            let message =
                format!("the driver listed a name that does not begin with {prefix:?}: it stays");
            Err(Error::new(ErrorKind::Unexpected, message).with_key(entry.name()))
        }
        Ok(Entry::Prefix(prefix)) => {
            let message = "the driver returned a prefix in a listing of all levels: the objects below it stay";
            Err(Error::new(ErrorKind::Unexpected, message).with_key(prefix.as_str()))
        }
        entry => entry,
    }
}

/// Deletes all entries, as [`finish`](DeletePrefix::finish) does.
impl IntoFuture for DeletePrefix {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'static, Result<u64>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}

impl Stream for DeletePrefix {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for DeletePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletePrefix").field("storage", self.0.storage()).finish_non_exhaustive()
    }
}
