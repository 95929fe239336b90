//! Objects that are replaced between `stat` and `open`.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use storage_core::ETag;
use storage_serve::Serve;

use crate::common::scripted::{Version, scripted};
use crate::common::{bytes, get, gzip};

fn strong(tag: &str, bytes: &'static str) -> Version {
    Version::new(bytes, |meta| meta.etag = Some(ETag::strong(tag).unwrap()))
}

fn dated(seconds: u64, bytes: &'static str) -> Version {
    Version::new(bytes, |meta| {
        meta.last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    })
}

#[tokio::test]
async fn a_resumed_download_of_a_replaced_object_gets_the_whole_new_object() {
    let serve = Serve::new(scripted([strong("v1", "0123456789"), strong("v2", "ABCDEFGHIJ")]));
    let response = get(&serve, "/a.txt", &[("range", "bytes=5-"), ("if-range", "\"v1\"")]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "ABCDEFGHIJ"));
    assert_eq!(response.header("etag"), "\"v2\"");
}

#[tokio::test]
async fn times_distinguish_versions_without_etags() {
    let serve = Serve::new(scripted([dated(1_000, "0123456789"), dated(2_000, "ABCDEFGHIJ")]));
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let response = get(&serve, "/a.txt", &[("range", "bytes=5-"), ("if-range", &date)]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "ABCDEFGHIJ"));
}

#[tokio::test]
async fn sizes_distinguish_versions_without_etags_and_times() {
    let serve =
        Serve::new(scripted([Version::new("0123456789", |_| {}), Version::new("ABC", |_| {})]));
    let response = get(&serve, "/a.txt", &[("range", "bytes=5-6,0-1")]).await;
    assert_eq!(
        (response.status, response.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 0-1/3")
    );
}

#[tokio::test]
async fn a_condition_applies_to_the_version_that_is_sent() {
    let serve = Serve::new(scripted([strong("v1", "old"), strong("v2", "new")]));
    let response = get(&serve, "/a.txt", &[("if-match", "\"v1\"")]).await;
    assert_eq!(response.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_new_version_that_the_client_has_is_not_sent() {
    let serve = Serve::new(scripted([strong("v1", "old"), strong("v2", "new")]));
    let response = get(&serve, "/a.txt", &[("if-none-match", "\"v2\"")]).await;
    assert_eq!(response.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_object_that_keeps_changing_is_503_with_retry_after() {
    let versions = (0..50).map(|n| strong(&format!("v{n}"), "0123456789"));
    let response =
        get(&Serve::new(scripted(versions)), "/a.txt", &[("if-none-match", "\"x\"")]).await;
    assert_eq!(
        (response.status, response.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
}

#[tokio::test]
async fn an_object_that_shrank_is_opened_again() {
    let serve = Serve::new(scripted([dated(1_000, "0123456789"), dated(1_000, "012")]));
    let response =
        get(&serve, "/a.txt", &[("range", "bytes=5-6"), ("if-none-match", "\"x\"")]).await;
    assert_eq!(
        (response.status, response.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */3")
    );
}

/// Serves a version, and then the same version with an encoding, as after a copy onto itself.
fn encoded_meanwhile(bytes: Vec<u8>, encoding: &str) -> Serve {
    let plain = Version::new(bytes, |meta| meta.etag = Some(ETag::strong("v1").unwrap()));
    let mut encoded = plain.clone();
    encoded.meta.metadata.content_encoding = Some(encoding.to_owned());
    Serve::new(scripted([plain, encoded]))
}

#[tokio::test]
async fn an_encoding_that_appears_between_calls_is_sent() {
    let headers = [("range", "bytes=5-6"), ("if-match", "\"v1\""), ("accept-encoding", "identity")];
    let response = get(&encoded_meanwhile(bytes(100), "br"), "/a.txt", &headers).await;
    assert_eq!(response.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_part_is_not_sent_if_the_object_now_needs_decoding() {
    let headers =
        [("range", "bytes=5-6"), ("if-none-match", "\"x\""), ("accept-encoding", "identity")];
    let response = get(&encoded_meanwhile(gzip(b"hello").await, "gzip"), "/a.txt", &headers).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "hello"));
}
