//! [`Sorter`]: sorts any number of records in bounded memory, with temporary files.
//!
//! Records collect in a batch. A full batch is sorted and written to an unnamed temporary file, a
//! run, while the next batch fills. At the end the runs are merged. Runs are merged early, so that
//! few files are open at any time.

mod batch;
mod blocking;
mod frame;
mod listing;
mod merge;
mod options;
mod record;
mod run;
mod runs;

use futures_core::stream::BoxStream;
use storage_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

use batch::Batch;
pub(crate) use blocking::{join, read_all, spawn};
pub(crate) use frame::{read_frame, write_frame};
pub(crate) use listing::sort_listing;
pub(crate) use options::SortOptions;
use options::{StopOnDrop, Work};
pub(crate) use record::{Record, damaged};
use run::Run;
use runs::Runs;

/// Sorts records by their [key](Record::sort_key), in byte order. Of records with equal keys it
/// keeps the one that was pushed last.
///
/// Dropping it removes its temporary files and stops the work on them.
pub(crate) struct Sorter<R> {
    work: Work,
    batch: Batch,
    /// Absent while a task has them, and after an error.
    runs: Option<Runs>,
    /// The task that writes the previous batch.
    writing: Option<JoinHandle<Result<Runs>>>,
    stop: StopOnDrop,
    record: std::marker::PhantomData<fn(R)>,
}

impl<R: Record> Sorter<R> {
    pub(crate) fn new(options: SortOptions) -> Self {
        let stop = StopOnDrop::default();
        Self {
            work: Work { options, stop: stop.flag() },
            batch: Batch::default(),
            runs: Some(Runs::default()),
            writing: None,
            stop,
            record: std::marker::PhantomData,
        }
    }

    /// Adds a record. Waits for the disk if two batches are full.
    ///
    /// If the future is dropped, the record may be absent, and no other is.
    ///
    /// # Errors
    /// `StorageFull` if the disk is full, `InvalidConfig` if the temporary directory cannot be
    /// used, `TooLarge` for a record of more than 16 MiB, other kinds of the operating system.
    /// After an error of a file every call fails.
    pub(crate) async fn push(&mut self, record: &R) -> Result<()> {
        if self.batch.memory() >= self.work.options.batch_size() && !self.batch.is_empty() {
            self.finish_writing().await?;
            let mut runs = self.runs.take().ok_or_else(failed_before)?;
            let batch = std::mem::take(&mut self.batch);
            let work = self.work.clone();
            self.writing = Some(spawn(move || {
                runs.add(Run::write(batch, &work)?, &work)?;
                Ok(runs)
            }));
        }
        self.batch.push(record)
    }

    /// Sorts what is left, and returns the records in order. Merges first if there are too many
    /// runs, which takes as long as reading and writing them.
    ///
    /// The stream reads on the blocking pool, many records at a time. Its errors are those of
    /// [`push`](Self::push), and each is the last item.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(crate) async fn finish(mut self) -> Result<BoxStream<'static, Result<R>>> {
        self.finish_writing().await?;
        let Self { work, batch, runs, stop, .. } = self;
        let runs = runs.ok_or_else(failed_before)?;
        let mut merge = join(spawn(move || runs.into_merge(batch, &work))).await?;
        drop(stop);
        Ok(read_all(move || merge.next()?.map(|frame| frame.decode()).transpose()))
    }

    async fn finish_writing(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let runs = join(writing).await;
        self.writing = None;
        self.runs = Some(runs?);
        Ok(())
    }
}

fn failed_before() -> Error {
    Error::new(ErrorKind::Unexpected, "a temporary file failed before, so that records are absent")
}

#[cfg(test)]
mod tests;
