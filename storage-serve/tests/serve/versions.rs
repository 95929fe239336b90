//! Objects that are replaced between a look at them and their opening.

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
async fn a_download_that_goes_on_gets_the_new_object_whole_never_a_splice() {
    let serve = Serve::new(scripted([strong("v1", "0123456789"), strong("v2", "ABCDEFGHIJ")]));
    let answer = get(&serve, "/a.txt", &[("range", "bytes=5-"), ("if-range", "\"v1\"")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ABCDEFGHIJ"));
    assert_eq!(answer.header("etag"), "\"v2\"");
}

#[tokio::test]
async fn without_etags_times_tell_versions_apart() {
    let serve = Serve::new(scripted([dated(1_000, "0123456789"), dated(2_000, "ABCDEFGHIJ")]));
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let answer = get(&serve, "/a.txt", &[("range", "bytes=5-"), ("if-range", &date)]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ABCDEFGHIJ"));
}

#[tokio::test]
async fn without_anything_else_sizes_tell_versions_apart() {
    let serve =
        Serve::new(scripted([Version::new("0123456789", |_| {}), Version::new("ABC", |_| {})]));
    let answer = get(&serve, "/a.txt", &[("range", "bytes=5-6,0-1")]).await;
    assert_eq!(
        (answer.status, answer.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 0-1/3")
    );
}

#[tokio::test]
async fn a_condition_is_for_the_version_that_is_sent() {
    let serve = Serve::new(scripted([strong("v1", "old"), strong("v2", "new")]));
    let answer = get(&serve, "/a.txt", &[("if-match", "\"v1\"")]).await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_new_version_that_the_client_has_is_not_sent() {
    let serve = Serve::new(scripted([strong("v1", "old"), strong("v2", "new")]));
    let answer = get(&serve, "/a.txt", &[("if-none-match", "\"v2\"")]).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_object_that_never_stays_is_told_to_be_tried_later() {
    let versions = (0..50).map(|n| strong(&format!("v{n}"), "0123456789"));
    let answer =
        get(&Serve::new(scripted(versions)), "/a.txt", &[("if-none-match", "\"x\"")]).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
}

#[tokio::test]
async fn an_object_that_has_shrunk_is_looked_at_once_more() {
    let serve = Serve::new(scripted([dated(1_000, "0123456789"), dated(1_000, "012")]));
    let answer = get(&serve, "/a.txt", &[("range", "bytes=5-6"), ("if-none-match", "\"x\"")]).await;
    assert_eq!(
        (answer.status, answer.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */3")
    );
}

/// A version, and the same one after a copy onto itself that gave it an encoding.
fn encoded_meanwhile(bytes: Vec<u8>, encoding: &str) -> Serve {
    let plain = Version::new(bytes, |meta| meta.etag = Some(ETag::strong("v1").unwrap()));
    let mut encoded = plain.clone();
    encoded.meta.metadata.content_encoding = Some(encoding.to_owned());
    Serve::new(scripted([plain, encoded]))
}

#[tokio::test]
async fn an_encoding_that_came_meanwhile_is_not_taken_for_none() {
    let headers = [("range", "bytes=5-6"), ("if-match", "\"v1\""), ("accept-encoding", "identity")];
    let answer = get(&encoded_meanwhile(bytes(100), "br"), "/a.txt", &headers).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_part_that_was_to_be_decoded_meanwhile_is_not_sent() {
    let headers =
        [("range", "bytes=5-6"), ("if-none-match", "\"x\""), ("accept-encoding", "identity")];
    let answer = get(&encoded_meanwhile(gzip(b"hello").await, "gzip"), "/a.txt", &headers).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello"));
}
