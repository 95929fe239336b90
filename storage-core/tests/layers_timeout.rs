//! The timeout layer. The clock is paused, so that waits take no time.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use storage_core::layers::Timeout;
use storage_core::{
    Driver, Entry, EntryStream, Error, ErrorKind, Key, ListOptions, Memory, Object, ObjectMeta,
    OpenOptions, Operation, Payload, Prefix, Result, SaveOptions, Storage, async_trait, forward,
};
use storage_testkit::scripted::{End, Fault, Scripted};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

const AFTER: Duration = Duration::from_secs(10);
const ALMOST: Duration = Duration::from_secs(9);
const LONGER: Duration = Duration::from_secs(3600);
const MIB: usize = 1024 * 1024;

fn storage(scripted: &Scripted) -> Storage {
    Storage::new(Timeout::new(scripted.arc(), AFTER))
}

#[track_caller]
fn assert_timed_out<T>(result: Result<T>) -> Error {
    let Err(error) = result else { panic!("the call did not time out") };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable());
    assert!(
        error.message().contains("10s") && error.message().contains("option timeout"),
        "{error}"
    );
    error
}

/// Returns a payload of chunks that the caller provides with a delay before each.
fn paced(chunks: usize, chunk_delay: Duration) -> Payload {
    let chunks = stream::iter(0..chunks).then(move |_| async move {
        sleep(chunk_delay).await;
        Ok::<_, Error>(Bytes::from_static(b"chunk"))
    });
    Payload::from_stream(chunks)
}

fn ready(chunks: usize) -> Payload {
    Payload::from_stream(stream::iter(
        (0..chunks).map(|_| Ok::<_, Error>(Bytes::from_static(b"chunk"))),
    ))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_return_in_time_is_dropped() {
    use Operation::{Copy, Delete, Exists, Open, Save, Stat, Url};
    let scripted = Scripted::new();
    let storage = storage(&scripted);
    let verbs = [Copy, Delete, Exists, Open, Save, Stat, Url];
    for verb in verbs {
        scripted.script(verb, [Fault::Stall]);
        let begin = Instant::now();
        let error = match verb {
            Copy => assert_timed_out(storage.copy("a", "b").await),
            Delete => assert_timed_out(storage.delete("a").await),
            Exists => assert_timed_out(storage.exists("a").await),
            Open => assert_timed_out(storage.open("a").await),
            Save => assert_timed_out(storage.save("a", "text").await),
            Stat => assert_timed_out(storage.stat("a").await),
            _ => assert_timed_out(storage.url("a").await),
        };
        assert_eq!(begin.elapsed().as_secs(), AFTER.as_secs(), "{verb}");
        let says_so = error.message().contains("may have happened");
        assert_eq!(says_so, matches!(verb, Copy | Delete | Save), "{error}");
    }
    assert_eq!(scripted.abandoned(), verbs.len());
    assert_eq!(scripted.under_way(), 0);
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn delete_many_has_the_time_once_for_each_hundred_keys() {
    for (keys, allowed) in [(1_u32, 1_u32), (100, 1), (101, 2), (1000, 10)] {
        let scripted = Scripted::new();
        scripted.script(Operation::Delete, [Fault::Stall]);
        let begin = Instant::now();
        let results: Vec<_> = storage(&scripted)
            .delete_many(stream::iter((0..keys).map(|key| key.to_string())))
            .collect()
            .await;
        assert_eq!(begin.elapsed().as_secs(), u64::from(allowed) * AFTER.as_secs(), "{keys} keys");
        assert_eq!(results.len(), keys as usize);
        for (key, result) in results.into_iter().enumerate() {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind(), error.key()),
                (ErrorKind::Timeout, Some(key.to_string().as_str()))
            );
            assert!(
                error.is_retryable() && error.message().contains("may have happened"),
                "{error}"
            );
        }
        assert_eq!((scripted.abandoned(), scripted.under_way()), (1, 0));
        scripted.assert_script_done();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_longer_than_the_timeout_in_total() {
    let mut scripted = Scripted::with_objects(&[("a", "0123456789abcdef")]).await;
    scripted.chunk_delay = ALMOST;
    let begin = Instant::now();
    assert_eq!(
        storage(&scripted).open("a").await.unwrap().text().await.unwrap(),
        "0123456789abcdef"
    );
    assert!(begin.elapsed() > AFTER * 3, "the body was not slow");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_ends_with_the_error_and_is_dropped() {
    let scripted = Scripted::with_objects(&[("a", "0123456789")]).await;
    scripted.script(Operation::Open, [Fault::Break { after: 2, with: End::Stall }]);
    let mut body = storage(&scripted).open("a").await.unwrap().into_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "0123");
    assert_eq!(body.next().await.unwrap().unwrap(), "4567");
    let error = assert_timed_out(body.next().await.unwrap());
    assert!(error.message().contains("body"), "{error}");
    assert_eq!(scripted.streams(), 0);
    assert!(body.next().await.is_none());
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_slow_reader_of_a_body_does_not_count() {
    let scripted = Scripted::with_objects(&[("a", "0123456789")]).await;
    let mut body = storage(&scripted).open("a").await.unwrap().into_stream();
    let mut chunks = 0;
    while let Some(chunk) = body.next().await {
        chunk.unwrap();
        chunks += 1;
        sleep(LONGER).await;
    }
    assert_eq!(chunks, 3);
}

#[tokio::test(start_paused = true)]
async fn a_listing_and_its_reader_may_take_longer_than_the_timeout_in_total() {
    let mut scripted = Scripted::with_objects(&[("a", ""), ("b", ""), ("c", "")]).await;
    scripted.chunk_delay = ALMOST;
    let mut entries = storage(&scripted).list("").entries();
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        names.push(entry.unwrap().name().to_owned());
        sleep(LONGER).await;
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_stalls_ends_with_the_error_and_is_dropped() {
    let scripted = Scripted::with_objects(&[("a", ""), ("b", "")]).await;
    scripted.script(Operation::List, [Fault::Stall, Fault::Break { after: 1, with: End::Stall }]);
    let storage = storage(&scripted);

    let mut at_once = storage.list("").entries();
    assert_timed_out(at_once.next().await.unwrap());
    assert!(at_once.next().await.is_none());
    assert_eq!(scripted.abandoned(), 1);

    let mut later = storage.list("").entries();
    assert_eq!(later.next().await.unwrap().as_ref().map(Entry::name).unwrap(), "a");
    let error = assert_timed_out(later.next().await.unwrap());
    assert!(error.message().contains("listing"), "{error}");
    assert!(later.next().await.is_none());
    assert_eq!(scripted.streams(), 0);
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_slow_source_of_a_save_does_not_count() {
    for in_task in [false, true] {
        let mut scripted = Scripted::new();
        scripted.saves_in_task = in_task;
        let saved = storage(&scripted)
            .save("a", paced(3, LONGER))
            .content_type("text/plain")
            .await
            .unwrap();
        assert_eq!(saved.size, 15);
        assert_eq!(scripted.text("a").await, "chunkchunkchunk");
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_of_a_stream_may_take_longer_than_the_timeout_in_total() {
    for in_task in [false, true] {
        let mut scripted = Scripted::new();
        scripted.chunk_delay = ALMOST;
        scripted.saves_in_task = in_task;
        let begin = Instant::now();
        storage(&scripted).save("a", ready(4)).content_type("text/plain").await.unwrap();
        assert!(begin.elapsed() > AFTER * 3, "the save was not slow");
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_whose_driver_stalls_at_one_chunk_times_out() {
    for in_task in [false, true] {
        let mut scripted = Scripted::new();
        scripted.chunk_delay = LONGER;
        scripted.saves_in_task = in_task;
        scripted.put("a", "old").await;
        assert_timed_out(storage(&scripted).save("a", ready(2)).content_type("text/plain").await);
        assert_eq!(scripted.text("a").await, "old");
        assert_eq!(scripted.abandoned(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_stalls_after_a_slow_source_has_the_whole_timeout() {
    let scripted = Scripted::new();
    scripted.script(Operation::Save, [Fault::Break { after: 2, with: End::Stall }]);
    let begin = Instant::now();
    assert_timed_out(
        storage(&scripted).save("a", paced(3, LONGER)).content_type("text/plain").await,
    );
    assert_eq!(begin.elapsed().as_secs(), (LONGER * 2 + AFTER).as_secs());
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_drops_the_source_and_stalls_times_out() {
    let patience = Duration::from_secs(60);
    let scripted = Scripted::new();
    scripted.script(Operation::Save, [Fault::GiveUpSource(patience)]);
    let begin = Instant::now();
    assert_timed_out(
        storage(&scripted).save("a", paced(1, LONGER)).content_type("text/plain").await,
    );
    assert_eq!(begin.elapsed().as_secs(), (patience + AFTER).as_secs());
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn a_payload_in_memory_has_the_time_once_for_each_started_mebibyte() {
    for (size, times) in [(0, 1), (1, 1), (MIB, 1), (MIB + 1, 2), (3 * MIB + 1, 4)] {
        let scripted = Scripted::new();
        scripted.script(Operation::Save, [Fault::Stall]);
        let begin = Instant::now();
        let error = storage(&scripted).save("a", vec![0; size]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(begin.elapsed().as_secs(), (AFTER * times).as_secs(), "{size} bytes");
        scripted.assert_script_done();
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_in_a_file_has_the_time_by_its_size() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(2 * MIB as u64).unwrap();
    let scripted = Scripted::new();
    scripted.script(Operation::Save, [Fault::Stall]);
    let payload = Payload::from_file(file.path()).await.unwrap();
    let begin = Instant::now();
    let error = storage(&scripted).save("a.bin", payload).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(begin.elapsed().as_secs(), (AFTER * 2).as_secs());
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn the_declared_size_of_a_stream_does_not_extend_the_timeout() {
    let scripted = Scripted::new();
    scripted.script(Operation::Save, [Fault::Stall]);
    let begin = Instant::now();
    let payload = paced(3, ALMOST).with_size(100 * MIB as u64);
    assert_timed_out(storage(&scripted).save("a.bin", payload).content_type("text/plain").await);
    assert_eq!(begin.elapsed().as_secs(), AFTER.as_secs());
    scripted.assert_script_done();
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_never_times_out() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = Storage::new(Timeout::new(scripted.arc(), Duration::MAX));
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "text");
    storage.save("b", paced(2, LONGER)).content_type("text/plain").await.unwrap();
    storage.save("c", vec![0; 2 * MIB]).await.unwrap();
    assert_eq!(storage.list("").entries().collect().await.unwrap().len(), 3);
}

/// A driver that needs its caller twice for each response, like one that sends a request when it
/// has a connection.
#[derive(Debug, Default)]
struct InSteps(Memory);

/// Half of the time of one response.
const STEP: Duration = Duration::from_secs(4);

impl InSteps {
    async fn respond() {
        sleep(STEP).await;
        sleep(STEP).await;
    }
}

#[async_trait]
impl Driver for InSteps {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let received = payload.map_stream(|chunks| {
            let chunks = chunks.and_then(|chunk| async {
                Self::respond().await;
                Ok(chunk)
            });
            chunks.boxed()
        });
        self.0.save(key, received, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        Self::respond().await;
        let object = self.0.open(key, options).await?;
        let (meta, range) = (object.meta().clone(), object.range());
        let chunks = object.into_stream().and_then(|chunk| async {
            Self::respond().await;
            Ok(chunk)
        });
        Ok(Object::from_stream(meta, range, chunks.boxed()))
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let entries = self.0.list(prefix, options).and_then(|entry| async {
            Self::respond().await;
            Ok(entry)
        });
        entries.boxed()
    }

    forward! {
        to self.0: info, innermost, stat, exists, delete, delete_many, delete_folder_marker, copy,
        rename, url, link_verifier, multipart
    }
}

fn in_steps() -> Storage {
    Storage::new(InSteps::default()).layer(|inner| Timeout::new(inner, AFTER))
}

#[tokio::test(start_paused = true)]
async fn the_time_between_two_writes_of_a_writer_does_not_count() {
    let storage = in_steps();
    let mut writer = storage.writer("a.bin").content_type("text/plain").await.unwrap();
    for _ in 0..4 {
        writer.write_all(&[7; 64 * 1024]).await.unwrap();
        sleep(LONGER).await;
    }
    assert_eq!(writer.finish().await.unwrap().size, 4 * 64 * 1024);
}

#[tokio::test(start_paused = true)]
async fn the_time_before_a_woken_call_is_polled_does_not_count() {
    let storage = in_steps();
    storage.save("a", "hello").await.unwrap();

    let mut open = storage.open("a").into_future();
    assert!((&mut open).now_or_never().is_none());
    sleep(LONGER).await;
    let mut body = open.await.unwrap().into_stream();

    assert!(body.next().now_or_never().is_none());
    sleep(LONGER).await;
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");

    let mut entries = storage.list("").entries();
    assert!(entries.next().now_or_never().is_none());
    sleep(LONGER).await;
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_respond_times_out_for_a_caller_that_is_away_too() {
    let scripted = Scripted::new();
    scripted.script(Operation::Open, [Fault::Stall]);
    let mut open = storage(&scripted).open("a").into_future();
    assert!((&mut open).now_or_never().is_none());
    sleep(LONGER).await;
    let begin = Instant::now();
    assert_timed_out(open.await);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    scripted.assert_script_done();
}
