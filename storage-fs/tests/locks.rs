//! Locks between users: other users cannot reach the locks of the driver, and an operation that a
//! user may not do fails with the remedy.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use common::{
    Scratch, UNPRIVILEGED_USER, as_unprivileged_user, is_root, read, refused, skip, until,
};
use rustix::fs::{FlockOperation, flock};
use storage_core::{ErrorKind, Result, Storage};
use storage_fs::{Fs, MetadataStore};

const STORES: [MetadataStore; 2] = [MetadataStore::Auto, MetadataStore::Sidecar];

fn storage_on(root: &Path, store: MetadataStore) -> Storage {
    Storage::new(Fs::builder(root).durable(false).metadata(store).build().unwrap())
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Replaces an object in each way, and deletes it.
async fn change(storage: &Storage, key: &str) -> Result<()> {
    let saved = storage.save(key, "1").await?;
    storage.save(key, "2").if_match(saved.etag.unwrap()).await?;
    storage.copy(key, key).metadata(storage_core::Metadata::new().user("n", "3")).await?;
    storage.delete(key).await?;
    storage.save(key, "4").create_new().await?;
    storage.save(key, "5").await.map(drop)
}

/// Any user may open and lock the root and the directories and files that are open to all.
#[tokio::test]
async fn locks_on_files_and_directories_that_all_users_can_read_block_no_change() {
    for store in STORES {
        let scratch = Scratch::new();
        scratch.put("d/object", "0");
        let storage = storage_on(&scratch.root(), store);
        let held: Vec<_> =
            ["", "d", "d/object"].map(|path| File::open(scratch.file(path)).unwrap()).into();
        for file in &held {
            flock(file, FlockOperation::NonBlockingLockExclusive).unwrap();
        }
        change(&storage, "d/object").await.unwrap();
        change(&storage, "other").await.unwrap();
        storage.save("d/new/object", "1").await.unwrap();
        storage.delete("d/new/object").await.unwrap();
        assert_eq!(scratch.plain_tree(), ["d/", "d/object", "other"], "{store:?}");
    }
}

#[test]
fn other_users_can_open_no_lock_file() {
    let scratch = Scratch::new();
    for path in [scratch.path(), &scratch.root()] {
        set_mode(path, 0o755);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for store in STORES {
        runtime.block_on(change(&storage_on(&scratch.root(), store), "object")).unwrap();
    }
    let locks = scratch.file(".anystorage/locks");
    assert_eq!((mode(scratch.file(".anystorage")), mode(&locks)), (0o700, 0o700));
    let files: Vec<PathBuf> = scratch.locks().iter().map(|name| locks.join(name)).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(mode(&files[0]), 0o600);
    if !is_root() {
        return skip("only root can become another user");
    }
    as_unprivileged_user(move || {
        for path in [locks].iter().chain(&files) {
            assert_eq!(File::open(path).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        }
    });
}

/// Another program, or an administrator, may have created it.
#[tokio::test]
async fn the_state_directory_is_closed_to_other_users_before_it_is_used() {
    for open in [0o755, 0o777, 0o710] {
        for store in STORES {
            let scratch = Scratch::new();
            fs::create_dir(scratch.file(".anystorage")).unwrap();
            set_mode(scratch.file(".anystorage"), open);
            change(&storage_on(&scratch.root(), store), "object").await.unwrap();
            assert_eq!(mode(scratch.file(".anystorage")), 0o700, "{open:o}");
        }
    }
}

/// A user who may write to the root could create the directory first and hold its locks.
#[test]
fn a_state_directory_of_another_user_is_not_used() {
    if !is_root() {
        return skip("only root can give a directory to another user");
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.file(".anystorage")).unwrap();
    set_mode(scratch.file(".anystorage"), 0o777);
    chown(scratch.file(".anystorage"), Some(12_345), None).unwrap();
    set_mode(scratch.path(), 0o755);
    chown(scratch.root(), Some(UNPRIVILEGED_USER), None).unwrap();
    let root = scratch.root();
    as_unprivileged_user(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let storage = storage_on(&root, MetadataStore::Auto);
            let saved = storage.save("d/object", "1").await.unwrap();
            for error in [
                refused(storage.save("d/object", "2").await, ErrorKind::PermissionDenied),
                refused(
                    storage.save("d/object", "2").if_match(saved.etag.unwrap()).await,
                    ErrorKind::PermissionDenied,
                ),
                refused(storage.delete("d/object").await, ErrorKind::PermissionDenied),
            ] {
                assert!(error.message().contains(".anystorage"), "{error}");
            }
            assert_eq!(read(&storage, "d/object").await.unwrap(), b"1");
        });
    });
    assert!(scratch.staged().is_empty() && scratch.locks().is_empty());
}

/// A single command of the superuser must not lock out the owner of the root.
#[test]
fn files_that_the_superuser_creates_belong_to_the_owner_of_the_root() {
    if !is_root() {
        return skip("only root can give a directory to another user");
    }
    for store in STORES {
        let scratch = Scratch::new();
        set_mode(scratch.path(), 0o755);
        chown(scratch.root(), Some(UNPRIVILEGED_USER), None).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(change(&storage_on(&scratch.root(), store), "object")).unwrap();
        for path in scratch.tree().iter().filter(|path| common::is_own(path)) {
            assert_eq!(
                fs::metadata(scratch.file(path)).unwrap().uid(),
                UNPRIVILEGED_USER,
                "{path}"
            );
        }
        let root = scratch.root();
        as_unprivileged_user(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(change(&storage_on(&root, store), "object")).unwrap();
        });
    }
}

/// The tree belongs to an administrator, and the program may write to one directory of it.
#[test]
fn without_a_state_directory_objects_can_be_created_but_not_replaced_or_deleted() {
    let scratch = Scratch::new();
    set_mode(scratch.path(), 0o755);
    fs::create_dir(scratch.file("open")).unwrap();
    if is_root() {
        chown(scratch.file("open"), Some(UNPRIVILEGED_USER), None).unwrap();
    }
    set_mode(scratch.root(), 0o555);
    let root = scratch.root();
    as_unprivileged_user(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let storage = storage_on(&root, MetadataStore::Auto);
            if !common::has_unnamed_files(&root.join("open")) {
                return skip("files without a name cannot be made here, so that each save needs our directory");
            }
            storage.save("open/new", "1").create_new().await.unwrap();
            let error = refused(storage.save("open/new", "2").await, ErrorKind::PermissionDenied);
            assert!(error.message().contains(".anystorage"), "{error}");
            let error = refused(storage.delete("open/new").await, ErrorKind::PermissionDenied);
            assert!(error.message().contains(".anystorage"), "{error}");
            storage.delete("open/missing").await.unwrap();
            assert_eq!(read(&storage, "open/new").await.unwrap(), b"1");
        });
    });
    // Allows a user whom permissions bind to remove it.
    set_mode(scratch.root(), 0o755);
}

/// An administrator may remove it while programs run.
#[tokio::test]
async fn a_removed_state_directory_is_created_again() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        for _ in 0..3 {
            change(&storage, "object").await.unwrap();
            fs::remove_dir_all(scratch.file(".anystorage")).unwrap();
        }
        change(&storage, "object").await.unwrap();
        assert_eq!(read(&storage, "object").await.unwrap(), b"5");
    }
}

#[tokio::test]
async fn remove_locks_removes_lock_files_that_are_not_in_use() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = || {
            Storage::new(
                Fs::builder(scratch.root()).metadata(store).remove_locks(true).build().unwrap(),
            )
        };
        let first = storage();
        change(&first, "object").await.unwrap();
        first.delete("object").await.unwrap();
        let name = scratch.locks().remove(0);
        let held = File::open(scratch.file(&format!(".anystorage/locks/{name}"))).unwrap();
        flock(&held, FlockOperation::NonBlockingLockShared).unwrap();
        drop(first);
        assert_eq!(scratch.locks(), [name], "{store:?}");
        drop(held);
        let second = storage();
        change(&second, "object").await.unwrap();
        second.delete("object").await.unwrap();
        drop(second);
        assert!(scratch.tree().is_empty(), "{store:?}: {:?}", scratch.tree());
    }
}

/// Increments the number of the key `n` by conditional saves, each repeated until it succeeds.
async fn count_up(root: &Path, times: u64) {
    for _ in 0..times {
        // A new driver each time, as in a command, so that lock files are removed and created
        // often.
        let storage =
            Storage::new(Fs::builder(root).durable(false).remove_locks(true).build().unwrap());
        loop {
            let object = storage.open("n").await.unwrap();
            let etag = object.meta().etag.clone().unwrap();
            let n: u64 = object.text().await.unwrap().parse().unwrap();
            match storage.save("n", (n + 1).to_string()).if_match(etag).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_conditional_save_is_lost_while_other_drivers_remove_lock_files() {
    let scratch = Scratch::new();
    storage_on(&scratch.root(), MetadataStore::Auto).save("n", "0").await.unwrap();
    let root = scratch.root();
    let counting = (0..4).map(|_| {
        let root = root.clone();
        tokio::spawn(async move { count_up(&root, 100).await })
    });
    for count in counting.collect::<Vec<_>>() {
        count.await.unwrap();
    }
    let storage = storage_on(&scratch.root(), MetadataStore::Auto);
    assert_eq!(read(&storage, "n").await.unwrap(), b"400");
}

/// Returns how many open files of this process are the file at a path.
fn times_open(path: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .flat_map(|entry| fs::read_link(entry.path()));
    links.filter(|target| target == path).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_a_removed_lock_file_is_not_accepted() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        change(&storage, "object").await.unwrap();
        let path = scratch
            .root()
            .canonicalize()
            .unwrap()
            .join(".anystorage/locks")
            .join(scratch.locks().remove(0));
        let held = File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let saving = tokio::spawn({
            let storage = storage.clone();
            async move { storage.save("object", "new").await }
        });
        // Two descriptors show that it has opened the file and waits for the lock.
        until("the save does not wait for the lock", || times_open(&path) == 2).await;
        // The save then finds a directory in place of the lock file, which it cannot open.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        drop(held);
        assert!(saving.await.unwrap().is_err(), "{store:?}");
        fs::remove_dir(&path).unwrap();
        storage.save("object", "new").await.unwrap();
    }
}
