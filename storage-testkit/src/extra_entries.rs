//! [`ExtraEntries`]: adds folder markers and unreadable directories to the listings of any driver, as other programs leave them in a backend.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use storage_core::{
    Driver, Entry, EntryStream, Error, ErrorKind, ListOptions, Prefix, Result, forward, roll_up,
};

/// The folder markers that belong to [`Harness::folder_markers`](crate::Harness::folder_markers).
pub const FOLDER_MARKERS: &[&str] = &["b/", "b/c/", "e/"];

/// The objects beside [`FOLDER_MARKERS`].
pub const BESIDE_FOLDER_MARKERS: &[&str] = &["a", "b/1", "b/c/2", "d"];

/// The directory that belongs to
/// [`Harness::unreadable_directory`](crate::Harness::unreadable_directory).
pub const UNREADABLE_DIRECTORY: &str = "b/";

/// The objects in [`UNREADABLE_DIRECTORY`] and around it.
pub const AROUND_UNREADABLE_DIRECTORY: &[&str] = &["a", "b/1", "b0", "c/1"];

/// A layer that adds folder markers and unreadable directories to listings.
///
/// It holds a whole listing in memory, and expects that no other layer or process writes to the
/// driver.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_core::Memory;
/// use storage_testkit::extra_entries::ExtraEntries;
///
/// let storage = Memory::storage().layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
/// storage.save("a", "hello").await?;
/// storage.save("b/1", "hidden").await?;
///
/// let mut entries = storage.list("").entries();
/// assert_eq!(entries.next().await.unwrap()?.name(), "a");
/// assert_eq!(entries.next().await.unwrap().unwrap_err().key(), Some("b/"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ExtraEntries {
    inner: Arc<dyn Driver>,
    folder_markers: Arc<Mutex<BTreeSet<String>>>,
    unreadable: Vec<String>,
}

impl ExtraEntries {
    /// Wraps a driver, without adding anything.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>) -> Self {
        Self { inner, folder_markers: Arc::default(), unreadable: Vec::new() }
    }

    /// Adds a folder marker, such as `photos/`. `delete_folder_marker` removes it. Clones share the
    /// markers.
    #[must_use]
    pub fn folder_marker(self, name: impl Into<String>) -> Self {
        self.markers().insert(name.into());
        self
    }

    /// Hides the objects below a directory, such as `photos/`, and lists an error in its place.
    #[must_use]
    pub fn unreadable_directory(mut self, name: impl Into<String>) -> Self {
        self.unreadable.push(name.into());
        self
    }

    fn markers(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.folder_markers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the listing of all levels, in order.
    async fn entries(self, prefix: Prefix, by_directory: bool) -> Vec<Result<Entry>> {
        let is_hidden = |name: &str| {
            self.unreadable.iter().any(|directory| name.starts_with(directory.as_str()))
        };
        let mut all: Vec<(String, Result<Entry>)> = Vec::new();
        let mut inner = self.inner.list(&prefix, &ListOptions::default());
        while let Some(entry) = inner.next().await {
            match entry {
                Ok(entry) if is_hidden(entry.name()) => {}
                Ok(entry) => all.push((entry.name().to_owned(), Ok(entry))),
                Err(error) => return vec![Err(error)],
            }
        }
        let markers: Vec<_> =
            self.markers().iter().filter(|name| !is_hidden(name)).cloned().collect();
        all.extend(
            markers
                .into_iter()
                .map(|name| (name.clone(), Prefix::new(name).map(Entry::FolderMarker))),
        );
        for name in &self.unreadable {
            // A listing of one level does not read the directory.
            let is_rolled_up = by_directory && name.len() > prefix.as_str().len();
            let item = if is_rolled_up {
                Prefix::new(name.as_str()).map(Entry::Prefix)
            } else {
                Err(denied(name))
            };
            all.push((name.clone(), item));
        }
        all.retain(|(name, _)| name.starts_with(prefix.as_str()));
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(_, item)| item).collect()
    }
}

fn denied(name: &str) -> Error {
    let error = Error::new(ErrorKind::PermissionDenied, "this directory cannot be read");
    error.with_key(name).with_listing_continues(true)
}

#[async_trait]
impl Driver for ExtraEntries {
    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.markers().remove(marker.as_str());
        Ok(())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let by_directory = options.delimiter.as_deref() == Some("/");
        let entries = self.clone().entries(prefix.clone(), by_directory);
        roll_up(stream::once(entries).flat_map(stream::iter), prefix, options)
    }

    forward! {
        to self.inner: info, innermost, save, open, stat, exists, delete, delete_many, copy, rename,
        url, link_verifier, multipart
    }
}
