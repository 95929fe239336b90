//! The Range header: parts of an object, one or several.

use http::StatusCode;
use storage_core::{ETag, Memory};
use storage_serve::Serve;

use crate::common::multipart::parts;
use crate::common::scripted::{Version, scripted};
use crate::common::{Answer, bytes, get, gzip, one_object};

async fn of(range: &str) -> Answer {
    get(&Serve::new(one_object("0123456789").await), "/a.txt", &[("range", range)]).await
}

#[tokio::test]
async fn one_range_is_that_part() {
    for (range, part, text) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-99", "bytes 0-9/10", "0123456789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
        ("bytes=0-99999999999999999999999999", "bytes 0-9/10", "0123456789"),
        ("BYTES=0-0", "bytes 0-0/10", "0"),
        ("bytes=9-9,", "bytes 9-9/10", "9"),
    ] {
        let answer = of(range).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::PARTIAL_CONTENT, text), "{range}");
        assert_eq!(answer.header("content-range"), part, "{range}");
        assert_eq!(answer.header("content-length"), text.len().to_string(), "{range}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn a_range_that_is_not_there_is_told_with_the_size() {
    let last = u64::MAX;
    for range in
        ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,10-11", &format!("bytes={last}-{last}")]
    {
        let answer = of(range).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(answer.header("content-range"), "bytes */10", "{range}");
    }
}

#[tokio::test]
async fn what_is_no_range_of_bytes_is_ignored() {
    for range in [
        "bytes=4-2",
        "bytes=a-b",
        "bytes",
        "lines=1-2",
        "bytes=1-2,x",
        "bytes=--1",
        "bytes=",
        "bytes=-",
    ] {
        let answer = of(range).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "0123456789"), "{range}");
    }
}

#[tokio::test]
async fn two_range_headers_are_none() {
    let serve = Serve::new(one_object("0123456789").await);
    let answer = get(&serve, "/a.txt", &[("range", "bytes=0-1"), ("range", "bytes=2-3")]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn of_an_empty_object_there_is_no_part_but_its_end() {
    let serve = Serve::new(one_object("").await);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
        let answer = get(&serve, "/a.txt", &[("range", range)]).await;
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */0")
        );
    }
    let answer = get(&serve, "/a.txt", &[("range", "bytes=-5")]).await;
    assert_eq!((answer.status, answer.header("content-length")), (StatusCode::OK, "0"));
}

#[tokio::test]
async fn several_ranges_are_parts_of_one_document() {
    let answer = of("bytes=5-6,0-1,-1").await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert!(!answer.headers.contains_key("content-range"));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let parts = parts(&answer);
    let found: Vec<_> = parts
        .iter()
        .map(|part| (part.range.clone(), std::str::from_utf8(&part.bytes).unwrap()))
        .collect();
    assert_eq!(found, [(5..7, "56"), (0..2, "01"), (9..10, "9")]);
    assert!(
        parts
            .iter()
            .all(|part| part.size == 10 && part.content_type == "text/plain; charset=utf-8")
    );
}

#[tokio::test]
async fn of_several_ranges_those_that_are_not_there_are_left_out() {
    let answer = of("bytes=3-4,50-60").await;
    assert_eq!(
        (answer.status, answer.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 3-4/10")
    );
    assert_eq!(answer.text(), "34");
}

#[tokio::test]
async fn what_overlaps_or_touches_is_sent_once() {
    let answer = of("bytes=0-3,2-5,6-6").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::PARTIAL_CONTENT, "0123456"));
}

#[tokio::test]
async fn a_flood_of_ranges_is_one_answer_that_is_hardly_larger_than_the_object() {
    let content = bytes(10_000);
    let serve = Serve::new(one_object(content.clone()).await);
    let floods = [
        vec!["0-"; 64].join(","),
        vec!["0-"; 5_000].join(","),
        (0..64).map(|n| format!("{}-{}", n * 100, n * 100 + 1)).collect::<Vec<_>>().join(","),
        (0..1_000).map(|n| format!("{}-{}", n * 10, n * 10 + 1)).collect::<Vec<_>>().join(","),
        (0..64).map(|n| format!("{n}-")).collect::<Vec<_>>().join(","),
    ];
    for flood in floods {
        let answer = get(&serve, "/a.txt", &[("range", &format!("bytes={flood}"))]).await;
        assert!(answer.status == StatusCode::OK || answer.status == StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.body, content, "{}", &flood[..20]);
    }
}

#[tokio::test]
async fn the_most_parts_there_are_cost_little_beside_the_bytes() {
    let serve = Serve::new(one_object(bytes(10_000)).await);
    let ranges = (0..16).map(|n| format!("{}-{}", n * 100, n * 100)).collect::<Vec<_>>().join(",");
    let answer = get(&serve, "/a.txt", &[("range", &format!("bytes={ranges}"))]).await;
    assert_eq!(parts(&answer).len(), 16);
    assert!(answer.body.len() < 16 * 200, "{}", answer.body.len());
}

#[tokio::test]
async fn a_boundary_is_another_one_each_time() {
    let serve = Serve::new(one_object("0123456789").await);
    let one = get(&serve, "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
    let other = get(&serve, "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
    assert_ne!(one.header("content-type"), other.header("content-type"));
}

#[tokio::test]
async fn several_ranges_need_a_strong_etag() {
    for etag in [None, Some(ETag::weak("a").unwrap())] {
        let storage = scripted([Version::new("0123456789", |meta| meta.etag = etag)]);
        let answer = get(&Serve::new(storage), "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "0123456789"));
    }
}

#[tokio::test]
async fn one_range_needs_none() {
    let storage =
        scripted([Version::new("0123456789", |meta| meta.etag = Some(ETag::weak("a").unwrap()))]);
    let answer = get(&Serve::new(storage), "/a.txt", &[("range", "bytes=5-6")]).await;
    assert_eq!(
        (answer.status, answer.text(), answer.header("etag")),
        (StatusCode::PARTIAL_CONTENT, "56", "W/\"a\"")
    );
}

#[tokio::test]
async fn an_encoded_object_has_one_part_at_a_time() {
    let storage = Memory::storage();
    let packed = gzip(&bytes(1_000)).await;
    storage.save("a", packed.clone()).content_encoding("gzip").await.unwrap();
    let serve = Serve::new(storage);
    let accept = ("accept-encoding", "gzip");
    let one = get(&serve, "/a", &[accept, ("range", "bytes=5-9")]).await;
    assert_eq!((one.status, one.header("content-encoding")), (StatusCode::PARTIAL_CONTENT, "gzip"));
    assert_eq!(one.body, packed[5..10]);
    let several = get(&serve, "/a", &[accept, ("range", "bytes=5-9,20-21")]).await;
    assert_eq!((several.status, several.header("content-encoding")), (StatusCode::OK, "gzip"));
    assert_eq!(several.body, packed);
}
