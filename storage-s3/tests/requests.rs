//! What each verb costs in requests, counted by the server in this process, and that the crate's documentation says so.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::server::{Bucket, Server};
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Metadata, Payload, Storage};

const MIB: usize = 1024 * 1024;

/// A bucket and what the last calls cost.
struct Shop {
    bucket: Bucket,
    storage: Storage,
}

impl Shop {
    fn new() -> Self {
        let bucket = Server::get().bucket();
        let storage = Storage::new(bucket.builder().part_size(5 * MIB as u64).build().unwrap());
        Self { bucket, storage }
    }

    /// What has come since the last time, and what it was.
    #[track_caller]
    fn cost(&self, expected: &[(&'static str, usize)]) {
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        assert_eq!(self.bucket.requests().take(), expected);
    }
}

/// Asserts that the table of the crate's documentation has this row.
#[track_caller]
fn documented(row: &str) {
    let documentation = include_str!("../src/lib.rs");
    assert!(documentation.lines().any(|line| line.starts_with(&format!("//! | {row}"))), "no such row: {row}");
}

fn streaming(len: usize) -> Payload {
    let chunks = (0..len).step_by(MIB).map(move |start| Ok::<_, Error>(vec![7; (len - start).min(MIB)]));
    Payload::from_stream(stream::iter(chunks))
}

#[tokio::test]
async fn a_small_save_is_one_request_whatever_it_comes_from() {
    documented("save, up to `part_size` | 1 PUT |");
    let shop = Shop::new();
    shop.storage.save("a", "body").await.unwrap();
    shop.cost(&[("PutObject", 1)]);
    shop.storage.save("b", streaming(5 * MIB)).await.unwrap();
    shop.cost(&[("PutObject", 1)]);
    shop.storage.save("c", "body").create_new().await.unwrap();
    shop.cost(&[("PutObject", 1)]);
}

#[tokio::test]
async fn a_larger_save_is_two_requests_and_one_for_each_part() {
    documented("save, more than that | 2 POST and a PUT for each part |");
    let shop = Shop::new();
    shop.storage.save("a", streaming(11 * MIB)).await.unwrap();
    shop.cost(&[("CreateMultipartUpload", 1), ("UploadPart", 3), ("CompleteMultipartUpload", 1)]);
}

#[tokio::test]
async fn open_stat_exists_and_delete_are_one_request_each() {
    documented("open | 1 GET;");
    documented("stat, exists | 1 HEAD;");
    documented("delete | 1 DELETE;");
    let shop = Shop::new();
    shop.storage.save("a", "body").await.unwrap();
    shop.cost(&[("PutObject", 1)]);
    shop.storage.open("a").await.unwrap().bytes().await.unwrap();
    shop.cost(&[("GetObject", 1)]);
    shop.storage.open("a").range(1..3).await.unwrap().bytes().await.unwrap();
    shop.cost(&[("GetObject", 1)]);
    shop.storage.stat("a").await.unwrap();
    shop.cost(&[("HeadObject", 1)]);
    shop.storage.exists("a").await.unwrap();
    shop.cost(&[("HeadObject", 1)]);
    shop.storage.delete("a").await.unwrap();
    shop.cost(&[("DeleteObject", 1)]);
}

#[tokio::test]
async fn that_something_is_not_there_is_made_sure_of_once() {
    let shop = Shop::new();
    assert!(!shop.storage.exists("a").await.unwrap());
    shop.cost(&[("HeadObject", 1), ("GetObject", 1)]);
    assert!(!shop.storage.exists("a").await.unwrap());
    assert_eq!(shop.storage.stat("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    shop.cost(&[("HeadObject", 2)]);
}

#[tokio::test]
async fn a_copy_is_one_request_and_two_with_other_metadata() {
    documented("copy | 1 PUT; a HEAD more with other metadata;");
    let shop = Shop::new();
    shop.storage.save("a", "body").await.unwrap();
    shop.cost(&[("PutObject", 1)]);
    shop.storage.copy("a", "b").await.unwrap();
    shop.cost(&[("CopyObject", 1)]);
    shop.storage.copy("a", "c").metadata(Metadata::new().content_type("a/b")).await.unwrap();
    shop.cost(&[("HeadObject", 1), ("CopyObject", 1)]);
}

#[tokio::test]
async fn a_thousand_keys_are_deleted_and_listed_by_one_request() {
    documented("list | 1 GET for each 1,000 keys |");
    let shop = Shop::new();
    let keys: Vec<_> = (0..1_000).map(|number| format!("{number:04}")).collect();
    let saves = stream::iter(keys.clone()).map(|key| {
        let storage = shop.storage.clone();
        async move { storage.save(key, "").await.map(drop) }
    });
    saves.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>().unwrap();
    shop.cost(&[("PutObject", 1_000)]);
    assert_eq!(shop.storage.list("").entries().collect().await.unwrap().len(), 1_000);
    shop.cost(&[("ListObjectsV2", 1)]);
    assert_eq!(shop.storage.delete_all(stream::iter(keys)).finish().await.unwrap(), 1_000);
    shop.cost(&[("DeleteObjects", 1)]);
    assert!(shop.storage.list("").entries().collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_link_is_no_request() {
    documented("url | none |");
    let shop = Shop::new();
    shop.storage.url("a").expires_in(Duration::from_secs(60)).await.unwrap();
    shop.cost(&[]);
}
