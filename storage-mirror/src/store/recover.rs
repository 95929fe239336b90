//! Opening a store: restores entries from their files, and removes broken and leftover files.
//!
//! Reads the header of each file and compares the length of the file. Bodies are not compared with
//! their checksums here, because that would read all of them; each read compares them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use storage_core::{Error, Result};

use super::directory::{Directory, parse_entry_name, parse_id, place};
use super::entry::Entry;
use super::layout::{Broken, Layout, PAGE, decode_header, parse_header_len};
use super::limits::Recovered;
use super::meta::EntryMeta;
use super::sys;

/// The content of a directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryScan {
    /// One for each key, the oldest fill first.
    pub(super) entries: Vec<Entry>,
    pub(super) recovered: Recovered,
    /// The greatest id of a version or fill in the directory.
    pub(super) last_id: u64,
}

/// Reads a directory and removes broken and leftover files.
///
/// # Errors
/// Errors of the operating system about reading or removing.
pub(super) fn recover(directory: &Directory) -> Result<DirectoryScan> {
    let in_context = |error: io::Error| {
        Error::from(error)
            .with_context(&format!("reading back the cache in {}", directory.path().display()))
    };
    let mut found = DirectoryScan::default();
    remove_fills(directory, &mut found).map_err(in_context)?;
    for shelf in directory.shelves() {
        read_shelf(directory, &shelf, &mut found).map_err(in_context)?;
    }
    keep_latest(directory, &mut found).map_err(in_context)?;
    found.recovered.objects = found.entries.len() as u64;
    found.recovered.bytes = found.entries.iter().map(Entry::weight).sum();
    Ok(found)
}

fn remove_fills(directory: &Directory, found: &mut DirectoryScan) -> io::Result<()> {
    for file in fs::read_dir(directory.filling())? {
        let file = file?;
        let Some(id) = file.file_name().to_str().and_then(parse_id) else { continue };
        found.last_id = found.last_id.max(id);
        fs::remove_file(file.path())?;
        found.recovered.partial += 1;
    }
    Ok(())
}

fn read_shelf(directory: &Directory, shelf: &str, found: &mut DirectoryScan) -> io::Result<()> {
    for file in fs::read_dir(directory.path().join(shelf))? {
        let (file, name) = file.map(|file| (file.path(), file.file_name()))?;
        let Some((rest, id)) = name.to_str().and_then(parse_entry_name) else {
            // Another program may need it.
            tracing::warn!(?file, "cache_dir contains a file that the cache did not create");
            continue;
        };
        found.last_id = found.last_id.max(id);
        match read_entry(&file, (shelf, rest), id)? {
            Ok(entry) => found.entries.push(entry),
            Err(Broken(what)) => {
                tracing::warn!(?file, what, "an entry of the cache is broken and is removed");
                fs::remove_file(&file)?;
                found.recovered.dropped += 1;
            }
        }
    }
    Ok(())
}

/// Removes the earlier of two versions of a key. A crash leaves both if it comes after the new file
/// is renamed and before the old one is removed.
fn keep_latest(directory: &Directory, found: &mut DirectoryScan) -> io::Result<()> {
    let by_key = |a: &Entry, b: &Entry| a.key().cmp(b.key()).then(b.id().cmp(&a.id()));
    found.entries.sort_unstable_by(by_key);
    let mut latest: Vec<Entry> = Vec::with_capacity(found.entries.len());
    for entry in found.entries.drain(..) {
        if latest.last().is_some_and(|later| later.key() == entry.key()) {
            directory.remove(&entry)?;
            found.recovered.partial += 1;
        } else {
            latest.push(entry);
        }
    }
    latest.sort_unstable_by_key(Entry::id);
    found.entries = latest;
    Ok(())
}

/// Reads the entry of a file. Its key must have the hash that the path of the file contains.
fn read_entry(file: &Path, at: (&str, &str), id: u64) -> io::Result<Result<Entry, Broken>> {
    const CUT_OFF: Result<Entry, Broken> = Err(Broken("the file is cut off"));
    let broken =
        |error: io::Error| if sys::means_broken(&error) { Ok(CUT_OFF) } else { Err(error) };
    let file = File::open(file)?;
    let mut header = vec![0; PAGE];
    if let Err(error) = sys::read_exact_at(&file, &mut header, 0) {
        return broken(error);
    }
    let len = match parse_header_len(&header) {
        Ok(len) => len,
        Err(what) => return Ok(Err(what)),
    };
    header.resize(len, 0);
    if let Err(error) = sys::read_exact_at(&file, &mut header[PAGE..], PAGE as u64) {
        return broken(error);
    }
    Ok(decode_entry(&header, file.metadata()?.len(), at, id))
}

fn decode_entry(header: &[u8], file_len: u64, at: (&str, &str), id: u64) -> Result<Entry, Broken> {
    let meta = EntryMeta::from_json(decode_header(header)?);
    let (key, meta) = meta.map_err(|_| Broken("the metadata cannot be read"))?;
    let (shelf, rest) = place(&key);
    if (&*shelf, &*rest) != at {
        return Err(Broken("the file is that of another key"));
    }
    let layout =
        Layout::new(header.len(), meta.object.size).filter(|layout| layout.file_len() == file_len);
    let layout = layout.ok_or(Broken("the file has another length than its header states"))?;
    Ok(Entry::new(key, id, layout))
}
