//! Removing expired uploads.

use http::StatusCode;
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_testkit::faults::Faults;

use crate::client::{begin, offset, patch, service, stored};

/// Moves the objects of all uploads to ids whose expiry is long past.
async fn age(storage: &Storage) {
    for key in storage.list(".uploads/").keys().await.unwrap() {
        let aged = key.as_str().replacen(&key.as_str()[9..19], "0000000001", 1);
        storage.rename(&key, aged).await.unwrap();
    }
}

async fn is_empty(storage: &Storage) -> bool {
    let uploads = storage.multipart_uploads("");
    futures_util::pin_mut!(uploads);
    let has_upload = futures_util::StreamExt::next(&mut uploads).await.is_some();
    storage.list(".uploads/").keys().await.unwrap().is_empty() && !has_upload
}

#[tokio::test]
async fn an_expired_upload_is_removed_with_everything_of_it() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 30).await;
    patch(&uploads, &url, 0, b"0123456789").await;
    age(&storage).await;
    assert_eq!(uploads.sweep().await.unwrap(), 1);
    assert!(is_empty(&storage).await);
    assert_eq!(uploads.sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn an_expired_upload_whose_client_stores_parts_is_removed() {
    let storage = Memory::storage();
    let uploads = service(&storage).client_part_size(8);
    let upload = crate::s3::begin(&uploads, serde_json::json!({"size": 11})).await;
    crate::s3::put_part(&uploads, &upload, 2, b"abc").await;
    age(&storage).await;
    assert_eq!(uploads.sweep().await.unwrap(), 1);
    assert!(is_empty(&storage).await);
}

#[tokio::test]
async fn an_upload_that_has_not_expired_stays() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 30).await;
    patch(&uploads, &url, 0, b"0123456789").await;
    assert_eq!((uploads.sweep().await.unwrap(), offset(&uploads, &url).await), (0, 10));
}

#[tokio::test]
async fn the_object_of_an_expired_finished_upload_stays() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    patch(&uploads, &url, 0, b"abc").await;
    age(&storage).await;
    assert_eq!(uploads.sweep().await.unwrap(), 1);
    assert_eq!((is_empty(&storage).await, stored(&storage).await), (true, b"abc".to_vec()));
}

#[tokio::test]
async fn an_upload_whose_state_is_damaged_is_removed_at_last() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let key = format!(".uploads/{:010x}{}/state.json", 1, "0".repeat(24));
    storage.save(key, "no state").await.unwrap();
    assert_eq!((uploads.sweep().await.unwrap(), is_empty(&storage).await), (1, true));
}

#[tokio::test]
async fn objects_that_are_no_uploads_stay() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    for key in [".uploads/readme.txt", ".uploads/0000/x", ".uploads-of-mine/x", "a/.uploads/b"] {
        storage.save(key, "mine").await.unwrap();
    }
    assert_eq!(uploads.sweep().await.unwrap(), 0);
    assert_eq!(storage.list("").keys().await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_upload_without_a_state_is_removed() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let key = format!(".uploads/{:010x}{}/rest-a", 1, "0".repeat(24));
    storage.save(key, "left behind by a crash").await.unwrap();
    assert_eq!((uploads.sweep().await.unwrap(), is_empty(&storage).await), (1, true));
}

#[tokio::test]
async fn an_expired_upload_with_all_its_bytes_is_finished_before_it_is_removed() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    let failed = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::GATEWAY_TIMEOUT, 1));
    age(&storage).await;
    assert_eq!(uploads.sweep().await.unwrap(), 1);
    assert_eq!((is_empty(&storage).await, stored(&storage).await), (true, b"abc".to_vec()));
}

#[tokio::test]
async fn an_expired_upload_does_not_replace_an_object_that_was_saved_after_it() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    let failed = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Timeout);
    assert_eq!(patch(&uploads, &url, 0, b"old").await.status, StatusCode::GATEWAY_TIMEOUT);
    age(&storage).await;
    storage.save("file", "new").await.unwrap();
    assert_eq!((uploads.sweep().await.unwrap(), failed.fired()), (1, 1));
    assert_eq!((is_empty(&storage).await, stored(&storage).await), (true, b"new".to_vec()));
}

#[tokio::test]
async fn an_expired_upload_that_was_accepted_does_not_replace_an_object_that_was_saved_after_it() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage).on_complete(|_| async { Ok(()) });
    let url = begin(&uploads, 3).await;
    let failed = faults.on(Operation::Rename).call(1).fail(ErrorKind::Timeout);
    assert_eq!(patch(&uploads, &url, 0, b"old").await.status, StatusCode::GATEWAY_TIMEOUT);
    age(&storage).await;
    storage.save("file", "new").await.unwrap();
    assert_eq!((uploads.sweep().await.unwrap(), failed.fired()), (1, 1));
    assert_eq!((is_empty(&storage).await, stored(&storage).await), (true, b"new".to_vec()));
}
