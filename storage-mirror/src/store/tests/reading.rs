//! Reading from the disk, from the page cache and from memory, also while the entry is removed.

use std::time::Duration;

use super::super::pool::OVERHEAD;
use super::*;

#[test]
fn a_reader_reads_to_the_end_while_its_entry_is_evicted_purged_or_replaced() {
    let scratch = Scratch::new();
    let store = scratch.open(2 * MIB);
    let body = pattern(1, MIB as usize);
    let leave: [fn(&Store); 3] = [
        |store| drop(fill(store, "other", &pattern(2, MIB as usize + 500_000))),
        |store| assert!(store.purge("key").unwrap()),
        |store| drop(fill(store, "key", b"new")),
    ];
    for leave in leave {
        let entry = fill(&store, "key", &body);
        let reader = store.reader(&entry).unwrap();
        assert_eq!(reader.read_block(0).unwrap(), body[..BLOCK]);
        leave(&store);
        assert!(store.peek("key").is_none_or(|now| now.id() != entry.id()), "it is removed");
        let rest: Vec<_> =
            (1..reader.blocks()).flat_map(|index| reader.read_block(index).unwrap()).collect();
        assert!(rest == body[BLOCK..]);
        refused(store.reader(&entry), ErrorKind::NotFound);
        refused(store.load(&entry), ErrorKind::NotFound);
        store.purge_prefix("").unwrap();
    }
}

#[test]
fn reading_a_block_past_the_end_is_an_error() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let entry = fill(&store, "key", &[1; 10]);
    let reader = store.reader(&entry).unwrap();
    assert_eq!(reader.blocks(), 1);
    for index in [1, u64::MAX] {
        refused(reader.read_block(index), ErrorKind::RangeNotSatisfiable);
        refused(reader.try_read_block(index), ErrorKind::RangeNotSatisfiable);
    }
    assert_eq!(store.usage().corrupt, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_try_functions_return_only_bytes_that_the_kernel_has_in_memory() {
    let scratch = Scratch::new();
    let store = scratch.open(16 * MIB);
    let body = pattern(1, 4 * BLOCK);
    let large = fill(&store, "large", &body);
    let small = fill(&store, "small", &body[..1_000]);
    let reader = store.reader(&large).unwrap();
    // Under memory pressure the kernel may drop pages at any time, so this is repeated.
    let block = || {
        (0..100).find_map(|_| reader.read_block(1).and_then(|_| reader.try_read_block(1)).unwrap())
    };
    let whole =
        || (0..100).find_map(|_| store.load(&small).and_then(|_| store.try_load(&small)).unwrap());
    let Some(found) = block() else { return skip("this file system cannot read without waiting") };
    assert_eq!(found, body[BLOCK..2 * BLOCK]);
    assert_eq!(whole().unwrap(), body[..1_000]);

    // The commit has synced all pages, so the kernel can drop them.
    for file in entry_files(&scratch.path()) {
        let file = fs::File::open(file).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    assert_eq!(reader.try_read_block(1).unwrap(), None);
    assert_eq!(store.try_load(&small).unwrap(), None);
    assert_eq!(block().unwrap(), body[BLOCK..2 * BLOCK]);
    assert_eq!(whole().unwrap(), body[..1_000]);
    assert_eq!(store.usage().corrupt, 0, "a block that is not in memory is not broken");
}

#[test]
fn a_small_body_is_held_in_memory_after_its_second_hit() {
    let scratch = Scratch::new();
    let store = scratch.open(16 * MIB);
    let body = pattern(1, 200_000);
    fill(&store, "key", &body);
    for hit in 1..=4 {
        let entry = store.get("key").unwrap();
        assert_eq!(store.hot(&entry).is_some(), hit > 2, "hit {hit}");
        if hit <= 2 {
            assert_eq!(store.load(&entry).unwrap(), body);
        }
    }
    assert_eq!(store.usage().memory, 200_000 + OVERHEAD);
    let entry = store.get("key").unwrap();
    assert_eq!(store.hot(&entry).unwrap(), body);
    fill(&store, "key", b"new");
    assert_eq!((store.hot(&entry), store.usage().memory), (None, 0));
}

#[test]
fn the_memory_of_bodies_is_bounded_and_a_large_body_is_not_held() {
    let scratch = Scratch::new();
    let mut limits = Limits::new(64 * MIB);
    limits.memory = MIB;
    let (store, _) = scratch.open_with(limits);
    for n in 0..20 {
        let key = format!("{n}");
        fill(&store, &key, &pattern(n, 100_000));
        for _ in 0..3 {
            let entry = store.get(&key).unwrap();
            assert_eq!(
                store.hot(&entry).unwrap_or_else(|| store.load(&entry).unwrap()),
                pattern(n, 100_000)
            );
        }
        assert!(store.usage().memory <= MIB);
    }
    assert!(store.usage().memory > MIB / 2, "bodies are held");
    let large = fill(&store, "large", &vec![1; super::super::MAX_IN_MEMORY as usize + 1]);
    refused(store.load(&large), ErrorKind::TooLarge);
    assert_eq!(store.hot(&large), None);
}

#[test]
fn pieces_of_a_larger_object_are_held_in_memory_after_its_second_hit() {
    let scratch = Scratch::in_memory();
    let mut limits = Limits::new(64 * MIB);
    limits.memory = 8 * MIB;
    let (store, _) = scratch.open_with(limits);
    let body = pattern(1, 10 * BLOCK + 100);
    let entry = fill(&store, "key", &body);
    for (bytes, pieces) in [(0, 0), (body.len(), 3), (body.len(), 3)] {
        store.get("key").unwrap();
        assert_eq!(read(&store, &entry).unwrap(), body);
        assert_eq!(store.usage().memory, bytes as u64 + pieces * OVERHEAD);
    }
    // Pieces in memory are not read from the file again.
    fs::write(only_file(&scratch.path()), vec![0; body.len() + 10_000]).unwrap();
    let reader = store.reader(&entry).unwrap();
    assert_eq!(reader.try_read_block(10).unwrap().unwrap(), body[10 * BLOCK..]);
    assert_eq!(read(&store, &entry).unwrap(), body);
    // A reader gets a whole piece from the beginning of one, and the rest of it from its middle.
    let piece = reader.try_read_from(4 * BLOCK as u64).unwrap().unwrap();
    assert_eq!(piece, body[4 * BLOCK..8 * BLOCK]);
    let rest = reader.try_read_from(6 * BLOCK as u64 + 5).unwrap().unwrap();
    assert_eq!(rest, body[6 * BLOCK + 5..8 * BLOCK]);
    // A purge removes the pieces. Those of an object above a quarter of the limit are never held.
    assert!(store.purge("key").unwrap());
    assert_eq!(store.usage().memory, 0);
    fill(&store, "large", &vec![7; 2 * MIB as usize + 1]);
    for _ in 0..5 {
        assert_eq!(read_key(&store, "large").unwrap().len() as u64, 2 * MIB + 1);
    }
    assert_eq!(store.usage().memory, 0);
}

/// Counts the descriptors of this process for files below a directory, except the lock.
#[cfg(target_os = "linux")]
fn open_files_in(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    links.filter(|target| target.starts_with(&path) && !target.ends_with("lock")).count()
}

#[cfg(target_os = "linux")]
#[test]
fn files_without_a_reader_are_closed_beyond_the_limit() {
    let scratch = Scratch::new();
    let mut limits = Limits::new(64 * MIB);
    limits.open_files = 10;
    let (store, _) = scratch.open_with(limits);
    let entries: Vec<_> =
        (0..100).map(|n| fill(&store, &format!("{n}"), &pattern(n, 1_000))).collect();
    assert!(open_files_in(&scratch.path()) <= 10);
    let readers: Vec<_> = entries.iter().map(|entry| store.reader(entry).unwrap()).collect();
    assert!(open_files_in(&scratch.path()) >= 100, "files with a reader stay open");
    for (n, reader) in readers.iter().enumerate() {
        assert_eq!(reader.read_block(0).unwrap(), pattern(n as u64, 1_000));
    }
    drop(readers);
    assert!(open_files_in(&scratch.path()) <= 10);
    assert_eq!(store.usage().open_files, 10);
    // Files of removed entries are closed too, which frees their space.
    store.purge_prefix("").unwrap();
    assert_eq!(open_files_in(&scratch.path()), 0);
}

#[test]
fn an_entry_whose_file_another_program_removed_is_a_miss() {
    let scratch = Scratch::new();
    let mut limits = Limits::new(MIB);
    limits.open_files = 0;
    let (store, _) = scratch.open_with(limits);
    let entry = fill(&store, "key", b"body");
    fs::remove_file(only_file(&scratch.path())).unwrap();
    refused(store.load(&entry), ErrorKind::NotFound);
    assert!(store.get("key").is_none());
    let usage = store.usage();
    assert_eq!((usage.bytes, usage.objects, usage.corrupt), (0, 0, 0));
}

#[test]
fn refreshed_metadata_is_returned_at_once_and_after_a_restart() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let entry = fill(&store, "key", b"body");
    let mut meta = (*store.meta(&entry).unwrap()).clone();
    meta.validated_at += Duration::from_secs(3600);
    meta.object.metadata.cache_control = Some("max-age=60".to_owned());
    assert!(store.refresh(&entry, meta.clone()).unwrap());
    assert_eq!(*store.meta(&store.get("key").unwrap()).unwrap(), meta);
    drop((store, entry));

    let store = scratch.open(MIB);
    let entry = store.get("key").unwrap();
    assert_eq!(
        (&*store.meta(&entry).unwrap(), read(&store, &entry).unwrap()),
        (&meta, b"body".to_vec())
    );
    // Metadata that does not fit in the header is returned while it is in memory.
    let mut large = meta.clone();
    large.extra.insert("note".to_owned(), "x".repeat(5_000));
    assert!(!store.refresh(&entry, large.clone()).unwrap());
    assert_eq!(*store.meta(&store.get("key").unwrap()).unwrap(), large);
    drop((store, entry));
    let store = scratch.open(MIB);
    let entry = store.get("key").unwrap();
    assert_eq!(*store.meta(&entry).unwrap(), meta);
    store.purge("key").unwrap();
    assert!(!store.refresh(&entry, meta).unwrap(), "the entry is removed");
    assert!(entry_files(&scratch.path()).is_empty());
}

#[test]
fn metadata_that_is_not_in_memory_is_read_from_the_file() {
    let scratch = Scratch::in_memory();
    let mut limits = Limits::new(64 * MIB);
    limits.memory = 0;
    let (store, _) = scratch.open_with(limits);
    let kept: Vec<_> = (0..50).map(|n| fill(&store, &format!("{n}"), &pattern(n, 100))).collect();
    assert_eq!((store.usage().memory, store.usage().metadata), (0, 0));
    for (n, entry) in kept.iter().enumerate() {
        assert_eq!(store.meta(entry).unwrap().object.key.as_str(), format!("{n}"));
    }
    // Refreshed metadata is only on the disk.
    let mut newer = (*store.meta(&kept[7]).unwrap()).clone();
    newer.validated_at += Duration::from_secs(3600);
    assert!(store.refresh(&kept[7], newer.clone()).unwrap());
    assert_eq!(*store.meta(&kept[7]).unwrap(), newer);
}

#[test]
fn the_memory_of_metadata_is_bounded() {
    let scratch = Scratch::in_memory();
    let mut limits = Limits::new(64 * MIB);
    limits.memory = 64 * 1024;
    let (store, _) = scratch.open_with(limits);
    for n in 0..100 {
        let entry = fill(&store, &format!("{n}"), b"");
        store.meta(&entry).unwrap();
        assert!(store.usage().metadata <= 8 * 1024);
    }
    assert!(store.usage().metadata > 4 * 1024, "metadata is held");
}

#[test]
fn reading_the_metadata_of_a_broken_header_removes_the_entry() {
    let scratch = Scratch::in_memory();
    let mut limits = Limits::new(MIB);
    limits.memory = 0;
    let (store, _) = scratch.open_with(limits);
    let entry = fill(&store, "key", b"body");
    let file = fs::File::options().write(true).open(only_file(&scratch.path())).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 30).unwrap();
    assert!(store.try_meta(&entry).is_none());
    refused(store.meta(&entry), ErrorKind::Integrity);
    assert!(store.get("key").is_none());
    assert_eq!((store.usage().corrupt, store.usage().index), (1, 0));
    refused(store.meta(&entry), ErrorKind::NotFound);
}

#[test]
fn entries_are_listed_by_key_and_by_hits() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(64 * MIB);
    for n in 0..1_200 {
        fill(&store, &format!("{n:04}"), b"");
        if n % 400 == 7 {
            (0..=n).for_each(|_| drop(store.get(&format!("{n:04}"))));
        }
    }
    let keys: Vec<_> = store.entries().map(|entry| entry.key().to_owned()).collect();
    assert_eq!(keys, (0..1_200).map(|n| format!("{n:04}")).collect::<Vec<_>>());
    let top: Vec<_> =
        store.top(3).iter().map(|entry| (entry.key().to_owned(), entry.hits())).collect();
    assert_eq!(top, [("0807".to_owned(), 808), ("0407".to_owned(), 408), ("0007".to_owned(), 8)]);
    assert_eq!(store.peek("0807").unwrap().hits(), 808, "peeking counts no hit");
}
