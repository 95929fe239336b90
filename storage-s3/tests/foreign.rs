//! Objects of other clients, with names and headers that this driver would not write: each is read
//! or reported as an error item, and none hides the others.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;
mod tools;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use serde_json::json;
use storage_core::{ByteRange, ErrorKind, Key, Storage, UrlMethod};
use tempfile::TempDir;
use tools::{Bucket, Listed, boto, bytes, curl, listed};

const MIB: usize = 1024 * 1024;

tools::on_servers! {
    both:
        an_object_in_parts_is_read_whole_and_by_ranges,
        names_with_characters_that_urls_encode_are_read_unchanged,
        rolled_up_names_are_read_unchanged,
        a_name_that_xml_cannot_express_is_deleted_among_others,
        invalid_keys_are_error_items_in_order,
        folder_markers_are_counted_and_deleted_with_their_prefix,
        an_object_with_bytes_whose_name_ends_in_a_slash_is_not_a_folder_marker,
        invalid_keys_below_a_prefix_are_listed_without_it,
        a_listing_can_resume_after_each_invalid_key,
        a_listing_by_levels_contains_each_invalid_key_once,
        delete_many_of_a_listing_deletes_valid_keys_and_reports_the_rest,
        encoded_words_are_decoded,
        the_transfer_coding_is_not_part_of_the_content_encoding;
    external:
        invalid_keys_at_the_ends_of_pages_do_not_end_the_listing,
        delete_many_of_2500_keys_returns_each_result_in_order,
        headers_that_this_driver_does_not_send_are_read;
}

/// Valid keys with characters that some formats encode.
fn keys() -> BTreeSet<String> {
    let keys = [
        " starts",
        "#",
        "%",
        "%00",
        "%2F",
        "%zz",
        "+",
        "a b",
        "a%20b",
        "a&<b>\"'",
        "a+b",
        "a?b=c&d",
        "a?versionId=null",
        "a\\b",
        "dir é +%/...",
        "dir é +%/.hidden",
        "ends ",
        "e\u{301}",
        "photos/a.png",
        "~*!()[]",
        "é",
        "\u{ff5e}",
        "😀/😀",
    ];
    keys.into_iter().map(str::to_owned).chain(["k".repeat(1024)]).collect()
}

/// Names that are not valid keys.
fn invalid_keys(bucket: &Bucket) -> BTreeSet<String> {
    let odd = [
        ".", "..", "../up", "./a", "/", "//", "/lead", "a/../b", "a//b", "a/.", "a\tb", "a\nb",
        "a\rb", "a\u{1}b", "a\u{7f}b", "a\u{85}b", "photos/", "trail/",
    ];
    // moto cuts a name at a line break.
    let fits = |key: &&str| !bucket.server().is_moto() || !key.contains('\n');
    odd.into_iter().filter(fits).map(str::to_owned).collect()
}

/// Saves all of them with boto3, which accepts any name.
fn put_all(bucket: &Bucket, keys: &BTreeSet<String>) {
    for key in keys {
        bucket.put(key, key.as_bytes());
    }
}

fn names(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(Listed::name).collect()
}

async fn an_object_in_parts_is_read_whole_and_by_ranges(bucket: &Bucket) {
    let parts = [bytes(5 * MIB), bytes(6 * MIB), vec![7; 1]];
    let whole = parts.concat();
    let key = "dir/in parts +é";
    let created = bucket
        .boto("create_multipart_upload", json!({ "Key": key, "ContentType": "image/x-parts" }));
    let id = &created["UploadId"];
    let mut sent = Vec::new();
    for (part, number) in parts.iter().zip(1..) {
        let arguments =
            json!({ "Key": key, "UploadId": id, "PartNumber": number, "Body": boto::body(part) });
        sent.push(
            json!({ "PartNumber": number, "ETag": bucket.boto("upload_part", arguments)["ETag"] }),
        );
    }
    let parts = json!({ "Parts": sent });
    bucket.boto(
        "complete_multipart_upload",
        json!({ "Key": key, "UploadId": id, "MultipartUpload": parts }),
    );

    // Reads over several connections.
    let storage =
        Storage::new(bucket.builder().part_size(5 * MIB as u64).concurrency(3).build().unwrap());
    let object = storage.open(key).await.unwrap();
    assert_eq!(object.meta().size, whole.len() as u64);
    assert_eq!(object.meta().content_type(), Some("image/x-parts"));
    assert!(object.meta().etag.as_ref().unwrap().opaque().ends_with("-3"));
    assert!(object.bytes().await.unwrap() == whole);
    let borders: [(ByteRange, &[u8]); 3] = [
        ((5 * MIB as u64 - 3..5 * MIB as u64 + 3).into(), &whole[5 * MIB - 3..5 * MIB + 3]),
        (ByteRange::last(2), &whole[whole.len() - 2..]),
        ((MIB as u64..).into(), &whole[MIB..]),
    ];
    for (range, expected) in borders {
        assert!(
            storage.open(key).range(range).await.unwrap().bytes().await.unwrap() == expected,
            "{range}"
        );
    }
}

async fn names_with_characters_that_urls_encode_are_read_unchanged(bucket: &Bucket) {
    let keys = keys();
    put_all(bucket, &keys);
    let storage = bucket.storage();
    assert_eq!(names(&listed(storage.list("")).await), keys.iter().collect::<Vec<_>>());
    for key in &keys {
        assert_eq!(storage.stat(key).await.unwrap().size, key.len() as u64, "{key:?}");
        assert_eq!(storage.open(key).await.unwrap().text().await.unwrap(), *key);
        storage.copy(key, "copy").await.unwrap();
        assert_eq!(storage.open("copy").await.unwrap().text().await.unwrap(), *key);
        storage.delete(key).await.unwrap();
        assert!(!storage.exists(key).await.unwrap());
    }
    assert_eq!(names(&listed(storage.list("")).await), ["copy"]);
}

async fn rolled_up_names_are_read_unchanged(bucket: &Bucket) {
    let keys = keys();
    put_all(bucket, &keys);
    let level = keys.iter().map(|key| key.find('/').map_or(key.as_str(), |slash| &key[..=slash]));
    let level: BTreeSet<_> = level.collect();
    let storage = bucket.storage();
    assert_eq!(
        names(&listed(storage.list("").delimiter("/")).await),
        level.into_iter().collect::<Vec<_>>()
    );
    let below = listed(storage.list("dir é +%/").delimiter("/")).await;
    assert_eq!(names(&below), ["dir é +%/...", "dir é +%/.hidden"]);
    // Any text can be a delimiter, and a name can be cut anywhere.
    let cut = listed(storage.list("a").delimiter("?")).await;
    let expected = ["a b", "a%20b", "a&<b>\"'", "a+b", "a?", "a\\b"];
    assert_eq!(names(&cut), expected);
}

/// XML cannot express the name, so that it cannot be in the document of a bulk delete.
async fn a_name_that_xml_cannot_express_is_deleted_among_others(bucket: &Bucket) {
    let keys = BTreeSet::from(["a", "b\u{fffe}", "c"].map(str::to_owned));
    put_all(bucket, &keys);
    let storage = bucket.storage();
    assert_eq!(names(&listed(storage.list("")).await), keys.iter().collect::<Vec<_>>());
    assert_eq!(storage.delete_many(storage.list("").entries()).finish().await.unwrap(), 3);
    assert_eq!(listed(storage.list("")).await, []);
}

async fn invalid_keys_are_error_items_in_order(bucket: &Bucket) {
    let (keys, odd) = (keys(), invalid_keys(bucket));
    let all = &keys | &odd;
    put_all(bucket, &all);
    let listed = listed(bucket.storage().list("")).await;
    assert_eq!(names(&listed), all.iter().collect::<Vec<_>>());
    for item in listed {
        assert_eq!(item.is_invalid(), odd.contains(item.name()), "{item:?}");
    }
}

async fn folder_markers_are_counted_and_deleted_with_their_prefix(bucket: &Bucket) {
    for key in ["photos.txt", "photos/", "photos/a.png", "photos/sub/", "photos/sub/b.png"] {
        bucket.put(key, if key.ends_with('/') { b"" } else { b"bytes" });
    }
    let storage = bucket.storage();
    let objects = ["photos.txt", "photos/a.png", "photos/sub/b.png"];
    let mut entries = storage.list("").entries();
    for name in objects {
        assert_eq!(entries.next().await.unwrap().unwrap().name(), name);
    }
    assert!(entries.next().await.is_none());
    assert_eq!(entries.folder_markers(), 2);
    let all = listed(storage.list("").with_folder_markers()).await;
    assert_eq!(
        names(&all),
        ["photos.txt", "photos/", "photos/a.png", "photos/sub/", "photos/sub/b.png"]
    );
    let below = listed(storage.list("photos/").with_folder_markers()).await;
    assert_eq!(below, all[1..]);
    // The folder itself is a marker. Those below it are rolled up like other names.
    let level = listed(storage.list("photos/").delimiter("/").with_folder_markers()).await;
    assert_eq!(names(&level), ["photos/", "photos/a.png", "photos/sub/"]);
    assert!(!storage.exists("photos").await.unwrap(), "a marker is no object of the folder's name");
    storage.delete_folder_marker("photos/sub/").await.unwrap();
    assert_eq!(listed(storage.list("").with_folder_markers()).await.len(), 4);
    assert_eq!(storage.delete_prefix("photos/").finish().await.unwrap(), 3);
    assert_eq!(names(&listed(storage.list("").with_folder_markers()).await), ["photos.txt"]);
}

async fn an_object_with_bytes_whose_name_ends_in_a_slash_is_not_a_folder_marker(bucket: &Bucket) {
    bucket.put("trail/", b"bytes");
    let storage = bucket.storage();
    let all = listed(storage.list("")).await;
    let [Listed::Odd(name, _)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(name, "trail/");
    assert_eq!(
        storage.delete_folder_marker("trail/").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(listed(storage.list("")).await.len(), 1);
}

async fn invalid_keys_below_a_prefix_are_listed_without_it(bucket: &Bucket) {
    for key in ["media/", "media//a", "media/a", "media/a/", "media/b", "mediator"] {
        bucket.put(key, b"bytes");
    }
    let media = bucket.storage().prefixed("media").unwrap();
    let listed = listed(media.list("")).await;
    assert_eq!(names(&listed), ["", "/a", "a", "a/", "b"]);
    assert_eq!(
        listed.iter().map(Listed::is_invalid).collect::<Vec<_>>(),
        [true, true, false, true, false]
    );
}

async fn a_listing_can_resume_after_each_invalid_key(bucket: &Bucket) {
    let odd = invalid_keys(bucket);
    let all = &keys() | &odd;
    put_all(bucket, &all);
    let storage = bucket.storage();
    for after in &odd {
        let mut entries = storage.list("").start_after(after.as_str()).entries();
        let next = entries.next().await.map(|entry| match entry {
            Ok(entry) => entry.name().to_owned(),
            Err(error) => error.key().unwrap().to_owned(),
        });
        assert_eq!(next.as_ref(), all.iter().find(|&key| key > after), "after {after:?}");
    }
}

async fn a_listing_by_levels_contains_each_invalid_key_once(bucket: &Bucket) {
    for key in ["..", "../a", "../b", "//a", "/a", "a//b", "a/b", "b"] {
        bucket.put(key, b"bytes");
    }
    let listed = listed(bucket.storage().list("").delimiter("/")).await;
    let recorded: Vec<_> = listed.iter().map(|item| (item.name(), item.is_invalid())).collect();
    assert_eq!(recorded, [("..", true), ("../", true), ("/", true), ("a/", false), ("b", false)]);
}

async fn delete_many_of_a_listing_deletes_valid_keys_and_reports_the_rest(bucket: &Bucket) {
    let (keys, odd) = (keys(), invalid_keys(bucket));
    let all = &keys | &odd;
    put_all(bucket, &all);
    let storage = bucket.storage();
    let mut recorded = Vec::new();
    let mut deleted = storage.delete_many(storage.list("").entries());
    while let Some(key) = deleted.next().await {
        recorded.push(match key {
            Ok(key) => (key.to_string(), false),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
                (error.key().unwrap().to_owned(), true)
            }
        });
    }
    let expected: Vec<_> = all.iter().map(|key| (key.clone(), odd.contains(key))).collect();
    assert_eq!(recorded, expected);
    assert_eq!(names(&listed(storage.list("")).await), odd.iter().collect::<Vec<_>>());
    let failed = storage.delete_many(storage.list("").entries()).finish().await.unwrap_err();
    assert!(
        failed.message().contains(&format!("{} errors, 0 keys are gone", odd.len())),
        "{failed}"
    );
}

async fn encoded_words_are_decoded(bucket: &Bucket) {
    let metadata = json!({
        "base64": "=?UTF-8?B?TMO2dmVsw6RjZQ==?=",
        "quoted": "=?utf-8?q?L=C3=B6ve_l=C3=A4ce?=",
        "two": "=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=",
        "other-charset": "=?ISO-8859-1?Q?=E9?=",
        "plain": "a = ?",
    });
    bucket
        .boto("put_object", json!({ "Key": "a", "Body": boto::body(b"x"), "Metadata": metadata }));
    let read = bucket.storage().stat("a").await.unwrap().metadata.user_metadata;
    let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("base64", "Löveläce"),
        ("other-charset", "=?ISO-8859-1?Q?=E9?="),
        ("plain", "a = ?"),
        ("quoted", "Löve läce"),
        ("two", "éé"),
    ];
    assert_eq!(read, expected);
}

async fn the_transfer_coding_is_not_part_of_the_content_encoding(bucket: &Bucket) {
    for (key, encoding) in
        [("plain", "aws-chunked"), ("packed", "gzip,aws-chunked"), ("kept", "br")]
    {
        let body = boto::body(b"bytes");
        bucket.boto("put_object", json!({ "Key": key, "Body": body, "ContentEncoding": encoding }));
    }
    let storage = bucket.storage();
    for (key, encoding) in [("plain", None), ("packed", Some("gzip")), ("kept", Some("br"))] {
        let object = storage.open(key).await.unwrap();
        assert_eq!(object.meta().metadata.content_encoding.as_deref(), encoding, "{key}");
        assert_eq!(object.bytes().await.unwrap(), &b"bytes"[..], "{key}");
    }
}

/// Saves objects of one byte concurrently.
async fn save_all(storage: &Storage, keys: &[String]) {
    let saves = keys.iter().map(|key| storage.save(key, "x").into_future());
    let saves: Vec<_> = saves.collect();
    let mut saves = stream::iter(saves).buffer_unordered(32);
    while let Some(saved) = saves.next().await {
        saved.unwrap();
    }
}

async fn invalid_keys_at_the_ends_of_pages_do_not_end_the_listing(bucket: &Bucket) {
    let storage = bucket.storage();
    // A page has 1,000 names. The first page ends in an invalid one, which the next page continues
    // from.
    let keys: Vec<_> = (0..999).map(|number| format!("a/{number:03}")).collect();
    save_all(&storage, &keys).await;
    for last in ["a/998+ %2F\u{1}é", "a/998//", "a/998/../x", "a/998\n&<"] {
        for odd in [last, "b//", "c"] {
            bucket.put(odd, b"x");
        }
        let names: Vec<_> =
            listed(storage.list("")).await.iter().map(|item| item.name().to_owned()).collect();
        let expected: Vec<_> = keys.iter().map(String::as_str).chain([last, "b//", "c"]).collect();
        assert_eq!(names, expected);
        bucket.boto("delete_object", json!({ "Key": last }));
    }
    // Bulk deletes, not one by one.
    let deleted = storage.delete_many(storage.list("a/").entries()).finish().await.unwrap();
    assert_eq!(deleted, keys.len() as u64);
}

async fn delete_many_of_2500_keys_returns_each_result_in_order(bucket: &Bucket) {
    let storage = bucket.storage();
    let keys: Vec<_> =
        (0..2_500).map(|number| format!("a&<{}/{number:04} +é", number % 7)).collect();
    save_all(&storage, &keys).await;
    storage.save("stays", "x").await.unwrap();
    // In another order than that of the listing, and some of them twice.
    let keys: Vec<_> = keys.iter().rev().chain(&keys[..10]).cloned().collect();
    let mut deleted = storage.delete_many(stream::iter(keys.clone()));
    for key in &keys {
        assert_eq!(deleted.next().await.unwrap().unwrap(), Key::new(key.as_str()).unwrap());
    }
    assert!(deleted.next().await.is_none());
    assert_eq!(names(&listed(storage.list("")).await), ["stays"]);
}

async fn headers_that_this_driver_does_not_send_are_read(bucket: &Bucket) {
    if !curl::is_installed() {
        return;
    }
    let storage = bucket.storage();
    let link =
        storage.url("a").method(UrlMethod::Put).expires_in(Duration::from_secs(60)).await.unwrap();
    let directory = TempDir::new().unwrap();
    let (file, headers) = (directory.path().join("file"), directory.path().join("headers"));
    std::fs::write(&file, "bytes").unwrap();
    // An invalid expiry, which many servers send, and text in Latin-1 and in UTF-8.
    let odd =
        b"Expires: 0\nContent-Disposition: inline; filename=\"\xe9\"\nx-amz-meta-name: \xc3\xa9\n";
    std::fs::write(&headers, odd).unwrap();
    let response = curl::put(&link, &file, &[&format!("@{}", headers.display())]);
    assert_eq!(response.status, 200, "{response:?}");
    let object = storage.open("a").await.unwrap();
    let metadata = &object.meta().metadata;
    // An invalid expiry is in the past (RFC 9111, section 5.3).
    assert_eq!(metadata.expires, Some(SystemTime::UNIX_EPOCH));
    assert_eq!(metadata.content_disposition.as_deref(), Some("inline; filename=\"é\""));
    assert_eq!(metadata.user_metadata["name"], "é");
    assert_eq!(object.bytes().await.unwrap(), &b"bytes"[..]);
}
