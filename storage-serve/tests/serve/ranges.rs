//! The Range header: one part or several parts of an object.

use http::StatusCode;
use storage_core::{ETag, Memory};
use storage_serve::Serve;

use crate::common::multipart::parts;
use crate::common::scripted::{Version, scripted};
use crate::common::{TestResponse, bytes, get, gzip, one_object};

async fn of(range: &str) -> TestResponse {
    get(&Serve::new(one_object("0123456789").await), "/a.txt", &[("range", range)]).await
}

#[tokio::test]
async fn one_range_returns_that_part() {
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
        let response = of(range).await;
        assert_eq!(
            (response.status, response.text()),
            (StatusCode::PARTIAL_CONTENT, text),
            "{range}"
        );
        assert_eq!(response.header("content-range"), part, "{range}");
        assert_eq!(response.header("content-length"), text.len().to_string(), "{range}");
        assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn an_unsatisfiable_range_is_416_with_the_size() {
    let last = u64::MAX;
    for range in
        ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,10-11", &format!("bytes={last}-{last}")]
    {
        let response = of(range).await;
        assert_eq!(response.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(response.header("content-range"), "bytes */10", "{range}");
    }
}

#[tokio::test]
async fn an_invalid_range_header_is_ignored() {
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
        let response = of(range).await;
        assert_eq!((response.status, response.text()), (StatusCode::OK, "0123456789"), "{range}");
    }
}

#[tokio::test]
async fn two_range_headers_are_ignored() {
    let serve = Serve::new(one_object("0123456789").await);
    let response = get(&serve, "/a.txt", &[("range", "bytes=0-1"), ("range", "bytes=2-3")]).await;
    assert_eq!(response.status, StatusCode::OK);
}

#[tokio::test]
async fn only_a_suffix_range_of_an_empty_object_is_satisfiable() {
    let serve = Serve::new(one_object("").await);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
        let response = get(&serve, "/a.txt", &[("range", range)]).await;
        assert_eq!(
            (response.status, response.header("content-range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */0")
        );
    }
    let response = get(&serve, "/a.txt", &[("range", "bytes=-5")]).await;
    assert_eq!((response.status, response.header("content-length")), (StatusCode::OK, "0"));
}

#[tokio::test]
async fn several_ranges_return_a_multipart_document() {
    let response = of("bytes=5-6,0-1,-1").await;
    assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
    assert!(!response.headers.contains_key("content-range"));
    assert_eq!(response.header("content-length"), response.body.len().to_string());
    let parts = parts(&response);
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
async fn unsatisfiable_ranges_among_several_are_left_out() {
    let response = of("bytes=3-4,50-60").await;
    assert_eq!(
        (response.status, response.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 3-4/10")
    );
    assert_eq!(response.text(), "34");
}

#[tokio::test]
async fn overlapping_and_adjacent_ranges_are_merged() {
    let response = of("bytes=0-3,2-5,6-6").await;
    assert_eq!((response.status, response.text()), (StatusCode::PARTIAL_CONTENT, "0123456"));
}

#[tokio::test]
async fn a_response_to_many_ranges_is_hardly_larger_than_the_object() {
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
        let response = get(&serve, "/a.txt", &[("range", &format!("bytes={flood}"))]).await;
        assert!(
            response.status == StatusCode::OK || response.status == StatusCode::PARTIAL_CONTENT
        );
        assert_eq!(response.body, content, "{}", &flood[..20]);
    }
}

#[tokio::test]
async fn the_maximum_number_of_parts_adds_few_bytes() {
    let serve = Serve::new(one_object(bytes(10_000)).await);
    let ranges = (0..16).map(|n| format!("{}-{}", n * 100, n * 100)).collect::<Vec<_>>().join(",");
    let response = get(&serve, "/a.txt", &[("range", &format!("bytes={ranges}"))]).await;
    assert_eq!(parts(&response).len(), 16);
    assert!(response.body.len() < 16 * 200, "{}", response.body.len());
}

#[tokio::test]
async fn each_multipart_response_has_a_new_boundary() {
    let serve = Serve::new(one_object("0123456789").await);
    let one = get(&serve, "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
    let other = get(&serve, "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
    assert_ne!(one.header("content-type"), other.header("content-type"));
}

#[tokio::test]
async fn several_ranges_need_a_strong_etag() {
    for etag in [None, Some(ETag::weak("a").unwrap())] {
        let storage = scripted([Version::new("0123456789", |meta| meta.etag = etag)]);
        let response = get(&Serve::new(storage), "/a.txt", &[("range", "bytes=0-0,5-5")]).await;
        assert_eq!((response.status, response.text()), (StatusCode::OK, "0123456789"));
    }
}

#[tokio::test]
async fn one_range_needs_no_etag() {
    let storage =
        scripted([Version::new("0123456789", |meta| meta.etag = Some(ETag::weak("a").unwrap()))]);
    let response = get(&Serve::new(storage), "/a.txt", &[("range", "bytes=5-6")]).await;
    assert_eq!(
        (response.status, response.text(), response.header("etag")),
        (StatusCode::PARTIAL_CONTENT, "56", "W/\"a\"")
    );
}

#[tokio::test]
async fn several_ranges_of_an_encoded_object_return_the_whole_object() {
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
