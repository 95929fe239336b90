//! Features of S3 that RadosGW lacks. On moto: ACLs, encryption, storage classes, versions,
//! conditions. On the server in this process: the checksums that it verifies and stores.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::server::Server;
use serde_json::{Value, json};
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, Error, ErrorKind, Metadata, Payload, Storage, UrlMethod,
};
use storage_s3::{ChecksumMode, Quirks, S3Builder};
use tempfile::TempDir;
use tools::{Bucket, boto, bytes, curl, listed};

const MIB: usize = 1024 * 1024;
const SMALL: &str = "small";
const LARGE: &str = "large";
const COPY: &str = "copy";
const REPLACED: &str = "replaced";
const BY_RANGES: &str = "by-ranges";

tools::on_servers! {
    moto:
        every_object_has_the_acl_of_the_option,
        without_the_option_only_the_owner_can_read_an_object,
        an_upload_by_link_has_the_acl_of_the_option,
        every_object_has_the_encryption_of_the_options,
        every_object_has_the_storage_class_of_the_option,
        a_checksum_that_boto_sent_is_returned_and_verified,
        a_checksum_of_parts_does_not_count_for_the_object,
        an_object_is_created_once,
        an_object_in_parts_is_created_once,
        a_copy_is_created_once,
        a_version_is_replaced_once,
        a_missing_object_matches_no_etag,
        an_overwritten_object_is_the_new_version,
        a_deleted_object_is_not_found_though_its_versions_exist,
        a_deleted_object_can_be_created_again,
        delete_many_hides_objects_with_versions,
        a_copy_onto_itself_changes_the_metadata_of_the_newest_version;
}

/// moto accepts all that AWS accepts.
fn builder(bucket: &Bucket) -> S3Builder {
    bucket.builder().quirks(Quirks::None)
}

fn storage_of(bucket: &Bucket) -> Storage {
    Storage::new(builder(bucket).build().unwrap())
}

fn in_small_parts(builder: S3Builder) -> Storage {
    Storage::new(builder.part_size(5 * MIB as u64).build().unwrap())
}

fn stream_of(bytes: &[u8]) -> Payload {
    let chunks: Vec<_> = bytes.chunks(MIB).map(|chunk| Ok::<_, Error>(chunk.to_vec())).collect();
    Payload::from_stream(futures_util::stream::iter(chunks))
}

/// Saves objects in every way with a driver of these options.
async fn save_in_every_way(bucket: &Bucket, set_up: impl Fn(S3Builder) -> S3Builder) {
    let storage = in_small_parts(set_up(builder(bucket)));
    storage.save(SMALL, "text").await.unwrap();
    storage.save(LARGE, stream_of(&bytes(6 * MIB))).await.unwrap();
    storage.copy(SMALL, COPY).await.unwrap();
    storage
        .copy(SMALL, REPLACED)
        .metadata(Metadata::new().content_type("text/x-other"))
        .await
        .unwrap();
    let by_ranges = in_small_parts(set_up(builder(bucket)).largest_copy(5 * MIB as u64));
    by_ranges.copy(LARGE, BY_RANGES).metadata(Metadata::new()).await.unwrap();
    assert!(
        storage.stat(BY_RANGES).await.unwrap().etag.unwrap().opaque().ends_with("-2"),
        "two ranges were copied"
    );
}

const ALL: [&str; 5] = [SMALL, LARGE, COPY, REPLACED, BY_RANGES];

/// Whether everyone may read the object.
fn is_public(bucket: &Bucket, key: &str) -> bool {
    // moto fails if the creation of an upload set no ACL.
    let Ok(acl) = bucket.try_boto("get_object_acl", json!({ "Key": key })) else { return false };
    acl["Grants"].as_array().unwrap().iter().any(|grant| {
        grant["Grantee"]["URI"] == "http://acs.amazonaws.com/groups/global/AllUsers"
            && grant["Permission"] == "READ"
    })
}

async fn every_object_has_the_acl_of_the_option(bucket: &Bucket) {
    save_in_every_way(bucket, |builder| builder.acl("public-read")).await;
    for key in ALL {
        assert!(is_public(bucket, key), "{key}");
    }
}

async fn without_the_option_only_the_owner_can_read_an_object(bucket: &Bucket) {
    save_in_every_way(bucket, |builder| builder).await;
    for key in ALL {
        assert!(!is_public(bucket, key), "{key}");
    }
}

async fn an_upload_by_link_has_the_acl_of_the_option(bucket: &Bucket) {
    if !curl::is_installed() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "text").unwrap();
    let storage = Storage::new(builder(bucket).acl("public-read").build().unwrap());
    let minute = Duration::from_secs(60);
    let link = storage.url("put").method(UrlMethod::Put).expires_in(minute).await.unwrap();
    assert_eq!(curl::put(&link, &file, &[]).status, 200);
    let link = storage.url("post").method(UrlMethod::Post).expires_in(minute).await.unwrap();
    let response = curl::post(&link, file.to_str().unwrap());
    assert!((200..300).contains(&response.status), "{response:?}");
    for key in ["put", "post"] {
        assert!(is_public(bucket, key), "{key}");
        assert_eq!(storage.open(key).await.unwrap().text().await.unwrap(), "text");
    }
}

/// Returns the headers of an object from boto3, with checksums.
fn head(bucket: &Bucket, key: &str) -> Value {
    bucket.boto("head_object", json!({ "Key": key, "ChecksumMode": "ENABLED" }))
}

async fn every_object_has_the_encryption_of_the_options(bucket: &Bucket) {
    save_in_every_way(bucket, |builder| builder.sse("aws:kms").sse_kms_key_id("a-key")).await;
    for key in ALL {
        let head = head(bucket, key);
        assert_eq!(head["ServerSideEncryption"], "aws:kms", "{key}: {head}");
        assert_eq!(head["SSEKMSKeyId"], "a-key", "{key}: {head}");
    }
    let storage = Storage::new(builder(bucket).sse("AES256").build().unwrap());
    storage.save(SMALL, "text").await.unwrap();
    assert_eq!(head(bucket, SMALL)["ServerSideEncryption"], "AES256");
    assert_eq!(storage.open(SMALL).await.unwrap().text().await.unwrap(), "text");
}

async fn every_object_has_the_storage_class_of_the_option(bucket: &Bucket) {
    save_in_every_way(bucket, |builder| builder.storage_class("STANDARD_IA")).await;
    for key in ALL {
        assert_eq!(head(bucket, key)["StorageClass"], "STANDARD_IA", "{key}");
    }
}

fn in_base64(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    BASE64.encode(Checksum::of(algorithm, bytes).value())
}

/// Saves a small object and one in parts on the server in this process. Returns the stored
/// checksums.
async fn checksums_of(mode: ChecksumMode, small: &'static [u8], large: &[u8]) -> [Checksums; 2] {
    let bucket = Server::get().bucket();
    let storage = in_small_parts(bucket.builder().checksum(mode));
    storage.save(SMALL, small).await.unwrap();
    storage.save(LARGE, stream_of(large)).await.unwrap();
    for (key, body) in [(SMALL, small), (LARGE, large)] {
        assert!(storage.open(key).await.unwrap().bytes().await.unwrap() == body, "{key}");
    }
    let large = storage.stat(LARGE).await.unwrap();
    assert!(large.etag.unwrap().opaque().ends_with("-3"), "three parts were sent");
    [storage.stat(SMALL).await.unwrap().checksums, large.checksums]
}

#[tokio::test]
async fn the_service_stores_the_crc64nvme_of_a_single_put() {
    // S3 stores it for an object in parts as well, but this server does not.
    let [of_small, _] = checksums_of(ChecksumMode::Crc64Nvme, b"text", &bytes(12 * MIB)).await;
    let algorithm = ChecksumAlgorithm::Crc64Nvme;
    assert_eq!(of_small.get(algorithm), Some(&Checksum::of(algorithm, b"text")));
}

#[tokio::test]
async fn the_service_stores_the_sha256_of_a_single_put() {
    let [of_small, of_large] = checksums_of(ChecksumMode::Sha256, b"text", &bytes(12 * MIB)).await;
    let algorithm = ChecksumAlgorithm::Sha256;
    assert_eq!(of_small.get(algorithm), Some(&Checksum::of(algorithm, b"text")));
    assert_eq!(of_large.get(algorithm), None, "S3 stores none for an object in parts");
}

#[tokio::test]
async fn the_service_stores_no_checksum_with_md5_and_none() {
    for mode in [ChecksumMode::Md5, ChecksumMode::None] {
        let kept = checksums_of(mode, b"text", &bytes(12 * MIB)).await;
        assert_eq!(kept, [Checksums::new(), Checksums::new()]);
    }
}

async fn a_checksum_that_boto_sent_is_returned_and_verified(bucket: &Bucket) {
    let storage = storage_of(bucket);
    bucket.boto(
        "put_object",
        json!({ "Key": "a", "Body": boto::body(b"text"), "ChecksumAlgorithm": "SHA256" }),
    );
    let recorded = storage.stat("a").await.unwrap().checksums;
    assert_eq!(
        recorded.get(ChecksumAlgorithm::Sha256),
        Some(&Checksum::of(ChecksumAlgorithm::Sha256, b"text"))
    );
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "text");
    // moto does not verify checksums, so that an object can have a wrong one.
    let wrong = in_base64(ChecksumAlgorithm::Sha256, b"other");
    let body = boto::body(b"text");
    let object =
        json!({ "Key": "b", "Body": body, "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": wrong });
    bucket.boto("put_object", object);
    let error = storage.open("b").await.unwrap().text().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
}

async fn a_checksum_of_parts_does_not_count_for_the_object(bucket: &Bucket) {
    let large = bytes(6 * MIB);
    let created = bucket
        .boto("create_multipart_upload", json!({ "Key": "a", "ChecksumAlgorithm": "SHA256" }));
    let id = &created["UploadId"];
    let mut parts = Vec::new();
    for (part, number) in large.chunks(5 * MIB).zip(1..) {
        let arguments = json!({
            "Key": "a", "UploadId": id, "PartNumber": number, "Body": boto::body(part), "ChecksumAlgorithm": "SHA256",
        });
        let sent = bucket.boto("upload_part", arguments);
        let sum = in_base64(ChecksumAlgorithm::Sha256, part);
        parts.push(json!({ "PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sum }));
    }
    let parts = json!({ "Parts": parts });
    bucket.boto(
        "complete_multipart_upload",
        json!({ "Key": "a", "UploadId": id, "MultipartUpload": parts }),
    );
    let object = storage_of(bucket).open("a").await.unwrap();
    assert!(object.meta().checksums.is_empty());
    assert!(object.bytes().await.unwrap() == large);
}

/// Asserts that no upload is left.
fn assert_no_uploads(bucket: &Bucket) {
    assert_eq!(bucket.boto("list_multipart_uploads", json!({}))["Uploads"], Value::Null);
}

async fn text(storage: &Storage, key: &str) -> String {
    storage.open(key).await.unwrap().text().await.unwrap()
}

async fn an_object_is_created_once(bucket: &Bucket) {
    let storage = storage_of(bucket);
    storage.save("a", "first").create_new().await.unwrap();
    let error = storage.save("a", "second").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(text(&storage, "a").await, "first");
    let other = storage.save("a", "second").unique_name().await.unwrap().key;
    assert_ne!(other, "a");
    assert_eq!(text(&storage, other.as_str()).await, "second");
}

async fn an_object_in_parts_is_created_once(bucket: &Bucket) {
    let storage = in_small_parts(builder(bucket));
    let large = bytes(6 * MIB);
    storage.save("a", stream_of(&large)).create_new().await.unwrap();
    let error = storage.save("a", stream_of(&bytes(7 * MIB))).create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(storage.open("a").await.unwrap().bytes().await.unwrap() == large);
    assert_no_uploads(bucket);
}

/// moto ignores the condition of a copy, so that the driver reads and saves the object.
async fn a_copy_is_created_once(bucket: &Bucket) {
    let storage = Storage::new(bucket.builder().quirks(Quirks::Minio).build().unwrap());
    storage.save("a", "first").await.unwrap();
    storage.save("b", "second").await.unwrap();
    storage.copy("a", "c").create_new().await.unwrap();
    let error = storage.copy("b", "c").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let error = storage.copy("b", "c").metadata(Metadata::new()).create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(text(&storage, "c").await, "first");
}

async fn a_version_is_replaced_once(bucket: &Bucket) {
    let storage = storage_of(bucket);
    let first = storage.save("a", "first").await.unwrap().etag.unwrap();
    storage.save("a", "second").if_match(first.clone()).await.unwrap();
    let error = storage.save("a", "third").if_match(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    assert_eq!(text(&storage, "a").await, "second");
}

async fn a_missing_object_matches_no_etag(bucket: &Bucket) {
    let storage = storage_of(bucket);
    let etag = storage.save("a", "first").await.unwrap().etag.unwrap();
    storage.delete("a").await.unwrap();
    let error = storage.save("a", "second").if_match(etag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    assert!(!storage.exists("a").await.unwrap());
}

fn keep_versions(bucket: &Bucket) {
    bucket.boto(
        "put_bucket_versioning",
        json!({ "VersioningConfiguration": { "Status": "Enabled" } }),
    );
}

/// Returns the bytes of all versions of an object, the newest first.
fn versions(bucket: &Bucket, key: &str) -> Vec<String> {
    let response = bucket.boto("list_object_versions", json!({ "Prefix": key }));
    let versions = response["Versions"].as_array().cloned().unwrap_or_default();
    let read = |version: &Value| {
        let object =
            bucket.boto("get_object", json!({ "Key": key, "VersionId": version["VersionId"] }));
        String::from_utf8(boto::bytes(&object)).unwrap()
    };
    versions.iter().map(read).collect()
}

async fn an_overwritten_object_is_the_new_version(bucket: &Bucket) {
    keep_versions(bucket);
    let storage = storage_of(bucket);
    let first = storage.save("a", "first").await.unwrap();
    let second = storage.save("a", "2nd").await.unwrap();
    assert_ne!(first.etag, second.etag);
    let stat = storage.stat("a").await.unwrap();
    assert_eq!((stat.size, stat.etag), (3, second.etag));
    assert_eq!(text(&storage, "a").await, "2nd");
    assert_eq!(listed(storage.list("")).await.len(), 1);
    assert_eq!(versions(bucket, "a"), ["2nd", "first"]);
}

async fn a_deleted_object_is_not_found_though_its_versions_exist(bucket: &Bucket) {
    keep_versions(bucket);
    let storage = storage_of(bucket);
    storage.save("a", "first").await.unwrap();
    storage.delete("a").await.unwrap();
    storage.delete("a").await.unwrap();
    assert!(!storage.exists("a").await.unwrap());
    assert_eq!(storage.stat("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.open("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.copy("a", "b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(listed(storage.list("")).await, []);
    assert_eq!(versions(bucket, "a"), ["first"]);
}

async fn a_deleted_object_can_be_created_again(bucket: &Bucket) {
    keep_versions(bucket);
    let storage = storage_of(bucket);
    storage.save("a", "first").create_new().await.unwrap();
    storage.delete("a").await.unwrap();
    storage.save("a", "second").create_new().await.unwrap();
    let error = storage.save("a", "third").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(text(&storage, "a").await, "second");
    assert_eq!(versions(bucket, "a"), ["second", "first"]);
}

async fn delete_many_hides_objects_with_versions(bucket: &Bucket) {
    keep_versions(bucket);
    let storage = storage_of(bucket);
    for key in ["a", "b", "c"] {
        storage.save(key, key).await.unwrap();
    }
    assert_eq!(storage.delete_many(storage.list("").entries()).finish().await.unwrap(), 3);
    assert_eq!(listed(storage.list("")).await, []);
    assert_eq!(versions(bucket, "b"), ["b"]);
}

async fn a_copy_onto_itself_changes_the_metadata_of_the_newest_version(bucket: &Bucket) {
    keep_versions(bucket);
    let storage = storage_of(bucket);
    storage.save("a", "first").content_type("text/x-old").await.unwrap();
    storage.copy("a", "a").metadata(Metadata::new().content_type("text/x-new")).await.unwrap();
    assert_eq!(storage.stat("a").await.unwrap().content_type(), Some("text/x-new"));
    assert_eq!(text(&storage, "a").await, "first");
    assert_eq!(versions(bucket, "a"), ["first", "first"]);
}
