//! Opening a store: what is on the disk becomes entries again, and what is broken or left over
//! goes.
//!
//! Of each file the header is read and the length compared. The body is compared with its checksums
//! when it is read, not here: that would take as long as reading all of it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use storage_core::{Error, Result};

use super::directory::{Directory, parse_entry_name, parse_id, place};
use super::entry::Entry;
use super::layout::{Broken, Layout, PAGE, decode_header, told_header_len};
use super::limits::Recovered;
use super::meta::EntryMeta;
use super::sys;

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One for each key, the oldest fill first.
    pub(super) entries: Vec<Entry>,
    pub(super) recovered: Recovered,
    /// The greatest number of a version that can be seen.
    pub(super) last_id: u64,
}

/// Reads a directory and removes what is of no use.
///
/// # Errors
/// What the operating system says about reading or removing.
pub(super) fn recover(directory: &Directory) -> Result<Found> {
    let in_context = |error: io::Error| {
        Error::from(error)
            .with_context(&format!("reading back the cache in {}", directory.path().display()))
    };
    let mut found = Found::default();
    remove_fills(directory, &mut found).map_err(in_context)?;
    for shelf in directory.shelves() {
        read_shelf(directory, &shelf, &mut found).map_err(in_context)?;
    }
    keep_latest(directory, &mut found).map_err(in_context)?;
    found.recovered.objects = found.entries.len() as u64;
    found.recovered.bytes = found.entries.iter().map(Entry::weight).sum();
    Ok(found)
}

fn remove_fills(directory: &Directory, found: &mut Found) -> io::Result<()> {
    for file in fs::read_dir(directory.filling())? {
        let file = file?;
        let Some(id) = file.file_name().to_str().and_then(parse_id) else { continue };
        found.last_id = found.last_id.max(id);
        fs::remove_file(file.path())?;
        found.recovered.partial += 1;
    }
    Ok(())
}

fn read_shelf(directory: &Directory, shelf: &str, found: &mut Found) -> io::Result<()> {
    for file in fs::read_dir(directory.path().join(shelf))? {
        let (file, name) = file.map(|file| (file.path(), file.file_name()))?;
        let Some((rest, id)) = name.to_str().and_then(parse_entry_name) else {
            // Whoever put it here may need it.
            tracing::warn!(?file, "a file in cache_dir is none of the cache; it is left alone");
            continue;
        };
        found.last_id = found.last_id.max(id);
        match read_entry(&file, (shelf, rest), id)? {
            Ok(entry) => found.entries.push(entry),
            Err(Broken(what)) => {
                tracing::warn!(?file, what, "an entry of the cache is broken, and is removed");
                fs::remove_file(&file)?;
                found.recovered.dropped += 1;
            }
        }
    }
    Ok(())
}

/// Of two versions of a key, as a crash between naming one and removing the other leaves them, the
/// earlier goes.
fn keep_latest(directory: &Directory, found: &mut Found) -> io::Result<()> {
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

/// The entry in a file, whose place and number tell for which key it can be.
fn read_entry(file: &Path, at: (&str, &str), id: u64) -> io::Result<Result<Entry, Broken>> {
    const CUT_OFF: Result<Entry, Broken> = Err(Broken("the file is cut off"));
    let broken =
        |error: io::Error| if sys::means_broken(&error) { Ok(CUT_OFF) } else { Err(error) };
    let file = File::open(file)?;
    let mut header = vec![0; PAGE];
    if let Err(error) = sys::read_exact_at(&file, &mut header, 0) {
        return broken(error);
    }
    let len = match told_header_len(&header) {
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
    let layout = layout.ok_or(Broken("the file has another length than its header says"))?;
    Ok(Entry::new(key, id, layout))
}
