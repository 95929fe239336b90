//! `Storage::writer` and `Payload::pipe`: what is saved and when, also after an error or a drop.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "common/tracing_log.rs"]
mod tracing_log;

use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use storage_core::{
    ChecksumAlgorithm, Error, ErrorKind, Memory, Operation, Payload, PipeWriter, Save, Storage,
    Writer, layers,
};
use storage_testkit::faults::Faults;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tracing::Level;
use tracing_log::Log;

fn is_send_and_unpin<T: Send + Unpin>() {}

#[test]
fn writers_can_be_sent_and_moved() {
    is_send_and_unpin::<Writer>();
    is_send_and_unpin::<PipeWriter>();
    is_send_and_unpin::<Save<PipeWriter>>();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

async fn content(storage: &Storage, key: &str) -> Bytes {
    storage.open(key).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn written_bytes_are_saved_when_the_writer_is_finished() {
    let storage = Memory::storage();
    let bytes = pattern(3_000_000);
    for piece in [1000, 65_536, 100_001, 3_000_000] {
        let mut writer = storage
            .writer("a.bin")
            .content_type("text/x-mine")
            .user_metadata("by", "ada")
            .compute_checksum(ChecksumAlgorithm::Sha256)
            .size(3_000_000)
            .await
            .unwrap();
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).await.unwrap();
        }
        let meta = writer.finish().await.unwrap();
        assert_eq!((meta.size, meta.content_type()), (3_000_000, Some("text/x-mine")));
        assert_eq!(meta.metadata.user_metadata["by"], "ada");
        assert!(meta.checksums.get(ChecksumAlgorithm::Sha256).is_some());
        assert_eq!(content(&storage, "a.bin").await, bytes);
    }
}

#[tokio::test]
async fn a_writer_without_bytes_saves_an_empty_object() {
    let storage = Memory::storage();
    let writer = storage.writer("a.bin").await.unwrap();
    assert_eq!(writer.finish().await.unwrap().size, 0);
    assert!(storage.exists("a.bin").await.unwrap());
}

#[tokio::test]
async fn nothing_is_visible_before_finish_and_a_dropped_writer_leaves_the_old_object() {
    let storage = Memory::storage();
    storage.save("a.txt", "old").await.unwrap();
    let mut writer = storage.writer("a.txt").await.unwrap();
    writer.write_all(&pattern(500_000)).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(content(&storage, "a.txt").await, "old");
    drop(writer);
    assert_eq!(content(&storage, "a.txt").await, "old");
}

#[tokio::test]
async fn shutdown_does_not_save_and_finish_after_it_does() {
    let storage = Memory::storage();
    let mut writer = storage.writer("a.txt").await.unwrap();
    writer.write_all(b"hello").await.unwrap();
    writer.shutdown().await.unwrap();
    writer.shutdown().await.unwrap();
    let refused = writer.write_all(b"more").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(!storage.exists("a.txt").await.unwrap());
    assert_eq!(writer.finish().await.unwrap().size, 5);

    let mut dropped = storage.writer("b.txt").await.unwrap();
    dropped.write_all(b"hello").await.unwrap();
    dropped.shutdown().await.unwrap();
    drop(dropped);
    assert!(!storage.exists("b.txt").await.unwrap());
}

#[test]
fn only_a_writer_that_is_dropped_between_shutdown_and_finish_is_a_warning_in_the_log() {
    let (log, storage) = (Log::new(Level::WARN), Memory::storage());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let warnings = |shut_down: bool, finish: bool| {
        let seen = log.events().len();
        runtime.block_on(async {
            let mut writer = storage.writer("a.txt").await.unwrap();
            writer.write_all(b"hello").await.unwrap();
            if shut_down {
                writer.shutdown().await.unwrap();
            }
            if finish {
                writer.finish().await.unwrap();
            }
        });
        log.events().split_off(seen)
    };
    tracing::subscriber::with_default(log.clone(), || {
        assert!(warnings(false, false).is_empty());
        assert!(warnings(false, true).is_empty());
        assert!(warnings(true, true).is_empty());
        let dropped = warnings(true, false);
        let [warning] = &dropped[..] else { panic!("{} events", dropped.len()) };
        assert_eq!(warning.level, Level::WARN);
        assert_eq!(warning.fields["key"], "a.txt");
        assert_eq!(warning.fields["driver"], "memory");
        assert!(warning.fields["message"].contains("nothing was saved"));
    });
}

#[tokio::test]
async fn a_refusal_that_needs_no_bytes_is_returned_by_the_first_await() {
    let storage = Memory::storage();
    storage.save("a.bin", "old").await.unwrap();
    let kind = |result: storage_core::Result<Writer>| result.unwrap_err().kind();
    assert_eq!(kind(storage.writer("a//b").await), ErrorKind::InvalidKey);
    assert_eq!(kind(storage.writer("a.bin").create_new().await), ErrorKind::AlreadyExists);
    assert_eq!(kind(storage.writer("a.bin").content_type("a\nb").await), ErrorKind::InvalidInput);
    let error = storage.read_only().writer("a.bin").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!((error.operation(), error.key()), (Some(Operation::Save), Some("a.bin")));
}

#[tokio::test]
async fn a_refusal_after_the_first_bytes_is_returned_by_finish() {
    let storage = Memory::storage();
    let mut writer = storage.writer("a.bin").create_new().await.unwrap();
    storage.save("a.bin", "other").await.unwrap();
    writer.write_all(b"mine").await.unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(content(&storage, "a.bin").await, "other");
}

#[tokio::test]
async fn an_error_of_the_save_fails_a_write_and_is_returned_by_finish() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    let full = faults.on(Operation::Save).fail_midway(100_000, ErrorKind::StorageFull);
    let mut writer = storage.writer("a.bin").await.unwrap();
    let piece = pattern(10_000);
    let mut written = Ok(());
    for _ in 0..200 {
        written = writer.write_all(&piece).await;
        if written.is_err() {
            break;
        }
    }
    let error = written.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(Error::from(error).kind(), ErrorKind::StorageFull);
    assert!(writer.flush().await.is_err());
    assert!(writer.shutdown().await.is_err());
    let error = writer.finish().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::StorageFull, Some("a.bin")));
    assert_eq!(full.fired(), 1);
    assert!(!storage.exists("a.bin").await.unwrap());
}

#[tokio::test]
async fn a_writer_above_the_maximum_size_fails() {
    let storage = Memory::storage();
    let mut writer = storage.writer("a.bin").max_size(1000).await.unwrap();
    writer.write_all(&pattern(1001)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert!(!storage.exists("a.bin").await.unwrap());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_dropped_finish_saves_all_or_nothing() {
    let mut outcomes = [0, 0];
    for polls in 0..8 {
        let faults = Faults::new();
        // The fault layer adds polls, so that the save needs several.
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        storage.save("a.bin", "old").await.unwrap();
        let mut writer = storage.writer("a.bin").await.unwrap();
        writer.write_all(&pattern(100_000)).await.unwrap();
        {
            let mut finish = pin!(writer.finish());
            let waker = Waker::from(Arc::new(Count::default()));
            for _ in 0..polls {
                if finish.as_mut().poll_unpin(&mut Context::from_waker(&waker)).is_ready() {
                    break;
                }
            }
        }
        let left = content(&storage, "a.bin").await;
        assert!(left == "old" || left == pattern(100_000));
        outcomes[usize::from(left != "old")] += 1;
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn the_waker_of_the_last_poll_is_woken_when_the_payload_is_read_elsewhere() {
    let (mut writer, payload) = Payload::pipe();
    let mut chunks = payload.into_stream();
    let piece = pattern(64 * 1024);
    let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let (first_waker, last_waker) = (Waker::from(first.clone()), Waker::from(last.clone()));
    let mut write = |waker: &Waker| {
        pin!(&mut writer).poll_write(&mut Context::from_waker(waker), &piece).map(Result::unwrap)
    };
    // One chunk waits in the channel and one in the buffer.
    assert_eq!(write(&first_waker), Poll::Ready(64 * 1024));
    assert_eq!(write(&first_waker), Poll::Ready(64 * 1024));
    assert_eq!(write(&first_waker), Poll::Pending);
    assert_eq!(write(&last_waker), Poll::Pending);
    let woken_first = first.0.load(Ordering::SeqCst);
    let read = chunks.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(read.len(), 64 * 1024);
    assert_eq!((first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst)), (woken_first, 1));
    assert_eq!(write(&last_waker), Poll::Ready(64 * 1024));
}

#[tokio::test]
async fn a_save_on_another_task_wakes_the_writer() {
    // The timeout layer polls with timers, and the observer wraps the stream.
    let storage = Memory::storage()
        .layer(|inner| layers::Timeout::new(inner, std::time::Duration::from_secs(60)))
        .layer(layers::Observed::new);
    let (mut writer, payload) = Payload::pipe();
    let saved = tokio::spawn(storage.save("a.bin", payload).into_future());
    for piece in pattern(5_000_000).chunks(33_333) {
        writer.write_all(piece).await.unwrap();
    }
    writer.finish().await.unwrap();
    assert_eq!(saved.await.unwrap().unwrap().size, 5_000_000);
}

#[tokio::test]
async fn a_pipe_whose_writer_is_dropped_saves_nothing() {
    let storage = Memory::storage();
    for shut_down in [false, true] {
        let (mut writer, payload) = Payload::pipe();
        writer.write_all(b"half of").await.unwrap();
        writer.flush().await.unwrap();
        if shut_down {
            writer.shutdown().await.unwrap();
        }
        drop(writer);
        let error = storage.save("a.bin", payload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(error.message().contains("finish"), "{error}");
        assert!(!storage.exists("a.bin").await.unwrap());
    }
}

#[tokio::test]
async fn a_pipe_whose_payload_is_dropped_refuses_writes() {
    let (mut writer, payload) = Payload::pipe();
    drop(payload);
    let error = writer.write_all(&pattern(200_000)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn a_flushed_pipe_passes_on_a_chunk_that_is_not_full() {
    let (mut writer, payload) = Payload::pipe();
    let mut chunks = payload.into_stream();
    writer.write_all(b"he").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(chunks.try_next().await.unwrap().unwrap(), "he");
    writer.write_all(b"llo").await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(chunks.try_next().await.unwrap().unwrap(), "llo");
    assert!(chunks.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_local_file_is_saved_with_the_options_of_a_save() {
    let storage = Memory::storage();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    std::fs::write(&path, "hello").unwrap();
    let meta = storage.save_file("a.css", &path).cache_control("no-store").await.unwrap();
    assert_eq!((meta.size, meta.content_type()), (5, Some("text/css; charset=utf-8")));
    assert_eq!(meta.metadata.cache_control.as_deref(), Some("no-store"));
    let error = storage.save_file("b.css", &path).max_size(4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let missing = directory.path().join("missing");
    let error = storage.save_file("b.css", &missing).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("b.css")));
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
}
