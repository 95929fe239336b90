//! A save under way: the pieces that are in the database already, and the promise that they do not
//! stay there if the save comes to nothing.

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, SaveMode, keys};

use crate::database::Database;
use crate::tables::{Record, Tables};

/// A body that belongs to no object yet. Dropped before [`commit`](Self::commit) has succeeded, it
/// removes its pieces.
#[derive(Debug)]
pub(crate) struct Upload {
    database: Database,
    body: String,
    staged: u64,
    committed: bool,
}

impl Upload {
    pub(crate) fn new(database: Database) -> Result<Self> {
        Ok(Self { database, body: keys::random_text(26)?, staged: 0, committed: false })
    }

    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// Puts one piece into the database, in a transaction of its own: a stream may take hours, and
    /// nobody else could write in the meantime. No reader sees it, since no record names the body.
    pub(crate) fn stage(mut self, piece: &[u8]) -> Result<Self> {
        let number = self.staged;
        // Counted before it is written: a transaction whose end is unknown must be cleaned up after
        // too.
        self.staged += 1;
        self.database.write_scratch(|tables| {
            if number == 0 {
                tables.begin_upload(&self.body)?;
            }
            tables.put_piece(&self.body, number, piece)
        })?;
        Ok(self)
    }

    /// The last piece and the record, in the one transaction that makes the object visible.
    pub(crate) fn commit(
        mut self,
        key: Key,
        tail: &Bytes,
        mode: &SaveMode,
        record: Record,
    ) -> Result<ObjectMeta> {
        let key = self.database.write(|tables| {
            let key = allowed(tables, key, mode)?;
            if !tail.is_empty() {
                tables.put_piece(&self.body, self.staged, tail)?;
            }
            tables.put_record(&key, &record)?;
            Ok(key)
        })?;
        self.committed = true;
        record.into_meta(key)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.committed || self.staged == 0 {
            return;
        }
        let (database, body) = (self.database.clone(), std::mem::take(&mut self.body));
        // Whatever dropped us has its own error to tell; what cannot be removed now is removed at
        // the next start.
        let sweep = move || {
            let _ = database.write_scratch(|tables| tables.remove_body(&body));
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(sweep)),
            Err(_) => sweep(),
        }
    }
}

/// Where the mode lets the object go. Decided inside the transaction that stores it, so of any
/// number of callers one finds the key free.
pub(crate) fn allowed(tables: &Tables<'_>, mut key: Key, mode: &SaveMode) -> Result<Key> {
    let present = tables.record(&key)?;
    match mode {
        SaveMode::Overwrite => {}
        SaveMode::CreateNew if present.is_none() => {}
        SaveMode::CreateNew => {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is an object already"));
        }
        SaveMode::IfMatch(wanted)
            if present.is_some_and(|record| record.etag.strong_eq(wanted)) => {}
        SaveMode::IfMatch(wanted) => {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the object is not the version {wanted}"),
            ));
        }
        SaveMode::UniqueName => {
            while tables.record(&key)?.is_some() {
                key = keys::alternative(&key)?;
            }
        }
        other => {
            return Err(Error::unsupported(format!(
                "the redb driver does not know the save mode {other:?}"
            )));
        }
    }
    Ok(key)
}
