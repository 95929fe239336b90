//! Recovery: a restart restores entries and removes broken and leftover files.

use super::super::directory::{Directory, place};
use super::*;

#[test]
fn a_restart_restores_all_entries() {
    let scratch = Scratch::new();
    let (store, recovered) = scratch.open_with(Limits::new(64 * MIB));
    assert_eq!(recovered, Recovered::default());
    let lens = [0, 1, 5_000, 3 * BLOCK + 1];
    for len in lens {
        fill(&store, &format!("{len}"), &pattern(len as u64, len));
    }
    let before = store.usage();
    drop(store);
    let (store, recovered) = scratch.open_with(Limits::new(64 * MIB));
    assert_eq!(recovered, Recovered { objects: 4, bytes: before.bytes, dropped: 0, partial: 0 });
    assert_eq!((store.usage().bytes, store.usage().objects), (before.bytes, 4));
    for len in lens {
        assert_eq!(read_key(&store, &format!("{len}")).unwrap(), pattern(len as u64, len));
    }
    // Ids continue after the restored ones, so a new fill replaces a restored entry.
    fill(&store, "1", b"new");
    drop(store);
    assert_eq!(read_key(&scratch.open(64 * MIB), "1").unwrap(), b"new");
}

#[test]
fn a_restart_removes_partial_files_and_leaves_foreign_files() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "key", b"body");
    let filling = store.begin("other").create(meta("other", 5)).unwrap();
    // Restores the file as a crash leaves it.
    let partial = fill_files(&scratch.path())[0].clone();
    let copy = fs::read(&partial).unwrap();
    drop((filling, store));
    fs::write(&partial, copy).unwrap();
    let theirs = [
        scratch.path().join("notes.txt"),
        scratch.path().join("00/notes.txt"),
        scratch.path().join("filling/x"),
    ];
    theirs.iter().for_each(|file| fs::write(file, "theirs").unwrap());
    let (store, recovered) = scratch.open_with(Limits::new(MIB));
    assert_eq!((recovered.objects, recovered.dropped, recovered.partial), (1, 0, 1));
    assert!(!partial.exists());
    assert_eq!(read_key(&store, "key").unwrap(), b"body");
    assert!(theirs.iter().all(|file| file.exists()));
}

#[test]
fn a_restart_keeps_the_later_of_two_versions_that_a_crash_left() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "key", b"old");
    let old = only_file(&scratch.path());
    let copy = fs::read(&old).unwrap();
    fill(&store, "key", b"new");
    drop(store);
    fs::write(&old, copy).unwrap();
    let (store, recovered) = scratch.open_with(Limits::new(MIB));
    assert_eq!((recovered.objects, recovered.partial), (1, 1));
    assert_eq!(read_key(&store, "key").unwrap(), b"new");
    assert_ne!(only_file(&scratch.path()), old);
}

#[test]
fn a_file_under_the_name_of_another_key_is_dropped() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "key", b"body");
    drop(store);
    let file = only_file(&scratch.path());
    let (shelf, rest) = place("another");
    fs::rename(file, scratch.path().join(shelf).join(format!("{rest}-0000000000000001"))).unwrap();
    let (store, recovered) = scratch.open_with(Limits::new(MIB));
    assert_eq!((recovered.objects, recovered.dropped), (0, 1));
    assert!(store.get("key").is_none() && store.get("another").is_none());
    assert!(entry_files(&scratch.path()).is_empty());
}

#[test]
fn a_lower_limit_applies_from_the_start() {
    let scratch = Scratch::new();
    let store = scratch.open(4 * MIB);
    (0..20).for_each(|n| drop(fill(&store, &format!("{n}"), &pattern(n, 100_000))));
    drop(store);
    let (store, recovered) = scratch.open_with(Limits::new(MIB));
    assert_eq!(recovered.objects, 20);
    assert!(store.usage().bytes <= MIB && disk_use(&scratch.path()) <= MIB);
    assert_eq!(store.usage().reserved, 0);
    assert_eq!(store.usage().bytes, disk_use(&scratch.path()));
    assert!(store.usage().objects >= 9, "{:?}", store.usage());
}

/// Fills ten objects, requests two of them three times so that they reach the main queue, and fills
/// two more without requests.
fn fill_with_two_proven(store: &Store) {
    let fill_one = |n: u64| drop(fill(store, &format!("{n}"), &pattern(n, 50_000)));
    (0..10).for_each(fill_one);
    for _ in 0..3 {
        assert!(store.get("0").is_some() && store.get("1").is_some());
    }
    (10..12).for_each(fill_one);
}

#[test]
fn a_restart_keeps_the_entries_of_the_main_queue_there() {
    let scratch = Scratch::new();
    let max_size = 10 * 57_344;
    let store = scratch.open(max_size);
    fill_with_two_proven(&store);
    drop(store);
    let store = scratch.open(max_size);
    for n in 100..120 {
        fill(&store, &format!("{n}"), &pattern(n, 50_000));
    }
    let left: Vec<_> = store.entries().map(|entry| entry.key().to_owned()).collect();
    assert!(left.contains(&"0".to_owned()) && left.contains(&"1".to_owned()), "{left:?}");
    assert!(!left.contains(&"11".to_owned()), "{left:?}");
}

#[test]
fn a_scan_after_a_restart_without_an_order_file_evicts_few_restored_entries() {
    let scratch = Scratch::new();
    let max_size = 10 * 57_344;
    let store = scratch.open(max_size);
    fill_with_two_proven(&store);
    drop(store);
    fs::remove_file(scratch.path().join("order")).unwrap();
    let store = scratch.open(max_size);
    for n in 100..120 {
        fill(&store, &format!("{n}"), &pattern(n, 50_000));
    }
    let old = store.entries().filter(|entry| entry.key().len() < 3).count();
    assert!(old >= 8, "{old}");
}

#[test]
fn the_directory_is_unlocked_when_the_store_and_its_readers_are_dropped() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let error = refused(Directory::open_with(&scratch.path(), 2), ErrorKind::Conflict);
    assert!(error.message().contains(&*scratch.path().to_string_lossy()), "{error}");
    let reader = store.reader(&fill(&store, "key", b"body")).unwrap();
    drop(store);
    refused(Directory::open_with(&scratch.path(), 2), ErrorKind::Conflict);
    drop(reader);
    scratch.open(MIB);
}
