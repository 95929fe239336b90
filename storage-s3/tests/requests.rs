//! The cost of each verb: requests, as the table in the crate's documentation lists them, and
//! memory.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
#[path = "faults/fault_proxy/mod.rs"]
mod fault_proxy;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use common::server::{Bucket, Server};
use fault_proxy::{CannedResponse, Fault, Front, Gate, Progress, Proxy, RecordedRequest};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Error, ErrorKind, Metadata, ObjectStream, Payload, Storage, UrlMethod};
use storage_s3::{ChecksumMode, Quirks, S3Builder};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

/// The number of requests by method.
type Counts = BTreeMap<String, usize>;

/// A storage that counts its requests.
struct CountingStorage {
    proxy: Proxy,
    storage: Storage,
    seen: Cell<usize>,
    _bucket: Bucket,
}

impl CountingStorage {
    fn new() -> Self {
        let bucket = Server::get().bucket();
        let proxy = Proxy::below(&Front::before_s3s_fs(&Server::get().endpoint()), "");
        let builder = bucket
            .builder()
            .part_size(PART as u64)
            .largest_copy(PART as u64)
            .endpoint(proxy.endpoint());
        Self {
            proxy,
            storage: Storage::new(builder.build().unwrap()),
            seen: Cell::new(0),
            _bucket: bucket,
        }
    }

    /// Returns the counts since the last call.
    fn counts(&self) -> Counts {
        self.proxy.inspect(|record| {
            let mut counts = Counts::new();
            for request in record.of("*").skip(self.seen.get()) {
                *counts.entry(request.method.to_string()).or_default() += 1;
            }
            self.seen.set(record.count("*"));
            counts
        })
    }

    /// Asserts that the requests since the last call are the documented ones.
    #[track_caller]
    fn assert_requests(&self, documented: &Counts) {
        assert_eq!(&self.counts(), documented);
    }
}

/// Returns the documented cost of a verb: the part of its row that begins with this text, up to the
/// next semicolon.
#[track_caller]
fn row(verb: &str, beginning: &str) -> String {
    let documentation = include_str!("../src/lib.rs");
    let rows = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |")?.split_once(" | "));
    let (_, text) = rows
        .into_iter()
        .find(|(name, _)| *name == verb)
        .unwrap_or_else(|| panic!("no row: {verb}"));
    let clause = text.split("; ").find(|clause| clause.starts_with(beginning));
    clause
        .unwrap_or_else(|| panic!("{verb}: nothing begins with {beginning:?} in {text:?}"))
        .to_owned()
}

/// Parses the numbers in a text like `a HEAD, 2 POST and a PUT for each part`, for this many parts.
fn numbers(text: &str, parts: usize) -> Counts {
    let words: Vec<_> = text.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    let mut counts = Counts::new();
    for (place, method) in words.iter().enumerate() {
        if !["GET", "HEAD", "PUT", "POST", "DELETE"].contains(method) {
            continue;
        }
        let number = match words[place - 1] {
            "a" => 1,
            number => number.parse().unwrap(),
        };
        let times = if words[place + 1..].starts_with(&["for", "each"]) { parts } else { 1 };
        *counts.entry((*method).to_owned()).or_default() += number * times;
    }
    counts
}

/// Returns the documented cost in the first clause of a verb's row.
#[track_caller]
fn documented(verb: &str) -> Counts {
    numbers(&row(verb, ""), 1)
}

fn streaming(len: usize) -> Payload {
    let chunks =
        (0..len).step_by(MIB).map(move |start| Ok::<_, Error>(vec![7; (len - start).min(MIB)]));
    Payload::from_stream(stream::iter(chunks))
}

#[test]
fn the_documented_request_counts_are_parsed() {
    let expected =
        [("HEAD", 1), ("POST", 2), ("PUT", 4)].map(|(method, number)| (method.to_owned(), number));
    assert_eq!(
        numbers("above 5 GiB a HEAD, 2 POST and a PUT for each part, and a PUT before", 3),
        expected.into()
    );
    assert_eq!(numbers("none", 3), Counts::new());
}

#[tokio::test]
async fn a_small_save_is_one_request_for_every_payload() {
    let counting = CountingStorage::new();
    let cost = || documented("save, up to `part_size`");
    counting.storage.save("a", "body").await.unwrap();
    counting.assert_requests(&cost());
    counting.storage.save("b", streaming(PART)).await.unwrap();
    counting.assert_requests(&cost());
    let created = counting.storage.save("c", "body").create_new().await.unwrap();
    counting.assert_requests(&cost());
    counting.storage.save("c", "other").if_match(created.etag.unwrap()).await.unwrap();
    counting.assert_requests(&cost());
    counting.storage.save("d", "body").unique_name().await.unwrap();
    counting.assert_requests(&cost());
}

#[tokio::test]
async fn a_larger_save_is_two_requests_and_one_for_each_part() {
    let counting = CountingStorage::new();
    let cost = numbers(&row("save, more than that", ""), 3);
    counting.storage.save("a", streaming(2 * PART + 1)).await.unwrap();
    counting.assert_requests(&cost);
    counting.storage.save("b", vec![7; 2 * PART + 1]).await.unwrap();
    counting.assert_requests(&cost);
}

#[tokio::test]
async fn each_step_of_a_multipart_upload_costs_the_documented_requests() {
    let counting = CountingStorage::new();
    let upload = counting.storage.multipart("a").part_size(PART as u64).await.unwrap();
    counting.assert_requests(&documented("begin a multipart upload"));
    for (number, size) in [(1, PART), (2, 1)] {
        upload.put_part(number, vec![7; size]).await.unwrap();
        counting.assert_requests(&documented("put a part"));
    }
    assert_eq!(upload.parts().try_collect::<Vec<_>>().await.unwrap().len(), 2);
    counting.assert_requests(&documented("list parts, list multipart uploads"));
    let uploads = counting.storage.multipart_uploads("").try_collect::<Vec<_>>();
    assert_eq!(uploads.await.unwrap().len(), 1);
    counting.assert_requests(&documented("list parts, list multipart uploads"));

    upload.complete().await.unwrap();
    counting.assert_requests(&documented("complete a multipart upload"));
    upload.complete().await.unwrap();
    counting.assert_requests(&numbers(&row("complete a multipart upload", "again later "), 1));
    upload.abort().await.unwrap();
    counting.assert_requests(&numbers(&row("abort a multipart upload", "1 DELETE"), 1));

    let other = counting.storage.multipart("b").await.unwrap();
    counting.counts();
    other.abort().await.unwrap();
    counting.assert_requests(&documented("abort a multipart upload"));
}

#[tokio::test]
async fn an_open_is_one_request_however_much_of_the_body_is_read() {
    let counting = CountingStorage::new();
    counting.storage.save("a", "body").await.unwrap();
    counting.counts();
    counting.storage.open("a").await.unwrap().bytes().await.unwrap();
    counting.assert_requests(&documented("open"));
    counting.storage.open("a").range(1..3).await.unwrap().bytes().await.unwrap();
    counting.assert_requests(&documented("open"));
    drop(counting.storage.open("a").await.unwrap());
    counting.assert_requests(&documented("open"));
    assert_eq!(counting.storage.open("missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    counting.assert_requests(&documented("open"));
}

#[tokio::test]
async fn a_writer_costs_as_much_as_a_save_of_a_stream() {
    let counting = CountingStorage::new();
    let small = documented("save, up to `part_size`");
    let large = numbers(&row("save, more than that", ""), 3);
    for (size, cost) in [(PART, small), (2 * PART + 1, large)] {
        let mut writer = counting.storage.writer("a").await.unwrap();
        for piece in vec![7; size].chunks(100_000) {
            writer.write_all(piece).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap().size, size as u64);
        counting.assert_requests(&cost);
    }
}

/// Returns how many windows double from 64 KiB to 8 MiB until they contain this many bytes.
fn windows(size: usize) -> usize {
    let (mut window, mut received, mut windows) = (64 * 1024, 0, 0);
    while received < size {
        received += window;
        window = (2 * window).min(8 * MIB);
        windows += 1;
    }
    windows
}

#[tokio::test]
async fn a_reader_is_one_request_for_each_window() {
    const SIZE: usize = 20 * MIB;
    row("reader", "1 GET for each window");
    let gets = |number| Counts::from([("GET".to_owned(), number)]);
    // The driver reads a range above its `part_size` over several connections.
    let bucket = Server::get().bucket();
    let proxy = Proxy::below(&Front::before_s3s_fs(&Server::get().endpoint()), "");
    let storage = Storage::new(bucket.builder().endpoint(proxy.endpoint()).build().unwrap());
    let counting = CountingStorage { proxy, storage, seen: Cell::new(0), _bucket: bucket };
    counting.storage.save("a", streaming(SIZE)).await.unwrap();
    counting.counts();

    let mut reader = counting.storage.reader("a").await.unwrap();
    counting.assert_requests(&gets(1));
    assert_eq!(tokio::io::copy(&mut reader, &mut tokio::io::sink()).await.unwrap(), SIZE as u64);
    counting.assert_requests(&gets(windows(SIZE) - 1));

    let mut reader = counting.storage.reader("a").await.unwrap();
    reader.seek(SeekFrom::End(-8)).await.unwrap();
    reader.read_exact(&mut [0; 8]).await.unwrap();
    reader.seek(SeekFrom::End(-60_000)).await.unwrap();
    reader.read_exact(&mut [0; 50_000]).await.unwrap();
    counting.assert_requests(&gets(2));

    counting.storage.save("small", "body").await.unwrap();
    counting.storage.save("empty", "").await.unwrap();
    counting.counts();
    let mut text = String::new();
    let mut reader = counting.storage.reader("small").await.unwrap();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "body");
    counting.assert_requests(&gets(1));
    counting.storage.reader("empty").await.unwrap();
    counting.assert_requests(&gets(2));
}

#[tokio::test]
async fn stat_exists_and_delete_are_one_request_each() {
    let counting = CountingStorage::new();
    counting.storage.save("a", "body").await.unwrap();
    counting.counts();
    counting.storage.stat("a").await.unwrap();
    counting.assert_requests(&documented("stat, exists"));
    assert!(counting.storage.exists("a").await.unwrap());
    counting.assert_requests(&documented("stat, exists"));
    counting.storage.delete("a").await.unwrap();
    counting.assert_requests(&documented("delete"));
    counting.storage.delete("a").await.unwrap();
    counting.assert_requests(&documented("delete"));
}

#[tokio::test]
async fn the_first_missing_object_costs_one_request_more() {
    let counting = CountingStorage::new();
    let mut first = documented("stat, exists");
    first.extend(numbers(&row("stat, exists", "for the first missing object, "), 1));
    assert_eq!(counting.storage.stat("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    counting.assert_requests(&first);
    assert_eq!(counting.storage.stat("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    counting.assert_requests(&documented("stat, exists"));
    assert!(!counting.storage.exists("b").await.unwrap());
    counting.assert_requests(&documented("stat, exists"));
}

#[tokio::test]
async fn a_copy_is_one_request_and_two_with_other_metadata() {
    let counting = CountingStorage::new();
    counting.storage.save("a", "body").await.unwrap();
    counting.counts();
    counting.storage.copy("a", "b").await.unwrap();
    counting.assert_requests(&documented("copy"));
    counting.storage.copy("a", "c").metadata(Metadata::new().content_type("a/b")).await.unwrap();
    let mut cost = documented("copy");
    cost.extend(numbers(&row("copy", "a HEAD more with other metadata"), 1));
    counting.assert_requests(&cost);
}

#[tokio::test]
async fn a_rename_costs_the_documented_requests() {
    assert_eq!(row("rename", "those of a copy"), "those of a copy");
    let mut cost = documented("copy");
    for (method, number) in numbers(&row("rename", "2 HEAD and 1 DELETE more"), 1) {
        *cost.entry(method).or_default() += number;
    }
    let counting = CountingStorage::new();
    counting.storage.save("a", "body").await.unwrap();
    counting.counts();
    counting.storage.rename("a", "b").await.unwrap();
    counting.assert_requests(&cost);
}

#[tokio::test]
async fn a_large_copy_costs_the_documented_requests() {
    let text = row("copy", "above 5 GiB ");
    let (with_metadata, refused) = text.split_once(", and ").unwrap();
    assert!(refused.ends_with("if the metadata is kept"), "{refused}");
    let counting = CountingStorage::new();
    counting.storage.save("a", streaming(2 * PART + 1)).await.unwrap();
    counting.counts();
    counting.storage.copy("a", "b").metadata(Metadata::new().content_type("a/b")).await.unwrap();
    counting.assert_requests(&numbers(with_metadata, 3));
    // The response of AWS for an object above 5 GiB.
    let too_large = counting
        .proxy
        .on("CopyObject")
        .then(Fault::Respond(CannedResponse::error(400, "InvalidRequest")));
    counting.storage.copy("a", "c").await.unwrap();
    counting.assert_requests(&numbers(&text, 3));
    assert_eq!(too_large.fired(), 1);
}

/// Saves 2,500 empty objects.
async fn fill(storage: &Storage) -> Vec<String> {
    let keys: Vec<_> = (0..2_500).map(|number| format!("{number:04}")).collect();
    let saves =
        stream::iter(keys.clone()).map(|key| async { storage.save(key, "").await.map(drop) });
    saves.buffer_unordered(16).try_collect::<()>().await.unwrap();
    keys
}

#[tokio::test]
async fn listing_and_deleting_a_thousand_keys_is_one_request_each() {
    assert!(row("list", "").ends_with("for each 1,000 keys"));
    row("delete", "1 POST for up to 1,000 keys");
    let counting = CountingStorage::new();
    let keys = fill(&counting.storage).await;
    counting.counts();

    // The first page is returned while the second one is in flight.
    let gate = Gate::new();
    let held = counting.proxy.on("ListObjectsV2").call(2).then(Fault::HoldResponse(gate.clone()));
    let mut entries = counting.storage.list("").entries();
    let mut names = Vec::new();
    while names.len() < 1_000 {
        names.push(entries.next().await.unwrap().unwrap().name().to_owned());
        if names.len() == 1 {
            counting
                .proxy
                .until("the second page", |record| {
                    record.count_at("ListObjectsV2", Progress::Held) == 1
                })
                .await;
        }
    }
    assert_eq!((held.fired(), counting.proxy.count("ListObjectsV2")), (1, 2));
    gate.open();
    while let Some(entry) = entries.next().await {
        names.push(entry.unwrap().name().to_owned());
    }
    assert!(names == keys, "{} names, or out of order", names.len());
    counting.assert_requests(&numbers(&row("list", ""), 3));

    assert_eq!(counting.storage.delete_many(stream::iter(keys)).finish().await.unwrap(), 2_500);
    counting.assert_requests(&[("POST".to_owned(), 3)].into());
    assert!(counting.storage.list("").entries().collect().await.unwrap().is_empty());
    counting.assert_requests(&numbers(&row("list", ""), 1));
}

#[tokio::test]
async fn a_link_costs_no_request() {
    let counting = CountingStorage::new();
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        counting.storage.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap();
    }
    counting.assert_requests(&documented("url"));
}

/// The documented memory limit for the parts of all saves, and again for the ranges read ahead.
const MEMORY_LIMIT: usize = 128 * MIB;
const CHUNK: usize = 64 * 1024;

/// How many bytes are held now, and at most.
#[derive(Default)]
struct Watch {
    held: AtomicUsize,
    most: AtomicUsize,
}

/// Bytes that are counted as long as they exist.
struct Counted(Arc<Watch>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &[7; CHUNK]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.held.fetch_sub(CHUNK, Ordering::SeqCst);
    }
}

/// Returns a payload of this many bytes and of unknown size.
fn counted(len: usize, watch: &Arc<Watch>) -> Payload {
    let watch = Arc::clone(watch);
    let chunks = stream::iter(0..len / CHUNK).map(move |_| {
        let held = watch.held.fetch_add(CHUNK, Ordering::SeqCst) + CHUNK;
        watch.most.fetch_max(held, Ordering::SeqCst);
        Ok::<_, Error>(Bytes::from_owner(Counted(Arc::clone(&watch))))
    });
    Payload::from_stream(chunks)
}

/// Accepts every request.
fn accept_all(request: &RecordedRequest) -> CannedResponse {
    let query = request.uri().query().unwrap_or_default();
    let body = match request.method().as_str() {
        "POST" if query.starts_with("uploads=") => {
            let id = request.uri().path().rsplit('/').next().unwrap();
            format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            )
        }
        "POST" => "<CompleteMultipartUploadResult><ETag>e-2</ETag></CompleteMultipartUploadResult>"
            .to_owned(),
        _ => String::new(),
    };
    CannedResponse::new(200, body).header("etag", "\"e\"")
}

fn of_proxy(proxy: &Proxy) -> S3Builder {
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    builder.anonymous(true).checksum(ChecksumMode::None)
}

#[tokio::test]
async fn sixty_four_concurrent_saves_use_at_most_the_documented_memory() {
    const SAVES: usize = 64;
    let proxy = Proxy::scripted(accept_all);
    let storage = Storage::new(of_proxy(&proxy).build().unwrap());
    let gate = Gate::new();
    let held = proxy.on("UploadPart").then(Fault::HoldResponse(gate.clone()));
    let watch = Arc::<Watch>::default();
    let saves: Vec<_> = (0..SAVES)
        .map(|number| {
            tokio::spawn(
                storage.save(format!("{number}.bin"), counted(16 * MIB, &watch)).into_future(),
            )
        })
        .collect();
    // No part has a response until the memory is exhausted.
    let parts = MEMORY_LIMIT / (8 * MIB);
    proxy
        .until("the memory limit", move |record| {
            record.count_at("UploadPart", Progress::Held) == parts
        })
        .await;
    gate.open();
    for save in try_join_all(saves).await.unwrap() {
        assert_eq!(save.unwrap().size, 16 * MIB as u64);
    }
    assert_eq!(held.fired(), 2 * SAVES);
    let most = watch.most.load(Ordering::SeqCst);
    // Each save has read one chunk before it reserves memory, and one to detect the end.
    let bound = MEMORY_LIMIT + 2 * SAVES * CHUNK;
    assert!(
        (MEMORY_LIMIT..=bound).contains(&most),
        "{most} bytes were held at once, instead of {MEMORY_LIMIT} to {bound}"
    );
    assert_eq!(watch.held.load(Ordering::SeqCst), 0);
}

/// Larger than the ranges that are read ahead.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![7; 8 * PART].into());

fn serve(request: &RecordedRequest) -> CannedResponse {
    let range = request
        .headers()
        .get("range")
        .map(|range| range.to_str().unwrap().strip_prefix("bytes=").unwrap());
    let response = match range.map(|range| range.split_once('-').unwrap()) {
        None => CannedResponse::new(200, LARGE.clone()),
        Some((first, last)) => {
            let part = LARGE.slice(first.parse().unwrap()..last.parse::<usize>().unwrap() + 1);
            CannedResponse::new(206, part)
                .header("content-range", &format!("bytes {first}-{last}/{}", LARGE.len()))
        }
    };
    response.header("etag", "\"e\"")
}

async fn read(stream: &mut ObjectStream, bytes: usize) -> usize {
    let mut read = 0;
    while read < bytes {
        match stream.try_next().await.unwrap() {
            Some(chunk) => read += chunk.len(),
            None => break,
        }
    }
    read
}

#[tokio::test]
async fn paused_readers_use_at_most_the_documented_memory() {
    const READERS: usize = 8;
    let proxy = Proxy::scripted(serve);
    let storage = Storage::new(of_proxy(&proxy).part_size(PART as u64).build().unwrap());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = storage.open("a").await.unwrap().into_stream();
        let begun = read(&mut stream, PART + 1).await;
        readers.push((stream, begun));
    }
    // Alone, each reader would read seven parts ahead.
    let most = MEMORY_LIMIT / PART;
    let (first, ranges) = proxy.inspect(|record| {
        let ranges =
            record.of("GetObject").filter(|request| request.headers.contains_key("range")).count();
        (record.count("GetObject") - ranges, ranges)
    });
    assert_eq!(first, READERS);
    assert!((most / 2..=most).contains(&ranges), "{ranges} ranges, in place of up to {most}");
    // Without memory, the one connection sends the rest.
    for (mut stream, begun) in readers {
        assert_eq!(begun + read(&mut stream, usize::MAX).await, LARGE.len());
    }
}
