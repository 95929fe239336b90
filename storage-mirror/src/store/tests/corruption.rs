//! Changed bytes on the disk: a broken entry is noticed, removed, counted and fetched again, and
//! its bytes are never returned.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::super::layout::Layout;
use super::*;

const KEY: &str = "a/key.mp3";
const LEN: usize = 2 * BLOCK + 1_000;

/// Flips a bit of a file, in place.
fn flip(file: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
}

/// Opens a store that opens a file for each read.
fn open(scratch: &Scratch) -> (Store, Recovered) {
    let mut limits = Limits::new(16 * MIB);
    limits.open_files = 0;
    scratch.open_with(limits)
}

#[track_caller]
fn assert_noticed(scratch: &Scratch, store: &Store, what: &str) {
    let entry =
        store.get(KEY).unwrap_or_else(|| panic!("{what}: the entry stays until it is read"));
    refused(read(store, &entry), ErrorKind::Integrity);
    assert!(store.get(KEY).is_none(), "{what}: the entry is removed");
    assert!(entry_files(&scratch.path()).is_empty(), "{what}: the file is removed");
    let usage = store.usage();
    assert_eq!((usage.corrupt, usage.objects, usage.bytes), (1, 0, 0), "{what}");
    fill(store, KEY, &pattern(2, LEN));
    assert_eq!(read_key(store, KEY).unwrap(), pattern(2, LEN), "{what}: fetched again");
}

#[test]
fn a_flipped_bit_of_the_body_the_checksums_or_the_footer_is_noticed_by_the_next_reader() {
    let layout = Layout::new(PAGE, LEN as u64).unwrap();
    let (body, end) = (layout.body(), layout.end());
    let places = [
        ("first byte", body),
        ("middle", body + BLOCK as u64),
        ("last byte", end - 1),
        ("checksum of the first block", end),
        ("checksum of the last block", end + 3 * 8 - 1),
        ("footer", end + 3 * 8),
        ("length in the footer", end + 3 * 8 + 8),
        ("last byte of the file", layout.file_len() - 1),
    ];
    for (what, at) in places {
        let scratch = Scratch::in_memory();
        let (store, _) = open(&scratch);
        fill(&store, KEY, &pattern(1, LEN));
        let file = only_file(&scratch.path());
        assert_eq!(fs::metadata(&file).unwrap().len(), layout.file_len());
        flip(&file, at);
        assert_noticed(&scratch, &store, what);
    }
}

#[test]
fn a_flipped_bit_of_the_body_or_the_footer_is_noticed_after_a_restart() {
    for at_end in [false, true] {
        let scratch = Scratch::in_memory();
        let (store, _) = open(&scratch);
        fill(&store, KEY, &pattern(1, LEN));
        drop(store);
        let file = only_file(&scratch.path());
        let len = fs::metadata(&file).unwrap().len();
        flip(&file, if at_end { len - 1 } else { len / 2 });
        let (store, recovered) = open(&scratch);
        assert_eq!(recovered.objects, 1, "bodies are not read at the start");
        assert_noticed(&scratch, &store, "after a restart");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_header_is_noticed_at_the_next_start() {
    for at in [0, 8, 16, 20, 24, 60, 200, 2_000, PAGE as u64 - 1] {
        let scratch = Scratch::in_memory();
        let (store, _) = open(&scratch);
        fill(&store, KEY, &pattern(1, LEN));
        drop(store);
        flip(&only_file(&scratch.path()), at);
        let (store, recovered) = open(&scratch);
        assert_eq!((recovered.objects, recovered.dropped), (0, 1), "byte {at}");
        assert!(store.get(KEY).is_none() && entry_files(&scratch.path()).is_empty(), "byte {at}");
    }
}

#[test]
fn a_file_that_became_shorter_or_longer_is_noticed() {
    let (full, page) = (Layout::new(PAGE, LEN as u64).unwrap().file_len(), PAGE as u64);
    for len in [0, 1, page - 1, page, page + 1, full / 2, full - 1, full + 1] {
        let scratch = Scratch::in_memory();
        let (store, _) = open(&scratch);
        fill(&store, KEY, &pattern(1, LEN));
        let cut = || {
            File::options()
                .write(true)
                .open(only_file(&scratch.path()))
                .unwrap()
                .set_len(len)
                .unwrap();
        };
        cut();
        if len < full {
            assert_noticed(&scratch, &store, "while it is open");
            cut();
        }
        drop(store);
        let (store, recovered) = open(&scratch);
        assert_eq!((recovered.objects, recovered.dropped), (0, 1), "{len} bytes");
        assert!(store.get(KEY).is_none());
    }
}

#[test]
fn a_reader_of_a_broken_entry_returns_only_its_intact_blocks() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(16 * MIB);
    let entry = fill(&store, KEY, &pattern(1, LEN));
    flip(&only_file(&scratch.path()), (PAGE + BLOCK + 5) as u64);
    let reader = store.reader(&entry).unwrap();
    assert_eq!(reader.read_block(0).unwrap(), pattern(1, LEN)[..BLOCK]);
    let error =
        reader.try_read_block(1).and_then(|block| block.map_or_else(|| reader.read_block(1), Ok));
    refused(error, ErrorKind::Integrity);
    // A second read of the block fails too, and the entry is counted once.
    refused(reader.read_block(1), ErrorKind::Integrity);
    assert_eq!(reader.read_block(2).unwrap(), pattern(1, LEN)[2 * BLOCK..]);
    assert_eq!(store.usage().corrupt, 1);
}

#[test]
fn a_reader_that_finds_an_old_version_broken_leaves_the_new_one() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(16 * MIB);
    let old = fill(&store, KEY, &pattern(1, LEN));
    let reader = store.reader(&old).unwrap();
    flip(&only_file(&scratch.path()), (PAGE + 5) as u64);
    fill(&store, KEY, &pattern(2, LEN));
    refused(reader.read_block(0), ErrorKind::Integrity);
    assert_eq!(read_key(&store, KEY).unwrap(), pattern(2, LEN));
    assert_eq!(store.usage().corrupt, 0);
}

#[test]
fn a_small_body_is_checked_when_it_is_loaded_and_stays_intact_in_memory() {
    let scratch = Scratch::in_memory();
    let (store, _) = open(&scratch);
    let body = pattern(1, 2 * BLOCK);
    for flipped_at in [0, 2 * BLOCK as u64 - 1] {
        let entry = fill(&store, KEY, &body);
        (0..2).for_each(|_| drop(store.get(KEY)));
        assert_eq!(store.load(&entry).unwrap(), body);
        flip(&only_file(&scratch.path()), PAGE as u64 + flipped_at);
        assert_eq!(store.hot(&entry).unwrap(), body, "from memory");
        let corrupt = store.usage().corrupt;
        refused(store.load(&entry), ErrorKind::Integrity);
        assert_eq!((store.usage().corrupt, store.hot(&entry)), (corrupt + 1, None));
        assert!(store.get(KEY).is_none());
    }
}
