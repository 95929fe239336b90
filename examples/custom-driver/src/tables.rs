//! [`Tables`]: the tables of the database, and the steps of a transaction.

use std::time::SystemTime;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use storage_core::{
    Checksums, ETag, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, format_time, keys,
    parse_time,
};

use crate::database::failed;

/// Keys and their [`Record`]s in JSON. The table is in byte order, the order of listings.
pub(crate) const OBJECTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("objects");

/// The pieces of bodies, by the name of the body and the number of the piece.
pub(crate) const PIECES: TableDefinition<'static, (&str, u64), &[u8]> =
    TableDefinition::new("pieces");

/// The names of bodies without an object: uploads that are not committed. Opening the database
/// removes those that a killed process has left.
const UPLOADS: TableDefinition<'static, &str, ()> = TableDefinition::new("uploads");

/// The size of a piece in bytes. The last piece of a body may be smaller. The database stores a
/// piece in a page of 1 MiB.
pub(crate) const PIECE: usize = 1_000_000;

/// An object without its key and its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name of the body. Every save creates a new name, so the bytes of a body never change.
    pub(crate) body: String,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) last_modified: String,
    pub(crate) metadata: Metadata,
    pub(crate) checksums: Checksums,
}

impl Record {
    pub(crate) fn new(
        body: String,
        size: u64,
        metadata: Metadata,
        checksums: Checksums,
    ) -> Result<Self> {
        let (etag, last_modified) =
            (ETag::strong(keys::random_text(16)?)?, format_time(SystemTime::now()));
        Ok(Self { body, size, etag, last_modified, metadata, checksums })
    }

    pub(crate) fn into_meta(self, key: Key) -> Result<ObjectMeta> {
        let mut meta = ObjectMeta::new(key, self.size);
        meta.etag = Some(self.etag);
        meta.last_modified = Some(parse_time(&self.last_modified)?);
        meta.metadata = self.metadata;
        meta.checksums = self.checksums;
        Ok(meta)
    }

    pub(crate) fn read(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|cause| Error::unexpected("a record cannot be read", cause))
    }
}

/// Returns the record of a key, from a snapshot or a transaction.
pub(crate) fn record(
    objects: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &Key,
) -> Result<Option<Record>> {
    objects.get(key.as_str()).map_err(failed)?.map(|row| Record::read(row.value())).transpose()
}

/// The tables of a write transaction.
pub(crate) struct Tables<'a> {
    objects: Table<'a, &'static str, &'static [u8]>,
    pieces: Table<'a, (&'static str, u64), &'static [u8]>,
    uploads: Table<'a, &'static str, ()>,
}

impl<'a> Tables<'a> {
    pub(crate) fn open(transaction: &'a WriteTransaction) -> Result<Self> {
        Ok(Self {
            objects: transaction.open_table(OBJECTS).map_err(failed)?,
            pieces: transaction.open_table(PIECES).map_err(failed)?,
            uploads: transaction.open_table(UPLOADS).map_err(failed)?,
        })
    }

    pub(crate) fn record(&self, key: &Key) -> Result<Option<Record>> {
        record(&self.objects, key)
    }

    /// Stores one piece of a body.
    pub(crate) fn put_piece(&mut self, body: &str, number: u64, bytes: &[u8]) -> Result<()> {
        self.pieces.insert((body, number), bytes).map_err(failed)?;
        Ok(())
    }

    /// Records that a body has no object yet.
    pub(crate) fn begin_upload(&mut self, body: &str) -> Result<()> {
        self.uploads.insert(body, ()).map_err(failed)?;
        Ok(())
    }

    /// Stores the record of a key, and removes the body of the previous record.
    pub(crate) fn put_record(&mut self, key: &Key, record: &Record) -> Result<()> {
        let before = self.record(key)?;
        let json = serde_json::to_vec(record)
            .map_err(|cause| Error::unexpected("a record cannot be written", cause))?;
        self.objects.insert(key.as_str(), json.as_slice()).map_err(failed)?;
        self.uploads.remove(record.body.as_str()).map_err(failed)?;
        match before {
            Some(before) if before.body != record.body => self.remove_body(&before.body),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Result<()> {
        let Some(record) = self.record(key)? else { return Ok(()) };
        self.remove_record(key)?;
        self.remove_body(&record.body)
    }

    /// Removes the record of a key, and leaves its body.
    pub(crate) fn remove_record(&mut self, key: &Key) -> Result<()> {
        self.objects.remove(key.as_str()).map_err(failed)?;
        Ok(())
    }

    pub(crate) fn remove_body(&mut self, body: &str) -> Result<()> {
        self.uploads.remove(body).map_err(failed)?;
        self.pieces.retain_in((body, 0)..=(body, u64::MAX), |_, _| false).map_err(failed)
    }

    /// Copies the pieces of a body to another body.
    pub(crate) fn copy_body(&mut self, from: &str, to: &str, size: u64) -> Result<()> {
        for number in 0..size.div_ceil(PIECE as u64) {
            let piece = self
                .pieces
                .get((from, number))
                .map_err(failed)?
                .map(|piece| piece.value().to_vec());
            self.put_piece(to, number, &piece.ok_or_else(|| missing(number))?)?;
        }
        Ok(())
    }

    /// Returns the names of all bodies without an object.
    pub(crate) fn uploads(&self) -> Result<Vec<String>> {
        let rows = self.uploads.iter().map_err(failed)?;
        rows.map(|row| row.map(|(body, _)| body.value().to_owned()).map_err(failed)).collect()
    }
}

/// Returns the error for a missing piece of a body.
pub(crate) fn missing(number: u64) -> Error {
    Error::new(ErrorKind::Integrity, format!("piece {number} of the object is not in the database"))
}
