//! `Object::save_to_file`: the file at the destination, its permissions, and failures.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, Memory, Object, ObjectMeta};

async fn save(text: &'static str, path: impl AsRef<Path>) -> storage_core::Result<()> {
    let storage = Memory::storage();
    storage.save("a", text).await?;
    storage.open("a").await?.save_to_file(path).await
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
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

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Saves over `a` in a directory. Calls `look` with the path of the temporary file after the first
/// byte, and then ends the save.
async fn save_and_look(directory: &Path, look: impl FnOnce(&Path)) {
    let (more, rest) = tokio::sync::oneshot::channel::<()>();
    let (arrived, first_is_written) = tokio::sync::oneshot::channel::<()>();
    let first = stream::iter([Ok(Bytes::from("n"))]);
    // The second chunk is polled after the first has been written.
    let second = stream::once(async move {
        arrived.send(()).unwrap();
        rest.await.unwrap();
        Ok(Bytes::from("ew"))
    });
    let meta = ObjectMeta::new(Key::new("a").unwrap(), 3);
    let object = Object::from_stream(meta, 0..3, first.chain(second));
    let saving = tokio::spawn(object.save_to_file(directory.join("a")));
    first_is_written.await.unwrap();
    let part = names(directory)
        .into_iter()
        .find(|name| name.ends_with(".part"))
        .expect("a temporary file");
    look(&directory.join(part));
    more.send(()).unwrap();
    saving.await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(directory.join("a")).unwrap(), "new");
    assert_eq!(names(directory), ["a"]);
}

#[tokio::test]
async fn only_the_owner_can_read_the_temporary_file_until_it_is_complete() {
    for old in [Some(0o600), Some(0o644), None] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a");
        if let Some(old) = old {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(old)).unwrap();
        }
        save_and_look(scratch.path(), |part| assert_eq!(mode(part), 0o600, "over {old:?}")).await;
        if let Some(old) = old {
            assert_eq!(mode(path), old);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_made_private_while_it_is_replaced_stays_private() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    save_and_look(scratch.path(), |_| {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    })
    .await;
    assert_eq!(mode(path), 0o600);
}

#[tokio::test]
async fn a_new_file_has_the_mode_of_any_new_file_in_its_directory() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("usual"), "").unwrap();
    save("new", scratch.path().join("a")).await.unwrap();
    assert_eq!(mode(scratch.path().join("a")), mode(scratch.path().join("usual")));
    assert_eq!(names(scratch.path()).len(), 2);
}

#[tokio::test]
async fn a_program_that_is_replaced_loses_its_set_user_id_bit() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    save("new", &path).await.unwrap();
    assert_eq!(mode(&path), 0o755);
}

#[tokio::test]
async fn a_file_that_root_replaces_keeps_its_owner_and_its_group() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    if std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).is_err() {
        return skipped("only root can change the owner of a file");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    save("new", &path).await.unwrap();
    let now = fs::metadata(&path).unwrap();
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o777), (12_345, 23_456, 0o640));
}

#[allow(clippy::print_stderr, reason = "a skipped test prints a line")]
fn skipped(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

#[tokio::test]
async fn a_symlink_at_the_destination_is_followed_and_kept() {
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
async fn a_name_as_long_as_the_file_system_allows_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    save("new", scratch.path().join("n".repeat(255))).await.unwrap();
}

#[tokio::test]
async fn a_body_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    fs::write(&path, "old").unwrap();
    let chunks =
        stream::iter([Ok(Bytes::from("ne")), Err(Error::new(ErrorKind::Unexpected, "broke off"))]);
    let meta = ObjectMeta::new(Key::new("a").unwrap(), 3);
    let error = Object::from_stream(meta, 0..3, chunks).save_to_file(&path).await.unwrap_err();
    assert_eq!(error.message(), "broke off");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(scratch.path()), ["a"]);
}

#[tokio::test]
async fn a_directory_is_refused_as_a_destination() {
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(save("new", scratch.path()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(names(scratch.path()).is_empty());
}
