//! [`Deletions`]: deletes any number of objects in batches, for [`DeleteMany`](crate::DeleteMany) and
//! [`DeletePrefix`](crate::DeletePrefix).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesOrdered};

use crate::driver::MAX_DELETE_MANY;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{Key, Prefix};
use crate::storage::Storage;

/// How many batches run at a time.
const MAX_BATCHES: usize = 4;

/// How many folder markers of a batch are deleted at a time.
const MAX_FOLDER_MARKERS: usize = 16;

/// Something to delete: an object or a folder marker.
pub(crate) trait Target: Send + Sync + Unpin + 'static {
    /// Returns the key, if this is an object.
    fn object(&self) -> Option<&Key>;
    /// Returns the name, if this is a folder marker.
    fn folder_marker(&self) -> Option<&Prefix>;
}

impl Target for Key {
    fn object(&self) -> Option<&Key> {
        Some(self)
    }

    fn folder_marker(&self) -> Option<&Prefix> {
        None
    }
}

impl Target for Entry {
    fn object(&self) -> Option<&Key> {
        match self {
            Self::Object(object) => Some(&object.key),
            Self::Prefix(_) | Self::FolderMarker(_) => None,
        }
    }

    fn folder_marker(&self) -> Option<&Prefix> {
        match self {
            Self::FolderMarker(marker) => Some(marker),
            Self::Object(_) | Self::Prefix(_) => None,
        }
    }
}

/// A stream of the deleted targets, in the order of the source.
pub(crate) struct Deletions<T> {
    storage: Storage,
    /// `None` after its end.
    targets: Option<BoxStream<'static, Result<T>>>,
    /// The next batch, of at most [`MAX_DELETE_MANY`] targets.
    batch: Vec<Result<T>>,
    running: FuturesOrdered<BoxFuture<'static, Vec<Result<T>>>>,
    done: vec::IntoIter<Result<T>>,
}

impl<T: Target> Deletions<T> {
    pub(crate) fn new(storage: Storage, targets: BoxStream<'static, Result<T>>) -> Self {
        let (batch, done) = (Vec::new(), Vec::new().into_iter());
        Self { storage, targets: Some(targets), batch, running: FuturesOrdered::new(), done }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Deletes all remaining targets and returns how many are deleted. `what` names them in the
    /// error.
    pub(crate) async fn finish(mut self, what: &str) -> Result<u64> {
        let (mut deleted, mut failed) = (0_u64, 0_u64);
        let mut first = None;
        while let Some(target) = self.next().await {
            match target {
                Ok(_) => deleted += 1,
                Err(error) => {
                    failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            None => Ok(deleted),
            Some(error) if failed == 1 => Err(error),
            Some(error) => Err(error
                .with_context(&format!("the first of {failed} errors, {deleted} {what} are gone"))),
        }
    }

    /// Collects the targets that are ready, and starts the batches that are full or last.
    ///
    /// An incomplete batch starts only when no other runs, so that a slow source delays nothing.
    fn gather(&mut self, cx: &mut Context<'_>) {
        while self.running.len() < MAX_BATCHES
            && let Some(targets) = &mut self.targets
        {
            match targets.poll_next_unpin(cx) {
                Poll::Ready(Some(target)) => self.batch.push(target),
                Poll::Ready(None) => self.targets = None,
                Poll::Pending => break,
            }
            if self.batch.len() == MAX_DELETE_MANY {
                self.start_batch();
            }
        }
        let is_last = self.targets.is_none() && self.running.len() < MAX_BATCHES;
        if !self.batch.is_empty() && (is_last || self.running.is_empty()) {
            self.start_batch();
        }
    }

    fn start_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.running.push_back(Box::pin(delete_batch(self.storage.clone(), batch)));
    }
}

async fn delete_batch<T: Target>(storage: Storage, batch: Vec<Result<T>>) -> Vec<Result<T>> {
    let keys: Vec<_> =
        batch.iter().flatten().filter_map(|target| target.object().cloned()).collect();
    let markers: Vec<_> =
        batch.iter().flatten().filter_map(|target| target.folder_marker().cloned()).collect();
    let driver = storage.driver();
    let deleted = if keys.is_empty() { Vec::new() } else { driver.delete_many(&keys).await };
    let marker_deletes: Vec<_> =
        markers.iter().map(|marker| driver.delete_folder_marker(marker)).collect();
    let deleted_markers: Vec<_> =
        stream::iter(marker_deletes).buffered(MAX_FOLDER_MARKERS).collect().await;
    let (mut deleted, mut deleted_markers) = (deleted.into_iter(), deleted_markers.into_iter());
    let results = batch.into_iter().map(|target| {
        let target = target.map_err(|error| storage.with_driver(error, Operation::Delete))?;
        let (result, name) = match (target.object(), target.folder_marker()) {
            (Some(key), _) => (deleted.next(), key.as_str()),
            (None, Some(marker)) => (deleted_markers.next(), marker.as_str()),
            (None, None) => (None, ""),
        };
        match result.unwrap_or_else(no_result) {
            Ok(()) => Ok(target),
            Err(error) => Err(storage.with_context(error, Operation::Delete, name)),
        }
    });
    results.collect()
}

/// If the driver returns too few results, the remaining keys count as failed.
fn no_result() -> Result<()> {
    Err(Error::new(
        ErrorKind::Unexpected,
        "the driver returned no result for this key, which may be deleted or not",
    ))
}

impl<T: Target> Stream for Deletions<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(target) = this.done.next() {
                return Poll::Ready(Some(target));
            }
            this.gather(cx);
            match this.running.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => this.done = done.into_iter(),
                Poll::Ready(None) if this.targets.is_none() => return Poll::Ready(None),
                // No batch runs, so no target is ready either: the source wakes the task.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
