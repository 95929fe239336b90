//! Bodies of open objects, over connections that fail: every byte is right, or there is an error.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use http::HeaderMap;
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Storage};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{Answer, Asked, Fault, Front, Gate, Planned, Proxy, Reached};
use crate::stage::{ATTEMPTS, Ground, PART, Stage, assert_bytes, pattern, read, turn_clock_on};

const ETAG: &str = "\"0123456789abcdef0123456789abcdef-5\"";

/// A large object on a server of few words: nothing is hashed for it, and its bytes are asked for
/// range by range.
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

    /// Several, each below a prefix of its own, with parts that are read ahead.
    fn several(count: usize) -> Vec<Self> {
        static BYTES: LazyLock<Bytes> = LazyLock::new(|| pattern(Large::PARTS * PART as usize));
        let front = Front::scripted(|asked| serve(&BYTES, asked));
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

    /// Plans what becomes of the connections that bring the first byte of a part, but for the very
    /// first connection, which brings several.
    fn on_part(&self, part: usize, fault: Fault) -> Planned {
        let start = part as u64 * PART;
        let covers =
            move |asked: &Asked| range_of(asked).is_some_and(|range| range.contains(&start));
        self.proxy.on("GetObject").only(covers).then(fault)
    }

    async fn assert_is_read_whole(&self) {
        assert_bytes(&read(&self.storage, "a").await.unwrap(), &self.bytes);
    }
}

/// The positions that a request is for; `None` for all.
fn range_of(asked: &Asked) -> Option<std::ops::Range<u64>> {
    let (first, last) =
        header(asked.headers(), "range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().unwrap()..last.parse::<u64>().unwrap() + 1)
}

fn serve(bytes: &Bytes, asked: &Asked) -> Answer {
    let answer = match range_of(asked) {
        None => Answer::new(200, bytes.clone()),
        Some(range) => {
            let told = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
            let part = bytes.slice(range.start as usize..range.end as usize);
            Answer::new(206, part).header("content-range", &told)
        }
    };
    answer.header("etag", ETAG)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// What the requests for bytes had to say of the range, and of the version.
fn asked_for(proxy: &Proxy) -> Vec<(Option<String>, Option<String>)> {
    proxy.look(|record| {
        let requests = record.of("GetObject");
        requests
            .map(|seen| {
                ["range", "if-match"]
                    .map(|name| header(&seen.headers, name).map(str::to_owned))
                    .into()
            })
            .collect()
    })
}

/// A small object.
async fn small() -> (Stage, Bytes) {
    small_on(&Ground::new()).await
}

async fn small_on(ground: &Arc<Ground>) -> (Stage, Bytes) {
    let (stage, bytes) = (Stage::on(ground), pattern(100_000));
    stage.storage.save("a", bytes.clone()).await.unwrap();
    (stage, bytes)
}

async fn kind_of_reading(stage: &Stage) -> ErrorKind {
    read(&stage.storage, "a").await.map(|bytes| bytes.len()).unwrap_err().kind()
}

#[tokio::test]
async fn a_body_that_breaks_off_goes_on_at_the_next_byte_of_the_same_version() {
    let ground = Ground::new();
    for len in [0, 1, 50_000, 99_999] {
        let (stage, bytes) = small_on(&ground).await;
        let etag = stage.truth.stat("a").await.unwrap().etag.unwrap().to_string();
        let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(len));
        assert_bytes(&read(&stage.storage, "a").await.unwrap(), &bytes);
        broken.assert_fired();
        let rest = (Some(format!("bytes={len}-99999")), Some(etag));
        assert_eq!(asked_for(&stage.proxy), [(None, None), rest]);
    }
}

#[tokio::test]
async fn a_range_that_breaks_off_goes_on_and_ends_where_it_was_to_end() {
    let (stage, bytes) = small().await;
    let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(300));
    let object = stage.storage.open("a").range(1_000..2_000).await.unwrap();
    assert_bytes(&object.bytes().await.unwrap(), &bytes[1_000..2_000]);
    broken.assert_fired();
    assert_eq!(asked_for(&stage.proxy)[1].0.as_deref(), Some("bytes=1300-1999"));
}

#[tokio::test]
async fn a_body_that_gets_on_between_breaks_is_read_to_its_end_however_often_it_breaks_off() {
    let (stage, bytes) = small().await;
    let broken = stage.proxy.on("GetObject").calls(1..=12).then(Fault::Truncate(8_000));
    assert_bytes(&read(&stage.storage, "a").await.unwrap(), &bytes);
    assert_eq!((broken.fired(), stage.proxy.count("GetObject")), (12, 13));
}

#[tokio::test]
async fn a_body_that_does_not_get_on_ends_in_an_error_after_a_few_requests() {
    let (stage, _) = small().await;
    let broken = stage.proxy.on("GetObject").then(Fault::Truncate(0));
    assert_eq!(kind_of_reading(&stage).await, ErrorKind::Unexpected);
    assert_eq!(broken.fired(), ATTEMPTS);
}

#[tokio::test]
async fn a_body_whose_rest_is_refused_for_good_ends_in_that_error() {
    let refusals = [
        (
            Answer::error(503, "SlowDown").header("retry-after", "0"),
            ErrorKind::RateLimited,
            ATTEMPTS,
        ),
        (Answer::error(500, "InternalError"), ErrorKind::Unexpected, ATTEMPTS),
        (Answer::error(403, "ExpiredToken"), ErrorKind::Unauthenticated, 1),
        (Answer::error(404, "NoSuchKey"), ErrorKind::NotFound, 1),
    ];
    let ground = Ground::new();
    let cases = refusals.map(async |(answer, kind, requests)| {
        let (stage, _) = small_on(&ground).await;
        let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
        let refused = stage.proxy.on("GetObject").then(Fault::Say(answer));
        assert_eq!(kind_of_reading(&stage).await, kind);
        assert_eq!((broken.fired(), refused.fired()), (1, requests), "{kind}");
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_body_that_stalls_goes_on_over_another_connection() {
    let (stage, bytes) = small().await;
    let stalled = stage.proxy.on("GetObject").call(1).then(Fault::StallBody(30_000));
    let mut stream = stage.storage.open("a").await.unwrap().into_stream();
    let mut found = Vec::new();
    while found.len() < 30_000 {
        found.extend_from_slice(&stream.try_next().await.unwrap().unwrap());
    }
    let rest = tokio::spawn(async move { stream.try_collect::<Vec<_>>().await });
    // The reader waits now, and its patience with it.
    tokio::task::yield_now().await;
    turn_clock_on(std::time::Duration::from_secs(31)).await;
    found.extend_from_slice(&rest.await.unwrap().unwrap().concat());
    assert_bytes(&found, &bytes);
    stalled.assert_fired();
    stage
        .proxy
        .until("the end of the stalled connection", |record| {
            record.count_at("GetObject", Reached::Abandoned) == 1
        })
        .await;
}

#[tokio::test]
async fn an_object_replaced_while_its_body_is_broken_off_is_never_spliced() {
    let (stage, bytes) = small().await;
    let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
    // The server in this process looks at no condition of a GET; the driver looks itself.
    let object = stage.storage.open("a").await.unwrap();
    stage.truth.save("a", vec![7; bytes.len()]).await.unwrap();
    let error = object.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    assert!(error.message().contains("replaced while it was read"), "{error}");
    broken.assert_fired();
}

#[tokio::test]
async fn the_rest_is_taken_only_if_it_is_of_the_same_version_and_the_range_that_was_asked_for() {
    let whole = Fault::alter(|answer| {
        answer.status = 200;
        answer.headers.remove("content-range");
    });
    let ground = Ground::new();
    for (fault, kind) in [
        (Fault::header("etag", "\"another\""), ErrorKind::PreconditionFailed),
        (Fault::header("etag", "W/\"weak\""), ErrorKind::PreconditionFailed),
        (Fault::no_header("etag"), ErrorKind::PreconditionFailed),
        (Fault::Say(Answer::error(412, "PreconditionFailed")), ErrorKind::PreconditionFailed),
        (Fault::header("content-range", "bytes 11-99999/100000"), ErrorKind::Unexpected),
        (Fault::header("content-range", "bytes 10-99999/100001"), ErrorKind::Unexpected),
        (Fault::header("content-range", "bytes 10-99998/100000"), ErrorKind::Unexpected),
        (Fault::no_header("content-range"), ErrorKind::Unexpected),
        (whole, ErrorKind::Unexpected),
    ] {
        let (stage, _) = small_on(&ground).await;
        let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(10));
        let wrong = stage.proxy.on("GetObject").then(fault.clone());
        assert_eq!(kind_of_reading(&stage).await, kind, "{fault:?}");
        assert_eq!((broken.fired(), wrong.fired()), (1, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_body_without_a_strong_etag_is_not_gone_on_with() {
    for fault in [Fault::no_header("etag"), Fault::header("etag", "W/\"weak\"")] {
        let (stage, _) = small().await;
        // Two things at once: the answer has no version, and its body is shorter than it says.
        let alter = Fault::alter(move |answer| {
            if let Fault::Alter(alter) = &fault {
                alter(answer);
            }
            answer.set("content-length", "100000");
            answer.body.truncate(10);
        });
        let broken = stage.proxy.on("GetObject").then(alter);
        // The connection is kept, so that nothing more comes; the proxy goes away with it.
        let reading = tokio::spawn({
            let storage = stage.storage.clone();
            async move { read(&storage, "a").await.map(|bytes| bytes.len()) }
        });
        stage
            .proxy
            .until("the short answer", |record| {
                record.count_at("GetObject", Reached::Answered) == 1
            })
            .await;
        drop(stage);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(broken.fired(), 1);
    }
}

#[tokio::test]
async fn an_open_that_is_answered_with_other_bytes_than_those_asked_for_is_refused() {
    let ground = Ground::new();
    for fault in [
        Fault::header("content-range", "bytes 0-99/100000"),
        Fault::header("content-range", "bytes 10-19/100000"),
        Fault::header("content-range", "bytes 19-10/100000"),
        Fault::header("content-range", "nonsense"),
        Fault::no_header("content-range"),
    ] {
        let (stage, _) = small_on(&ground).await;
        let wrong = stage.proxy.on("GetObject").then(fault.clone());
        let error = stage.storage.open("a").range(10..30).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{fault:?}");
        assert_eq!(wrong.fired(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_range_that_brings_more_bytes_than_it_says_is_an_error() {
    let (stage, _) = small().await;
    let longer = stage.proxy.on("GetObject").then(Fault::alter(|answer| {
        answer.body = [&*answer.body, b"and more"].concat().into();
    }));
    let error = stage.storage.open("a").range(10..30).await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    longer.assert_fired();
}

#[tokio::test]
async fn a_range_that_brings_fewer_bytes_than_it_says_is_gone_on_with() {
    let (stage, bytes) = small().await;
    let shorter =
        stage.proxy.on("GetObject").call(1).then(Fault::alter(|answer| answer.body.truncate(7)));
    let found = stage.storage.open("a").range(10..30).await.unwrap().bytes().await.unwrap();
    assert_bytes(&found, &bytes[10..30]);
    shorter.assert_fired();
    assert_eq!(asked_for(&stage.proxy)[1].0.as_deref(), Some("bytes=17-29"));
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_checksum_are_an_error_at_the_end() {
    let (stage, bytes) = small().await;
    let other = Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"something else");
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other.value());
    let wrong_sum = Fault::alter(move |answer| answer.set("x-amz-checksum-crc64nvme", &base64));
    let wrong_byte = Fault::alter(|answer| {
        let mut body = answer.body.to_vec();
        body[50_000] ^= 1;
        answer.body = body.into();
    });
    for fault in [wrong_sum, wrong_byte] {
        let wrong = stage.proxy.on("GetObject").call(1).then(fault);
        let mut stream = stage.storage.open("a").await.unwrap().into_stream();
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
    assert_bytes(&read(&stage.storage, "a").await.unwrap(), &bytes);
}

#[tokio::test]
async fn a_checksum_holds_over_the_pieces_of_a_body_that_broke_off() {
    let (stage, _) = small().await;
    let broken = stage.proxy.on("GetObject").call(1).then(Fault::Truncate(50_000));
    let wrong = stage.proxy.on("GetObject").then(Fault::alter(|answer| {
        let mut body = answer.body.to_vec();
        body[0] ^= 1;
        answer.body = body.into();
    }));
    assert_eq!(kind_of_reading(&stage).await, ErrorKind::Integrity);
    assert_eq!((broken.fired(), wrong.fired()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_off_before_ranges_read_ahead_goes_on_where_it_was() {
    let large = Large::new();
    // It has brought a part, so that others are under way, and breaks off in the second one.
    let broken = large.proxy.on("GetObject").call(1).then(Fault::Truncate(PART as usize + 100_000));
    large.assert_is_read_whole().await;
    broken.assert_fired();
    assert!(large.proxy.count("GetObject") > 2, "nothing was read ahead");
}

#[tokio::test]
async fn ranges_read_ahead_that_fail_once_are_asked_for_again() {
    let faults = [
        Fault::Drop,
        Fault::Reset,
        Fault::Truncate(0),
        Fault::Truncate(1_000_000),
        Fault::Say(Answer::error(500, "InternalError")),
    ];
    let cases = Large::several(faults.len()).into_iter().zip(faults).map(async |(large, fault)| {
        // All connections but the first, which has no range, fail in their turn.
        let is_ahead = |asked: &Asked| range_of(asked).is_some();
        let broken = large.proxy.on("GetObject").only(is_ahead).calls(1..=3).then(fault);
        large.assert_is_read_whole().await;
        assert_eq!(broken.fired(), 3);
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_range_read_ahead_that_fails_for_good_is_an_error_and_not_the_bytes_of_another() {
    let faults = [
        (Fault::Drop, ErrorKind::Unexpected),
        (Fault::Truncate(0), ErrorKind::Unexpected),
        (Fault::Say(Answer::error(403, "AccessDenied")), ErrorKind::PermissionDenied),
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
            // Ahead of time and when its turn comes, each as often as anything is tried.
            assert!(broken.fired() <= 2 * ATTEMPTS, "{} requests for one range", broken.fired());
        });
    join_all(cases).await;
}

#[tokio::test]
async fn a_body_that_is_dropped_takes_its_requests_along() {
    let large = Large::new();
    let gate = Gate::new();
    let held = large
        .proxy
        .on("GetObject")
        .only(|asked| range_of(asked).is_some())
        .then(Fault::HoldAnswer(gate));
    let mut stream = large.storage.open("a").await.unwrap().into_stream();
    let mut found = 0;
    while found < PART as usize {
        found += stream.try_next().await.unwrap().unwrap().len();
    }
    large
        .proxy
        .until("ranges ahead", |record| record.count_at("GetObject", Reached::Held) == 2)
        .await;
    drop(stream);
    large
        .proxy
        .until("their end", |record| record.count_at("GetObject", Reached::Abandoned) >= 2)
        .await;
    assert_eq!(held.fired(), 2);
}

#[tokio::test]
async fn many_readers_of_a_server_that_fails_every_third_time_read_what_is_there() {
    let large = Arc::new(Large::new());
    let count = std::sync::atomic::AtomicUsize::new(0);
    let every_third =
        move |_: &Asked| count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 == 2;
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
