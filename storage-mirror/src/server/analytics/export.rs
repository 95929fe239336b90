//! [`export`]: the analytics as a table or as JSON lines, day by day.

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use storage_core::{Error, ErrorKind, Result};

use super::day::Day;
use super::files::Files;
use super::tally::Row;

/// What analytics are exported as.
///
/// ```
/// use storage_mirror::ExportFormat;
///
/// assert_eq!("jsonl".parse::<ExportFormat>()?, ExportFormat::Jsonl);
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// A table, RFC 4180, with a first line of names. Keys are always quoted. One that begins with
    /// what a spreadsheet takes for a formula (`=`, `+`, `-`, `@`, also in full width), or with
    /// `'`, gets a `'` in front: take one away from keys that begin with it.
    Csv,
    /// A JSON object a line. Keys are as they are.
    Jsonl,
}

impl FromStr for ExportFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is no format: csv or jsonl"),
            )),
        }
    }
}

/// Writes out what a mirror has counted, from its `cache_dir`, whether it runs or not. One that
/// runs writes down the present day each minute; its route `GET /analytics` does so at once.
///
/// A row for each day and key, in the order of the days, `from` and `to` included:
///
/// | | |
/// |---|---|
/// | `day` | in UTC: that on which the answer ended |
/// | `key` | none (CSV: empty) in the row of all keys for which there was no room: those after the first million of a day, or after 64 MiB of keys |
/// | `downloads` | clients who were sent something of it, see below |
/// | `downloads_by_request` | how many of these are no clients, but requests, since there were too many clients to remember |
/// | `requests` | GETs that were answered with the object or a part of it (200, 206) |
/// | `hit_requests` | how many of these were answered from the cache |
/// | `bytes_hit`, `bytes_miss` | bytes of bodies, handed to the connection, from the cache and from origin |
///
/// A **download** is one client (address and user agent) who was sent more than two bytes of the
/// object on that day, or all of it, in however many requests. Two bytes are what players probe
/// with. Who was counted is remembered as hashes with a random salt, in memory, until the day is
/// over or the mirror restarts: then who goes on listening is counted again. From the millionth
/// pair of a client and a key on, each request that begins with the object's first byte counts.
/// Programs that are no listeners are counted like everybody: take them out by the access log.
///
/// # Errors
/// `NotFound` if nothing has ever been counted there; what the operating system says about reading
/// and writing. What has been written by then stays.
///
/// ```
/// use storage_mirror::{ExportFormat, export};
///
/// # let cache_dir = tempfile::tempdir()?;
/// # std::fs::create_dir(cache_dir.path().join("analytics"))?;
/// let mut table = Vec::new();
/// export(cache_dir.path(), Some("2025-01-01".parse()?), None, ExportFormat::Csv, &mut table)?;
/// assert!(table.starts_with(b"day,key,downloads,"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(
    cache_dir: &Path,
    from: Option<Day>,
    to: Option<Day>,
    format: ExportFormat,
    writer: &mut dyn Write,
) -> Result<()> {
    export_files(&Files::below(cache_dir), from, to, format, writer)
}

pub(super) fn export_files(
    files: &Files,
    from: Option<Day>,
    to: Option<Day>,
    format: ExportFormat,
    writer: &mut dyn Write,
) -> Result<()> {
    let days = files.days()?;
    if format == ExportFormat::Csv {
        writer.write_all(NAMES)?;
    }
    let is_wanted =
        |day: &Day| from.is_none_or(|from| from <= *day) && to.is_none_or(|to| *day <= to);
    for day in days.into_iter().filter(is_wanted) {
        files.read(day, |row| write_row(&row, format, writer))?;
    }
    writer.flush()?;
    Ok(())
}

const NAMES: &[u8] =
    b"day,key,downloads,downloads_by_request,requests,hit_requests,bytes_hit,bytes_miss\r\n";

fn write_row(row: &Row, format: ExportFormat, writer: &mut dyn Write) -> io::Result<()> {
    match format {
        ExportFormat::Jsonl => {
            serde_json::to_writer(&mut *writer, row)?;
            writer.write_all(b"\n")
        }
        ExportFormat::Csv => {
            let key = row.key.as_ref().map_or(String::new(), |key| quoted(key.as_str()));
            let counts = &row.counts;
            write!(
                writer,
                "{},{key},{},{},{},{},{},{}\r\n",
                row.day,
                counts.downloads,
                counts.downloads_by_request,
                counts.requests,
                counts.hit_requests,
                counts.bytes_hit,
                counts.bytes_miss
            )
        }
    }
}

/// What begins so is a formula to a spreadsheet. `'` is among them so that one in front can be told
/// from one that was there.
const FORMULA: [char; 9] = ['=', '+', '-', '@', '\'', '＝', '＋', '－', '＠'];

fn quoted(key: &str) -> String {
    let guard = if key.starts_with(FORMULA) { "'" } else { "" };
    format!("\"{guard}{}\"", key.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_a_formula_or_ends_its_field() {
        assert_eq!(quoted("a,b \"c\".mp3"), "\"a,b \"\"c\"\".mp3\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("@x"), "\"'@x\"");
        assert_eq!(quoted("＝x"), "\"'＝x\"");
        assert_eq!(quoted("'=x"), "\"''=x\"");
        assert_eq!(quoted("a=b"), "\"a=b\"");
    }
}
