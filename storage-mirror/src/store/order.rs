//! The eviction order across restarts: the ids of the entries in the main queue, so that a restart
//! does not treat them as new.
//!
//! The file is a hint. It is written when a store is closed and removed when it is opened, so that
//! after a crash there is none rather than an outdated one. A checksum covers it; a broken file is
//! ignored, and so are ids of entries that no longer exist.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::layout::crc;
use super::sys;

const MAGIC: &[u8; 8] = b"ANYCORD1";

/// Maps the id of an entry to its position in the main queue and its hits.
pub(super) type Order = HashMap<u64, (usize, u8)>;

/// Writes the ids of entries with their hits, oldest first.
pub(super) fn write(path: &Path, proven: &[(u64, u8)]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16 + proven.len() * 9);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(MAGIC);
    for (id, hits) in proven {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.push(*hits);
    }
    let sum = crc(&bytes[8..]);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    let part = path.with_extension("new");
    let mut file = sys::open_private(&part)?;
    file.set_len(0)?;
    file.write_all(&bytes)?;
    fs::rename(&part, path)
}

/// Reads the order and removes its file. Returns `None` if the file is missing or broken, or cannot
/// be removed.
pub(super) fn take(path: &Path) -> Option<Order> {
    let bytes = fs::read(path).ok()?;
    // A file that cannot be removed would be outdated at the next start.
    fs::remove_file(path).ok()?;
    let (sum, rest) = bytes.split_first_chunk::<8>()?;
    if crc(rest) != u64::from_le_bytes(*sum) {
        return None;
    }
    let records = rest.strip_prefix(MAGIC)?.chunks_exact(9);
    let places = records.enumerate().filter_map(|(place, record)| {
        let (id, hits) = record.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*id), (place, *hits.first()?)))
    });
    Some(places.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_once_and_a_broken_one_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order");
        assert_eq!(take(&path), None);
        let proven = [(7, 0), (3, 2), (u64::MAX, 3)];
        write(&path, &proven).unwrap();
        assert_eq!(
            take(&path).unwrap(),
            HashMap::from([(7, (0, 0)), (3, (1, 2)), (u64::MAX, (2, 3))])
        );
        assert_eq!(take(&path), None, "reading removed the file");
        write(&path, &proven).unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            fs::write(&path, &flipped).unwrap();
            assert_eq!(take(&path), None, "byte {at}");
        }
    }
}
