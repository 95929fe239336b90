//! Tests of inventories whose manifests and data files are written here.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Memory};

use super::*;
use crate::Counts;

const MANIFEST: &str = "inv/media/daily/2026-11-06T01-00Z/manifest.json";
const SCHEMA: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, \
                      LastModifiedDate, ETag, StorageClass";

/// Saves an inventory of these data files.
async fn inventory(format: &str, schema: &str, files: &[Vec<u8>]) -> Storage {
    let storage = Memory::storage();
    let mut list = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        let key = format!("inv/media/daily/data/{number}");
        storage.save(key.as_str(), bytes.clone()).await.unwrap();
        let md5 = Checksum::of(ChecksumAlgorithm::Md5, bytes);
        let file =
            serde_json::json!({"key": key, "size": bytes.len(), "MD5checksum": md5.to_hex()});
        list.push(file);
    }
    let manifest = serde_json::json!({
        "sourceBucket": "media",
        "destinationBucket": "arn:aws:s3:::inventories",
        "version": "2016-11-30",
        "creationTimestamp": "1796083200000",
        "fileFormat": format,
        "fileSchema": schema,
        "files": list,
    });
    storage.save(MANIFEST, manifest.to_string()).await.unwrap();
    storage
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn items(storage: &Storage) -> Vec<Result<ObjectEntry>> {
    Inventory::open(storage, MANIFEST).await.unwrap().entries().collect().await
}

async fn csv_items(schema: &str, rows: &str) -> Vec<Result<ObjectEntry>> {
    items(&inventory("CSV", schema, &[gzip(rows)]).await).await
}

fn keys(items: &[Result<ObjectEntry>]) -> Vec<&str> {
    items.iter().map(|item| item.as_ref().unwrap().key.as_str()).collect()
}

/// Returns the error that is the last item, and which ends the listing.
fn last_error(items: Vec<Result<ObjectEntry>>) -> Error {
    let error = items.into_iter().next_back().unwrap().unwrap_err();
    assert!(!error.listing_continues(), "{error}");
    error
}

#[tokio::test]
async fn an_entry_has_the_columns_of_its_row() {
    let row = r#""media","a/b.png","v1","true","false","12","2026-11-06T01:02:03.500Z","9b2c-2","STANDARD""#;
    let items = csv_items(SCHEMA, &format!("{row}\n")).await;
    let entry = items[0].as_ref().unwrap();
    assert_eq!((entry.key.as_str(), entry.size), ("a/b.png", 12));
    assert_eq!(entry.etag, storage_core::ETag::strong("9b2c-2").ok());
    let time = storage_core::parse_time("2026-11-06T01:02:03.500Z").unwrap();
    assert_eq!((entry.last_modified, items.len()), (Some(time), 1));
}

#[tokio::test]
async fn the_manifest_contains_the_bucket_and_the_time() {
    let storage = inventory("CSV", SCHEMA, &[]).await;
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap();
    assert_eq!(inventory.source_bucket(), "media");
    assert_eq!(inventory.created(), Some(UNIX_EPOCH + Duration::from_secs(1_796_083_200)));
    assert!(inventory.entries().next().await.is_none());
}

#[tokio::test]
async fn keys_in_csv_are_decoded() {
    let rows = "\"a+b\",1\n\"a%2Bb\",1\n\"%C3%A9%25%2F%22%2C\",1\na%20b%zz,1\n";
    let items = csv_items("Key, Size", rows).await;
    assert_eq!(keys(&items), ["a b", "a+b", "é%/\",", "a b%zz"]);
}

#[tokio::test]
async fn old_versions_delete_markers_and_folder_markers_are_skipped() {
    let rows = "latest,true,false,1\nold,false,false,1\nmarker,true,true,\nold-marker,false,true,\n\
                folder/,true,false,0\n";
    let items = csv_items("Key, IsLatest, IsDeleteMarker, Size", rows).await;
    assert_eq!(keys(&items), ["latest"]);
}

#[tokio::test]
async fn an_invalid_row_is_an_error_after_which_the_listing_continues() {
    let rows = "a,true,false,1\na%2F%2Fb,true,false,1\n%FF,true,false,1\nc,maybe,false,1\n\
                d,true,false,x\nfolder/,true,false,5\nz,true,false,1\n";
    let items = csv_items("Key, IsLatest, IsDeleteMarker, Size", rows).await;
    let errors: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
    assert!(errors.iter().all(|error| error.listing_continues()));
    let names: Vec<_> = errors.iter().map(|error| error.key().unwrap()).collect();
    assert_eq!(names, ["a//b", "\u{fffd}", "c", "d", "folder/"]);
    assert_eq!(errors[0].kind(), ErrorKind::InvalidKey);
    assert_eq!(errors[2].kind(), ErrorKind::InvalidInput);
    assert_eq!(items.len(), 7);
}

#[tokio::test]
async fn columns_may_be_in_another_order_and_unknown_ones_are_ignored() {
    let items = csv_items("Size,Colour, ETag ,key", "3,red,,a\n").await;
    assert_eq!(keys(&items), ["a"]);
    assert_eq!(items[0].as_ref().unwrap().etag, None);
}

#[tokio::test]
async fn a_missing_column_is_an_error_that_names_it() {
    for (schema, column) in [
        ("Bucket, Size", "Key"),
        ("Key", "Size"),
        ("Key, VersionId, Size", "IsLatest"),
        ("Key, VersionId, IsLatest, Size", "IsDeleteMarker"),
    ] {
        let error = last_error(csv_items(schema, "a,1\n").await);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("no column {column}:")), "{error}");
    }
}

#[tokio::test]
async fn all_files_are_read_and_an_error_ends_the_reading() {
    let files = [gzip("b,1\n"), b"a,1\n".to_vec(), gzip("c,1\n")];
    let storage = inventory("CSV", "Key, Size", &files).await;
    assert_eq!(keys(&items(&storage).await), ["b", "a", "c"]);
    storage.delete("inv/media/daily/data/1").await.unwrap();
    let items = items(&storage).await;
    assert_eq!(items.len(), 2);
    assert!(last_error(items).is_not_found());
}

#[tokio::test]
async fn a_file_with_another_md5_or_size_has_no_entries() {
    for (replacement, reason) in
        [("a,2\n", "its MD5 differs"), ("a,12\n", "more bytes"), ("a,\n", "fewer bytes")]
    {
        let storage = inventory("CSV", "Key, Size", &[b"a,1\n".to_vec()]).await;
        storage.save("inv/media/daily/data/0", replacement).await.unwrap();
        let items = items(&storage).await;
        assert_eq!(items.len(), 1);
        let error = last_error(items);
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains("data/0"), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_gzip_file_is_an_integrity_error() {
    let mut bytes = gzip("a,1\n");
    bytes.truncate(bytes.len() - 9);
    let error = last_error(items(&inventory("CSV", "Key, Size", &[bytes]).await).await);
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn a_row_without_an_end_is_an_error_and_does_not_fill_the_memory() {
    let rows = format!("a,1\n\"{}", "x\n".repeat(4 * 1024 * 1024));
    let items = csv_items("Key, Size", &rows).await;
    assert_eq!(items.len(), 2);
    let error = last_error(items);
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains("row 2: "), "{error}");
}

#[tokio::test]
async fn a_row_with_too_few_columns_is_an_integrity_error() {
    let error = last_error(csv_items("Size, Key", "1\n").await);
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn what_is_not_a_manifest_is_an_error() {
    let storage = Memory::storage();
    for text in ["", "{}", "[1]", "{\"files\":[]}"] {
        storage.save("m", text).await.unwrap();
        let error = Inventory::open(&storage, "m").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("manifest.json"), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_key_of_a_data_file_is_an_error() {
    let manifest = serde_json::json!({
        "sourceBucket": "media", "fileFormat": "CSV", "fileSchema": "Key, Size",
        "files": [{"key": "../secret", "size": 1, "MD5checksum": ""}],
    });
    let storage = Memory::storage();
    storage.save("m", manifest.to_string()).await.unwrap();
    assert_eq!(Inventory::open(&storage, "m").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn other_formats_are_refused_with_the_formats_to_configure() {
    for format in ["ORC", "Avro"] {
        let storage = inventory(format, "", &[]).await;
        let error = Inventory::open(&storage, MANIFEST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("CSV or Parquet"), "{error}");
    }
}

#[tokio::test]
async fn sorted_entries_are_in_byte_order() {
    let storage = inventory("CSV", "Key, Size", &[gzip("b,1\na%2Fb,1\n"), gzip("a-b,1\n")]).await;
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap();
    let items: Vec<_> = inventory.sorted_entries().await.unwrap().collect().await;
    assert_eq!(keys(&items), ["a-b", "a/b", "b"]);
}

/// Makes the first copy of a bucket with these objects by an inventory.
async fn first_copy(storage: &Storage, objects: &[(&str, &str)]) -> (Storage, Counts) {
    let (source, target) = (Memory::storage(), Memory::storage());
    for (key, text) in objects {
        source.save(*key, (*text).to_owned()).await.unwrap();
    }
    let from = Directory::new(&source, "site").unwrap();
    let to = Directory::new(&target, "").unwrap();
    let inventory = Inventory::open(storage, MANIFEST).await.unwrap().below(&from).unwrap();
    let sync = crate::sync(&from, &to, crate::SyncOptions::new());
    let summary = sync.source_entries(inventory.entries()).await.unwrap();
    assert!(matches!(summary.ended, crate::Ended::Complete), "{summary:?}");
    (target, summary.counts)
}

async fn list(storage: &Storage) -> Vec<String> {
    storage.list("").keys().await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_first_copy_by_an_inventory_in_csv_copies_each_object_of_the_directory_as_it_is_now() {
    let rows = [
        "site%2Fb+c,true,false,1,2026-11-06T01:02:03.000Z,5d41402abc4b2a76b9719d911017c592\n\
         site%2Fold,false,false,1,,\n",
        "site%2Fa,true,false,1,,\nsite%2Fgone,true,false,1,,\nelsewhere,true,false,1,,\n",
    ];
    let schema = "Key, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";
    let storage = inventory("CSV", schema, &rows.map(gzip)).await;
    let objects =
        [("site/a", "longer now"), ("site/b c", "also"), ("site/later", ""), ("elsewhere", "")];
    let (target, counts) = first_copy(&storage, &objects).await;
    assert_eq!(list(&target).await, ["a", "b c"]);
    assert_eq!(target.open("a").await.unwrap().text().await.unwrap(), "longer now");
    assert_eq!((counts.new, counts.vanished, counts.failed, counts.bytes), (2, 1, 0, 14));
}

#[tokio::test]
async fn a_damaged_inventory_ends_a_first_copy_before_anything_is_copied() {
    let storage = inventory("CSV", "Key, Size", &[gzip("site%2Fa,1\n"), gzip("b,1\n")]).await;
    storage.save("inv/media/daily/data/1", gzip("c,1\n")).await.unwrap();
    let source = Memory::storage();
    source.save("site/a", "a").await.unwrap();
    let target = Memory::storage();
    let [from, to] = [&source, &target].map(|side| Directory::new(side, "").unwrap());
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap();
    let sync = crate::sync(&from, &to, crate::SyncOptions::new());
    let summary = sync.source_entries(inventory.entries()).await.unwrap();
    let crate::Ended::Broken(side, error) = summary.ended else { panic!("{summary:?}") };
    assert_eq!((side, error.kind()), (crate::Side::Source, ErrorKind::Integrity));
    assert!(list(&target).await.is_empty());
}

#[tokio::test]
async fn borders_below_a_directory_are_those_of_its_objects() {
    let rows: String = (0..100).map(|n| format!("a%2F{n:02},1\nb%2F{n:02},1\n")).collect();
    let storage = inventory("CSV", "Key, Size", &[gzip(&rows)]).await;
    let directory = Directory::new(&Memory::storage(), "b").unwrap();
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap().below(&directory).unwrap();
    assert_eq!(inventory.borders(3).await.unwrap(), ["b/25", "b/50", "b/75"]);
}

#[tokio::test]
async fn borders_need_no_sizes_and_skip_invalid_keys() {
    let rows: String = (0..1000).map(|number| format!("{number:04}\nx%2F%2F\n")).collect();
    let storage = inventory("CSV", "Key", &[gzip(&rows)]).await;
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap();
    assert_eq!(inventory.borders(3).await.unwrap(), ["0250", "0500", "0750"]);
    assert!(inventory.borders(0).await.unwrap().is_empty());
}

#[cfg(not(feature = "parquet"))]
#[tokio::test]
async fn parquet_without_the_feature_is_an_error_that_names_it() {
    let storage = inventory("Parquet", "", &[]).await;
    let error = Inventory::open(&storage, MANIFEST).await.unwrap_err();
    assert!(error.to_string().contains("feature `parquet`"), "{error}");
}

#[cfg(feature = "parquet")]
mod parquet_tests;
