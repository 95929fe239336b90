//! `Object::save_to_file`: what is at the destination, and what becomes of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Key, Memory, Object, ObjectMeta};

async fn save(text: &'static str, path: impl AsRef<Path>) -> storage_core::Result<()> {
    let storage = Memory::storage();
    storage.save("a", text).await?;
    storage.open("a").await?.save_to_file(path).await
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[tokio::test]
async fn a_new_file_is_written_whole_and_nothing_is_left_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    save("new", scratch.path().join("a")).await.unwrap();
    assert_eq!(fs::read_to_string(scratch.path().join("a")).unwrap(), "new");
    assert_eq!(names(scratch.path()), ["a"]);
}

#[tokio::test]
async fn a_private_file_stays_private() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    save("new", &path).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_symlink_is_followed_and_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let (target, link) = (scratch.path().join("target"), scratch.path().join("link"));
    fs::write(&target, "old").unwrap();
    symlink(&target, &link).unwrap();
    save("new", &link).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
}

#[tokio::test]
async fn a_fifo_is_written_to_and_not_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
            text
        })
    };
    save("through", &path).await.unwrap();
    assert_eq!(reader.join().unwrap(), "through");
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
}

#[tokio::test]
async fn a_name_as_long_as_the_file_system_allows_is_no_trouble() {
    let scratch = tempfile::tempdir().unwrap();
    save("new", scratch.path().join("n".repeat(255))).await.unwrap();
}

#[tokio::test]
async fn a_body_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    let chunks = stream::iter([Ok(Bytes::from("ne")), Err(Error::new(ErrorKind::Unexpected, "broke off"))]);
    let meta = ObjectMeta::new(Key::new("a").unwrap(), 3);
    let error = Object::from_stream(meta, 0..3, chunks).save_to_file(&path).await.unwrap_err();
    assert_eq!(error.message(), "broke off");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(scratch.path()), ["a"]);
}

#[tokio::test]
async fn a_directory_is_no_destination() {
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(save("new", scratch.path()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(names(scratch.path()).is_empty());
}
