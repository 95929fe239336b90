//! `read`, `read_text`, `download`, and the short forms of listings.

use storage_core::{ErrorKind, Memory, Operation};
use storage_testkit::extra_entries::ExtraEntries;

#[tokio::test]
async fn a_read_returns_the_bytes_up_to_a_maximum_size() {
    let storage = Memory::storage();
    storage.save("a.txt", "hello").await.unwrap();
    assert_eq!(storage.read("a.txt").max_size(5).await.unwrap(), "hello");
    assert_eq!(storage.read_text("a.txt").await.unwrap(), "hello");
    let error = storage.read("a.txt").max_size(4).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("a.txt")));
    assert_eq!((error.operation(), error.driver()), (Some(Operation::Open), Some("memory")));
    assert_eq!(storage.read("b.txt").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_an_error_with_the_key() {
    let storage = Memory::storage();
    storage.save("a.bin", &b"\xff"[..]).await.unwrap();
    let error = storage.read_text("a.bin").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unexpected, Some("a.bin")));
    assert_eq!((error.operation(), error.driver()), (Some(Operation::Open), Some("memory")));
}

#[tokio::test]
async fn a_download_replaces_the_file_and_its_errors_contain_the_path() {
    let storage = Memory::storage();
    let meta = storage.save("a.txt", "new").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    std::fs::write(&path, "old").unwrap();
    assert!(storage.download("b.txt", &path).await.unwrap_err().is_not_found());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(storage.download("a.txt", &path).await.unwrap().etag, meta.etag);
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    let missing = directory.path().join("missing/a");
    let error = storage.download("a.txt", &missing).await.unwrap_err();
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_listing_is_collected_as_entries_or_keys() {
    let storage = Memory::storage();
    for key in ["a/1", "a/b/2", "c"] {
        storage.save(key, "").await.unwrap();
    }
    assert_eq!(storage.list("a/").keys().await.unwrap(), ["a/1", "a/b/2"]);
    assert_eq!(storage.list("a/").one_level().keys().await.unwrap(), ["a/1"]);
    let names: Vec<_> = storage.list("a/").one_level().collect().await.unwrap();
    assert_eq!(names.iter().map(storage_core::Entry::name).collect::<Vec<_>>(), ["a/1", "a/b/"]);
    assert_eq!(storage.list("").collect().await.unwrap().len(), 3);
}

#[tokio::test]
async fn objects_are_listed_without_prefixes_and_folder_markers() {
    let memory = Memory::storage();
    let storage = memory.layer(|inner| ExtraEntries::new(inner).folder_marker("a/"));
    storage.save("a/1", "hello").await.unwrap();
    storage.save("a/b/2", "").await.unwrap();
    let objects = storage.list("a/").with_folder_markers().objects().await.unwrap();
    let listed: Vec<_> = objects.iter().map(|object| (object.key.as_str(), object.size)).collect();
    assert_eq!(listed, [("a/1", 5), ("a/b/2", 0)]);
    let mut entries = storage.list("a/").one_level().with_folder_markers().entries();
    assert_eq!(entries.next_object().await.unwrap().unwrap().key, "a/1");
    assert!(entries.next_object().await.unwrap().is_none());
    assert_eq!(entries.folder_markers(), 1);
}

#[tokio::test]
async fn the_next_object_after_an_unreadable_directory_follows_its_error() {
    let memory = Memory::storage();
    let storage = memory.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
    for key in ["a", "b/1", "c"] {
        storage.save(key, "").await.unwrap();
    }
    let mut entries = storage.list("").entries();
    assert_eq!(entries.next_object().await.unwrap().unwrap().key, "a");
    assert!(entries.next_object().await.unwrap_err().listing_continues());
    assert_eq!(entries.next_object().await.unwrap().unwrap().key, "c");
    assert!(storage.list("").objects().await.is_err());
}
