//! The portable implementation on Linux: the conformance suite, also with the names of Windows;
//! symlinks; names that differ in case; and roots that both implementations use.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;

use common::{Scratch, names, read, refused};
use storage_core::signed_url::SigningKey;
use storage_core::{ChecksumAlgorithm, ErrorKind, Key, Storage, async_trait};
use storage_fs::{FsBuilder, MetadataStore, NameRules};
use storage_testkit::Harness;

const SYSTEM: NameRules = rules(false, false);
const WINDOWS: NameRules = rules(true, false);
const IGNORE_CASE: NameRules = rules(false, true);

const fn rules(windows: bool, ignore_case: bool) -> NameRules {
    NameRules { windows, ignore_case }
}

fn portable(builder: FsBuilder, rules: NameRules) -> Storage {
    Storage::new(builder.build_portable(rules).unwrap())
}

/// Creates storages on scratch directories, which live as long as the harness.
struct Portable {
    set_up: fn(FsBuilder) -> FsBuilder,
    rules: NameRules,
    scratch: Mutex<Vec<Scratch>>,
}

impl Portable {
    fn new(rules: NameRules, set_up: fn(FsBuilder) -> FsBuilder) -> Self {
        Self { set_up, rules, scratch: Mutex::default() }
    }
}

fn with_links(builder: FsBuilder) -> FsBuilder {
    let signing_key = SigningKey::new("a secret for tests alone").unwrap();
    builder.public_url("https://media.example.com/files".parse().unwrap()).signing_key(signing_key)
}

#[async_trait]
impl Harness for Portable {
    async fn storage(&self) -> Storage {
        let scratch = Scratch::in_memory();
        let storage = portable((self.set_up)(scratch.builder()), self.rules);
        self.scratch.lock().unwrap().push(scratch);
        storage
    }

    fn rejects_key(&self, key: &Key) -> bool {
        let is_too_long = |segment: &str| segment.len() > 255 || segment == common::RESERVED;
        let is_not_of_windows = |segment: &str| {
            segment.contains(['<', '>', ':', '"', '\\', '|', '?', '*'])
                || segment.ends_with(['.', ' '])
                || ["con", "nul", "aux", "prn", "com1", "lpt1"]
                    .contains(&&*segment.split('.').next().unwrap().to_lowercase())
        };
        key.segments().any(is_too_long)
            || self.rules.windows && key.segments().any(is_not_of_windows)
    }

    fn is_tree(&self) -> bool {
        true
    }

    /// Returns a storage whose root may not be searched. Permissions do not bind the superuser.
    async fn broken_backend(&self) -> Option<Storage> {
        if common::is_root() {
            return None;
        }
        let storage = self.storage().await;
        let root = self.scratch.lock().unwrap().last()?.root();
        fs::set_permissions(root, PermissionsExt::from_mode(0o000)).ok()?;
        Some(storage)
    }
}

storage_testkit::conformance!(not_durable, Portable::new(SYSTEM, with_links));
storage_testkit::conformance!(durable, Portable::new(SYSTEM, |builder| builder.durable(true)));
storage_testkit::conformance!(with_names_of_windows, Portable::new(WINDOWS, |builder| builder));

#[tokio::test]
async fn names_that_windows_cannot_store_are_refused_and_no_object_has_them() {
    let scratch = Scratch::new();
    let storage = portable(scratch.builder(), WINDOWS);
    storage.save("a", "1").await.unwrap();
    for key in ["CON", "d/nul.txt", "a:stream", "dir./x", "x ", "a\\b"] {
        // Windows would open something else by this name.
        scratch.put(key, "a device");
        refused(storage.save(key, "1").await, ErrorKind::InvalidKey);
        refused(storage.copy("a", key).await, ErrorKind::InvalidKey);
        refused(storage.copy(key, "b").await, ErrorKind::NotFound);
        refused(storage.open(key).await, ErrorKind::NotFound);
        refused(storage.stat(key).await, ErrorKind::NotFound);
        assert!(!storage.exists(key).await.unwrap(), "{key}");
        storage.delete(key).await.unwrap();
        assert_eq!(fs::read(scratch.file(key)).unwrap(), b"a device");
    }
}

#[tokio::test]
async fn keys_that_differ_only_in_case_do_not_overwrite_each_other_where_case_is_ignored() {
    let scratch = Scratch::new();
    let storage = portable(scratch.builder(), IGNORE_CASE);
    storage.save("Photos/Ada.png", "ada").await.unwrap();
    for key in ["Photos/ADA.png", "photos/Ada.png", "PHOTOS/new.png", "photos", "Photos/ada.PNG/x"]
    {
        let error = refused(storage.save(key, "other").await, ErrorKind::Conflict);
        assert!(error.to_string().contains("only in case"), "{key}: {error}");
        let streamed = common::payloads::streaming("other", 2);
        refused(storage.save(key, streamed).await, ErrorKind::Conflict);
        refused(storage.save(key, "other").create_new().await, ErrorKind::Conflict);
        refused(storage.copy("Photos/Ada.png", key).await, ErrorKind::Conflict);
        refused(storage.stat(key).await, ErrorKind::NotFound);
        refused(storage.open(key).await, ErrorKind::NotFound);
        assert!(!storage.exists(key).await.unwrap(), "{key}");
        storage.delete(key).await.unwrap();
    }
    storage.save("Photos/Ada.png", "ada again").await.unwrap();
    assert_eq!(read(&storage, "Photos/Ada.png").await.unwrap(), b"ada again");
    assert_eq!(names(&storage, "").await.unwrap(), ["Photos/Ada.png"]);
    let unique = storage.save("Photos/ADA.png", "third").unique_name().await.unwrap();
    assert_eq!(read(&storage, unique.key.as_str()).await.unwrap(), b"third");
}

#[tokio::test]
async fn each_implementation_reads_what_the_other_has_saved_in_sidecars() {
    let scratch = Scratch::new();
    let linux = Storage::new(scratch.builder().metadata(MetadataStore::Sidecar).build().unwrap());
    let portable = portable(scratch.builder(), SYSTEM);
    for (writer, reader, key) in [(&linux, &portable, "d/a"), (&portable, &linux, "d/b")] {
        for body in ["first", "second"] {
            let saved = writer
                .save(key, body)
                .content_type("text/x-test")
                .user_metadata("of", body)
                .compute_checksum(ChecksumAlgorithm::Sha256)
                .await
                .unwrap();
            let object = reader.open(key).await.unwrap();
            assert_eq!(object.meta().etag, saved.etag);
            assert_eq!(object.meta().metadata, saved.metadata);
            assert_eq!(object.meta().checksums, saved.checksums);
            assert_eq!(object.meta().last_modified, saved.last_modified);
            assert_eq!(object.text().await.unwrap(), body);
        }
        let etag = reader.stat(key).await.unwrap().etag.unwrap();
        reader.save(key, "third").if_match(etag.clone()).await.unwrap();
        refused(writer.save(key, "4").if_match(etag).await, ErrorKind::PreconditionFailed);
    }
    linux.delete("d/b").await.unwrap();
    portable.delete("d/a").await.unwrap();
    assert!(scratch.sidecars().is_empty());
}

#[tokio::test]
async fn a_file_of_another_program_has_the_same_etag_in_both_implementations() {
    let scratch = Scratch::new();
    scratch.put("a.txt", "by hand");
    let linux = scratch.storage().stat("a.txt").await.unwrap();
    let portable = portable(scratch.builder(), SYSTEM).stat("a.txt").await.unwrap();
    assert_eq!(linux.metadata, portable.metadata);
    assert_eq!(
        linux.etag.map(|etag| etag.opaque().to_owned()),
        portable.etag.map(|etag| etag.opaque().to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_concurrent_create_new_saves_succeeds_across_both_implementations() {
    let scratch = Scratch::new();
    for round in 0..50 {
        let key = format!("d/{round}");
        let saves = (0..8).map(|n| {
            let storage = match n % 2 {
                0 => portable(scratch.builder(), SYSTEM),
                _ => Storage::new(
                    scratch.builder().metadata(MetadataStore::Sidecar).build().unwrap(),
                ),
            };
            let key = key.clone();
            tokio::spawn(async move { storage.save(key, format!("{n}")).create_new().await })
        });
        let mut won = Vec::new();
        for save in saves.collect::<Vec<_>>() {
            match save.await.unwrap() {
                Ok(meta) => won.push(meta),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            }
        }
        assert_eq!(won.len(), 1);
        let found = portable(scratch.builder(), SYSTEM).stat(&key).await.unwrap();
        assert_eq!(found.etag, won[0].etag);
    }
    assert!(scratch.staged().is_empty());
}

#[tokio::test]
async fn the_portable_driver_follows_no_symlink() {
    let scratch = Scratch::new();
    let canary = scratch.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "secret").unwrap();
    let storage = portable(scratch.builder(), SYSTEM);
    storage.save("inside", "inside").await.unwrap();
    symlink(&canary, scratch.file("canary")).unwrap();
    symlink("../canary/file", scratch.file("file")).unwrap();
    symlink("inside", scratch.file("to-inside")).unwrap();
    symlink(".", scratch.file("self")).unwrap();
    symlink("..", scratch.file("up")).unwrap();
    common::fifo(&scratch.file("fifo"));
    let before = scratch.plain_tree();
    for key in [
        "file",
        "canary",
        "canary/file",
        "canary/new",
        "to-inside",
        "self/inside",
        "up/canary/file",
        "fifo",
        "fifo/x",
        "inside/x",
    ] {
        refused(storage.open(key).await, ErrorKind::NotFound);
        refused(storage.stat(key).await, ErrorKind::NotFound);
        assert!(!storage.exists(key).await.unwrap(), "{key}");
        storage.delete(key).await.unwrap();
        refused(storage.save(key, "overwritten").await, ErrorKind::Conflict);
        refused(storage.save(key, "overwritten").create_new().await, ErrorKind::Conflict);
        refused(storage.copy(key, "copy").await, ErrorKind::NotFound);
        refused(storage.copy("inside", key).await, ErrorKind::Conflict);
        assert!(names(&storage, &format!("{key}/")).await.unwrap().is_empty(), "{key}");
    }
    assert_eq!(names(&storage, "").await.unwrap(), ["inside"]);
    assert_eq!(scratch.plain_tree(), before);
    assert_eq!(common::tree(&canary), ["file"]);
    assert_eq!(fs::read(canary.join("file")).unwrap(), b"secret");
    assert!(scratch.staged().is_empty());
}

#[tokio::test]
async fn the_portable_driver_does_not_use_a_state_directory_that_is_a_symlink() {
    for planted in [".anystorage", ".anystorage/locks", ".anystorage/staging", ".anystorage/meta"] {
        let scratch = Scratch::new();
        let canary = scratch.path().join("canary");
        fs::create_dir(&canary).unwrap();
        let link = scratch.file(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&canary, &link).unwrap();
        scratch.put("there", "before");
        let storage = portable(scratch.builder().remove_locks(true), SYSTEM);
        for key in ["new", "there", "a/b"] {
            assert!(storage.save(key, "1").await.is_err(), "{planted}: {key}");
        }
        drop(storage);
        assert!(common::tree(&canary).is_empty(), "{planted}");
        assert_eq!(fs::read(scratch.file("there")).unwrap(), b"before");
    }
}

/// A thread swaps a directory for a symlink to the canary and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_portable_driver_stays_inside_while_a_directory_is_swapped_for_a_symlink() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let scratch = Scratch::new();
    let canary = scratch.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "secret").unwrap();
    scratch.put("swapped/file", "inside");
    symlink(&canary, scratch.file("link")).unwrap();
    let storage = portable(scratch.builder(), SYSTEM);
    let (stop, swaps) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (a, b) = (scratch.file("swapped"), scratch.file("link"));
    let (mut went_in, mut kept_out) = (0, 0);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while stop.load(Ordering::Relaxed) == 0 {
                    let cwd = rustix::fs::CWD;
                    if rustix::fs::renameat_with(cwd, &a, cwd, &b, exchange).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            runtime.block_on(async {
                for round in 0..100_000 {
                    if round >= 300 && went_in > 0 && kept_out > 0 {
                        break;
                    }
                    match storage.save("swapped/file", "inside").await {
                        Ok(_) => went_in += 1,
                        Err(_) => kept_out += 1,
                    }
                    if let Ok(bytes) = read(&storage, "swapped/file").await {
                        assert_eq!(bytes, b"inside");
                    }
                    storage.delete("swapped/file").await.ok();
                    storage.save(format!("swapped/new/{round}"), "inside").await.ok();
                    storage.delete(format!("swapped/new/{round}")).await.ok();
                }
            });
            stop.store(1, Ordering::Relaxed);
        });
    });
    assert!(swaps.into_inner() > 0 && went_in > 0 && kept_out > 0, "{went_in} in, {kept_out} out");
    assert_eq!(common::tree(&canary), ["file"]);
    assert_eq!(fs::read(canary.join("file")).unwrap(), b"secret");
}

#[tokio::test]
async fn the_portable_driver_removes_its_empty_directories_when_it_is_dropped() {
    let scratch = Scratch::new();
    let storage = portable(scratch.builder().remove_locks(true), SYSTEM);
    storage.save("d/a", "1").await.unwrap();
    storage.delete("d/a").await.unwrap();
    drop(storage);
    assert!(scratch.tree().is_empty(), "{:?}", scratch.tree());
}

#[tokio::test]
async fn modes_apply_to_objects_of_the_portable_driver() {
    let scratch = Scratch::new();
    let storage = portable(scratch.builder().file_mode(0o640).dir_mode(0o750), SYSTEM);
    storage.save("d/a", "1").await.unwrap();
    let mode = |path: &str| fs::metadata(scratch.file(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("d"), mode("d/a"), mode(".anystorage")), (0o750, 0o640, 0o700));
}

#[test]
fn the_portable_driver_refuses_extended_attributes() {
    let scratch = Scratch::new();
    let builder = scratch.builder().metadata(MetadataStore::Xattr);
    refused(builder.build_portable(SYSTEM), ErrorKind::InvalidConfig);
}
