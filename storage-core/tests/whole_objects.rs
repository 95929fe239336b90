//! `read`, `read_text`, `download`, and the short forms of listings.

use storage_core::{ErrorKind, Memory};

#[tokio::test]
async fn a_read_returns_the_bytes_up_to_a_maximum_size() {
    let storage = Memory::storage();
    storage.save("a.txt", "hello").await.unwrap();
    assert_eq!(storage.read("a.txt").max_size(5).await.unwrap(), "hello");
    assert_eq!(storage.read_text("a.txt").await.unwrap(), "hello");
    let error = storage.read("a.txt").max_size(4).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("a.txt")));
    assert_eq!(storage.read("b.txt").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_an_error_with_the_key() {
    let storage = Memory::storage();
    storage.save("a.bin", &b"\xff"[..]).await.unwrap();
    let error = storage.read_text("a.bin").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unexpected, Some("a.bin")));
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
