//! Readers: an object that is read at any position, over one version.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::future::poll_fn;
use std::io::{Cursor, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;
use storage_core::layers::{
    DefaultMetadata, Limit, Observed, Prefixed, PublicUrl, ReadOnly, Retry, Timeout,
};
use storage_core::{
    ByteRange, Driver, ETag, Error, ErrorKind, Key, Memory, Metadata, Object, OpenOptions,
    Operation, Result, Storage, async_trait, forward,
};
use storage_testkit::faults::Faults;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The first window.
const FIRST: Range<usize> = 0..64 * KIB;

/// Bytes with a period that no window divides.
fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

/// A driver of ranges, like a remote one, which records them.
#[derive(Debug, Clone, Default)]
struct Remote {
    memory: Memory,
    opened: Arc<Mutex<Vec<Option<ByteRange>>>>,
    weak_etags: bool,
    ignores_conditions: bool,
}

impl Remote {
    async fn holding(bytes: Bytes) -> Self {
        let remote = Self::default();
        Storage::new(remote.memory.clone()).save("a", bytes).await.unwrap();
        remote
    }

    fn storage(&self) -> Storage {
        Storage::new(self.clone())
    }

    /// Returns the ranges since the last call.
    fn ranges(&self) -> Vec<Range<usize>> {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap());
        let range = |range| match range {
            Some(ByteRange::FromTo(from, to)) => from as usize..to as usize,
            other => panic!("not a window: {other:?}"),
        };
        opened.into_iter().map(range).collect()
    }
}

#[async_trait]
impl Driver for Remote {
    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        self.opened.lock().unwrap().push(options.range);
        let mut options = options.clone();
        options.allow_whole = false;
        if self.ignores_conditions {
            options.if_match = None;
        }
        let object = self.memory.open(key, &options).await?;
        let (mut meta, range) = (object.meta().clone(), object.range());
        if self.weak_etags {
            meta.etag = meta.etag.map(|etag| ETag::weak(etag.opaque()).unwrap());
        }
        let bytes = object.bytes().await?;
        let chunks: Vec<_> =
            bytes.chunks(50_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        // Each chunk arrives with a poll of its own.
        let chunks = stream::iter(chunks).then(|chunk| async {
            tokio::task::yield_now().await;
            chunk
        });
        Ok(Object::from_stream(meta, range, chunks.boxed()))
    }

    forward! {
        to self.memory: info, innermost, save, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// Storages whose object `a` has these bytes: in memory, in a file, and read by ranges.
async fn storages(bytes: &Bytes) -> [(&'static str, Storage); 3] {
    let file = Storage::new(FileBodies { bytes: bytes.clone(), memory: Memory::new() });
    let memory = Memory::storage();
    for storage in [&file, &memory] {
        storage.save("a", bytes.clone()).await.unwrap();
    }
    let remote = Remote::holding(bytes.clone()).await.storage();
    [("file", file), ("memory", memory), ("ranges", remote)]
}

/// A driver whose bodies are files and whose objects have no ETags.
#[derive(Debug)]
struct FileBodies {
    bytes: Bytes,
    memory: Memory,
}

#[async_trait]
impl Driver for FileBodies {
    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut meta = self.memory.stat(key).await?;
        meta.etag = None;
        let mut file = tempfile::tempfile()?;
        std::io::Write::write_all(&mut file, &self.bytes)?;
        let range = options.positions_in_whole(meta.size)?;
        Ok(Object::from_file(meta, range, file))
    }

    forward! {
        to self.memory: info, innermost, save, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

#[derive(Debug, Clone)]
enum Step {
    Seek(SeekFrom),
    Read(usize),
    FillBuffer(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let near = -70_000_i64..400_000;
    let step = prop_oneof![
        (0_u64..400_000).prop_map(|at| Step::Seek(SeekFrom::Start(at))),
        (-310_000_i64..20_000).prop_map(|at| Step::Seek(SeekFrom::End(at))),
        near.prop_map(|at| Step::Seek(SeekFrom::Current(at))),
        (0_usize..200_000).prop_map(Step::Read),
        (0_usize..5_000).prop_map(Step::Read),
        (0_usize..100_000).prop_map(Step::FillBuffer),
    ];
    proptest::collection::vec(step, 1..30)
}

/// Takes the steps on a reader and on a cursor of the standard library, and compares them.
async fn compare(name: &str, storage: &Storage, whole: &Bytes, steps: &[Step]) {
    let mut reader = storage.reader("a").await.unwrap();
    let mut model = Cursor::new(whole.clone());
    for step in steps {
        match *step {
            Step::Seek(to) => {
                let (ours, theirs) = (reader.seek(to).await, Seek::seek(&mut model, to));
                assert_eq!(ours.as_ref().ok(), theirs.as_ref().ok(), "{name}: {step:?}");
                if let (Err(ours), Err(theirs)) = (ours, theirs) {
                    assert_eq!(ours.kind(), theirs.kind(), "{name}: {step:?}");
                }
            }
            Step::Read(len) => {
                let mut ours = Vec::new();
                (&mut reader).take(len as u64).read_to_end(&mut ours).await.unwrap();
                let at = usize::try_from(model.position()).unwrap().min(whole.len());
                let theirs = &whole[at..whole.len().min(at + len)];
                assert!(ours == theirs, "{name}: {step:?}");
                model.set_position(model.position() + theirs.len() as u64);
            }
            Step::FillBuffer(len) => {
                let buffered = reader.fill_buf().await.unwrap();
                let taken = buffered.len().min(len);
                let at = usize::try_from(model.position()).unwrap().min(whole.len());
                assert_eq!(buffered.is_empty(), at == whole.len(), "{name}: {step:?}");
                assert!(buffered[..taken] == whole[at..at + taken], "{name}: {step:?}");
                reader.consume(taken);
                model.set_position(model.position() + taken as u64);
            }
        }
        assert_eq!(reader.position(), model.position(), "{name}: {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_steps_agree_with_a_cursor_over_the_bytes(
        len in prop_oneof![Just(0), 1_usize..10, 65_530_usize..65_545, 200_000_usize..330_000],
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let whole = pattern(len);
            for (name, storage) in storages(&whole).await {
                compare(name, &storage, &whole, &steps).await;
            }
        });
    }
}

#[tokio::test]
async fn sequential_reading_requests_windows_that_grow() {
    let whole = pattern(20 * MIB);
    let remote = Remote::holding(whole.clone()).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    let mut read = Vec::new();
    let mut piece = vec![0; 10_000];
    loop {
        match reader.read(&mut piece).await.unwrap() {
            0 => break,
            n => read.extend_from_slice(&piece[..n]),
        }
    }
    assert!(read == whole);
    let ranges = remote.ranges();
    let sizes: Vec<_> = ranges.iter().map(|range| range.len() / KIB).collect();
    assert_eq!(sizes, [64, 128, 256, 512, 1024, 2048, 4096, 8192, 4160]);
    assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
}

#[tokio::test]
async fn an_index_at_the_end_needs_one_further_request() {
    let whole = pattern(20 * MIB);
    let remote = Remote::holding(whole.clone()).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    let mut tail = [0; 8];
    reader.seek(SeekFrom::End(-8)).await.unwrap();
    reader.read_exact(&mut tail).await.unwrap();
    assert_eq!(tail, whole[20 * MIB - 8..]);
    let mut index = vec![0; 60_000];
    reader.seek(SeekFrom::End(-60_008)).await.unwrap();
    reader.read_exact(&mut index).await.unwrap();
    assert_eq!(remote.ranges(), [0..64 * KIB, 20 * MIB - 64 * KIB..20 * MIB]);
}

#[tokio::test]
async fn a_large_read_after_a_seek_is_one_request() {
    let remote = Remote::holding(pattern(20 * MIB)).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    reader.seek(SeekFrom::Start(MIB as u64)).await.unwrap();
    reader.read_exact(&mut vec![0; 3 * MIB]).await.unwrap();
    assert_eq!(remote.ranges(), [0..64 * KIB, MIB..4 * MIB]);
}

#[tokio::test]
async fn an_object_of_one_window_is_one_request_and_needs_no_etag() {
    let mut remote = Remote::holding(pattern(64 * KIB)).await;
    remote.weak_etags = true;
    let mut reader = remote.storage().reader("a").await.unwrap();
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == pattern(64 * KIB));
    assert_eq!(remote.ranges(), [FIRST]);
}

#[tokio::test]
async fn a_larger_object_without_a_strong_etag_is_unsupported() {
    let mut remote = Remote::holding(pattern(64 * KIB + 1)).await;
    remote.weak_etags = true;
    let error = remote.storage().reader("a").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unsupported, Some("a")));
    assert!(error.message().contains("strong ETag"), "{error}");
}

#[tokio::test]
async fn a_file_needs_no_etag() {
    let whole = pattern(300_000);
    let [(_, storage), ..] = storages(&whole).await;
    let mut reader = storage.reader("a").await.unwrap();
    assert_eq!(reader.meta().etag, None);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == whole);
}

#[tokio::test]
async fn every_layer_passes_on_that_the_whole_object_may_be_returned() {
    type Wrap = fn(Arc<dyn Driver>) -> Arc<dyn Driver>;
    let layers: [(&str, Wrap); 8] = [
        ("DefaultMetadata", |inner| Arc::new(DefaultMetadata::new(inner, Metadata::new()))),
        ("Limit", |inner| Arc::new(Limit::new(inner, 2))),
        ("Observed", |inner| Arc::new(Observed::new(inner))),
        ("Prefixed", |inner| Arc::new(Prefixed::new(inner, "").unwrap())),
        ("PublicUrl", |inner| {
            Arc::new(PublicUrl::new(inner, "https://example.com/".parse().unwrap()))
        }),
        ("ReadOnly", |inner| Arc::new(ReadOnly::new(inner))),
        ("Retry", |inner| Arc::new(Retry::new(inner, 1))),
        ("Timeout", |inner| Arc::new(Timeout::new(inner, std::time::Duration::from_secs(60)))),
    ];
    let whole = pattern(300_000);
    let [file, memory, _] = storages(&whole).await;
    for (layer, wrap) in layers {
        for (body, storage) in [&file, &memory] {
            let faults = Faults::new();
            let storage = storage.layer(|inner| faults.layer(inner)).layer(wrap);
            let mut reader = storage.reader("a").await.unwrap();
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.unwrap();
            assert!(read == whole, "{layer}, {body}");
            assert_eq!(faults.calls(Operation::Open), 1, "{layer}, {body}");
        }
    }
}

#[tokio::test]
async fn a_layer_that_changes_bodies_is_read_by_ranges() {
    let whole = pattern(300_000);
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    storage.save("a", whole.clone()).await.unwrap();
    let stall = faults.on(Operation::Open).call(1).stall(1_000_000);
    let mut reader = storage.reader("a").await.unwrap();
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == whole);
    assert_eq!(faults.calls(Operation::Open), 3);
    drop(stall);
}

#[tokio::test]
async fn a_replaced_object_is_a_failed_precondition_whose_message_says_what_to_do() {
    for ignores_conditions in [false, true] {
        let mut remote = Remote::holding(pattern(300_000)).await;
        remote.ignores_conditions = ignores_conditions;
        let storage = remote.storage();
        let mut reader = storage.reader("a").await.unwrap();
        storage.save("a", pattern(300_001)).await.unwrap();
        let mut read = Vec::new();
        let error = Error::from(reader.read_to_end(&mut read).await.unwrap_err());
        assert_eq!(read.len(), 64 * KIB);
        assert_eq!((error.kind(), error.key()), (ErrorKind::PreconditionFailed, Some("a")));
        assert_eq!((error.operation(), error.driver()), (Some(Operation::Open), Some("memory")));
        assert!(error.message().contains("open it again"), "{error}");
    }
}

#[tokio::test]
async fn a_read_after_an_error_tries_again_at_the_same_position() {
    let faults = Faults::new();
    let remote = Remote::holding(pattern(300_000)).await;
    let storage = remote.storage().layer(|inner| faults.layer(inner));
    let mut reader = storage.reader("a").await.unwrap();
    let lost = faults.on(Operation::Open).call(1).fail(ErrorKind::Timeout);
    let broken = faults.on(Operation::Open).call(2).truncate(100);
    reader.seek(SeekFrom::Start(200_000)).await.unwrap();
    let mut read = [0; 100];
    let error = Error::from(reader.read(&mut read).await.unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    let error = Error::from(reader.read(&mut read).await.unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
    assert_eq!((lost.fired(), broken.fired()), (1, 1));
    assert_eq!(reader.position(), 200_000);
    reader.read_exact(&mut read).await.unwrap();
    assert_eq!(read, pattern(300_000)[200_000..200_100]);
}

#[tokio::test]
async fn a_dropped_read_has_read_nothing_and_its_request_continues() {
    let remote = Remote::holding(pattern(900_000)).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    reader.seek(SeekFrom::Start(100_000)).await.unwrap();
    let mut large = vec![0; 400_000];
    assert!(reader.read(&mut large).now_or_never().is_none());
    assert_eq!(reader.position(), 100_000);
    reader.read_exact(&mut large).await.unwrap();
    assert!(large == pattern(900_000)[100_000..500_000]);
    assert_eq!(remote.ranges(), [0..64 * KIB, 100_000..500_000]);
}

#[tokio::test]
async fn a_seek_away_from_a_running_request_drops_it() {
    let whole = pattern(900_000);
    let remote = Remote::holding(whole.clone()).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    let mut read = [0; 10];
    reader.seek(SeekFrom::Start(100_000)).await.unwrap();
    assert!(reader.read(&mut read).now_or_never().is_none());
    reader.seek(SeekFrom::Start(700_000)).await.unwrap();
    reader.read_exact(&mut read).await.unwrap();
    assert_eq!(read, whole[700_000..700_010]);
    assert_eq!(remote.ranges().last(), Some(&(700_000..700_000 + 64 * KIB)));
}

#[tokio::test]
async fn a_read_into_no_space_reads_nothing_and_sends_no_request() {
    let remote = Remote::holding(pattern(300_000)).await;
    let mut reader = remote.storage().reader("a").await.unwrap();
    reader.seek(SeekFrom::Start(200_000)).await.unwrap();
    let read =
        poll_fn(|cx| Poll::Ready(Pin::new(&mut reader).poll_read(cx, &mut ReadBuf::new(&mut []))));
    assert!(read.await.is_ready());
    assert_eq!(remote.ranges(), [FIRST]);
}

#[tokio::test]
async fn an_error_of_opening_is_returned_by_the_first_await() {
    let storage = Memory::storage();
    let kind = |error: Error| (error.kind(), error.operation());
    let open = Some(Operation::Open);
    let missing = storage.reader("a").await.unwrap_err();
    assert_eq!(kind(missing), (ErrorKind::NotFound, open));
    let invalid = storage.reader("a//b").await.unwrap_err();
    assert_eq!(kind(invalid), (ErrorKind::InvalidKey, open));
    let etag = storage.save("a", "old").await.unwrap().etag.unwrap();
    storage.reader("a").if_match(etag.clone()).await.unwrap();
    storage.save("a", "new").await.unwrap();
    let replaced = storage.reader("a").if_match(etag).await.unwrap_err();
    assert_eq!(kind(replaced), (ErrorKind::PreconditionFailed, open));
}

#[tokio::test]
async fn lines_are_read_across_windows() {
    let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    let remote = Remote::holding(Bytes::from(text.clone())).await;
    let mut lines = remote.storage().reader("a").await.unwrap().lines();
    let mut read = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        read.push_str(&line);
        read.push('\n');
    }
    assert!(read == text);
    assert!(remote.ranges().len() > 2);
}

#[test]
fn a_reader_can_be_sent_to_another_thread() {
    fn check<T: Send + Unpin + AsyncBufRead + tokio::io::AsyncSeek + 'static>() {}
    check::<storage_core::Reader>();
}
