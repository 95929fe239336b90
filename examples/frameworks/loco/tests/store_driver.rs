//! loco's own storage with the adapter, in memory, on a disk and in S3.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../../../avatars/tests/s3_server/mod.rs"]
mod s3_server;
#[path = "../../tests/storages/mod.rs"]
mod storages;

use std::path::Path;
use std::time::Duration;

use anystorage::{ErrorKind, Memory, Operation, Storage};
use avatars_loco::AnyStore;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use loco_rs::storage::StorageError;
use loco_rs::storage::drivers::PresignPutOptions;
use loco_rs::storage::stream::BytesStream;
use storage_testkit::faults::Faults;

const MINUTE: Duration = Duration::from_secs(60);

fn of_loco(storage: Storage) -> loco_rs::storage::Storage {
    loco_rs::storage::Storage::single(Box::new(AnyStore(storage)))
}

fn kind(error: &StorageError) -> ErrorKind {
    match error {
        StorageError::Any(error) => error.downcast_ref::<anystorage::Error>().unwrap().kind(),
        other => panic!("{other}"),
    }
}

async fn every_method_works(storage: Storage) {
    let loco = of_loco(storage.clone());
    let (a, b) = (Path::new("notes/a.txt"), Path::new("notes/deep/b.txt"));
    loco.upload(a, &Bytes::from("hello")).await.unwrap();
    let chunks = ["hel", "lo"].map(|chunk| Ok(Bytes::from(chunk)));
    loco.upload_stream(b, BytesStream::from_body_stream(stream::iter(chunks))).await.unwrap();
    assert_eq!(storage.read_text("notes/deep/b.txt").await.unwrap(), "hello");

    let text: String = loco.download(a).await.unwrap();
    assert_eq!(text, "hello");
    let streamed = loco.download_stream(b).await.unwrap().collect().await.unwrap();
    assert_eq!(streamed, "hello");

    let all = loco.list(Path::new("notes"), true).await.unwrap();
    let names: Vec<_> = all.iter().map(|entry| (entry.path.as_str(), entry.is_dir)).collect();
    assert_eq!(names, [("notes/a.txt", false), ("notes/deep/b.txt", false)]);
    let level = loco.list(Path::new("notes"), false).await.unwrap();
    let names: Vec<_> = level.iter().map(|entry| (entry.path.as_str(), entry.is_dir)).collect();
    assert_eq!(names, [("notes/a.txt", false), ("notes/deep/", true)]);
    let stat = loco.stat(a).await.unwrap();
    assert_eq!((stat.content_length, stat.is_dir), (Some(5), false));
    assert!(stat.etag.is_some() && stat.last_modified.is_some());

    let (c, d) = (Path::new("c.txt"), Path::new("d.txt"));
    loco.copy(a, c).await.unwrap();
    loco.rename(c, d).await.unwrap();
    assert!(loco.exists(a).await.unwrap() && loco.exists(d).await.unwrap());
    assert!(!loco.exists(c).await.unwrap());
    loco.delete(d).await.unwrap();
    assert!(!loco.exists(d).await.unwrap());

    let missing = loco.stat(c).await.unwrap_err();
    assert_eq!(kind(&missing), ErrorKind::NotFound);
    let escape = loco.upload(Path::new("../a.txt"), &Bytes::new()).await.unwrap_err();
    assert_eq!(kind(&escape), ErrorKind::InvalidKey);
}

#[tokio::test]
async fn every_method_works_in_memory() {
    every_method_works(Memory::storage()).await;
}

#[tokio::test]
async fn every_method_works_on_a_disk() {
    every_method_works(storages::disk().0).await;
}

#[tokio::test]
async fn every_method_works_in_s3() {
    let (storage, _directory) = storages::s3().await;
    every_method_works(storage).await;
}

#[tokio::test]
async fn links_are_those_of_the_storage() {
    let (storage, _directory) = storages::disk();
    let loco = of_loco(storage);
    let get = loco.presign_get(Path::new("a.txt"), MINUTE).await.unwrap();
    assert_eq!((get.method.as_str(), get.uri.path()), ("GET", "/media/a.txt"));
    let mut options = PresignPutOptions::default();
    options.content_type = Some("text/plain".to_owned());
    let put = loco.presign_put(Path::new("a.txt"), MINUTE, options).await.unwrap();
    assert_eq!(put.method, "PUT");
    assert_eq!(put.headers["content-type"], "text/plain");

    let without = of_loco(Memory::storage()).presign_get(Path::new("a.txt"), MINUTE).await;
    assert_eq!(kind(&without.unwrap_err()), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_the_old_object() {
    let storage = Memory::storage();
    let loco = of_loco(storage.clone());
    loco.upload(Path::new("a.txt"), &Bytes::from("old")).await.unwrap();
    let chunks = stream::iter([Ok(Bytes::from("ne")), Err(std::io::Error::other("broken"))]);
    let broken = loco.upload_stream(Path::new("a.txt"), BytesStream::from_body_stream(chunks));
    broken.await.unwrap_err();
    assert_eq!(storage.read_text("a.txt").await.unwrap(), "old");
}

#[tokio::test]
async fn a_download_that_breaks_off_ends_with_an_error() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    storage.save("a.txt", vec![0; 100_000]).await.unwrap();
    let broken = faults.on(Operation::Open).fail_midway(10, ErrorKind::Timeout);
    let loco = of_loco(storage);
    let mut chunks = loco.download_stream(Path::new("a.txt")).await.unwrap();
    let mut last = None;
    while let Some(chunk) = chunks.next().await {
        last = Some(chunk.is_ok());
    }
    assert_eq!((last, broken.fired()), (Some(false), 1));
}
