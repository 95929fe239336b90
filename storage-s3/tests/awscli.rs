//! awscli and this driver, in one bucket: what one saves, the other reads, with the same headers
//! and bytes.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use storage_core::{Error, ErrorKind, Metadata, Payload, Storage};
use tempfile::TempDir;
use tools::{Bucket, EXPIRY, EXPIRY_IN_HTTP, bytes, expiry, listed};

const MIB: usize = 1024 * 1024;

tools::on_servers! {
    both:
        awscli_reads_an_object_of_a_single_put,
        awscli_reads_an_object_saved_in_parts,
        awscli_downloads_20_mib_saved_in_parts,
        awscli_lists_saved_objects,
        awscli_reads_a_copy_with_its_metadata,
        an_object_of_put_object_is_read,
        an_object_that_awscli_uploaded_in_parts_is_read,
        an_object_that_awscli_copied_is_read_with_its_metadata,
        a_tree_that_awscli_uploaded_is_read,
        awscli_downloads_a_saved_tree,
        an_object_that_awscli_replaced_is_another_version,
        an_object_that_awscli_deleted_is_not_found;
    external:
        stale_uploads_of_awscli_are_aborted_only_below_the_prefix,
        only_the_older_of_two_uploads_is_aborted,
        an_upload_whose_name_is_no_valid_key_does_not_prevent_the_others,
        uploads_on_several_pages_are_all_aborted;
    moto:
        old_uploads_are_aborted;
}

/// All metadata of the contract.
fn metadata() -> Metadata {
    Metadata::new()
        .content_type("text/css; charset=utf-8")
        .content_encoding("gzip")
        .content_disposition("attachment; filename=\"a b.css\"")
        .content_language("de-AT")
        .cache_control("public, max-age=60")
        .expires(expiry())
        .user("plain", "two  words")
        .user("umlaut", "Löveläce 😀")
}

/// The same as awscli prints it.
fn assert_headers(response: &Value) {
    assert_eq!(response["ContentType"], "text/css; charset=utf-8", "{response}");
    assert_eq!(response["ContentEncoding"], "gzip", "{response}");
    assert_eq!(response["ContentDisposition"], "attachment; filename=\"a b.css\"", "{response}");
    assert_eq!(response["ContentLanguage"], "de-AT", "{response}");
    assert_eq!(response["CacheControl"], "public, max-age=60", "{response}");
    assert_eq!(response["ExpiresString"], EXPIRY_IN_HTTP, "{response}");
    assert_eq!(response["Metadata"]["plain"], "two  words", "{response}");
    // awscli does not decode encoded words (RFC 2047).
    assert_eq!(response["Metadata"]["umlaut"], "=?UTF-8?B?TMO2dmVsw6RjZSDwn5iA?=", "{response}");
}

/// Gets an object with awscli. Returns the printed headers and the bytes.
fn get(bucket: &Bucket, key: &str) -> (Value, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    let response = bucket.s3api("get-object", &["--key", key, text(&file)]);
    (response, fs::read(file).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn awscli_reads_an_object_of_a_single_put(bucket: &Bucket) {
    let saved =
        bucket.storage().save("dir/a b+é.css", "body {}").metadata(metadata()).await.unwrap();
    let (response, body) = get(bucket, "dir/a b+é.css");
    assert_headers(&response);
    assert_eq!(body, b"body {}");
    assert_eq!(response["ContentLength"], 7);
    assert_eq!(response["ETag"], saved.etag.unwrap().to_string());
}

async fn awscli_reads_an_object_saved_in_parts(bucket: &Bucket) {
    let storage = Storage::new(bucket.builder().part_size(5 * MIB as u64).build().unwrap());
    let whole = bytes(12 * MIB);
    let chunks =
        whole.chunks(100_000).map(|chunk| Ok::<_, Error>(chunk.to_vec())).collect::<Vec<_>>();
    let payload = Payload::from_stream(futures_util::stream::iter(chunks));
    let saved = storage.save("large.css", payload).metadata(metadata()).await.unwrap();
    let (response, body) = get(bucket, "large.css");
    assert_headers(&response);
    assert!(body == whole);
    assert_eq!(response["ContentLength"], whole.len());
    let etag = storage.stat("large.css").await.unwrap().etag.unwrap();
    assert_eq!(response["ETag"], etag.to_string());
    assert!(etag.opaque().ends_with("-3"), "three parts were sent");
    // RadosGW returns no ETag when an upload is completed.
    assert!(saved.etag.is_none_or(|saved| saved == etag));
}

async fn awscli_downloads_20_mib_saved_in_parts(bucket: &Bucket) {
    let whole = bytes(20 * MIB);
    bucket.storage().save("large.bin", whole.clone()).await.unwrap();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("large.bin");
    bucket.s3(&["cp", "s3://{}/large.bin", text(&file)]);
    assert!(fs::read(file).unwrap() == whole);
}

async fn awscli_lists_saved_objects(bucket: &Bucket) {
    let storage = bucket.storage();
    let mut saved = BTreeMap::new();
    for key in ["a b", "a+b", "a%20b", "dir/é", "dir/😀.png"] {
        saved.insert(key.to_owned(), storage.save(key, key.to_owned()).await.unwrap());
    }
    let response = bucket.s3api("list-objects-v2", &[]);
    let contents = response["Contents"].as_array().unwrap();
    assert_eq!(contents.len(), saved.len());
    for (object, (key, meta)) in contents.iter().zip(saved) {
        assert_eq!(object["Key"], key);
        assert_eq!(object["Size"], meta.size);
        assert_eq!(object["ETag"], meta.etag.unwrap().to_string());
    }
}

async fn awscli_reads_a_copy_with_its_metadata(bucket: &Bucket) {
    let storage = bucket.storage();
    storage.save("a b+é", "text").metadata(metadata()).await.unwrap();
    storage.copy("a b+é", "kept +é").await.unwrap();
    let (response, body) = get(bucket, "kept +é");
    assert_headers(&response);
    assert_eq!(body, b"text");

    storage
        .copy("a b+é", "replaced")
        .metadata(Metadata::new().content_type("text/x-other"))
        .await
        .unwrap();
    let (response, body) = get(bucket, "replaced");
    assert_eq!(body, b"text");
    assert_eq!(response["ContentType"], "text/x-other");
    for gone in
        ["ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "Expires"]
    {
        assert_eq!(response[gone], Value::Null, "{response}");
    }
    assert_eq!(response["Metadata"], json!({}));
}

/// The metadata as arguments of awscli. It accepts only ASCII for user metadata, so that other
/// clients write encoded words.
const HEADERS: &[&str] = &[
    "--content-type",
    "text/css; charset=utf-8",
    "--content-encoding",
    "gzip",
    "--content-disposition",
    "attachment; filename=\"a b.css\"",
    "--content-language",
    "de-AT",
    "--cache-control",
    "public, max-age=60",
    "--expires",
    EXPIRY,
    "--metadata",
    r#"{"plain": "two  words", "umlaut": "=?UTF-8?Q?L=C3=B6vel=C3=A4ce_=F0=9F=98=80?="}"#,
];

async fn an_object_of_put_object_is_read(bucket: &Bucket) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "body {}").unwrap();
    let saved = bucket.s3api(
        "put-object",
        &[&["--key", "dir/a b+é.css", "--body", text(&file)], HEADERS].concat(),
    );
    let storage = bucket.storage();
    let object = storage.open("dir/a b+é.css").await.unwrap();
    assert_eq!(object.meta().metadata, metadata());
    assert_eq!(object.meta().size, 7);
    assert_eq!(object.meta().etag.as_ref().unwrap().to_string(), saved["ETag"]);
    assert_eq!(object.meta(), &storage.stat("dir/a b+é.css").await.unwrap());
    assert_eq!(object.text().await.unwrap(), "body {}");
}

async fn an_object_that_awscli_uploaded_in_parts_is_read(bucket: &Bucket) {
    let whole = bytes(20 * MIB);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("large.css");
    fs::write(&file, &whole).unwrap();
    bucket.s3(&[&["cp", text(&file), "s3://{}/large.css"], HEADERS].concat());
    let storage = bucket.storage();
    let object = storage.open("large.css").await.unwrap();
    assert_eq!(object.meta().metadata, metadata());
    assert_eq!(object.meta().size, whole.len() as u64);
    assert!(object.meta().etag.as_ref().unwrap().opaque().ends_with("-3"), "three parts were sent");
    assert!(object.bytes().await.unwrap() == whole);
    let border = 8 * MIB as u64;
    let part = storage
        .open("large.css")
        .range(border - 2..border + 2)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(part, whole[8 * MIB - 2..8 * MIB + 2]);
}

async fn an_object_that_awscli_copied_is_read_with_its_metadata(bucket: &Bucket) {
    let storage = bucket.storage();
    storage.save("a", "text").metadata(metadata()).await.unwrap();
    bucket.s3(&["cp", "s3://{}/a", "s3://{}/b c+é"]);
    let object = storage.open("b c+é").await.unwrap();
    assert_eq!(object.meta().metadata, metadata());
    assert_eq!(object.text().await.unwrap(), "text");
}

/// Names that are encoded in URLs, in XML or in a shell.
const NAMES: [&str; 9] = [
    "a b",
    "a%20b",
    "a&<b>\"'",
    "a+b",
    "dir/a.txt",
    "dir/sub/#?;=@$!*().txt",
    "dir/é/naïve.txt",
    "e\u{301}",
    "😀.png",
];

async fn a_tree_that_awscli_uploaded_is_read(bucket: &Bucket) {
    let directory = TempDir::new().unwrap();
    for name in NAMES {
        let file = directory.path().join("tree").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, name).unwrap();
    }
    bucket.s3(&["sync", text(&directory.path().join("tree")), "s3://{}/tree"]);
    let storage = bucket.storage().prefixed("tree").unwrap();
    let names: Vec<_> =
        listed(storage.list("")).await.iter().map(|item| item.name().to_owned()).collect();
    assert_eq!(names, NAMES);
    for name in NAMES {
        assert_eq!(storage.open(name).await.unwrap().text().await.unwrap(), name);
    }
}

async fn awscli_downloads_a_saved_tree(bucket: &Bucket) {
    let storage = bucket.storage().prefixed("tree").unwrap();
    for name in NAMES {
        storage.save(name, name).await.unwrap();
    }
    let directory = TempDir::new().unwrap();
    bucket.s3(&["sync", "s3://{}/tree", text(directory.path())]);
    for name in NAMES {
        assert_eq!(fs::read_to_string(directory.path().join(name)).unwrap(), name);
    }
    // Nothing has changed, so that a second sync transfers nothing.
    let printed = bucket.s3(&["sync", "s3://{}/tree", text(directory.path())]);
    assert_eq!(printed, "");
}

async fn an_object_that_awscli_replaced_is_another_version(bucket: &Bucket) {
    let storage = bucket.storage();
    let first = storage.save("a", "first").await.unwrap().etag.unwrap();
    let object = storage.open("a").if_match(first.clone()).await.unwrap();
    assert_eq!(object.text().await.unwrap(), "first");
    bucket.put("a", b"second");
    let error = storage.open("a").if_match(first.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    let error = storage.save("a", "third").if_match(first).await.unwrap_err();
    let supports_conditions = storage.info().capabilities.save_if_match;
    let refused =
        if supports_conditions { ErrorKind::PreconditionFailed } else { ErrorKind::Unsupported };
    assert_eq!(error.kind(), refused, "{error}");
    assert_eq!(get(bucket, "a").1, b"second");
}

async fn an_object_that_awscli_deleted_is_not_found(bucket: &Bucket) {
    let storage = bucket.storage();
    storage.save("a", "text").await.unwrap();
    bucket.s3api("delete-object", &["--key", "a"]);
    assert!(!storage.exists("a").await.unwrap());
    assert_eq!(storage.open("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    storage.delete("a").await.unwrap();
}

/// Creates an upload with awscli and sends one part.
fn begin(bucket: &Bucket, key: &str) -> String {
    let created = bucket.s3api("create-multipart-upload", &["--key", key]);
    let id = created["UploadId"].as_str().unwrap().to_owned();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("part");
    fs::write(&file, "a part").unwrap();
    let part = ["--key", key, "--part-number", "1", "--upload-id", &id, "--body", text(&file)];
    bucket.s3api("upload-part", &part);
    id
}

/// Returns the keys of unfinished uploads.
fn uploads(bucket: &Bucket) -> Vec<String> {
    let response = bucket.boto("list_multipart_uploads", json!({}));
    let uploads = response["Uploads"].as_array().cloned().unwrap_or_default();
    uploads.iter().map(|upload| upload["Key"].as_str().unwrap().to_owned()).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

async fn stale_uploads_of_awscli_are_aborted_only_below_the_prefix(bucket: &Bucket) {
    begin(bucket, "here/é +.bin");
    begin(bucket, "there/b.bin");
    let storage = bucket.storage();
    assert_eq!(storage.abort_stale("", HOUR).await.unwrap(), 0);
    assert_eq!(uploads(bucket), ["here/é +.bin", "there/b.bin"]);
    assert_eq!(storage.abort_stale("here/", Duration::ZERO).await.unwrap(), 1);
    assert_eq!(uploads(bucket), ["there/b.bin"]);
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 1);
    assert!(uploads(bucket).is_empty());
}

async fn only_the_older_of_two_uploads_is_aborted(bucket: &Bucket) {
    const APART: Duration = Duration::from_secs(4);
    // A service may round the time of an upload to a second.
    const ROUNDING: Duration = Duration::from_secs(1);
    let storage = bucket.storage();
    for _ in 0..5 {
        begin(bucket, "old");
        let between = std::time::Instant::now();
        tokio::time::sleep(APART).await;
        begin(bucket, "young");
        let older_than = between.elapsed() - APART / 2;
        let aborted = storage.abort_stale("", older_than).await.unwrap();
        // On a slow machine the younger upload has become old as well.
        if between.elapsed() + ROUNDING < older_than + APART {
            assert_eq!((aborted, uploads(bucket)), (1, vec!["young".to_owned()]));
            return;
        }
        storage.abort_stale("", Duration::ZERO).await.unwrap();
    }
    panic!("this machine is too slow to distinguish young and old uploads");
}

async fn an_upload_whose_name_is_no_valid_key_does_not_prevent_the_others(bucket: &Bucket) {
    bucket
        .try_boto("create_multipart_upload", json!({ "Key": "a\u{1}b" }))
        .expect_err("boto3 cannot read the response");
    for key in [" space ", "a\nb", "z"] {
        bucket.boto("create_multipart_upload", json!({ "Key": key }));
    }
    bucket
        .try_boto("list_multipart_uploads", json!({}))
        .expect_err("boto3 cannot read this either");
    let storage = bucket.storage();
    let error = storage.abort_stale("", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
    let left: Vec<_> = storage.multipart_uploads("").collect().await;
    assert!(!left.is_empty());
    // Only names that are no valid keys are left.
    assert!(left.iter().all(Result::is_err), "{left:?}");
}

async fn uploads_on_several_pages_are_all_aborted(bucket: &Bucket) {
    // A page has at most 1,000 uploads. Those of one key are distinguished by their ids.
    for number in 0..1_010 {
        bucket
            .boto("create_multipart_upload", json!({ "Key": format!("key +é {}", number / 500) }));
    }
    let storage = bucket.storage();
    assert_eq!(storage.abort_stale("key", Duration::ZERO).await.unwrap(), 1_010);
    assert!(uploads(bucket).is_empty());
}

/// moto reports that every upload was created in 2010.
async fn old_uploads_are_aborted(bucket: &Bucket) {
    begin(bucket, "a");
    let storage = bucket.storage();
    assert_eq!(storage.abort_stale("", HOUR).await.unwrap(), 1);
    assert!(uploads(bucket).is_empty());
}
