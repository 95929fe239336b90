//! No path leads out of the root: not through symlinks in the tree, directories that are swapped
//! for symlinks, or special files. A canary directory of the test must stay untouched.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::{Scratch, level, names, read, refused, skip};
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps};
use storage_core::{ErrorKind, Storage};
use storage_fs::MetadataStore;
use storage_testkit::jobs;

const SECRET: &[u8] = b"this is outside of the root";

/// A directory beside the root that no key may reach. Old access times show whether it was read.
struct Canary {
    path: PathBuf,
    before: Vec<(String, Vec<u8>)>,
    shows_reads: bool,
}

impl Canary {
    fn beside(scratch: &Scratch) -> Self {
        let path = scratch.path().join("canary");
        fs::create_dir_all(path.join("dir")).unwrap();
        fs::create_dir_all(path.join("staging")).unwrap();
        fs::create_dir_all(path.join("meta")).unwrap();
        fs::write(path.join("file"), SECRET).unwrap();
        fs::write(path.join("dir/file"), SECRET).unwrap();
        let mut canary = Self { before: contents(&path), path, shows_reads: true };
        canary.age();
        fs::read(canary.path.join("file")).unwrap();
        canary.shows_reads = !canary.unread();
        if !canary.shows_reads {
            skip("this file system does not note when a file is read");
        }
        canary.age();
        canary
    }

    /// Sets all access times back.
    fn age(&self) {
        for path in self.all() {
            let long_ago = Timespec { tv_sec: 1_000_000, tv_nsec: 0 };
            let times = Timestamps { last_access: long_ago, last_modification: long_ago };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        }
    }

    fn all(&self) -> Vec<PathBuf> {
        let below = ["", "file", "dir", "dir/file", "staging", "meta"];
        below.iter().map(|below| self.path.join(below)).collect()
    }

    fn unread(&self) -> bool {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        self.all()
            .iter()
            .all(|path| fs::symlink_metadata(path).unwrap().accessed().unwrap() == long_ago)
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(!self.shows_reads || self.unread(), "the canary was read");
        assert_eq!(contents(&self.path), self.before, "the canary was changed");
        self.age();
    }
}

/// Returns the names and contents of a tree.
fn contents(root: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |path: String| {
        let bytes =
            if path.ends_with('/') { Vec::new() } else { fs::read(root.join(&path)).unwrap() };
        (path, bytes)
    };
    common::tree(root).into_iter().map(read).collect()
}

/// Tries each verb on a key that would lead out of the root if symlinks were followed.
async fn assert_leads_nowhere(storage: &Storage, key: &str) {
    refused(storage.open(key).await, ErrorKind::NotFound);
    refused(storage.stat(key).await, ErrorKind::NotFound);
    assert!(!storage.exists(key).await.unwrap(), "{key}");
    storage.delete(key).await.unwrap();
    refused(storage.save(key, "overwritten").await, ErrorKind::Conflict);
    refused(storage.save(key, "overwritten").create_new().await, ErrorKind::Conflict);
    let streamed = common::payloads::streaming("overwritten", 4);
    refused(storage.save(key, streamed).await, ErrorKind::Conflict);
    refused(storage.copy(key, "copy").await, ErrorKind::NotFound);
    refused(storage.copy("inside", key).await, ErrorKind::Conflict);
    for prefix in [key.to_owned(), format!("{key}/")] {
        assert!(names(storage, &prefix).await.unwrap().is_empty(), "{prefix}");
        assert!(level(storage, &prefix).await.unwrap().is_empty(), "{prefix}");
    }
}

#[tokio::test]
async fn symlinks_in_the_tree_are_not_followed() {
    let scratch = Scratch::new();
    let canary = Canary::beside(&scratch);
    let storage = scratch.storage();
    storage.save("inside", "inside").await.unwrap();
    let outside = canary.path.to_str().unwrap();
    fs::create_dir(scratch.file("dir")).unwrap();
    for (link, target) in [
        ("file", format!("{outside}/file")),
        ("relative", "../canary/file".to_owned()),
        ("up", "..".to_owned()),
        ("canary", outside.to_owned()),
        ("dir/canary", "../../canary".to_owned()),
        ("dangling", format!("{outside}/not-there")),
        ("loop", "loop".to_owned()),
        ("self", ".".to_owned()),
        ("to-inside", "inside".to_owned()),
    ] {
        symlink(target, scratch.file(link)).unwrap();
    }
    let before = scratch.plain_tree();
    for key in [
        "file",
        "relative",
        "up",
        "canary",
        "dir/canary",
        "dangling",
        "loop",
        "self",
        "to-inside",
        "up/canary/file",
        "canary/file",
        "canary/dir/file",
        "dir/canary/file",
        "dir/canary/new",
        "loop/x",
        "self/inside",
        "canary/new/new",
    ] {
        assert_leads_nowhere(&storage, key).await;
        canary.assert_untouched();
    }
    assert_eq!(names(&storage, "").await.unwrap(), ["inside"]);
    assert_eq!(level(&storage, "").await.unwrap(), ["inside"]);
    assert_eq!(scratch.plain_tree(), before, "nothing came of it");
    assert!(scratch.staged().is_empty());
    canary.assert_untouched();
}

/// The name is taken by a symlink.
#[tokio::test]
async fn unique_name_avoids_a_name_that_a_symlink_has() {
    let scratch = Scratch::new();
    let canary = Canary::beside(&scratch);
    symlink(canary.path.join("file"), scratch.file("photo.png")).unwrap();
    let meta = scratch.storage().save("photo.png", "mine").unique_name().await.unwrap();
    assert_ne!(meta.key, "photo.png");
    canary.assert_untouched();
}

#[tokio::test]
async fn symlinks_are_not_followed_without_openat2() {
    let scratch = Scratch::new();
    let canary = Canary::beside(&scratch);
    let storage = scratch.storage();
    storage.save("inside", "inside").await.unwrap();
    drop(storage);
    symlink(&canary.path, scratch.file("canary")).unwrap();
    symlink("../canary/file", scratch.file("file")).unwrap();
    fs::create_dir(scratch.file("dir")).unwrap();
    symlink("../../canary", scratch.file("dir/canary")).unwrap();

    let Some(strace) = common::trace::without_openat2() else {
        return skip("strace cannot run a program here");
    };
    let reports = jobs::finish(jobs::command("child", strace, "without openat2", &scratch.root()));
    assert_eq!(reports, ["inside", "done"]);
    canary.assert_untouched();
}

fn without_openat2(root: &Path) {
    // Control: the call is really missing.
    let resolve = rustix::fs::ResolveFlags::BENEATH;
    let flags = rustix::fs::OFlags::RDONLY;
    let gone = rustix::fs::openat2(CWD, root, flags, rustix::fs::Mode::empty(), resolve);
    assert_eq!(gone.unwrap_err(), rustix::io::Errno::NOSYS);

    let storage = Storage::new(storage_fs::Fs::builder(root).durable(false).build().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        jobs::report(&storage.open("inside").await.unwrap().text().await.unwrap());
        for key in [
            "file",
            "canary",
            "dir/canary",
            "canary/file",
            "canary/dir/file",
            "dir/canary/file",
            "canary/new",
        ] {
            assert_leads_nowhere(&storage, key).await;
        }
        assert_eq!(names(&storage, "").await.unwrap(), ["inside"]);
        storage.save("a/b/c", "1").await.unwrap();
        assert_eq!(read(&storage, "a/b/c").await.unwrap(), b"1");
        storage.delete("a/b/c").await.unwrap();
        assert!(!root.join("a").exists());
    });
    jobs::report("done");
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[("without openat2", without_openat2)]);
}

#[tokio::test]
async fn a_state_directory_planted_as_a_symlink_is_not_followed() {
    for planted in [".anystorage", ".anystorage/locks", ".anystorage/staging", ".anystorage/meta"] {
        for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
            let scratch = Scratch::new();
            let canary = Canary::beside(&scratch);
            let link = scratch.file(planted);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&canary.path, &link).unwrap();
            scratch.put("there", "before");

            let fs = scratch.builder().metadata(store).build().unwrap();
            fs.sweep(Duration::ZERO).await.ok();
            let storage = Storage::new(fs);
            // A save that does not need the directory may succeed, but never through the symlink.
            for key in ["new", "there", "a/b"] {
                storage.save(key, "1").await.ok();
                storage.save(key, "2").create_new().await.ok();
                storage.stat(key).await.ok();
                storage.delete(key).await.ok();
            }
            drop(storage);
            canary.assert_untouched();
        }
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_a_state_directory_ends_a_save_under_a_unique_name() {
    for planted in [".anystorage/locks", ".anystorage/meta"] {
        let scratch = Scratch::new();
        let file = scratch.file(planted);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "planted").unwrap();
        let store = MetadataStore::Sidecar;
        let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();
        let error = storage.save("a", "1").unique_name().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}

/// The driver cleans up when it is dropped, and the path may have changed by then.
#[tokio::test]
async fn a_state_directory_swapped_for_a_symlink_is_not_cleaned_up_through_it() {
    let scratch = Scratch::new();
    let canary = Canary::beside(&scratch);
    let storage =
        scratch.builder().metadata(MetadataStore::Sidecar).build().map(Storage::new).unwrap();
    storage.save("a", "1").await.unwrap();
    storage.delete("a").await.unwrap();
    fs::rename(scratch.file(".anystorage"), scratch.file("moved")).unwrap();
    symlink(&canary.path, scratch.file(".anystorage")).unwrap();
    drop(storage);
    canary.assert_untouched();
}

/// A thread swaps a directory for a symlink to the canary and back while each verb uses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_swapped_for_a_symlink_during_operations_is_not_followed() {
    for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
        let scratch = Scratch::new();
        let canary = Canary::beside(&scratch);
        // The inside has a file that the canary lacks, which would show a mix-up.
        scratch.put("swapped/file", "inside");
        scratch.put("swapped/dir/file", "inside");
        symlink(&canary.path, scratch.file("link")).unwrap();
        let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();

        let swapper = Swapper::start(scratch.file("swapped"), scratch.file("link"));
        let (mut went_in, mut kept_out) = (0, 0);
        // Repeat until both states were seen, however the system schedules the two threads.
        for round in 0..100_000 {
            if round >= 400 && swapper.swaps() > 0 && went_in > 0 && kept_out > 0 {
                break;
            }
            let key = ["swapped/file", "swapped/dir/file"][round % 2];
            match storage.save(key, "inside").await {
                Ok(_) => went_in += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    kept_out += 1;
                }
            }
            match read(&storage, key).await {
                Ok(bytes) => assert_eq!(bytes, b"inside"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
            storage.delete(key).await.unwrap();
            storage.save(format!("swapped/new/{round}"), "inside").await.ok();
            storage.copy("swapped/file", "swapped/copied").await.ok();
            for item in common::items(&storage, "swapped/").await {
                let name = item.unwrap();
                assert!(name != "swapped/staging" && name != "swapped/meta", "{name}");
            }
            storage.delete(format!("swapped/new/{round}")).await.unwrap();
        }
        let swaps = swapper.stop();
        canary.assert_untouched();
        // Otherwise the test proves nothing.
        assert!(
            swaps > 0 && went_in > 0 && kept_out > 0,
            "{swaps} swaps, {went_in} in, {kept_out} out"
        );
        assert!(scratch.staged().is_empty());
    }
}

/// A thread that exchanges two names until it is stopped.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Swapper {
    fn start(a: PathBuf, b: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let swaps = Arc::new(AtomicUsize::new(0));
        let (stopped, swapped) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // The driver may have removed the empty directory. Wait until it exists again.
                if rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).is_ok() {
                    swapped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, swaps, thread }
    }

    fn swaps(&self) -> usize {
        self.swaps.load(Ordering::Relaxed)
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.swaps.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_save_does_not_follow_a_directory_that_was_moved_out_of_the_root() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("a/b/c", "1").await.unwrap();
    let outside = scratch.path().join("outside");
    fs::rename(scratch.file("a"), &outside).unwrap();
    assert!(!storage.exists("a/b/c").await.unwrap());
    storage.save("a/b/d", "2").await.unwrap();
    assert_eq!(common::tree(&outside), ["b/", "b/c"]);
    assert_eq!(scratch.plain_tree(), ["a/", "a/b/", "a/b/d"]);
}

/// Opening a FIFO would block forever.
#[tokio::test]
async fn special_files_are_neither_opened_nor_replaced() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("inside", "inside").await.unwrap();
    fs::create_dir(scratch.file("dir")).unwrap();
    let mut keys = vec!["fifo", "dir/fifo", "socket"];
    common::fifo(&scratch.file("fifo"));
    common::fifo(&scratch.file("dir/fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(scratch.file("socket")).unwrap();
    if common::device(&scratch.file("device")) {
        keys.push("device");
    } else {
        skip("devices cannot be made here");
    }
    let before = scratch.plain_tree();
    for key in keys {
        assert_leads_nowhere(&storage, key).await;
        refused(storage.save(format!("{key}/below"), "1").await, ErrorKind::Conflict);
    }
    assert_eq!(names(&storage, "").await.unwrap(), ["inside"]);
    assert_eq!(scratch.plain_tree(), before);
}
