//! Objects whose size is not known before their last byte.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Key, Object, ObjectMeta, Payload, Result};

fn object(chunks: Vec<Result<&'static str>>) -> Object {
    let meta = ObjectMeta::new(Key::new("a").unwrap(), 0);
    let chunks =
        chunks.into_iter().map(|chunk| chunk.map(|text| Bytes::from_static(text.as_bytes())));
    Object::from_stream_of_unknown_size(meta, stream::iter(chunks.collect::<Vec<_>>()))
}

fn hello() -> Object {
    object(vec![Ok("hello, "), Ok(""), Ok("world")])
}

#[tokio::test]
async fn an_object_of_unknown_size_is_read_to_its_end() {
    assert_eq!(hello().meta().known_size(), None);
    assert_eq!(hello().text().await.unwrap(), "hello, world");
    assert_eq!(object(Vec::new()).bytes().await.unwrap(), "");
}

#[tokio::test]
async fn an_error_in_an_object_of_unknown_size_is_not_its_end() {
    let broken = object(vec![Ok("hello"), Err(storage_testkit::scripted::transient())]);
    assert_eq!(broken.bytes().await.unwrap_err().kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn an_object_of_unknown_size_is_collected_up_to_a_limit() {
    assert_eq!(hello().bytes_up_to(12).await.unwrap(), "hello, world");
    let error: Error = hello().bytes_up_to(11).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("a")));
}

#[tokio::test]
async fn a_payload_of_an_object_of_unknown_size_has_no_size() {
    assert_eq!(Payload::from(hello()).size(), None);
}

#[tokio::test]
async fn an_object_of_unknown_size_is_saved_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    hello().save_to_file(&path).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello, world");
}

#[tokio::test]
async fn a_guard_is_dropped_with_the_body() {
    let guard = Arc::new(());
    let held = hello().with_guard(Arc::clone(&guard));
    assert_eq!(Arc::strong_count(&guard), 2);
    let chunks = held.into_stream();
    assert_eq!(Arc::strong_count(&guard), 2, "the stream holds the guard");
    drop(chunks);
    assert_eq!(Arc::strong_count(&guard), 1);
}
