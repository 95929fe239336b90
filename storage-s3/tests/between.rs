//! Copies between two buckets of one service, on the server in this process and on the one that the
//! environment names. Both are behind a proxy, which records the requests.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
#[path = "faults/fault_proxy/mod.rs"]
mod fault_proxy;
mod tools;

use std::sync::Arc;

use bytes::Bytes;
use common::external::{External, TestPrefix};
use common::server::{Bucket, Server};
use fault_proxy::{CannedResponse, Fault, Front, Gate, Progress, Proxy};
use storage_core::{
    ChecksumAlgorithm, CopyOptions, ETag, Error, ErrorKind, Key, Memory, Metadata, Result, Storage,
};
use storage_s3::{Quirks, S3, S3Builder, copy_between};
use tools::curl;

const PART: usize = 5 << 20;

/// Two buckets of one server. Each storage has a prefix in its bucket.
struct Pair {
    proxy: Proxy,
    source: Storage,
    target: Storage,
    /// The source, not through the proxy.
    direct_source: Storage,
    /// The driver of the source, to make others like it.
    builder: S3Builder,
    _guard: Box<dyn std::any::Any>,
}

impl Pair {
    /// Returns buckets of the server in this process, with a profile.
    fn in_process(quirks: Quirks) -> Self {
        let source = Server::get().bucket();
        let target = source.beside();
        let front = Front::before_s3s_fs(&Server::get().endpoint());
        let builders = [source.builder().quirks(quirks), target.builder().quirks(quirks)];
        let prefixes = ["from here", "to/there"].map(str::to_owned);
        Self::new(&front, builders, prefixes, Box::new((source, target)))
    }

    /// Returns buckets of the server that the environment names. Creates the second one.
    fn external() -> Option<Self> {
        let external = External::get().filter(|_| curl::is_installed())?;
        let name = format!("anystorage-between-{}", std::process::id());
        let (user, url) = (external.curl_user(), external.url_of_bucket(&name));
        assert_eq!(curl::signed(&user, "PUT", &url, ""), 200);
        let endpoint = std::env::var("STORAGE_S3_TEST_ENDPOINT").unwrap().parse().unwrap();
        let builders = [external.builder(), external.builder_of_bucket(&name)];
        let guards = [&builders[0], &builders[1]].map(|builder| TestPrefix::of(&build(builder)));
        let prefixes = [&guards[0], &guards[1]].map(|guard| {
            let key = guard.storage().driver_as::<S3>().unwrap().key("x").unwrap();
            key.as_str().strip_suffix("/x").unwrap().to_owned()
        });
        Some(Self::new(&Front::before(&endpoint), builders, prefixes, Box::new(guards)))
    }

    fn new(
        front: &Arc<Front>,
        [source, target]: [S3Builder; 2],
        [from, to]: [String; 2],
        guard: Box<dyn std::any::Any>,
    ) -> Self {
        let proxy = Proxy::below(front, "");
        Self {
            source: through(&proxy, source.clone()).prefixed(&from).unwrap(),
            target: through(&proxy, target).prefixed(to).unwrap(),
            direct_source: build(&source).prefixed(from).unwrap(),
            builder: source.endpoint(front.endpoint()),
            proxy,
            _guard: guard,
        }
    }

    async fn copy(&self, from: &str, to: &str, options: CopyOptions) -> Result<()> {
        let (from, to) = (Key::new(from).unwrap(), Key::new(to).unwrap());
        copy_between(&self.source, &from, &self.target, &to, options).unwrap().await
    }

    /// Returns the operations since the number of requests, in order.
    fn operations_since(&self, seen: usize) -> Vec<&'static str> {
        self.proxy
            .inspect(|record| record.of("*").skip(seen).map(|request| request.operation).collect())
    }

    fn seen(&self) -> usize {
        self.proxy.count("*")
    }
}

fn build(builder: &S3Builder) -> Storage {
    Storage::new(builder.clone().build().unwrap())
}

/// Returns a storage whose requests pass through a proxy. Objects of more than one part are copied
/// by ranges.
fn through(proxy: &Proxy, builder: S3Builder) -> Storage {
    let builder = builder.part_size(PART as u64).largest_copy(PART as u64);
    Storage::new(builder.endpoint(proxy.endpoint()).build().unwrap())
}

/// Creates tests on both servers.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&super::Pair::in_process(super::Quirks::Minio)).await;
            })+
        }
        mod external {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $test() {
                if let Some(pair) = super::Pair::external() {
                    super::$test(&pair).await;
                }
            })+
        }
    };
}

on_both! {
    a_copy_to_another_bucket_is_one_request_and_moves_no_bytes,
    a_copy_with_other_metadata_keeps_the_bytes_and_the_checksums,
    a_copy_of_another_version_than_the_named_one_fails,
    a_missing_source_is_not_found_under_its_key_in_the_storage,
    keys_with_special_characters_are_copied,
    a_large_object_is_copied_by_ranges_of_one_version,
    a_source_that_is_deleted_during_a_copy_by_ranges_leaves_no_upload,
}

fn large(byte: u8) -> Bytes {
    Bytes::from(vec![byte; PART + 1_000])
}

fn described() -> Metadata {
    Metadata::new()
        .content_type("text/x-test")
        .cache_control("max-age=60")
        .content_disposition("attachment; filename=\"a.txt\"")
        .content_encoding("gzip")
        .content_language("de")
        .user("color", "blue")
}

async fn etag(storage: &Storage, key: &str) -> ETag {
    storage.stat(key).await.unwrap().etag.unwrap()
}

async fn read(storage: &Storage, key: &str) -> Bytes {
    storage.open(key).await.unwrap().bytes().await.unwrap()
}

async fn a_copy_to_another_bucket_is_one_request_and_moves_no_bytes(pair: &Pair) {
    let saved = pair.source.save("a", "hello").metadata(described()).await.unwrap();
    let seen = pair.seen();
    pair.copy("a", "b", CopyOptions::new()).await.unwrap();
    assert_eq!(pair.operations_since(seen), ["CopyObject"]);
    let copied = pair.target.stat("b").await.unwrap();
    assert_eq!((copied.metadata, copied.size), (described(), saved.size));
    assert_eq!(read(&pair.target, "b").await, "hello");
    assert!(!pair.source.exists("b").await.unwrap());
}

async fn a_copy_with_other_metadata_keeps_the_bytes_and_the_checksums(pair: &Pair) {
    let save = pair.source.save("a", "hello").metadata(described());
    let saved = save.compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    let seen = pair.seen();
    let metadata = Metadata::new().user("color", "red");
    pair.copy("a", "b.html", CopyOptions::new().metadata(metadata.clone())).await.unwrap();
    assert_eq!(pair.operations_since(seen), ["HeadObject", "CopyObject"]);
    let copied = pair.target.stat("b.html").await.unwrap();
    assert_eq!(copied.metadata, metadata.content_type("text/html"));
    let sha256 = |meta: &storage_core::ObjectMeta| {
        meta.checksums.get(ChecksumAlgorithm::Sha256).cloned().unwrap()
    };
    assert_eq!(sha256(&copied), sha256(&saved));
    assert_eq!(read(&pair.target, "b.html").await, "hello");
}

async fn a_copy_of_another_version_than_the_named_one_fails(pair: &Pair) {
    pair.source.save("a", "first").await.unwrap();
    let first = etag(&pair.source, "a").await;
    let named = CopyOptions::new().if_source_match(first);
    pair.target.save("b", "old").await.unwrap();
    pair.source.save("a", "second").await.unwrap();
    for options in [named.clone(), named.clone().metadata(Metadata::new())] {
        let error = pair.copy("a", "b", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
        assert_eq!(read(&pair.target, "b").await, "old");
    }
    pair.source.save("a", "first").await.unwrap();
    let seen = pair.seen();
    pair.copy("a", "b", named).await.unwrap();
    assert_eq!(pair.operations_since(seen), ["CopyObject"]);
    assert_eq!(read(&pair.target, "b").await, "first");
}

async fn a_missing_source_is_not_found_under_its_key_in_the_storage(pair: &Pair) {
    for options in [CopyOptions::new(), CopyOptions::new().metadata(Metadata::new())] {
        let error = pair.copy("missing", "b", options).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("missing")), "{error}");
        assert_eq!(error.operation(), Some(storage_core::Operation::Copy));
        assert_eq!(error.driver(), Some("s3"));
    }
}

async fn keys_with_special_characters_are_copied(pair: &Pair) {
    for key in ["a b+c", "100%/%41%2F", "é/日本語 😀", "q?x=1&y=#z", "(a)'\"*!~;:@,$"] {
        pair.source.save(key, key).await.unwrap();
        pair.copy(key, key, CopyOptions::new()).await.unwrap();
        assert_eq!(read(&pair.target, key).await, key);
        let version = CopyOptions::new().metadata(Metadata::new().content_type("text/x-new"));
        pair.copy(key, key, version).await.unwrap();
        let copied = pair.target.stat(key).await.unwrap();
        assert_eq!(copied.content_type(), Some("text/x-new"), "{key}");
    }
}

async fn a_large_object_is_copied_by_ranges_of_one_version(pair: &Pair) {
    pair.direct_source.save("a", large(1)).metadata(described()).await.unwrap();
    let version = etag(&pair.source, "a").await;
    let refused = refuse_large(pair);
    let options = CopyOptions::new().if_source_match(version.clone());
    pair.copy("a", "b", options).await.unwrap();
    refused.assert_fired();
    assert_eq!(pair.proxy.count("GetObject") + pair.proxy.count("UploadPart"), 0);
    let copied = pair.target.stat("b").await.unwrap();
    assert_eq!(copied.metadata, described());
    assert!(read(&pair.target, "b").await == large(1));
    pair.proxy.inspect(|record| {
        assert_eq!(record.count("UploadPartCopy"), 2);
        for part in record.of("UploadPartCopy") {
            let condition = part.headers["x-amz-copy-source-if-match"].to_str().unwrap();
            assert_eq!(condition, version.to_string());
        }
    });
}

/// Responds to a copy in one request as AWS does for an object above 5 GiB.
fn refuse_large(pair: &Pair) -> fault_proxy::PlannedFault {
    let response = CannedResponse::error(400, "InvalidRequest");
    pair.proxy.on("CopyObject").then(Fault::Respond(response))
}

/// Copies a large object, and changes the source before its second range is copied.
async fn copy_while(
    pair: &Pair,
    options: CopyOptions,
    change: impl Future<Output = ()>,
) -> Result<()> {
    let refused = refuse_large(pair);
    let gate = Gate::new();
    let held = pair.proxy.on("UploadPartCopy").call(2).then(Fault::Hold(gate.clone()));
    let (from, to) = (Key::new("a").unwrap(), Key::new("b").unwrap());
    let copy = copy_between(&pair.source, &from, &pair.target, &to, options).unwrap();
    let copying = tokio::spawn(copy);
    // The first range has been copied, and the second one has not.
    pair.proxy
        .until("both ranges", |record| {
            record.count_at("UploadPartCopy", Progress::Held) == 1
                && record.count_at("UploadPartCopy", Progress::Responded) == 1
        })
        .await;
    change.await;
    gate.open();
    let copied = copying.await.unwrap();
    held.assert_fired();
    refused.assert_fired();
    copied
}

async fn a_source_that_is_deleted_during_a_copy_by_ranges_leaves_no_upload(pair: &Pair) {
    pair.direct_source.save("a", large(1)).await.unwrap();
    pair.target.save("b", "old").await.unwrap();
    let error = copy_while(pair, CopyOptions::new(), async {
        pair.direct_source.delete("a").await.unwrap();
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(read(&pair.target, "b").await, "old");
    pair.proxy.no_upload_is_left().await;
}

/// Neither s3s-fs nor RadosGW evaluates the condition of a part.
fn without_conditions_of_parts() -> impl Iterator<Item = Pair> {
    [Some(Pair::in_process(Quirks::Ceph)), Pair::external()].into_iter().flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_source_that_is_replaced_during_a_copy_by_ranges_is_refused_and_leaves_no_upload() {
    for pair in without_conditions_of_parts() {
        pair.direct_source.save("a", large(1)).await.unwrap();
        pair.target.save("b", "old").await.unwrap();
        let named = CopyOptions::new().if_source_match(etag(&pair.source, "a").await);
        let replace = async {
            pair.direct_source.save("a", large(2)).await.unwrap();
        };
        let error = copy_while(&pair, named, replace).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
        assert_eq!(read(&pair.target, "b").await, "old");
        pair.proxy.no_upload_is_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_copy_by_ranges_starts_again_with_the_version_that_replaced_its_source() {
    for pair in without_conditions_of_parts() {
        pair.direct_source.save("a", large(1)).await.unwrap();
        let replace = async {
            pair.direct_source.save("a", large(2)).await.unwrap();
        };
        copy_while(&pair, CopyOptions::new(), replace).await.unwrap();
        assert!(read(&pair.target, "b").await == large(2));
        assert_eq!(pair.proxy.count("CreateMultipartUpload"), 2);
        pair.proxy.no_upload_is_left().await;
    }
}

/// Returns whether a copy by the service is possible.
fn is_possible(source: &Storage, target: &Storage, options: CopyOptions) -> bool {
    let key = Key::new("a").unwrap();
    copy_between(source, &key, target, &key, options).is_some()
}

#[tokio::test]
async fn storages_of_other_services_drivers_and_layers_have_no_copy_between_them() {
    let pair = Pair::in_process(Quirks::Minio);
    let Pair { source, target, builder, .. } = &pair;
    let possible =
        |source: &Storage, target: &Storage| is_possible(source, target, CopyOptions::new());
    assert!(possible(source, target) && possible(target, source));

    let elsewhere = build(&builder.clone().endpoint("http://127.0.0.1:9".parse().unwrap()));
    let in_host = build(&builder.clone().path_style(false));
    let other_region = build(&builder.clone().region("eu-west-1"));
    assert!(possible(&in_host, target), "the same endpoint with another style of URLs");
    for other in [elsewhere, other_region, Memory::storage()] {
        assert!(!possible(&other, target) && !possible(target, &other), "{other:?}");
    }
    assert!(!possible(source, &target.read_only()) && !possible(&source.read_only(), target));
    let deep = target.prefixed("d".repeat(1_000)).unwrap();
    let key = Key::new("k".repeat(100)).unwrap();
    assert!(copy_between(source, &key, &deep, &key, CopyOptions::new()).is_none());
    assert_eq!(pair.seen(), 0);
}

#[tokio::test]
async fn a_condition_that_the_service_ignores_is_evaluated_by_reading_and_saving() {
    let pair = Pair::in_process(Quirks::Minio);
    let create = CopyOptions::new().create_new();
    assert!(!is_possible(&pair.source, &pair.target, create.clone()));
    pair.source.save("a", "hello").await.unwrap();
    let from = pair.source.driver_as::<S3>().unwrap();
    let to = pair.target.driver_as::<S3>().unwrap();
    let (a, b) = (from.key("a").unwrap(), to.key("b").unwrap());
    let copy = || to.copy_from(&from, &a, &b, &create);
    copy().await.unwrap();
    assert_eq!(read(&pair.target, "b").await, "hello");
    assert_eq!(copy().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(pair.proxy.count("CopyObject"), 0);
}

#[tokio::test]
async fn another_access_key_is_refused_where_it_may_have_other_buckets_of_the_same_name() {
    for (quirks, is_refused) in [(Quirks::Ceph, true), (Quirks::Minio, false)] {
        let pair = Pair::in_process(quirks);
        let other = pair.builder.clone().access_key_id("AKANOTHER").build().unwrap();
        let source = Storage::new(other);
        let key = Key::new("a").unwrap();
        let copy = copy_between(&source, &key, &pair.target, &key, CopyOptions::new());
        let error = copy.unwrap().await.unwrap_err();
        let expected = if is_refused { ErrorKind::Unsupported } else { ErrorKind::NotFound };
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!(pair.seen() == 0, is_refused);
    }
}

#[tokio::test]
async fn a_source_that_the_target_may_not_read_is_permission_denied() {
    let pair = Pair::in_process(Quirks::Minio);
    pair.source.save("a", "hello").await.unwrap();
    let denied = pair.proxy.on("CopyObject");
    let denied = denied.then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let error: Error = pair.copy("a", "b", CopyOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::PermissionDenied, Some("a")));
    denied.assert_fired();
}

#[tokio::test]
async fn a_copy_between_two_configurations_of_one_bucket_copies_no_object_onto_itself() {
    let bucket: Bucket = Server::get().bucket();
    let front = Front::before_s3s_fs(&Server::get().endpoint());
    let proxy = Proxy::below(&front, "");
    let [one, other] =
        ["a", "a"].map(|prefix| through(&proxy, bucket.builder()).prefixed(prefix).unwrap());
    one.save("x", "hello").await.unwrap();
    let key = Key::new("x").unwrap();
    copy_between(&one, &key, &other, &key, CopyOptions::new()).unwrap().await.unwrap();
    assert_eq!((proxy.count("HeadObject"), proxy.count("CopyObject")), (1, 0));
    let metadata = CopyOptions::new().metadata(Metadata::new().content_type("text/x-new"));
    copy_between(&one, &key, &other, &key, metadata).unwrap().await.unwrap();
    assert_eq!(proxy.count("CopyObject"), 1);
    assert_eq!(one.stat("x").await.unwrap().content_type(), Some("text/x-new"));
}
