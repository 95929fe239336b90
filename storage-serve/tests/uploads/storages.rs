//! The same uploads on a local disk.

use http::StatusCode;
use storage_core::{Memory, Storage};
use storage_fs::Fs;
use storage_serve::uploads::{Grant, Uploads};

use crate::client::{
    begin, granting, head, offset, patch, patch_broken, rests, signing_key, stored,
};

fn open(directory: &std::path::Path) -> Storage {
    Storage::new(Fs::builder(directory).build().unwrap())
}

fn disk() -> (tempfile::TempDir, Storage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    (directory, storage)
}

#[tokio::test]
async fn an_upload_to_a_disk_continues_after_a_restart() {
    let (directory, storage) = disk();
    let uploads = crate::client::service(&storage);
    let url = begin(&uploads, 30).await;
    patch_broken(&uploads, &url, 0, b"0123456789").await;
    drop((uploads, storage));
    let storage = open(directory.path());
    let uploads = crate::client::service(&storage);
    assert_eq!(offset(&uploads, &url).await, 10);
    patch(&uploads, &url, 10, b"abcdefghijklmnopqrst").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghijklmnopqrst");
    assert!(rests(&storage).await.is_empty());
}

#[tokio::test]
async fn an_accepted_upload_moves_to_its_key_on_a_disk() {
    let (_directory, storage) = disk();
    let grant = Grant::new("pictures/a.png").unwrap().types(["image/*"]).sniff();
    let uploads = granting(&storage, Ok(grant)).on_complete(|_| async { Ok(()) });
    let png = b"\x89PNG\r\n\x1a\n and the rest of a picture";
    let url = begin(&uploads, png.len()).await;
    let reply = patch(&uploads, &url, 0, png).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    let meta = storage.stat("pictures/a.png").await.unwrap();
    assert_eq!((meta.content_type(), meta.size), (Some("image/png"), png.len() as u64));
    let keys = storage.list("").keys().await.unwrap();
    let keys = keys.iter().filter(|key| !key.as_str().ends_with("/state.json"));
    assert_eq!(keys.collect::<Vec<_>>(), ["pictures/a.png"]);
}

#[tokio::test]
async fn the_states_may_be_in_another_storage_than_the_objects() {
    let (_directory, storage) = disk();
    let states = Memory::storage();
    let authorize = |_, _| async { Ok(Grant::new("file")?) };
    let uploads = Uploads::with_state(storage.clone(), states.clone(), signing_key(), authorize);
    let uploads = uploads.unwrap().part_size(8).on_complete(|_| async { Ok(()) });
    let url = begin(&uploads, 12).await;
    patch(&uploads, &url, 0, b"0123456789").await;
    assert!(storage.list("").keys().await.unwrap().is_empty());
    patch(&uploads, &url, 10, b"ab").await;
    assert_eq!(head(&uploads, &url).await.header("upload-offset"), "12");
    assert_eq!(storage.list("").keys().await.unwrap(), ["file"]);
}
