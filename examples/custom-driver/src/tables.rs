//! The tables: what is stored, and the steps that a transaction consists of.

use std::time::SystemTime;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use storage_core::{
    Checksums, ETag, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, format_time, keys,
    parse_time,
};

use crate::database::failed;

/// Key to [`Record`] in JSON. Keys are kept in byte order, which is the order of every listing.
pub(crate) const OBJECTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("objects");

/// The bodies in pieces: a body's name and a piece's number to bytes.
pub(crate) const PIECES: TableDefinition<'static, (&str, u64), &[u8]> =
    TableDefinition::new("pieces");

/// The bodies that no object has yet. What a process that died leaves here is removed at the next
/// start.
const UPLOADS: TableDefinition<'static, &str, ()> = TableDefinition::new("uploads");

/// The size of every piece but a body's last: just under 1 MiB, the page that the database takes
/// for it.
pub(crate) const PIECE: usize = 1_000_000;

/// All that is known of an object, but for its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Where its bytes are. Every save makes a new name, so bytes under a name never change.
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
            .map_err(|cause| Error::unexpected("a record is not readable", cause))
    }
}

/// The record of a key, out of a snapshot or out of a transaction.
pub(crate) fn record(
    objects: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &Key,
) -> Result<Option<Record>> {
    objects.get(key.as_str()).map_err(failed)?.map(|row| Record::read(row.value())).transpose()
}

/// The tables in a transaction that writes.
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

    /// Notes that a body belongs to no object yet.
    pub(crate) fn begin_upload(&mut self, body: &str) -> Result<()> {
        self.uploads.insert(body, ()).map_err(failed)?;
        Ok(())
    }

    /// Makes a record the object of a key, and removes the body of the one before.
    pub(crate) fn put_record(&mut self, key: &Key, record: &Record) -> Result<()> {
        let before = self.record(key)?;
        let json = serde_json::to_vec(record)
            .map_err(|cause| Error::unexpected("a record is not writable", cause))?;
        self.objects.insert(key.as_str(), json.as_slice()).map_err(failed)?;
        self.uploads.remove(record.body.as_str()).map_err(failed)?;
        match before {
            Some(before) if before.body != record.body => self.remove_body(&before.body),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Result<()> {
        let Some(record) = self.record(key)? else { return Ok(()) };
        self.objects.remove(key.as_str()).map_err(failed)?;
        self.remove_body(&record.body)
    }

    pub(crate) fn remove_body(&mut self, body: &str) -> Result<()> {
        self.uploads.remove(body).map_err(failed)?;
        self.pieces.retain_in((body, 0)..=(body, u64::MAX), |_, _| false).map_err(failed)
    }

    /// Gives a body's pieces to another body as well.
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

    /// The bodies that no object has.
    pub(crate) fn uploads(&self) -> Result<Vec<String>> {
        let rows = self.uploads.iter().map_err(failed)?;
        rows.map(|row| row.map(|(body, _)| body.value().to_owned()).map_err(failed)).collect()
    }
}

/// A piece that a record promises is not there.
pub(crate) fn missing(number: u64) -> Error {
    Error::new(ErrorKind::Integrity, format!("piece {number} of the object is not in the database"))
}
