//! Filling: objects become visible as a whole or not at all.

use storage_core::{Checksum, ChecksumAlgorithm};

use super::super::layout::MAX_HEADER;
use super::*;

#[test]
fn a_filled_object_reads_back_with_its_metadata() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    for len in [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
        let (key, body) = (format!("a/{len}"), pattern(len as u64, len));
        let mut meta = meta(&key, len as u64);
        meta.object.metadata.content_type = Some("audio/mpeg".to_owned());
        meta.extra.insert("status".to_owned(), "200".to_owned());
        let mut filling = store.begin(&key).create(meta.clone()).unwrap();
        assert!(store.get(&key).is_none(), "an incomplete object is invisible");
        filling.write(&body).unwrap();
        let entry = filling.commit().unwrap();
        assert_eq!(
            (entry.key(), entry.size(), &*store.meta(&entry).unwrap()),
            (&*key, len as u64, &meta)
        );
        assert_eq!(read_key(&store, &key).unwrap(), body);
    }
    assert_eq!(store.usage().objects, 7);
    assert_eq!((store.usage().reserved, fill_files(&scratch.path()).len()), (0, 0));
    assert_eq!(store.usage().bytes, disk_use(&scratch.path()));
}

#[test]
fn a_fill_that_is_dropped_leaves_the_old_object_and_nothing_else() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    fill(&store, "key", b"old");
    let before = store.usage();
    drop(store.begin("key"));
    let mut filling = store.begin("key").create(meta("key", 10)).unwrap();
    filling.write(b"12345").unwrap();
    assert_eq!(fill_files(&scratch.path()).len(), 1);
    drop(filling);
    assert_eq!(store.usage(), before);
    assert!(fill_files(&scratch.path()).is_empty());
    assert_eq!(read_key(&store, "key").unwrap(), b"old");
}

#[test]
fn a_body_shorter_than_announced_is_not_stored() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let mut filling = store.begin("key").create(meta("key", 1_000_000)).unwrap();
    filling.write(&[1; 1_000]).unwrap();
    let error = refused(filling.commit(), ErrorKind::Integrity);
    assert!(error.message().contains("1000 of 1000000"), "{error}");
    assert!(store.get("key").is_none());
    assert_eq!((store.usage().reserved, disk_use(&scratch.path())), (0, 0));
}

#[test]
fn a_body_longer_than_announced_is_not_stored() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let mut filling = store.begin("key").create(meta("key", 5)).unwrap();
    filling.write(b"1234").unwrap();
    refused(filling.write(b"56"), ErrorKind::Integrity);
    refused(filling.write(b"5"), ErrorKind::Integrity);
    refused(filling.commit(), ErrorKind::Integrity);
    assert!(store.get("key").is_none());
    assert_eq!(disk_use(&scratch.path()), 0);
}

#[test]
fn a_body_that_does_not_match_origins_checksums_is_not_stored() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    for algorithm in
        [ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Md5, ChecksumAlgorithm::Crc64Nvme]
    {
        let mut meta = meta("key", 5);
        meta.object.checksums.insert(Checksum::of(algorithm, b"hello"));
        for (body, is_right) in [(b"hellO", false), (b"hello", true)] {
            let mut filling = store.begin("key").create(meta.clone()).unwrap();
            body.chunks(2).for_each(|chunk| filling.write(chunk).unwrap());
            let committed = filling.commit();
            assert_eq!(committed.is_ok(), is_right, "{algorithm}");
            if let Err(error) = committed {
                assert_eq!(error.kind(), ErrorKind::Integrity);
                assert!(store.get("key").is_none());
            }
        }
        assert!(store.purge("key").unwrap());
    }
}

#[test]
fn a_tail_reads_the_written_bytes_before_the_fill_ends() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let body = pattern(1, 3 * BLOCK);
    let mut filling = store.begin("key").create(meta("key", body.len() as u64)).unwrap();
    let tail = filling.tail();
    filling.write(&body[..BLOCK + 10]).unwrap();
    assert_eq!(filling.written(), BLOCK as u64 + 10);
    assert_eq!(tail.read(5, BLOCK).unwrap(), body[5..BLOCK + 5]);
    if let Some(bytes) = tail.try_read(BLOCK as u64, 10) {
        assert_eq!(bytes, body[BLOCK..BLOCK + 10]);
    }
    filling.write(&body[BLOCK + 10..]).unwrap();
    filling.commit().unwrap();
    store.purge("key").unwrap();
    assert_eq!(
        tail.read(2 * BLOCK as u64, BLOCK).unwrap(),
        body[2 * BLOCK..],
        "the tail reads on after a purge"
    );
}

#[test]
fn a_newer_version_replaces_the_older_one() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let old = fill(&store, "key", &pattern(1, 300_000));
    assert_eq!(read(&store, &old).unwrap(), pattern(1, 300_000));
    fill(&store, "key", &pattern(2, 100));
    assert_eq!(read_key(&store, "key").unwrap(), pattern(2, 100));
    refused(store.load(&old), ErrorKind::NotFound);
    only_file(&scratch.path());
    assert_eq!(store.usage().bytes, disk_use(&scratch.path()));
    assert_eq!((store.usage().objects, store.usage().reserved), (1, 0));
}

#[test]
fn the_fill_that_began_later_wins_in_either_order_of_commits() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    for earlier_ends_first in [true, false] {
        let begin = |body: &[u8]| {
            let mut filling = store.begin("key").create(meta("key", body.len() as u64)).unwrap();
            filling.write(body).unwrap();
            filling
        };
        let (earlier, later) = (begin(b"earlier"), begin(b"later"));
        if earlier_ends_first {
            earlier.commit().unwrap();
            later.commit().unwrap();
        } else {
            let kept = later.commit().unwrap();
            assert_eq!(earlier.commit().unwrap().id(), kept.id(), "the stored entry is returned");
        }
        assert_eq!(read_key(&store, "key").unwrap(), b"later");
        only_file(&scratch.path());
        assert_eq!((store.usage().bytes, store.usage().reserved), (disk_use(&scratch.path()), 0));
    }
}

#[test]
fn an_object_that_is_too_large_is_refused_and_evicts_nothing() {
    let scratch = Scratch::new();
    let mut limits = Limits::new(MIB);
    limits.max_object_size = Some(500_000);
    let (store, _) = scratch.open_with(limits);
    fill(&store, "there", &[1; 400_000]);
    let error = refused(store.begin("key").create(meta("key", 500_001)), ErrorKind::TooLarge);
    assert!(error.message().contains("max_object_size"), "{error}");
    drop(store);

    let store = scratch.open(MIB);
    for size in [MIB, MIB - 4096, u64::MAX] {
        let error = refused(store.begin("key").create(meta("key", size)), ErrorKind::TooLarge);
        assert!(error.message().contains("max_size"), "{error}");
    }
    assert_eq!((store.usage().objects, store.usage().reserved), (1, 0));
    fill(&store, "key", &vec![2; MIB as usize - 3 * 4096]);
    assert_eq!(store.usage().evicted_objects, 1);
}

#[test]
fn fills_cannot_reserve_more_than_max_size() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let first = store.begin("a").create(meta("a", 600_000)).unwrap();
    refused(store.begin("b").create(meta("b", 600_000)), ErrorKind::StorageFull);
    let small = store.begin("c").create(meta("c", 100_000)).unwrap();
    drop((first, small));
    store.begin("b").create(meta("b", 600_000)).unwrap();
    assert_eq!(store.usage().reserved, 0);
}

#[test]
fn making_room_evicts_entries_without_hits_first() {
    let scratch = Scratch::new();
    let store = scratch.open(10 * 65_536);
    for n in 0..10 {
        fill(&store, &format!("{n}"), &[n; 50_000]);
    }
    let wanted = ["2", "5"];
    for _ in 0..3 {
        wanted.iter().for_each(|key| drop(store.get(key).unwrap()));
    }
    for n in 10..40 {
        fill(&store, &format!("{n}"), &[n; 50_000]);
        assert!(disk_use(&scratch.path()) <= 10 * 65_536);
    }
    for key in wanted {
        assert!(store.peek(key).is_some(), "{key}");
    }
    let usage = store.usage();
    assert_eq!(usage.evicted_objects + usage.objects, 40);
    assert_eq!(usage.evicted_bytes, usage.evicted_objects * 57_344);
    assert_eq!(usage.bytes, disk_use(&scratch.path()));
}

#[test]
fn an_object_of_unknown_size_counts_towards_the_limit_while_it_is_received() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(8 * MIB);
    fill(&store, "old", &pattern(1, 3 * MIB as usize));
    let mut spool = store.spool().unwrap();
    for _ in 0..4 {
        spool.write(&pattern(2, MIB as usize)).unwrap();
        let usage = store.usage();
        assert!(usage.bytes + usage.reserved <= 8 * MIB, "{usage:?}");
    }
    refused(spool.write(b"x"), ErrorKind::TooLarge);
    // A second spool evicts an entry, and then finds no further space.
    let mut other = store.spool().unwrap();
    for _ in 0..3 {
        other.write(&pattern(3, MIB as usize)).unwrap();
    }
    assert!(store.get("old").is_none(), "the old entry was evicted");
    refused(other.write(&pattern(3, MIB as usize)), ErrorKind::StorageFull);
    drop(other);
    let object = spool.into_object(ObjectMeta::new(Key::new("key").unwrap(), 0)).unwrap();
    assert_eq!(object.meta().size, 4 * MIB);
    assert!(store.usage().reserved >= 4 * MIB);
    drop(object);
    assert_eq!(store.usage().reserved, 0);
    assert!(fill_files(&scratch.path()).is_empty());
}

#[test]
fn metadata_that_exceeds_the_longest_header_is_refused() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let mut meta = meta("key", 3);
    meta.extra.insert("note".to_owned(), "x".repeat(20_000));
    let mut filling = store.begin("key").create(meta.clone()).unwrap();
    filling.write(b"abc").unwrap();
    assert_eq!(*store.meta(&filling.commit().unwrap()).unwrap(), meta);
    assert_eq!(read_key(&store, "key").unwrap(), b"abc");
    meta.extra.insert("note".to_owned(), "x".repeat(MAX_HEADER));
    refused(store.begin("key").create(meta), ErrorKind::InvalidInput);
    assert_eq!(store.usage().reserved, 0);
}

#[test]
fn similar_keys_are_separate_entries() {
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let keys = [
        "Foo.mp3",
        "foo.mp3",
        "foo.mp3%3F",
        "foo.mp3?",
        "foo.mp3%3Fv=1",
        "a/b",
        "a%2Fb",
        "a\\b",
        "..%2f..%2fetc",
        "%2e%2e",
        "...",
        "a..b",
        "e\u{301}",
        "\u{e9}",
        " foo.mp3",
        "foo.mp3 ",
        "foo.mp3%00",
        "ff/filling",
        "lock",
        "order",
    ];
    for (n, key) in keys.iter().enumerate() {
        fill(&store, key, &pattern(n as u64, 1_000));
    }
    let all_differ = |store: &Store| {
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(read_key(store, key).unwrap(), pattern(n as u64, 1_000), "{key}");
        }
        for key in ["FOO.mp3", "foo.MP3", "foo.mp3\0", "a", "a/", "..", "../cache", ""] {
            assert!(store.get(key).is_none(), "{key}");
        }
    };
    all_differ(&store);
    assert_eq!(entry_files(&scratch.path()).len(), keys.len());
    drop(store);
    all_differ(&scratch.open(64 * MIB));
    assert_eq!(files_in(scratch.dir.path()), [scratch.path()], "no file outside the cache");
}
