//! [`export`]: writes the analytics as CSV or JSON Lines, day by day.

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use storage_core::{Error, ErrorKind, Result};

use super::counts::Row;
use super::day::Day;
use super::files::Files;

/// The format of exported analytics.
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
    /// CSV (RFC 4180) with a header line. Keys are always quoted. A key that begins with `=`, `+`,
    /// `-` or `@` (also in full width), which a spreadsheet would evaluate as a formula, or with
    /// `'`, is written with a `'` in front. A reader removes one `'` from keys that begin with it.
    Csv,
    /// JSON Lines: one JSON object a line, with unchanged keys.
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
                format!("{text:?} is not an export format; use csv or jsonl"),
            )),
        }
    }
}

/// Writes the analytics of a mirror from its `cache_dir`, whether the mirror runs or not. A running
/// mirror saves the current day once a minute. Its route `GET /analytics` saves it before it
/// responds.
///
/// Writes a row for each day and key, ordered by day. The days `from` and `to` are included.
///
/// | field | meaning |
/// |---|---|
/// | `day` | the day in UTC on which the response ended |
/// | `key` | the key; `null` (CSV: empty) for the sum of all keys beyond the first million of a day, or beyond 64 MiB of keys |
/// | `downloads` | the number of downloads, see below |
/// | `downloads_by_request` | the downloads that are counted by request because there were too many clients |
/// | `requests` | the GET requests with a response of 200 or 206 |
/// | `hit_requests` | those of `requests` that were served from the cache |
/// | `bytes_hit`, `bytes_miss` | the bytes of bodies that were passed to connections, from the cache and from origin |
///
/// A **download** is a client (an address and a user agent) that received more than two bytes of
/// the object on that day, or all of it, in any number of requests. Players probe with two bytes.
/// Counted clients are kept in memory, as hashes with a random salt, until the day ends or the
/// mirror restarts; a client that continues afterwards is counted again. After a million pairs of a
/// client and a key, each request that begins with the first byte of the object counts as a
/// download. Crawlers count like all clients; use the access log to exclude them.
///
/// # Errors
/// Fails with `NotFound` if `cache_dir` has no directory `analytics`, and with the error of the
/// operating system if reading or writing fails. Rows that were written before the error stay.
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
        writer.write_all(CSV_HEADER)?;
    }
    let is_wanted =
        |day: &Day| from.is_none_or(|from| from <= *day) && to.is_none_or(|to| *day <= to);
    for day in days.into_iter().filter(is_wanted) {
        files.read(day, |row| write_row(&row, format, writer))?;
    }
    writer.flush()?;
    Ok(())
}

const CSV_HEADER: &[u8] =
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

/// A spreadsheet evaluates a field that begins with one of these as a formula. `'` is included so
/// that a reader can distinguish an added `'` from one that belongs to the key.
const FORMULA_STARTS: [char; 9] = ['=', '+', '-', '@', '\'', '＝', '＋', '－', '＠'];

fn quoted(key: &str) -> String {
    let guard = if key.starts_with(FORMULA_STARTS) { "'" } else { "" };
    format!("\"{guard}{}\"", key.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_quoted_and_do_not_begin_a_formula() {
        assert_eq!(quoted("a,b \"c\".mp3"), "\"a,b \"\"c\"\".mp3\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("@x"), "\"'@x\"");
        assert_eq!(quoted("＝x"), "\"'＝x\"");
        assert_eq!(quoted("'=x"), "\"''=x\"");
        assert_eq!(quoted("a=b"), "\"a=b\"");
    }
}
