//! The rows of a data file in CSV, usually compressed with gzip. Keys are URL-encoded there.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use percent_encoding::percent_decode;
use storage_core::Result;
use storage_core::internal::parse_rfc3339;

use super::columns::Columns;
use super::errors::damaged;
use super::row::{Flag, Row, Rows, missing_column};
use crate::sort::{join, spawn};

/// The maximum length of a row, in bytes. A key has at most 1024, thrice that if it is encoded.
const MAX_ROW_BYTES: usize = 1024 * 1024;

/// Opens a data file on the blocking pool. `schema` contains the names of its columns, separated by
/// commas.
pub(super) async fn rows(file: File, schema: &str, columns: Columns) -> Result<Rows> {
    let schema = Schema::parse(schema, columns)?;
    let mut reader = join(spawn(move || open(file).map_err(damaged))).await?;
    let mut record = csv::ByteRecord::new();
    let mut number = 0_u64;
    Ok(Box::new(move || {
        number += 1;
        reader.get_mut().budget = MAX_ROW_BYTES;
        match reader.read_byte_record(&mut record) {
            Ok(true) => schema.row(&record, number).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(damaged(format_args!("row {number}: {error}"))),
        }
    }))
}

fn open(file: File) -> io::Result<csv::Reader<LimitedReader>> {
    let mut file = BufReader::new(file);
    // RFC 1952, section 2.3.1.
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read + Send> =
        if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let reader = LimitedReader { reader, budget: MAX_ROW_BYTES };
    Ok(csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader))
}

/// Fails after a number of bytes, which each row sets again: a row without an end would otherwise
/// fill the memory.
struct LimitedReader {
    reader: Box<dyn Read + Send>,
    budget: usize,
}

impl Read for LimitedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.budget = self.budget.checked_sub(read).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the row has more than 1 MiB")
        })?;
        Ok(read)
    }
}

/// The positions of the columns.
#[derive(Debug)]
struct Schema {
    key: usize,
    size: Option<usize>,
    etag: Option<usize>,
    last_modified: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
}

impl Schema {
    fn parse(text: &str, columns: Columns) -> Result<Self> {
        let names: Vec<_> = text.split(',').map(str::trim).collect();
        let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let require = |wanted: &str| find(wanted).ok_or_else(|| missing_column(wanted));
        if columns == Columns::KeyAndSize {
            require("Size")?;
        }
        if find("VersionId").is_some() {
            require("IsLatest")?;
            require("IsDeleteMarker")?;
        }
        Ok(Self {
            key: require("Key")?,
            size: find("Size"),
            etag: find("ETag"),
            last_modified: find("LastModifiedDate"),
            is_latest: find("IsLatest"),
            is_delete_marker: find("IsDeleteMarker"),
        })
    }

    fn row(&self, record: &csv::ByteRecord, number: u64) -> Result<Row> {
        let Some(key) = record.get(self.key) else {
            return Err(damaged(format_args!("row {number} has only {} columns", record.len())));
        };
        let text = |column: Option<usize>| std::str::from_utf8(record.get(column?)?).ok();
        let flag = |column: Option<usize>| {
            column.map(|_| Flag::from(text(column).and_then(|text| text.parse().ok())))
        };
        Ok(Row {
            key: decode_key(key),
            size: text(self.size).and_then(|size| size.parse().ok()),
            etag: text(self.etag).map(str::to_owned),
            last_modified: text(self.last_modified).and_then(|time| parse_rfc3339(time).ok()),
            is_latest: flag(self.is_latest),
            is_delete_marker: flag(self.is_delete_marker),
        })
    }
}

/// Decodes a key: `+` is a space, and a plus is `%2B`.
fn decode_key(encoded: &[u8]) -> Vec<u8> {
    let spaced: Vec<_> =
        encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::from(percent_decode(&spaced)).into_owned()
}
