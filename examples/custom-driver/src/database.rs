//! [`Database`]: snapshots for reading, transactions for writing, and errors in the kinds of the
//! contract. All of its methods block; the driver calls them through [`blocking`].

use std::path::Path;
use std::sync::Arc;

use redb::{Builder, DatabaseError, Durability, ReadTransaction, ReadableDatabase};
use storage_core::{Error, Result};

use crate::tables::Tables;

/// The open database. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    redb: Arc<redb::Database>,
}

impl Database {
    /// Opens or creates a database, and removes uploads that a killed process has left.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Self> {
        let opened = Builder::new().set_cache_size(cache_bytes).create(path);
        let redb = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::config(
                "option path: the database is open already; only one storage can have it open",
            ),
            other => failed(other),
        })?;
        let database = Self { redb: Arc::new(redb) };
        database.write(|tables| {
            tables.uploads()?.iter().try_for_each(|body| tables.remove_body(body))
        })?;
        Ok(database)
    }

    /// Returns a snapshot, which does not show later writes.
    pub(crate) fn read(&self) -> Result<ReadTransaction> {
        self.redb.begin_read().map_err(failed)
    }

    /// Runs `work` in a write transaction, after all other write transactions. It is on the disk
    /// when this returns. An error undoes all of it.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Tables<'_>) -> Result<T>) -> Result<T> {
        self.write_with(Durability::Immediate, work)
    }

    /// As [`write`](Self::write), but without a sync: a crash may lose the transaction.
    pub(crate) fn write_scratch<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T>,
    ) -> Result<T> {
        self.write_with(Durability::None, work)
    }

    fn write_with<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut transaction = self.redb.begin_write().map_err(failed)?;
        transaction.set_durability(durability).map_err(failed)?;
        // If `?` returns early, dropping the transaction undoes it.
        let value = work(&mut Tables::open(&transaction)?)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

/// Runs work on the blocking pool. It runs to its end even if the future is dropped.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|join| Error::unexpected("the work on the database did not finish", join))?
}

/// Converts an error of the database to one of the contract. `Error::from` converts those of the
/// operating system, such as a full disk or a missing permission.
pub(crate) fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => Error::from(error),
        other => Error::unexpected("the database failed; its file may be damaged", other),
    }
}
