//! The database as this driver uses it: snapshots for reading, transactions for writing, errors in
//! the kinds of the contract. All of it blocks; the driver calls it through [`blocking`].

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
    /// Opens or creates a database, and removes what a process that died has left in it.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Self> {
        let redb = Builder::new().set_cache_size(cache_bytes).create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Error::config("option path: the database is open already; only one storage at a time can have it")
            }
            other => failed(other),
        })?;
        let database = Self { redb: Arc::new(redb) };
        database.write(|tables| {
            tables.uploads()?.iter().try_for_each(|body| tables.remove_body(body))
        })?;
        Ok(database)
    }

    /// A snapshot: what is written after this moment is not seen through it.
    pub(crate) fn read(&self) -> Result<ReadTransaction> {
        self.redb.begin_read().map_err(failed)
    }

    /// Runs `work` in a transaction, after all others that write; it is on the disk before this
    /// returns. An error undoes everything.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Tables<'_>) -> Result<T>) -> Result<T> {
        self.write_with(Durability::Immediate, work)
    }

    /// The same for what nobody misses after a crash.
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
        // Where `?` leaves early, the transaction is dropped, and with it everything that was done
        // in it.
        let value = work(&mut Tables::open(&transaction)?)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

/// Runs work where blocking is allowed. If its caller goes away, it is finished all the same.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|join| Error::unexpected("the work on the database did not finish", join))?
}

/// What the database says, in the kinds of the contract. `Error::from` knows the operating
/// system's: a full disk, a missing permission.
pub(crate) fn failed(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => Error::from(error),
        other => Error::unexpected("the database failed; its file may be damaged", other),
    }
}
