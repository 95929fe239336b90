//! Many threads on one store: each read returns a whole version, a purge wins over earlier fills,
//! and the figures match the disk.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::MAX_IN_MEMORY;
use super::*;

const KEYS: u64 = 8;

fn key(n: u64) -> String {
    format!("{}/{n}", n % 3)
}

/// Returns a body that begins with its version, from which the rest is derived.
fn body(version: u64) -> Vec<u8> {
    [&version.to_le_bytes()[..], &pattern(version, 500 + split_mix(version) as usize % 300_000)]
        .concat()
}

fn assert_whole(bytes: &[u8]) -> u64 {
    let version = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    assert!(bytes == body(version), "version {version} is torn");
    version
}

#[test]
fn concurrent_reads_writes_and_purges_return_whole_objects() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(MIB);
    let (versions, reads, purges) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let work = |seed: u64| {
        let mut random = seed;
        for _ in 0..400 {
            random = split_mix(random);
            let key = key(random % KEYS);
            match random >> 60 {
                0 => purges.fetch_add(u64::from(store.purge(&key).unwrap()), Ordering::Relaxed),
                1..6 => {
                    let body = body(versions.fetch_add(1, Ordering::Relaxed));
                    match try_fill(&store, &key, &body) {
                        Ok(_) => 0,
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::StorageFull | ErrorKind::Conflict
                            ) =>
                        {
                            0
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                _ => {
                    let Some(entry) = store.get(&key) else { continue };
                    let bytes = match store.hot(&entry) {
                        Some(body) => Ok(body.to_vec()),
                        None if entry.size() <= MAX_IN_MEMORY => {
                            store.load(&entry).map(|body| body.to_vec())
                        }
                        None => read(&store, &entry),
                    };
                    match bytes {
                        Ok(bytes) => assert_whole(&bytes),
                        Err(error) if error.kind() == ErrorKind::NotFound => continue,
                        Err(error) => panic!("{error}"),
                    };
                    reads.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    };
    std::thread::scope(|scope| {
        (0..6).for_each(|seed| drop(scope.spawn(move || work(seed))));
    });
    let usage = store.usage();
    assert_eq!((usage.reserved, usage.corrupt), (0, 0));
    assert_eq!(
        (usage.bytes, usage.objects),
        (disk_use(&scratch.path()), entry_files(&scratch.path()).len() as u64)
    );
    assert!(usage.bytes <= MIB && usage.evicted_objects > 0, "{usage:?}");
    assert!(reads.into_inner() > 100 && purges.into_inner() > 0, "reads and purges took place");
}

#[test]
fn a_purge_concurrent_with_a_commit_removes_the_entry_or_prevents_it() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(MIB);
    let (mut found, mut prevented) = (0, 0);
    for round in 0..400 {
        let mut filling = store.begin("key").create(meta("key", 3)).unwrap();
        filling.write(b"old").unwrap();
        let start = Barrier::new(2);
        let (committed, purged) = std::thread::scope(|scope| {
            let commit = scope.spawn(|| {
                start.wait();
                filling.commit()
            });
            start.wait();
            // The delay varies, so that each of the two comes first in some rounds.
            (0..round * 20).for_each(|_| std::hint::spin_loop());
            let purged = store.purge("key").unwrap();
            assert!(store.peek("key").is_none(), "the entry is gone when the purge returns");
            (commit.join().unwrap(), purged)
        });
        assert!(store.peek("key").is_none(), "round {round}");
        assert_eq!(disk_use(&scratch.path()), 0);
        assert_eq!(committed.is_ok(), purged, "round {round}");
        match committed {
            Ok(_) => found += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                prevented += 1;
            }
        }
    }
    assert_eq!(store.usage().reserved, 0);
    print_line(&format!("{found} purged after the commit, {prevented} before"));
}

#[test]
fn followers_read_an_object_while_it_is_filled() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(16 * MIB);
    let body = pattern(1, 5 * BLOCK + 77);
    let mut filling = store.begin("key").create(meta("key", body.len() as u64)).unwrap();
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (tail, body, written) = (filling.tail(), &body, &written);
            scope.spawn(move || {
                let mut read = 0;
                while read < body.len() {
                    let there = written.load(Ordering::Acquire) as usize;
                    if there == read {
                        std::thread::yield_now();
                        continue;
                    }
                    let bytes = tail.read(read as u64, (there - read).min(10_000)).unwrap();
                    assert!(bytes == body[read..read + bytes.len()]);
                    read += bytes.len();
                }
            });
        }
        for chunk in body.chunks(7_001) {
            filling.write(chunk).unwrap();
            written.store(filling.written(), Ordering::Release);
        }
        filling.commit().unwrap();
        done.store(true, Ordering::Release);
    });
    assert_eq!(read_key(&store, "key").unwrap(), body);
}
