//! [`Upload`]: the pieces of a save that is not committed, which are removed if it fails.

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, SaveMode, keys};

use crate::database::Database;
use crate::tables::{Record, Tables};

/// A body without an object. Dropping it before [`commit`](Self::commit) has succeeded removes its
/// pieces.
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

    /// Stores one piece in a transaction of its own, because a stream may take hours and a
    /// transaction blocks all other writes. No reader sees the piece, because no record names the
    /// body.
    pub(crate) fn stage(mut self, piece: &[u8]) -> Result<Self> {
        let number = self.staged;
        // Counted before it is written, so that the piece of a failed commit is removed too.
        self.staged += 1;
        self.database.write_scratch(|tables| {
            if number == 0 {
                tables.begin_upload(&self.body)?;
            }
            tables.put_piece(&self.body, number, piece)
        })?;
        Ok(self)
    }

    /// Stores the last piece and the record in one transaction, which makes the object visible.
    pub(crate) fn commit(
        mut self,
        key: Key,
        tail: &Bytes,
        mode: &SaveMode,
        record: Record,
    ) -> Result<ObjectMeta> {
        let key = self.database.write(|tables| {
            let key = permitted_key(tables, key, mode)?;
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
        // An error is ignored, because the caller reports its own. Opening the database removes
        // what this cannot.
        let remove = move || {
            let _ = database.write_scratch(|tables| tables.remove_body(&body));
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Returns the key under which the mode permits the object to be stored. The transaction that
/// stores it makes this decision, so exactly one of several callers finds the key free.
pub(crate) fn permitted_key(tables: &Tables<'_>, mut key: Key, mode: &SaveMode) -> Result<Key> {
    let present = tables.record(&key)?;
    match mode {
        SaveMode::Overwrite => {}
        SaveMode::CreateNew if present.is_none() => {}
        SaveMode::CreateNew => {
            return Err(Error::new(ErrorKind::AlreadyExists, "an object of this key exists"));
        }
        SaveMode::IfMatch(wanted)
            if present.is_some_and(|record| record.etag.strong_eq(wanted)) => {}
        SaveMode::IfMatch(wanted) => {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the object does not have the ETag {wanted}"),
            ));
        }
        SaveMode::UniqueName => {
            while tables.record(&key)?.is_some() {
                key = keys::alternative(&key)?;
            }
        }
        other => {
            return Err(Error::unsupported(format!(
                "the redb driver does not support the save mode {other:?}"
            )));
        }
    }
    Ok(key)
}
