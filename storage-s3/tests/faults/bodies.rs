//! Bodies of open objects over failing connections: every byte is right, or there is an error.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use http::HeaderMap;
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Storage};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{
    CannedResponse, Fault, Front, Gate, PlannedFault, Progress, Proxy, RecordedRequest,
};
use crate::fixture::{
    ATTEMPTS, Fixture, PART, SharedFixture, advance_clock, assert_bytes, pattern, read,
};

const ETAG: &str = "\"0123456789abcdef0123456789abcdef-5\"";

/// A large object on a scripted server.
struct Large {
    proxy: Proxy,
    storage: Storage,
    bytes: Bytes,
}

impl Large {
    const PARTS: usize = 4;

    fn new() -> Self {
        Self::several(1).remove(0)
    }

    /// Returns several objects, each below a prefix of its own.
    fn several(count: usize) -> Vec<Self> {
        static BYTES: LazyLock<Bytes> = LazyLock::new(|| pattern(Large::PARTS * PART as usize));
        let front = Front::scripted(|request| serve(&BYTES, request));
        let builder = S3Builder::new("bucket")
            .quirks(Quirks::None)
            .endpoint(front.endpoint())
            .allow_http(true);
        let driver = builder.anonymous(true).part_size(PART).concurrency(4).build().unwrap();
        let storage = Storage::new(driver);
        let below = |prefix: String| {
            let storage = storage.prefixed(&prefix).unwrap();
            Self { proxy: Proxy::below(&front, prefix), storage, bytes: BYTES.clone() }
        };
        (0..count).map(|number| below(format!("large-{number}"))).collect()
    }

    /// Plans a fault of the connections that send the first byte of a part, except for the first
    /// connection, which sends several parts.
    fn on_part(&self, part: usize, fault: Fault) -> PlannedFault {
        let start = part as u64 * PART;
        let covers = move |request: &RecordedRequest| {
            range_of(request).is_some_and(|range| range.contains(&start))
        };
        self.proxy.on("GetObject").only(covers).then(fault)
    }

    async fn assert_is_read_whole(&self) {
        assert_bytes(&read(&self.storage, "a").await.unwrap(), &self.bytes);
    }
}

/// Returns the positions in the range of a request, or `None` for the whole object.
fn range_of(request: &RecordedRequest) -> Option<std::ops::Range<u64>> {
    let (first, last) =
        header(request.headers(), "range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().unwrap()..last.parse::<u64>().unwrap() + 1)
}

fn serve(bytes: &Bytes, request: &RecordedRequest) -> CannedResponse {
    let response = match range_of(request) {
        None => CannedResponse::new(200, bytes.clone()),
        Some(range) => {
            let recorded = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
            let part = bytes.slice(range.start as usize..range.end as usize);
            CannedResponse::new(206, part).header("content-range", &recorded)
        }
    };
    response.header("etag", ETAG)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// Returns the range and the condition of each request.
fn asked_for(proxy: &Proxy) -> Vec<(Option<String>, Option<String>)> {
    proxy.inspect(|record| {
        let requests = record.of("GetObject");
        requests
            .map(|request| {
                ["range", "if-match"]
                    .map(|name| header(&request.headers, name).map(str::to_owned))
                    .into()
            })
            .collect()
    })
}

/// Returns a fixture with a small object.
async fn small() -> (Fixture, Bytes) {
    small_on(&SharedFixture::new()).await
}

async fn small_on(shared: &Arc<SharedFixture>) -> (Fixture, Bytes) {
    let (fixture, bytes) = (Fixture::on(shared), pattern(100_000));
    fixture.storage.save("a", bytes.clone()).await.unwrap();
    (fixture, bytes)
}

async fn kind_of_reading(fixture: &Fixture) -> ErrorKind {
    read(&fixture.storage, "a").await.map(|bytes| bytes.len()).unwrap_err().kind()
}

#[tokio::test]
async fn a_body_that_breaks_off_resumes_at_the_next_byte_of_the_same_version() {
    let shared = SharedFixture::new();
    for len in [0, 1, 50_000, 99_999] {
        let (fixture, bytes) = small_on(&shared).await;
        let etag = fixture.truth.stat("a").await.unwrap().etag.unwrap().to_string();
        let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(len));
        assert_bytes(&read(&fixture.storage, "a").await.unwrap(), &bytes);
        broken.assert_fired();
        let rest = (Some(format!("bytes={len}-99999")), Some(etag));
        assert_eq!(asked_for(&fixture.proxy), [(None, None), rest]);
    }
}

#[tokio::test]
async fn a_range_that_breaks_off_resumes_and_ends_at_its_end() {
    let (fixture, bytes) = small().await;
    let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(300));
    let object = fixture.storage.open("a").range(1_000..2_000).await.unwrap();
    assert_bytes(&object.bytes().await.unwrap(), &bytes[1_000..2_000]);
    broken.assert_fired();
    assert_eq!(asked_for(&fixture.proxy)[1].0.as_deref(), Some("bytes=1300-1999"));
}

#[tokio::test]
async fn a_body_with_progress_between_breaks_is_read_to_its_end() {
    let (fixture, bytes) = small().await;
    let broken = fixture.proxy.on("GetObject").calls(1..=12).then(Fault::Truncate(8_000));
    assert_bytes(&read(&fixture.storage, "a").await.unwrap(), &bytes);
    assert_eq!((broken.fired(), fixture.proxy.count("GetObject")), (12, 13));
}

#[tokio::test]
async fn a_body_without_progress_fails_after_a_few_requests() {
    let (fixture, _) = small().await;
    let broken = fixture.proxy.on("GetObject").then(Fault::Truncate(0));
    assert_eq!(kind_of_reading(&fixture).await, ErrorKind::Unexpected);
    assert_eq!(broken.fired(), ATTEMPTS);
}

#[tokio::test]
async fn a_body_fails_with_the_permanent_error_of_its_rest() {
    let refusals = [
        (
            CannedResponse::error(503, "SlowDown").header("retry-after", "0"),
            ErrorKind::RateLimited,
            ATTEMPTS,
        ),
        (CannedResponse::error(500, "InternalError"), ErrorKind::Unexpected, ATTEMPTS),
        (CannedResponse::error(403, "ExpiredToken"), ErrorKind::Unauthenticated, 1),
        (CannedResponse::error(404, "NoSuchKey"), ErrorKind::NotFound, 1),
    ];
    let shared = SharedFixture::new();
    let cases = refusals.map(async |(response, kind, requests)| {
        let (fixture, _) = small_on(&shared).await;
        let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
        let refused = fixture.proxy.on("GetObject").then(Fault::Respond(response));
        assert_eq!(kind_of_reading(&fixture).await, kind);
        assert_eq!((broken.fired(), refused.fired()), (1, requests), "{kind}");
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_body_that_stalls_resumes_over_another_connection() {
    let (fixture, bytes) = small().await;
    let stalled = fixture.proxy.on("GetObject").call(1).then(Fault::StallBody(30_000));
    let mut stream = fixture.storage.open("a").await.unwrap().into_stream();
    let mut found = Vec::new();
    while found.len() < 30_000 {
        found.extend_from_slice(&stream.try_next().await.unwrap().unwrap());
    }
    let rest = tokio::spawn(async move { stream.try_collect::<Vec<_>>().await });
    // The reader is waiting now, with its timeout.
    tokio::task::yield_now().await;
    advance_clock(std::time::Duration::from_secs(31)).await;
    found.extend_from_slice(&rest.await.unwrap().unwrap().concat());
    assert_bytes(&found, &bytes);
    stalled.assert_fired();
    fixture
        .proxy
        .until("the end of the stalled connection", |record| {
            record.count_at("GetObject", Progress::Abandoned) == 1
        })
        .await;
}

#[tokio::test]
async fn a_body_never_contains_bytes_of_two_versions() {
    let (fixture, bytes) = small().await;
    let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
    // The server in this process ignores the conditions of a GET, but the driver checks the ETag.
    let object = fixture.storage.open("a").await.unwrap();
    fixture.truth.save("a", vec![7; bytes.len()]).await.unwrap();
    let error = object.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    assert!(error.message().contains("replaced while it was read"), "{error}");
    broken.assert_fired();
}

#[tokio::test]
async fn the_rest_of_a_body_must_be_of_the_same_version_and_the_requested_range() {
    let whole = Fault::alter(|response| {
        response.status = 200;
        response.headers.remove("content-range");
    });
    let shared = SharedFixture::new();
    for (fault, kind) in [
        (Fault::header("etag", "\"another\""), ErrorKind::PreconditionFailed),
        (Fault::header("etag", "W/\"weak\""), ErrorKind::PreconditionFailed),
        (Fault::no_header("etag"), ErrorKind::PreconditionFailed),
        (
            Fault::Respond(CannedResponse::error(412, "PreconditionFailed")),
            ErrorKind::PreconditionFailed,
        ),
        (Fault::header("content-range", "bytes 11-99999/100000"), ErrorKind::Unexpected),
        (Fault::header("content-range", "bytes 10-99999/100001"), ErrorKind::Unexpected),
        (Fault::header("content-range", "bytes 10-99998/100000"), ErrorKind::Unexpected),
        (Fault::no_header("content-range"), ErrorKind::Unexpected),
        (whole, ErrorKind::Unexpected),
    ] {
        let (fixture, _) = small_on(&shared).await;
        let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
        let wrong = fixture.proxy.on("GetObject").then(fault.clone());
        assert_eq!(kind_of_reading(&fixture).await, kind, "{fault:?}");
        assert_eq!((broken.fired(), wrong.fired()), (1, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_body_without_a_strong_etag_does_not_resume() {
    for fault in [Fault::no_header("etag"), Fault::header("etag", "W/\"weak\"")] {
        let (fixture, _) = small().await;
        // The response has no ETag, and its body is shorter than stated.
        let alter = Fault::alter(move |response| {
            if let Fault::Alter(alter) = &fault {
                alter(response);
            }
            response.set("content-length", "100000");
            response.body.truncate(10);
        });
        let broken = fixture.proxy.on("GetObject").then(alter);
        // The connection is kept open without further bytes until the proxy is dropped.
        let reading = tokio::spawn({
            let storage = fixture.storage.clone();
            async move { read(&storage, "a").await.map(|bytes| bytes.len()) }
        });
        fixture
            .proxy
            .until("the short response", |record| {
                record.count_at("GetObject", Progress::Responded) == 1
            })
            .await;
        drop(fixture);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(broken.fired(), 1);
    }
}

#[tokio::test]
async fn a_response_with_other_bytes_than_the_requested_range_is_refused() {
    let shared = SharedFixture::new();
    for fault in [
        Fault::header("content-range", "bytes 0-99/100000"),
        Fault::header("content-range", "bytes 10-19/100000"),
        Fault::header("content-range", "bytes 19-10/100000"),
        Fault::header("content-range", "nonsense"),
        Fault::no_header("content-range"),
    ] {
        let (fixture, _) = small_on(&shared).await;
        let wrong = fixture.proxy.on("GetObject").then(fault.clone());
        let error = fixture.storage.open("a").range(10..30).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{fault:?}");
        assert_eq!(wrong.fired(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_response_with_more_bytes_than_it_states_is_an_error() {
    let (fixture, _) = small().await;
    let longer = fixture.proxy.on("GetObject").then(Fault::alter(|response| {
        response.body = [&*response.body, b"and more"].concat().into();
    }));
    let error = fixture.storage.open("a").range(10..30).await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    longer.assert_fired();
}

#[tokio::test]
async fn a_response_with_fewer_bytes_than_it_states_resumes() {
    let (fixture, bytes) = small().await;
    let shorter = fixture
        .proxy
        .on("GetObject")
        .call(1)
        .then(Fault::alter(|response| response.body.truncate(7)));
    let found = fixture.storage.open("a").range(10..30).await.unwrap().bytes().await.unwrap();
    assert_bytes(&found, &bytes[10..30]);
    shorter.assert_fired();
    assert_eq!(asked_for(&fixture.proxy)[1].0.as_deref(), Some("bytes=17-29"));
}

#[tokio::test]
async fn bytes_that_do_not_match_the_checksum_are_an_error_at_the_end() {
    let (fixture, bytes) = small().await;
    let other = Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"something else");
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other.value());
    let wrong_sum = Fault::alter(move |response| response.set("x-amz-checksum-crc64nvme", &base64));
    let wrong_byte = Fault::alter(|response| {
        let mut body = response.body.to_vec();
        body[50_000] ^= 1;
        response.body = body.into();
    });
    for fault in [wrong_sum, wrong_byte] {
        let wrong = fixture.proxy.on("GetObject").call(1).then(fault);
        let mut stream = fixture.storage.open("a").await.unwrap().into_stream();
        let mut found = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => found += chunk.len(),
                Ok(None) => panic!("the body ended as if it were right"),
                Err(error) => break error,
            }
        };
        assert_eq!((found, error.kind()), (bytes.len(), ErrorKind::Integrity), "{error}");
        assert_eq!(wrong.fired(), 1);
    }
    assert_bytes(&read(&fixture.storage, "a").await.unwrap(), &bytes);
}

#[tokio::test]
async fn the_checksum_covers_all_pieces_of_a_resumed_body() {
    let (fixture, _) = small().await;
    let broken = fixture.proxy.on("GetObject").call(1).then(Fault::Truncate(50_000));
    let wrong = fixture.proxy.on("GetObject").then(Fault::alter(|response| {
        let mut body = response.body.to_vec();
        body[0] ^= 1;
        response.body = body.into();
    }));
    assert_eq!(kind_of_reading(&fixture).await, ErrorKind::Integrity);
    assert_eq!((broken.fired(), wrong.fired()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_off_before_read_ahead_ranges_resumes() {
    let large = Large::new();
    // The first connection has delivered one part, so that read-ahead has begun, and breaks off in
    // the second part.
    let broken = large.proxy.on("GetObject").call(1).then(Fault::Truncate(PART as usize + 100_000));
    large.assert_is_read_whole().await;
    broken.assert_fired();
    assert!(large.proxy.count("GetObject") > 2, "nothing was read ahead");
}

#[tokio::test]
async fn a_read_ahead_range_that_fails_once_is_requested_again() {
    let faults = [
        Fault::Drop,
        Fault::Reset,
        Fault::Truncate(0),
        Fault::Truncate(1_000_000),
        Fault::Respond(CannedResponse::error(500, "InternalError")),
    ];
    let cases = Large::several(faults.len()).into_iter().zip(faults).map(async |(large, fault)| {
        // All connections except the first, which has no range, fail.
        let is_ahead = |request: &RecordedRequest| range_of(request).is_some();
        let broken = large.proxy.on("GetObject").only(is_ahead).calls(1..=3).then(fault);
        large.assert_is_read_whole().await;
        assert_eq!(broken.fired(), 3);
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_read_ahead_range_that_keeps_failing_is_an_error() {
    let faults = [
        (Fault::Drop, ErrorKind::Unexpected),
        (Fault::Truncate(0), ErrorKind::Unexpected),
        (Fault::Respond(CannedResponse::error(403, "AccessDenied")), ErrorKind::PermissionDenied),
        (Fault::header("etag", "\"another\""), ErrorKind::PreconditionFailed),
    ];
    let cases =
        Large::several(faults.len()).into_iter().zip(faults).map(async |(large, (fault, kind))| {
            let broken = large.on_part(3, fault);
            let mut stream = large.storage.open("a").await.unwrap().into_stream();
            let mut found = Vec::new();
            let error = loop {
                match stream.try_next().await {
                    Ok(chunk) => found.extend_from_slice(&chunk.unwrap()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), kind, "{error}");
            assert_bytes(&found, &large.bytes[..found.len()]);
            broken.assert_fired();
            // Once during read-ahead and once when the range is needed, each with all its attempts.
            assert!(broken.fired() <= 2 * ATTEMPTS, "{} requests for one range", broken.fired());
        });
    join_all(cases).await;
}

#[tokio::test]
async fn dropping_a_body_cancels_its_requests() {
    let large = Large::new();
    let gate = Gate::new();
    let held = large
        .proxy
        .on("GetObject")
        .only(|request| range_of(request).is_some())
        .then(Fault::HoldResponse(gate));
    let mut stream = large.storage.open("a").await.unwrap().into_stream();
    let mut found = 0;
    while found < PART as usize {
        found += stream.try_next().await.unwrap().unwrap().len();
    }
    large
        .proxy
        .until("ranges ahead", |record| record.count_at("GetObject", Progress::Held) == 2)
        .await;
    drop(stream);
    large
        .proxy
        .until("their end", |record| record.count_at("GetObject", Progress::Abandoned) >= 2)
        .await;
    assert_eq!(held.fired(), 2);
}

#[tokio::test]
async fn many_readers_of_a_server_that_fails_every_third_request_read_the_right_bytes() {
    let large = Arc::new(Large::new());
    let count = std::sync::atomic::AtomicUsize::new(0);
    let every_third =
        move |_: &RecordedRequest| count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 == 2;
    let broken = large.proxy.on("GetObject").only(every_third).then(Fault::Truncate(700_000));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let large = Arc::clone(&large);
            tokio::spawn(async move { large.assert_is_read_whole().await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    broken.assert_fired();
}
