//! [`List`]: the builder that [`Storage::list`] returns, and [`Entries`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::entry::{Entry, EntryStream, ObjectEntry};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{IntoPrefix, Key, Prefix};
use crate::options::ListOptions;
use crate::storage::Storage;

impl Storage {
    /// Lists the objects whose keys begin with a prefix: see [`List`]. `""` lists all.
    pub fn list(&self, prefix: impl IntoPrefix) -> List {
        self.list_with(prefix, ListOptions::default())
    }

    /// Lists objects with these options, which the setters of [`List`] may change.
    pub fn list_with(&self, prefix: impl IntoPrefix, options: ListOptions) -> List {
        List {
            storage: self.clone(),
            prefix: prefix.into_prefix(),
            options,
            with_folder_markers: false,
        }
    }
}

/// A listing that has not begun yet. [`entries`](Self::entries) begins it.
///
/// # Errors
/// The first entry is an error `InvalidKey` if no key can begin with the prefix, and `InvalidInput`
/// if the delimiter is empty.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("a/1", "").await?;
/// storage.save("a/b/2", "").await?;
/// let mut entries = storage.list("a/").delimiter("/").entries();
/// let mut names = Vec::new();
/// while let Some(entry) = entries.next().await {
///     names.push(entry?.name().to_owned());
/// }
/// assert_eq!(names, ["a/1", "a/b/"]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is listed until its entries are read"]
pub struct List {
    storage: Storage,
    prefix: Result<Prefix>,
    options: ListOptions,
    with_folder_markers: bool,
}

impl List {
    /// Rolls up keys that have this text after the prefix into one entry. `"/"` lists one level.
    pub fn delimiter(self, delimiter: impl Into<String>) -> Self {
        self.with_options(|options| options.delimiter(delimiter))
    }

    /// Lists one level: the objects directly below the prefix, and one entry for each directory.
    /// The same as `delimiter("/")`. The prefix of a directory ends in `/`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// storage.save("a/1", "").await?;
    /// storage.save("a/b/2", "").await?;
    /// let entries = storage.list("a/").one_level().collect().await?;
    /// assert_eq!((entries[0].name(), entries[1].name()), ("a/1", "a/b/"));
    /// # Ok(()) }
    /// ```
    pub fn one_level(self) -> Self {
        self.delimiter("/")
    }

    /// Lists only entries whose name sorts after this text. To continue an earlier listing, pass
    /// the name of its last entry.
    pub fn start_after(self, name: impl Into<String>) -> Self {
        self.with_options(|options| options.start_after(name))
    }

    /// Yields folder markers too, as [`Entry::FolderMarker`]. By default they are skipped, and
    /// [`Entries::folder_markers`] counts them.
    pub fn with_folder_markers(mut self) -> Self {
        self.with_folder_markers = true;
        self
    }

    /// Returns the entries, in byte order of their names. Sends no request before the first is
    /// polled.
    #[must_use]
    pub fn entries(self) -> Entries {
        let Self { storage, prefix, options, with_folder_markers } = self;
        let prefix = prefix.and_then(|prefix| match options.delimiter.as_deref() {
            Some("") => Err(Error::new(
                ErrorKind::InvalidInput,
                "the delimiter is empty: leave it unset to list all levels",
            )),
            _ => Ok(prefix),
        });
        let (entries, prefix) = match prefix {
            Ok(prefix) => (storage.driver().list(&prefix, &options), prefix.to_string()),
            Err(error) => (stream::iter([Err(error)]).boxed(), String::new()),
        };
        Entries { entries, prefix, storage, with_folder_markers, folder_markers: 0 }
    }

    /// Collects all entries in memory: see [`Entries::collect`]. Use it for listings that are known
    /// to be short.
    ///
    /// # Errors
    /// The first error item, invalid names included.
    pub async fn collect(self) -> Result<Vec<Entry>> {
        self.entries().collect().await
    }

    /// Collects the keys of all listed objects in memory. Use it for listings that are known to be
    /// short. Rolled-up entries are not keys and are skipped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// storage.save("a/1", "").await?;
    /// storage.save("a/b/2", "").await?;
    /// assert_eq!(storage.list("a/").keys().await?, ["a/1", "a/b/2"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first error item, invalid names included.
    pub async fn keys(self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        let mut entries = self.entries();
        while let Some(object) = entries.next_object().await? {
            keys.push(object.key);
        }
        Ok(keys)
    }

    /// Collects all listed objects in memory, with their sizes. Use it for listings that are known
    /// to be short. Rolled-up entries are not objects and are skipped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// storage.save("a/1", "hello").await?;
    /// storage.save("a/b/2", "").await?;
    /// let sizes = storage.list("a/").objects().await?.iter().map(|object| object.size).sum::<u64>();
    /// assert_eq!(sizes, 5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first error item, invalid names included.
    pub async fn objects(self) -> Result<Vec<ObjectEntry>> {
        let mut objects = Vec::new();
        let mut entries = self.entries();
        while let Some(object) = entries.next_object().await? {
            objects.push(object);
        }
        Ok(objects)
    }

    fn with_options(mut self, set: impl FnOnce(ListOptions) -> ListOptions) -> Self {
        self.options = set(self.options);
        self
    }
}

/// The entries of a listing, as a `Stream` and through [`next`](Self::next).
///
/// Memory is bounded regardless of the number of entries. Dropping it stops the listing.
pub struct Entries {
    entries: EntryStream,
    prefix: String,
    storage: Storage,
    with_folder_markers: bool,
    folder_markers: u64,
}

impl Entries {
    /// Returns the next entry; `None` at the end.
    ///
    /// After an error that [continues the listing](Error::listing_continues) the next entries
    /// follow: one name is not a valid key, or one directory cannot be read. What is at and below
    /// the error's key is unknown. Any other error is the last item. A program that deletes what a
    /// listing lacks must keep what is unknown.
    ///
    /// Cancel-safe: dropping the future loses no entry.
    pub async fn next(&mut self) -> Option<Result<Entry>> {
        StreamExt::next(self).await
    }

    /// Returns the next object, and skips prefixes and folder markers; `None` at the end. For loops
    /// that end with the first error:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// storage.save("a/1", "hello").await?;
    /// let mut entries = storage.list("a/").entries();
    /// while let Some(object) = entries.next_object().await? {
    ///     println!("{} has {} bytes", object.key, object.size);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Cancel-safe: dropping the future loses no object.
    ///
    /// # Errors
    /// The next error item, invalid names included. After an error that
    /// [continues the listing](Error::listing_continues), the next call returns the object after
    /// it.
    pub async fn next_object(&mut self) -> Result<Option<ObjectEntry>> {
        while let Some(entry) = self.next().await {
            if let Entry::Object(object) = entry? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Collects all entries in memory. Use it for listings that are known to be short.
    ///
    /// Folder markers are neither entries nor errors, unless
    /// [`List::with_folder_markers`] includes them.
    ///
    /// # Errors
    /// The first error item, invalid names included.
    pub async fn collect(mut self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await {
            all.push(entry?);
        }
        Ok(all)
    }

    /// Returns the number of [folder markers](Entry::FolderMarker) so far.
    #[must_use]
    pub fn folder_markers(&self) -> u64 {
        self.folder_markers
    }
}

impl Stream for Entries {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let entry = ready!(self.entries.poll_next_unpin(cx));
            if let Some(Ok(Entry::FolderMarker(_))) = &entry {
                self.folder_markers += 1;
                if !self.with_folder_markers {
                    continue;
                }
            }
            let with_context =
                |error| self.storage.with_context(error, Operation::List, &self.prefix);
            return Poll::Ready(entry.map(|entry| entry.map_err(with_context)));
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("storage", &self.storage)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
