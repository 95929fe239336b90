//! Failures of the system: full disks, read-only mounts, denied access, exhausted limits, missing
//! features. The error has the right kind, the old object is intact, no debris stays, and later
//! operations succeed.
//!
//! Mounts are created in the mount namespace of a job and end with it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use common::payloads::{pattern, streaming};
use common::poll::{settled, single_blocking_thread};
use common::{Implementation, Scratch, items, names, read, refused, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use storage_core::{ErrorKind, Metadata, MultipartUpload, ObjectMeta, Payload, Result, Storage};
use storage_fs::{Fs, MetadataStore};
use storage_testkit::jobs;

fn storage_on(root: &Path, store: MetadataStore) -> Storage {
    Implementation::Linux(store).storage(Fs::builder(root))
}

/// Runs a job that mounts something over the root.
fn mounting(job: &str) {
    let Some(wrapper) = jobs::mount_wrapper() else { return skip("this machine forbids mounts") };
    let scratch = Scratch::new();
    match &jobs::finish(jobs::command("child", wrapper, job, &scratch.root()))[..] {
        [reports] if reports == "done" => {}
        [reports] => skip(reports),
        reports => panic!("{reports:?}"),
    }
}

/// In a job: mounts a file system. Returns `false` if the system does not allow it.
fn mount(kind: &str, options: &str, at: &Path) -> bool {
    let mount =
        Command::new("mount").args(["-t", kind, "-o", options, "test"]).arg(at).output().unwrap();
    mount.status.success()
}

/// In a job: changes the options of a mount, not of its file system, which the superuser of a
/// namespace may not change.
fn remount(options: &str, at: &Path) {
    let options = format!("remount,bind,{options}");
    let mount = Command::new("mount").args(["-o", &options]).arg(at).output().unwrap();
    assert!(mount.status.success(), "{mount:?}");
}

/// The state that must be the same after a failure.
struct Before {
    meta: ObjectMeta,
    tree: Vec<String>,
}

const OLD: &str = "d/old";

impl Before {
    /// Saves the object that must survive.
    async fn with_an_object(root: &Path, storage: &Storage) -> Self {
        let save = storage
            .save(OLD, pattern(1, 100_000))
            .content_type("text/x-old")
            .user_metadata("name", "old");
        Self { meta: save.await.unwrap(), tree: objects(root) }
    }

    async fn assert_intact(&self, root: &Path, storage: &Storage) {
        assert_eq!(storage.stat(OLD).await.unwrap(), self.meta);
        assert!(read(storage, OLD).await.unwrap() == pattern(1, 100_000));
        assert_eq!(objects(root), self.tree);
        assert_nothing_staged(root);
    }
}

/// Returns the tree without the state directory and the lock files, which may appear and disappear.
fn objects(root: &Path) -> Vec<String> {
    common::tree(root).into_iter().filter(|path| !common::is_own(path)).collect()
}

fn locks(root: &Path) -> Vec<String> {
    common::tree(root).into_iter().filter(|path| common::is_lock_file(path)).collect()
}

fn assert_nothing_staged(root: &Path) {
    let staged: Vec<_> =
        objects(root).into_iter().filter(|path| path.contains("staging")).collect();
    assert!(staged.is_empty(), "{staged:?}");
}

/// Tries each way to write `size` bytes, which must fail.
async fn assert_all_fail(storage: &Storage, size: usize, kind: ErrorKind) {
    let bytes = || pattern(2, size);
    refused(storage.save(OLD, bytes()).await, kind);
    refused(storage.save(OLD, streaming(bytes(), 10_000)).await, kind);
    refused(storage.save("new/dir/object", bytes()).await, kind);
    refused(storage.save("new/dir/object", bytes()).create_new().await, kind);
    refused(storage.save("new", bytes()).unique_name().await, kind);
    refused(storage.save("new/dir/object", streaming(bytes(), 10_000)).await, kind);
    refused(storage.copy(OLD, "new/dir/copy").await, kind);
}

fn full_disk(root: &Path) {
    for implementation in Implementation::ALL {
        assert!(mount("tmpfs", "size=1m", root));
        single_blocking_thread().block_on(async {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            let upload = storage.multipart("upload").part_size(400_000).await.unwrap();
            upload.put_part(1, pattern(3, 200_000)).await.unwrap();
            fill(&root.join("filler"));
            assert_put_fails(&upload).await;
            fs::remove_file(root.join("filler")).unwrap();
            upload.complete().await.unwrap();
            assert!(read(&storage, "upload").await.unwrap() == pattern(3, 200_000));
            storage.delete("upload").await.unwrap();

            let upload = storage.multipart("upload").part_size(400_000).await.unwrap();
            fill(&root.join("filler"));
            assert_put_fails(&upload).await;
            upload.abort().await.unwrap();
            assert_all_fail(&storage, 3_000_000, ErrorKind::StorageFull).await;
            assert_all_fail(&storage, 10_000, ErrorKind::StorageFull).await;
            fs::remove_file(root.join("filler")).unwrap();
            before.assert_intact(root, &storage).await;
            storage.save(OLD, "new").await.unwrap();
            storage.save("new/dir/object", "new").await.unwrap();

            fill(&root.join("filler"));
            storage.delete(OLD).await.unwrap();
            assert!(!storage.exists(OLD).await.unwrap(), "one can always delete");
        });
        unmount(root);
    }
    jobs::report("done");
}

/// Sends a part in both ways on a full disk.
async fn assert_put_fails(upload: &MultipartUpload) {
    let bytes = pattern(4, 300_000);
    refused(upload.put_part(1, bytes.clone()).await, ErrorKind::StorageFull);
    refused(upload.put_part(1, streaming(bytes, 10_000)).await, ErrorKind::StorageFull);
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let error = std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn unmount(root: &Path) {
    assert!(Command::new("umount").arg(root).status().unwrap().success());
}

fn no_inodes(root: &Path) {
    for implementation in Implementation::ALL {
        assert!(mount("tmpfs", "size=10m,nr_inodes=40", root));
        single_blocking_thread().block_on(async {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            fs::write(root.join("theirs"), "another program's").unwrap();
            let filler = root.join("filler");
            fs::create_dir(&filler).unwrap();
            let used =
                (0..).take_while(|n| File::create(filler.join(n.to_string())).is_ok()).count();
            assert!(used > 5);
            assert_all_fail(&storage, 10_000, ErrorKind::StorageFull).await;
            assert_all_fail(&storage, 0, ErrorKind::StorageFull).await;
            // One inode suffices for the object, but not for its directories.
            fs::remove_file(filler.join("0")).unwrap();
            refused(storage.save("new/dir/object", "x").await, ErrorKind::StorageFull);
            // Without a free inode, no lock file can be created.
            settled().await;
            File::create(filler.join("0")).unwrap();
            let locks = locks(root);
            storage.delete("theirs").await.unwrap();
            assert!(!storage.exists("theirs").await.unwrap(), "one can always delete");
            assert_eq!(self::locks(root), locks, "or the test proves nothing");
            fs::remove_dir_all(&filler).unwrap();
            before.assert_intact(root, &storage).await;
            storage.save("new/dir/object", "new").await.unwrap();
            assert_eq!(read(&storage, "new/dir/object").await.unwrap(), b"new");
        });
        unmount(root);
    }
    jobs::report("done");
}

fn read_only(root: &Path) {
    assert!(mount("tmpfs", "size=10m", root));
    single_blocking_thread().block_on(async {
        for implementation in Implementation::ALL {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            remount("ro", root);
            assert_all_fail(&storage, 10_000, ErrorKind::PermissionDenied).await;
            refused(storage.delete(OLD).await, ErrorKind::PermissionDenied);
            storage.delete("missing").await.unwrap();
            before.assert_intact(root, &storage).await;
            assert_eq!(names(&storage, "").await.unwrap(), [OLD]);
            // A driver that is opened now can read too.
            let reopened = implementation.storage(Fs::builder(root));
            before.assert_intact(root, &reopened).await;
            refused(reopened.save(OLD, "new").await, ErrorKind::PermissionDenied);
            remount("rw", root);
            storage.delete(OLD).await.unwrap();
        }
    });
    jobs::report("done");
}

/// `ramfs` has no extended attributes.
fn no_attributes(root: &Path) {
    if !mount("ramfs", "mode=755", root) {
        return jobs::report("a file system without attributes cannot be mounted here");
    }
    assert!(!common::keeps_attributes(root), "or the test proves nothing");
    single_blocking_thread().block_on(async {
        let storage = storage_on(root, MetadataStore::Auto);
        let before = Before::with_an_object(root, &storage).await;
        assert_eq!(
            before.tree.iter().filter(|path| path.starts_with(".anystorage/meta/")).count(),
            1
        );
        storage.copy(OLD, "copy").await.unwrap();
        assert_eq!(storage.stat("copy").await.unwrap().metadata, before.meta.metadata);
        storage.delete("copy").await.unwrap();
        before.assert_intact(root, &storage).await;

        // Its clock moves in ticks, so only the precise time of the saved files distinguishes
        // changes within one tick.
        for round in 0..300 {
            let saved = storage.save("tick", "1234").user_metadata("n", "1").await.unwrap();
            File::options()
                .write(true)
                .open(root.join("tick"))
                .unwrap()
                .write_all_at(b"5678", 0)
                .unwrap();
            assert_ne!(storage.stat("tick").await.unwrap().etag, saved.etag, "round {round}");
        }
        storage.delete("tick").await.unwrap();

        let strict = storage_on(root, MetadataStore::Xattr);
        let error = refused(strict.save("new/object", "x").await, ErrorKind::Unsupported);
        assert!(error.message().contains("sidecar"), "the message states what to do: {error}");
        refused(strict.save("new/object", streaming("x", 1)).await, ErrorKind::Unsupported);
        before.assert_intact(root, &storage).await;
    });
    jobs::report("done");
}

/// Another file system below the root can be read. A save to it is `Unsupported`.
fn mount_below(root: &Path) {
    let below = root.join("below");
    fs::create_dir(&below).unwrap();
    assert!(mount("tmpfs", "size=10m", &below));
    fs::write(below.join("theirs.txt"), "there").unwrap();
    single_blocking_thread().block_on(async {
        let mut refusals = 0;
        for implementation in Implementation::ALL {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            assert_eq!(read(&storage, "below/theirs.txt").await.unwrap(), b"there");
            assert_eq!(names(&storage, "").await.unwrap(), ["below/theirs.txt", OLD]);
            for key in ["below/new", "below/new/dir/object", "below/theirs.txt"] {
                match storage.save(key, "x").user_metadata("a", "b").await {
                    Ok(saved) => {
                        assert_eq!(storage.stat(key).await.unwrap(), saved);
                        storage.delete(key).await.unwrap();
                    }
                    Err(error) => {
                        refusals += 1;
                        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                        assert!(error.message().contains("file system"), "{error}");
                    }
                }
                before.assert_intact(root, &storage).await;
            }
            assert_eq!(read(&storage, "below/theirs.txt").await.unwrap(), b"there");
            storage.delete(OLD).await.unwrap();
        }
        assert!(refusals > 0, "or the test looks at nothing");
        storage_on(root, MetadataStore::Auto).delete("below/theirs.txt").await.unwrap();
        assert!(below.is_dir(), "what is mounted stays");
    });
    jobs::report("done");
}

/// Without the permission to write. Runs as a user whom permissions bind.
fn deny_access() {
    let scratch = Scratch::new();
    let root = scratch.root();
    let close = |path: &str, mode| {
        fs::set_permissions(root.join(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    single_blocking_thread().block_on(async {
        for implementation in Implementation::ALL {
            let storage = implementation.storage(Fs::builder(&root));
            let before = Before::with_an_object(&root, &storage).await;
            storage.save("closed/object", "x").await.unwrap();
            storage.save("unreadable", "x").await.unwrap();
            let tree = objects(&root);

            close("unreadable", 0o000);
            refused(storage.open("unreadable").await, ErrorKind::PermissionDenied);
            assert!(storage.exists("unreadable").await.unwrap());
            refused(storage.copy("unreadable", "copy").await, ErrorKind::PermissionDenied);

            close("closed", 0o555);
            refused(storage.save("closed/object", "new").await, ErrorKind::PermissionDenied);
            refused(
                storage.save("closed/new", streaming("new", 1)).await,
                ErrorKind::PermissionDenied,
            );
            refused(storage.save("closed/new/object", "new").await, ErrorKind::PermissionDenied);
            refused(storage.copy(OLD, "closed/copy").await, ErrorKind::PermissionDenied);
            refused(storage.delete("closed/object").await, ErrorKind::PermissionDenied);
            assert_eq!(read(&storage, "closed/object").await.unwrap(), b"x");

            close("closed", 0o000);
            for key in ["closed/object", "closed/missing", "closed/a/b"] {
                refused(storage.exists(key).await, ErrorKind::PermissionDenied);
                refused(storage.stat(key).await, ErrorKind::PermissionDenied);
                refused(storage.open(key).await, ErrorKind::PermissionDenied);
                refused(storage.delete(key).await, ErrorKind::PermissionDenied);
                refused(storage.save(key, "new").await, ErrorKind::PermissionDenied);
            }
            refused(names(&storage, "").await, ErrorKind::PermissionDenied);
            refused(names(&storage, "closed/").await, ErrorKind::PermissionDenied);
            assert_eq!(names(&storage, "d/").await.unwrap(), [OLD]);

            close("closed", 0o755);
            close("unreadable", 0o644);
            assert_eq!(objects(&root), tree);
            storage.delete("closed/object").await.unwrap();
            storage.delete("unreadable").await.unwrap();
            before.assert_intact(&root, &storage).await;
        }
        // A read-only root accepts no save and no new directory.
        let storage = storage_on(&root, MetadataStore::Auto);
        let before = Before::with_an_object(&root, &storage).await;
        drop(storage);
        close("", 0o555);
        let storage = storage_on(&root, MetadataStore::Auto);
        refused(storage.save("new", "x").await, ErrorKind::PermissionDenied);
        refused(storage.save("new/object", "x").await, ErrorKind::PermissionDenied);
        before.assert_intact(&root, &storage).await;
        close("", 0o000);
        refused(storage.exists(OLD).await, ErrorKind::PermissionDenied);
        refused(Fs::builder(root.join("below")).build().map(drop), ErrorKind::InvalidConfig);
        close("", 0o755);
    });
}

/// With few free descriptors, each operation succeeds or fails with an error. None reports a
/// missing object.
fn too_many_open_files(root: &Path) {
    single_blocking_thread().block_on(async {
        for implementation in Implementation::ALL {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            let mut failures = 0;
            for left in 0..8 {
                let calls: [(&str, Result<()>); 8] = {
                    let _held = all_descriptors_but(left);
                    let listed = items(&storage, "").await;
                    let found = match &listed[..] {
                        [Ok(name)] if name == OLD => Ok(()),
                        [.., Err((kind, _))] => {
                            Err(storage_core::Error::new(*kind, "").with_retryable(true))
                        }
                        other => panic!("{other:?}"),
                    };
                    [
                        ("list", found),
                        (
                            "open",
                            read(&storage, OLD).await.map(|bytes| assert_eq!(bytes.len(), 100_000)),
                        ),
                        ("stat", storage.stat(OLD).await.map(|meta| assert_eq!(meta, before.meta))),
                        ("exists", storage.exists(OLD).await.map(|there| assert!(there))),
                        ("save", storage.save("new/dir/object", "x").await.map(drop)),
                        (
                            "stream",
                            storage
                                .save("new/dir/stream", streaming(pattern(1, 3_000_000), 65_536))
                                .await
                                .map(drop),
                        ),
                        ("copy", storage.copy(OLD, "new/dir/copy").await),
                        ("delete", storage.delete("new/dir/object").await),
                    ]
                };
                for (call, result) in calls {
                    let Err(error) = result else { continue };
                    failures += 1;
                    assert!(error.is_retryable(), "{call} with {left} left: {error}");
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Unexpected,
                        "{call} with {left} left: {error}"
                    );
                }
                for key in ["new/dir/object", "new/dir/stream", "new/dir/copy"] {
                    storage.delete(key).await.unwrap();
                }
                before.assert_intact(root, &storage).await;
            }
            assert!(failures > 10, "{failures} failures");
            storage.save("new/dir/object", "x").await.unwrap();
            storage.delete("new/dir/object").await.unwrap();
            storage.delete(OLD).await.unwrap();
        }
    });
    jobs::report("done");
}

fn all_descriptors_but(left: usize) -> Vec<File> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum: limit.maximum }).unwrap();
    let mut held: Vec<_> = std::iter::from_fn(|| File::open("/").ok()).collect();
    held.truncate(held.len() - left);
    held
}

/// Sets `RLIMIT_FSIZE`, as `ulimit -f` does.
fn file_size_limit(root: &Path) {
    single_blocking_thread().block_on(async {
        for implementation in Implementation::ALL {
            let storage = implementation.storage(Fs::builder(root));
            let before = Before::with_an_object(root, &storage).await;
            let limit = getrlimit(Resource::Fsize);
            setrlimit(Resource::Fsize, Rlimit { current: Some(50_000), maximum: limit.maximum })
                .unwrap();
            assert_all_fail(&storage, 60_000, ErrorKind::TooLarge).await;
            assert_all_fail(&storage, 3_000_000, ErrorKind::TooLarge).await;
            storage.save("small", pattern(1, 50_000)).await.unwrap();
            setrlimit(Resource::Fsize, limit).unwrap();
            storage.delete("small").await.unwrap();
            before.assert_intact(root, &storage).await;
            storage.delete(OLD).await.unwrap();
        }
    });
    jobs::report("done");
}

#[test]
fn a_full_disk_fails_only_saves() {
    mounting("full disk");
}

#[test]
fn a_lack_of_inodes_fails_only_saves() {
    mounting("no inodes");
}

#[test]
fn a_read_only_file_system_can_be_read() {
    mounting("read-only");
}

#[test]
fn without_extended_attributes_metadata_is_stored_in_sidecars_or_refused() {
    mounting("no attributes");
}

#[test]
fn a_mount_below_the_root_can_be_read_and_a_save_to_it_is_unsupported() {
    mounting("mount below");
}

#[test]
fn denied_access_is_never_reported_as_absence() {
    common::as_unprivileged_user(deny_access);
}

#[test]
fn too_many_open_files_are_a_retryable_error() {
    let scratch = Scratch::new();
    assert_eq!(
        jobs::finish(jobs::command("child", &[], "too many open files", &scratch.root())),
        ["done"]
    );
}

#[test]
fn a_save_beyond_the_file_size_limit_fails() {
    let scratch = Scratch::new();
    // Otherwise the signal SIGXFSZ would end the process.
    let shell = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    assert_eq!(
        jobs::finish(jobs::command("child", &shell, "file size limit", &scratch.root())),
        ["done"]
    );
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("full disk", full_disk),
        ("no inodes", no_inodes),
        ("read-only", read_only),
        ("no attributes", no_attributes),
        ("mount below", mount_below),
        ("too many open files", too_many_open_files),
        ("file size limit", file_size_limit),
    ]);
}

/// ext4 has room for about 4 KiB of attributes, and the contract allows more.
#[tokio::test]
async fn metadata_larger_than_an_attribute_is_stored_in_a_sidecar_or_refused() {
    let scratch = Scratch::new();
    let storage = storage_on(&scratch.root(), MetadataStore::Auto);
    let long = |n: usize| "x".repeat(n);
    let metadata = Metadata::new()
        .content_type(format!("text/{}", long(1000)))
        .content_disposition(long(1024))
        .content_language(long(1024))
        .cache_control(long(1024))
        .content_encoding(long(1024))
        .user("name", long(2000));
    let saved = storage.save("large", "1").metadata(metadata.clone()).await.unwrap();
    assert_eq!(storage.stat("large").await.unwrap(), saved);
    let is_ext4 = rustix::fs::statfs(scratch.path()).is_ok_and(|about| about.f_type == 0xef53);
    assert!(!is_ext4 || scratch.sidecars().len() == 1, "or the test proves nothing");

    // Saves and copies move the record from the sidecar to the file and back.
    let small = storage.save("large", "2").user_metadata("a", "b").await.unwrap();
    assert_eq!(storage.stat("large").await.unwrap(), small);
    let saved = storage.save("large", "3").metadata(metadata.clone()).await.unwrap();
    assert_eq!(storage.stat("large").await.unwrap(), saved);
    storage.copy("large", "copy").await.unwrap();
    assert_eq!(storage.stat("copy").await.unwrap().metadata, saved.metadata);
    storage.copy("copy", "copy").metadata(Metadata::new()).await.unwrap();
    assert!(storage.stat("copy").await.unwrap().metadata.user_metadata.is_empty());
    storage.delete("large").await.unwrap();
    storage.delete("copy").await.unwrap();
    assert!(
        scratch.plain_tree().is_empty() && scratch.sidecars().is_empty(),
        "{:?}",
        scratch.tree()
    );

    let strict = storage_on(&scratch.root(), MetadataStore::Xattr);
    match strict.save("large", "1").metadata(metadata).await {
        Ok(saved) => {
            assert!(!is_ext4);
            assert_eq!(strict.stat("large").await.unwrap(), saved);
        }
        Err(error) => {
            // ext4 returns the error number of a full disk.
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.message().contains("set metadata = \"auto\""), "{error}");
            assert!(scratch.plain_tree().is_empty() && scratch.staged().is_empty());
        }
    }
}

/// Fails the source after each chunk.
#[tokio::test]
async fn a_payload_that_fails_leaves_the_old_object() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let before = Before::with_an_object(&scratch.root(), &storage).await;
    for chunks in [0, 1, 5, 40] {
        let (feed, payload) = common::payloads::fed();
        let save = tokio::spawn({
            let storage = storage.clone();
            async move { storage.save(OLD, payload).content_type("text/plain").await }
        });
        for _ in 0..chunks {
            feed.send(pattern(3, 100_000)).await;
        }
        feed.fail().await;
        let error = save.await.unwrap().unwrap_err();
        assert!(error.message().contains("the source failed"), "{error}");
        before.assert_intact(&scratch.root(), &storage).await;
    }
    let source = scratch.path().join("shrinking");
    fs::write(&source, pattern(3, 3_000_000)).unwrap();
    let payload = Payload::from_file(&source).await.unwrap();
    File::options().write(true).open(&source).unwrap().set_len(2_000_000).unwrap();
    refused(storage.save(OLD, payload).await, ErrorKind::Integrity);
    before.assert_intact(&scratch.root(), &storage).await;
}
