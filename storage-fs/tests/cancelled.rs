//! A write whose future is dropped at any point happens completely or not at all, and leaves no
//! debris.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs;

use common::payloads::{fed, pattern, streaming};
use common::poll::{Polled, poll_times, settled, single_blocking_thread};
use common::{Implementation, Scratch, items, names, read, until};
use storage_core::{ErrorKind, Payload, Result, Storage};

const KEY: &str = "d/k";
const LEN: usize = 3_500_000;

/// Returns the version of the object, from its body and its metadata.
async fn version(storage: &Storage) -> Option<u8> {
    let object = match storage.open(KEY).await {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let version: u8 = object.meta().metadata.user_metadata["version"].parse().unwrap();
    assert!(
        object.bytes().await.unwrap() == pattern(version.into(), LEN),
        "version {version} is torn"
    );
    Some(version)
}

#[derive(Debug, Clone, Copy)]
enum Write {
    Memory,
    Stream,
    File,
    CreateNew,
    Copy,
}

const WRITES: [Write; 5] =
    [Write::Memory, Write::Stream, Write::File, Write::CreateNew, Write::Copy];

async fn write(write_kind: Write, storage: &Storage, source: Payload) -> Result<()> {
    let bytes = || pattern(2, LEN);
    let save = match write_kind {
        Write::Memory => storage.save(KEY, bytes()),
        Write::Stream => storage.save(KEY, streaming(bytes(), 100_000)),
        Write::File => storage.save(KEY, source),
        Write::CreateNew => storage.save(KEY, streaming(bytes(), 100_000)).create_new(),
        Write::Copy => return storage.copy("source", KEY).await,
    };
    save.user_metadata("version", "2").await.map(drop)
}

/// Drops the future after each number of polls, with its blocking work done or not yet begun.
#[test]
fn a_write_that_is_dropped_at_any_point_happens_completely_or_not_at_all() {
    let scratch = Scratch::new();
    let source = scratch.path().join("source");
    fs::write(&source, pattern(2, LEN)).unwrap();
    single_blocking_thread().block_on(async {
        for implementation in Implementation::ALL {
            let storage = implementation.storage(scratch.builder());
            storage.save("source", pattern(2, LEN)).user_metadata("version", "2").await.unwrap();
            for (write_kind, let_work) in
                WRITES.into_iter().flat_map(|write_kind| [(write_kind, false), (write_kind, true)])
            {
                let (mut before, mut after) = (0, 0);
                for times in 0.. {
                    if !matches!(write_kind, Write::CreateNew) {
                        storage
                            .save(KEY, pattern(1, LEN))
                            .user_metadata("version", "1")
                            .await
                            .unwrap();
                    }
                    let old = version(&storage).await;
                    let payload = Payload::from_file(&source).await.unwrap();
                    let polled =
                        poll_times(write(write_kind, &storage, payload), times, let_work).await;
                    settled().await;
                    settled().await;

                    assert!(
                        scratch.staged().is_empty(),
                        "{write_kind:?} after {times} polls: {:?}",
                        scratch.staged()
                    );
                    let there = version(&storage).await;
                    match polled {
                        Polled::Done(done) => {
                            done.unwrap();
                            assert_eq!(there, Some(2));
                            break;
                        }
                        Polled::Dropped if there == old => before += 1,
                        Polled::Dropped => {
                            assert_eq!(there, Some(2), "{write_kind:?} after {times} polls");
                            after += 1;
                        }
                    }
                    // Work that had not begun when the caller gave up must not happen.
                    assert!(there == old || let_work, "{write_kind:?} after {times} polls");
                    storage.delete(KEY).await.unwrap();
                    assert_eq!(names(&storage, "").await.unwrap(), ["source"]);
                    assert!(!scratch.file("d").exists(), "no directory is left");
                }
                assert!(before > 0, "{write_kind:?} was never caught before its end");
                assert!(after <= 1, "{write_kind:?} was visible {after} polls before its end");
                storage.delete(KEY).await.unwrap();
            }
            assert!(scratch.sidecars().len() <= 1, "{:?}", scratch.sidecars());
        }
    });
}

/// An upload that waits for its source is invisible, and leaves nothing when it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_shows_nothing_until_its_end() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save(KEY, "old").await.unwrap();
    let (feed, payload) = fed();
    let upload = tokio::spawn({
        let storage = storage.clone();
        async move { storage.save(KEY, payload).await }
    });
    feed.send_at_least(3 * 1024 * 1024).await;
    assert_eq!(read(&storage, KEY).await.unwrap(), b"old");
    assert_eq!(items(&storage, "").await, [Ok(KEY.to_owned())]);
    assert_eq!(scratch.plain_tree(), ["d/", KEY]);
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    drop(feed);
    // The blocking pool finishes the write and then drops it.
    until("the staged file is there", || scratch.staged().is_empty()).await;
    assert_eq!(read(&storage, KEY).await.unwrap(), b"old");
}
