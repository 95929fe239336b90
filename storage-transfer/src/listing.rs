//! [`Listing`]: the objects of one side, in order, read ahead by a task of its own.

use std::future;
use std::ops::ControlFlow;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use storage_core::{Entry, EntryStream, Error, ErrorKind, Key, ObjectEntry, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::directory::Directory;
use crate::sort::{SortOptions, sort_listing};

/// How many entries pass between the tasks at a time.
const BATCH: usize = 256;
/// How many batches are read ahead.
const BATCHES_AHEAD: usize = 4;

/// A part of the keys of a directory: those after one name, up to and including another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NameRange {
    pub(crate) after: Option<String>,
    pub(crate) until: Option<String>,
}

impl NameRange {
    fn is_behind(&self, name: &str) -> bool {
        self.until.as_deref().is_some_and(|until| name > until)
    }
}

/// An item of a listing.
#[derive(Debug)]
pub(crate) enum Listed {
    /// An object. Its key is that of the storage.
    Object(ObjectEntry),
    /// Everything at and below this name is unknown: a name that is not a valid key, or a
    /// directory that cannot be read. The listing goes on.
    Unknown(String, Error),
    FolderMarker,
    /// The listing broke off. This is the last item.
    Broken(Error),
}

/// The objects of a directory in byte order of their keys.
#[derive(Debug)]
pub(crate) struct Listing {
    batches: mpsc::Receiver<Vec<Listed>>,
    current: std::vec::IntoIter<Listed>,
    /// The task that reads. Dropping the set ends it, also if the storage does not respond.
    reader: JoinSet<()>,
}

impl Listing {
    /// Begins a listing. Dropping it ends it.
    pub(crate) fn begin(directory: &Directory, range: NameRange) -> Self {
        let (of, within) = (directory.clone(), range.clone());
        Self::read_ahead(directory, range, async move { entries(&of, &within).await })
    }

    /// Begins with objects from elsewhere in place of a listing, in any order. They are sorted
    /// first. Dropping it ends it.
    pub(crate) fn begin_with(
        directory: &Directory,
        objects: BoxStream<'static, Result<ObjectEntry>>,
    ) -> Self {
        let sorted = async move {
            let sorted = sort_listing(objects, SortOptions::default()).await?;
            Ok(sorted.map_ok(Entry::Object).boxed())
        };
        Self::read_ahead(directory, NameRange::default(), sorted)
    }

    fn read_ahead(
        directory: &Directory,
        range: NameRange,
        entries: impl Future<Output = Result<EntryStream>> + Send + 'static,
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let mut reader = JoinSet::new();
        reader.spawn(read(directory.clone(), range, entries, sender));
        Self { batches, current: Vec::new().into_iter(), reader }
    }

    /// Returns the next item; `None` after the last one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Listed> {
        loop {
            if let Some(item) = self.current.next() {
                return Some(item);
            }
            match self.batches.recv().await {
                Some(batch) => self.current = batch.into_iter(),
                None => return self.end().await,
            }
        }
    }

    /// A listing whose reader panicked has not ended well: what it lacks is unknown.
    async fn end(&mut self) -> Option<Listed> {
        let error = self.reader.join_next().await?.err()?;
        Some(Listed::Broken(Error::unexpected("the task that lists failed", error)))
    }
}

/// Sends the items of a listing until it ends or the receiver is dropped.
async fn read(
    directory: Directory,
    range: NameRange,
    entries: impl Future<Output = Result<EntryStream>>,
    sender: mpsc::Sender<Vec<Listed>>,
) {
    let mut entries = match entries.await {
        Ok(entries) => entries,
        Err(error) => return drop(sender.send(vec![Listed::Broken(error)]).await),
    };
    let (mut batch, mut last) = (Vec::with_capacity(BATCH), None);
    while let Some(entry) = entries.next().await {
        let item = match checked(&directory, &range, entry, &mut last) {
            ControlFlow::Continue(item) => item,
            ControlFlow::Break(None) => break,
            ControlFlow::Break(Some(error)) => {
                batch.push(Listed::Broken(error));
                break;
            }
        };
        batch.push(item);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.send(full).await.is_err() {
                return;
            }
        }
    }
    // If the receiver is gone, it does not need the rest.
    let _ = sender.send(batch).await;
}

/// Begins the listing of a range, which is sorted first if the storage does not do that.
async fn entries(directory: &Directory, range: &NameRange) -> Result<EntryStream> {
    let prefix = directory.prefix().as_str();
    let list = directory.storage().list(prefix);
    if directory.is_unsorted() {
        let objects = list
            .entries()
            .filter_map(|entry| future::ready(entry.map(Entry::into_object).transpose()));
        let sorted = sort_listing(objects, SortOptions::default()).await?;
        // A listing without order cannot begin after a name.
        let after = range.after.as_ref().map(|after| format!("{prefix}{after}"));
        let is_in_range = move |object: &ObjectEntry| {
            after.as_deref().is_none_or(|after| object.key.as_str() > after)
        };
        let objects = sorted.try_filter(move |object| future::ready(is_in_range(object)));
        return Ok(objects.map_ok(Entry::Object).boxed());
    }
    let list = match &range.after {
        Some(after) => list.start_after(format!("{prefix}{after}")),
        None => list,
    };
    Ok(list.with_folder_markers().entries().boxed())
}

/// Converts an entry. Breaks at the end of the range, or with the error that ends the listing.
fn checked(
    directory: &Directory,
    range: &NameRange,
    entry: Result<Entry>,
    last: &mut Option<Key>,
) -> ControlFlow<Option<Error>, Listed> {
    match entry {
        Ok(Entry::Object(object)) => {
            let Some(name) = directory.name_of(object.key.as_str()) else {
                let error = foreign(directory, object.key.as_str());
                return ControlFlow::Break(Some(error));
            };
            if range.after.as_deref().is_some_and(|after| name <= after) {
                return ControlFlow::Break(Some(before_range(directory, object.key.as_str())));
            }
            if range.is_behind(name) {
                return ControlFlow::Break(None);
            }
            if let Some(last) = last.as_ref().filter(|last| **last >= object.key) {
                let error = out_of_order(directory, last.as_str(), object.key.as_str());
                return ControlFlow::Break(Some(error));
            }
            *last = Some(object.key.clone());
            ControlFlow::Continue(Listed::Object(object))
        }
        Ok(_) => ControlFlow::Continue(Listed::FolderMarker),
        Err(error) => match (error.listing_continues(), error.key()) {
            (true, Some(key)) => match directory.name_of(key) {
                Some(name) => ControlFlow::Continue(Listed::Unknown(name.to_owned(), error)),
                None => ControlFlow::Break(Some(error)),
            },
            _ => ControlFlow::Break(Some(error)),
        },
    }
}

fn foreign(directory: &Directory, key: &str) -> Error {
    let message = format!("the listing contains {key:?}, which is not below the directory");
    Error::new(ErrorKind::Unexpected, message).with_driver(directory.storage().info().name.clone())
}

fn before_range(directory: &Directory, key: &str) -> Error {
    let message = format!(
        "the listing contains {key:?}, which is before the name that it should begin after; a \
         storage that ignores this cannot be divided into shards"
    );
    Error::new(ErrorKind::Unsupported, message).with_driver(directory.storage().info().name.clone())
}

fn out_of_order(directory: &Directory, last: &str, key: &str) -> Error {
    let message = format!(
        "the listing is not sorted: {key:?} follows {last:?}, so nothing was deleted; mark this side \
         as unsorted (--unsorted), and it is sorted on disk first"
    );
    Error::new(ErrorKind::Unsupported, message).with_driver(directory.storage().info().name.clone())
}

#[cfg(test)]
mod tests {
    use storage_core::Storage;
    use storage_testkit::scripted::Scripted;

    use super::*;

    async fn listed(scripted: Scripted, range: NameRange) -> Vec<String> {
        let directory = Directory::new(&Storage::new(scripted), "d").unwrap();
        let mut listing = Listing::begin(&directory, range);
        let mut names = Vec::new();
        while let Some(item) = listing.next().await {
            names.push(match item {
                Listed::Object(object) => object.key.to_string(),
                Listed::Broken(error) => format!("broken: {:?}", error.kind()),
                other => format!("{other:?}"),
            });
        }
        names
    }

    #[tokio::test]
    async fn a_range_has_the_names_after_one_up_to_another() {
        let objects = [("c", ""), ("d/a", ""), ("d/b", ""), ("d/c", ""), ("d/d", ""), ("e", "")];
        let range = NameRange { after: Some("a".to_owned()), until: Some("c".to_owned()) };
        let scripted = Scripted::with_objects(&objects).await;
        assert_eq!(listed(scripted, range).await, ["d/b", "d/c"]);
    }

    #[tokio::test]
    async fn a_storage_that_ignores_where_a_range_begins_breaks_the_listing() {
        let mut scripted = Scripted::with_objects(&[("d/a", ""), ("d/b", "")]).await;
        scripted.ignores_start_after = true;
        let range = NameRange { after: Some("a".to_owned()), until: None };
        assert_eq!(listed(scripted, range).await, ["broken: Unsupported"]);
    }
}
