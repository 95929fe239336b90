//! Reading: large steps, one trip to the blocking pool for small files, access to the open file,
//! and no success with missing bytes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use common::payloads::{pattern, streaming};
use common::poll::{blocking_thread, settled, single_blocking_thread, trips};
use common::{Implementation, Scratch, read, refused, skip};
use futures_util::TryStreamExt;
use storage_core::{ByteRange, ErrorKind, Storage};
use storage_fs::MetadataStore;

const MIB: usize = 1024 * 1024;

/// Returns how many read calls a thread of this process has made.
fn reads_of(thread: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/self/task/{thread}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("syscr:"))?.trim().parse().ok()
}

fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[test]
fn a_large_object_is_read_in_large_steps() {
    let scratch = Scratch::new();
    single_blocking_thread().block_on(async {
        let storage = scratch.storage();
        let bytes = pattern(1, 64 * MIB);
        storage.save("large", bytes.clone()).await.unwrap();
        let (pool, this) = (blocking_thread().await, this_thread());
        // What the system has in its cache is read on the calling thread.
        let reads = || Some(reads_of(pool)? + reads_of(this)?);
        let Some(before) = reads() else {
            return skip("this kernel does not count reads");
        };

        let mut found = Vec::with_capacity(bytes.len());
        let mut chunks = storage.open("large").await.unwrap().into_stream();
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            found.extend_from_slice(&chunk);
        }
        let streamed = reads().unwrap() - before;
        assert!(found == bytes);
        assert!((1..200).contains(&streamed), "{streamed} calls for 64 MiB");

        let before = reads().unwrap();
        assert!(storage.open("large").await.unwrap().bytes().await.unwrap() == bytes);
        let at_once = reads().unwrap() - before;
        assert!((1..200).contains(&at_once), "{at_once} calls for 64 MiB");
    });
}

#[test]
fn a_large_object_is_written_and_copied_in_large_steps() {
    let scratch = Scratch::new();
    let writes = |thread: u32| {
        let io = fs::read_to_string(format!("/proc/self/task/{thread}/io")).ok()?;
        io.lines().find_map(|line| line.strip_prefix("syscw:"))?.trim().parse::<u64>().ok()
    };
    single_blocking_thread().block_on(async {
        let storage = scratch.storage();
        let thread = blocking_thread().await;
        let Some(before) = writes(thread) else { return skip("this kernel does not count writes") };
        storage.save("large", streaming(pattern(1, 64 * MIB), 8 * 1024)).await.unwrap();
        let streamed = writes(thread).unwrap() - before;
        assert!((1..400).contains(&streamed), "{streamed} calls for 64 MiB in chunks of 8 KiB");
        let (read_before, written_before) = (reads_of(thread).unwrap(), writes(thread).unwrap());
        storage.copy("large", "copy").await.unwrap();
        let copied =
            reads_of(thread).unwrap() - read_before + writes(thread).unwrap() - written_before;
        assert!(copied < 200, "{copied} calls to copy 64 MiB");
        assert!(fs::read(scratch.file("copy")).unwrap() == pattern(1, 64 * MIB));
    });
}

/// A program that removes duplicates replaces a file by a second name of an equal one.
#[tokio::test]
async fn a_rename_onto_another_name_of_the_file_keeps_the_metadata() {
    for implementation in Implementation::ALL {
        let scratch = Scratch::new();
        let storage = implementation.storage(scratch.builder());
        for is_replaced in [false, true] {
            if is_replaced {
                storage.save("b", "hello").content_type("a/other").await.unwrap();
                fs::remove_file(scratch.file("b")).unwrap();
            }
            let save = storage.save("a", "hello").content_type("a/mine");
            save.user_metadata("author", "ada").await.unwrap();
            fs::hard_link(scratch.file("a"), scratch.file("b")).unwrap();
            storage.rename("a", "b").await.unwrap();
            let metadata = storage.stat("b").await.unwrap().metadata;
            assert_eq!(metadata.content_type.as_deref(), Some("a/mine"), "{implementation:?}");
            assert_eq!(metadata.user_metadata["author"], "ada", "{implementation:?}");
            assert!(!storage.exists("a").await.unwrap());
            storage.delete("b").await.unwrap();
        }
    }
}

/// Cached or not, an operation makes at most one trip. A stream makes more, as a control.
#[test]
fn a_small_object_takes_at_most_one_trip_to_the_blocking_pool() {
    for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
        let scratch = Scratch::new();
        scratch.put("theirs", "a file of another program");
        single_blocking_thread().block_on(async {
            settled().await;
            let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();
            for size in [0, 1, 4 * 1024, 100 * 1024] {
                let bytes = pattern(2, size);
                let (saving, saved) =
                    trips(storage.save("small", bytes.clone()).into_future()).await;
                saved.unwrap();
                assert_eq!(saving, 1, "trips to save {size} bytes");
                let open = async { storage.open("small").await?.bytes().await };
                let (reading, found) = trips(open).await;
                assert_eq!(found.unwrap(), bytes);
                // A cached object needs no trip, but a larger one is read on the pool.
                assert!(reading <= 1, "{reading} trips to read {size} bytes");
                assert!(trips(storage.stat("small")).await.0 <= 1);
                assert!(trips(storage.exists("small")).await.0 <= 1);
                assert!(trips(storage.delete("small")).await.0 <= 1);
            }
            let (reading, found) =
                trips(async { storage.open("theirs").await?.text().await }).await;
            assert_eq!((reading, &*found.unwrap()), (1, "a file of another program"));

            // Control.
            let large = streaming(pattern(3, 8 * MIB), 8 * 1024);
            assert!(trips(storage.save("large", large).into_future()).await.0 > 4);
        });
    }
}

#[tokio::test]
async fn a_large_object_provides_its_open_file() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let bytes = pattern(4, 3 * MIB);
    storage.save("large", bytes.clone()).await.unwrap();

    let object = storage.open("large").range(MIB as u64..2 * MIB as u64 + 7).await.unwrap();
    let range = object.range();
    assert_eq!(range, MIB as u64..2 * MIB as u64 + 7);
    // It keeps its bytes when the object is replaced or deleted.
    storage.save("large", "another").await.unwrap();
    storage.delete("large").await.unwrap();
    let file = object.file().expect("a file to send from");
    let mut found = vec![0; usize::try_from(range.end - range.start).unwrap()];
    file.read_exact_at(&mut found, range.start).unwrap();
    assert!(found == bytes[MIB..2 * MIB + 7]);
    assert_eq!(file.metadata().unwrap().len(), object.meta().size);
    assert!(object.bytes().await.unwrap() == found, "and the body is still the body");
}

#[tokio::test]
async fn ranges_of_any_size_return_their_bytes() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let bytes = pattern(5, 700_001);
    storage.save("k", bytes.clone()).await.unwrap();
    for (range, expected) in [
        (ByteRange::from(0..1), 0..1),
        (ByteRange::from(65_535..65_537), 65_535..65_537),
        (ByteRange::from(131_071..), 131_071..700_001),
        (ByteRange::last(1), 700_000..700_001),
        (ByteRange::last(200_000), 500_001..700_001),
        (ByteRange::from(1..700_000), 1..700_000),
        (ByteRange::from(600_000..9_999_999), 600_000..700_001),
    ] {
        let object = storage.open("k").range(range).await.unwrap();
        assert!(object.bytes().await.unwrap() == bytes[expected.clone()], "{expected:?}");
        let object = storage.open("k").range(range).await.unwrap();
        let chunks: Vec<_> = object.into_stream().try_collect().await.unwrap();
        assert!(chunks.concat() == bytes[expected.clone()], "{expected:?}");
    }
}

/// The reader must get an error if another program truncates the file.
#[tokio::test]
async fn a_file_that_is_truncated_while_it_is_read_is_an_error() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for left in [0, MIB as u64, 4 * MIB as u64 - 1] {
        storage.save("k", pattern(6, 4 * MIB)).await.unwrap();
        let (whole, streamed) =
            (storage.open("k").await.unwrap(), storage.open("k").await.unwrap());
        let ranged = storage.open("k").range(3 * MIB as u64..).await.unwrap();
        File::options().write(true).open(scratch.file("k")).unwrap().set_len(left).unwrap();

        let error = whole.bytes().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        streamed.into_stream().try_collect::<Vec<_>>().await.unwrap_err();
        ranged.bytes().await.unwrap_err();
        // A new open returns the remaining bytes.
        assert_eq!(read(&storage, "k").await.unwrap().len() as u64, left);
    }
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_yields_its_original_bytes() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let bytes = pattern(7, MIB);
    storage.save("k", bytes.clone()).await.unwrap();
    let object = storage.open("k").await.unwrap();
    let file = File::options().write(true).open(scratch.file("k")).unwrap();
    file.write_all_at(&[0; 1000], MIB as u64).unwrap();
    assert!(object.bytes().await.unwrap() == bytes);
}

/// Conditions apply to cached reads and to reads on the blocking pool.
#[tokio::test]
async fn conditions_apply_to_small_and_large_objects() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for size in [10, 100_000, 1_000_000] {
        let meta = storage.save("k", pattern(8, size)).await.unwrap();
        let etag = meta.etag.unwrap();
        let other = storage_core::ETag::strong("other").unwrap();
        refused(storage.open("k").if_none_match(etag.clone()).await, ErrorKind::NotModified);
        refused(storage.open("k").if_match(other.clone()).await, ErrorKind::PreconditionFailed);
        let soon = SystemTime::now() + Duration::from_secs(60);
        refused(storage.open("k").if_modified_since(soon).await, ErrorKind::NotModified);
        refused(storage.open("k").range(size as u64 + 1..).await, ErrorKind::RangeNotSatisfiable);
        let object = storage.open("k").if_match(etag).if_none_match(other).await.unwrap();
        assert_eq!(object.bytes().await.unwrap().len(), size);
    }
}

/// A read falls back to the disk.
#[tokio::test]
async fn a_file_outside_the_page_cache_is_read_from_the_disk() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let meta = storage.save("d/k", pattern(9, 50_000)).await.unwrap();
    let file = File::open(scratch.file("d/k")).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let object = storage.open("d/k").await.unwrap();
    assert_eq!(*object.meta(), meta);
    assert!(object.bytes().await.unwrap() == pattern(9, 50_000));
}

/// The start of a chunk may be in the cache and its end on the disk.
#[tokio::test]
async fn a_large_file_that_is_partly_in_the_page_cache_is_read_whole() {
    const SIZE: usize = 5_000_000;
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("d/k", pattern(9, SIZE)).await.unwrap();
    let file = File::open(scratch.file("d/k")).unwrap();
    file.sync_all().unwrap();
    for cached in [0..0, 0..500_000, 300_000..2_500_000, 4_000_000..SIZE as u64] {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let len = usize::try_from(cached.end - cached.start).unwrap();
        rustix::io::pread(&file, &mut vec![0; len], cached.start).unwrap();
        let chunks = storage.open("d/k").await.unwrap().into_stream();
        let read: Vec<_> = chunks.try_collect().await.unwrap();
        assert!(read.concat() == pattern(9, SIZE), "{cached:?}");
    }
}

/// File systems store times from at least 1901 to 2446.
#[tokio::test]
async fn a_file_of_1960_or_2400_has_its_own_time_and_can_be_replaced() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for (key, time) in [("old", "1960-01-01T00:00:00.25Z"), ("new", "2400-01-01T00:00:00Z")] {
        scratch.put(key, "theirs");
        let time = storage_core::parse_time(time).unwrap();
        File::options().write(true).open(scratch.file(key)).unwrap().set_modified(time).unwrap();
        if fs::metadata(scratch.file(key)).unwrap().modified().unwrap() != time {
            skip("this file system does not keep such a time");
            continue;
        }
        let stat = storage.stat(key).await.unwrap();
        assert_eq!(stat.last_modified, Some(time));
        assert_eq!(storage.open(key).await.unwrap().meta().last_modified, Some(time));
        let listed = storage.list(key).entries().collect().await.unwrap();
        let [storage_core::Entry::Object(listed)] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!(listed.last_modified, Some(time));
        let saved = storage.save(key, "ours").await.unwrap();
        assert_eq!(storage.stat(key).await.unwrap(), saved);
    }
}
