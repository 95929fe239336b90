//! Processes that are killed at any instant (SIGKILL) leave whole objects and lose no acknowledged
//! one. Their debris is in the staging directory, and a sweep removes it without touching uploads
//! in progress.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::payloads::{fed, pattern, streaming};
use common::{Scratch, names, skip, trace};
use storage_core::{ChecksumAlgorithm, Storage};
use storage_fs::{Fs, MetadataStore, NameRules, PortableFs};
use storage_testkit::jobs::{self, Running};

const WRITE_PORTABLY: &str = "write portably";

const SMALL: usize = 3_000;
const LARGE: usize = 3_000_000;

/// The number of kills after which a test gives up if none has hit a save.
const MAX_KILLS: usize = 200;

/// Returns the bytes of a version of a key. They differ from those of any other at every position.
fn body(key: &str, version: u64, len: usize) -> Vec<u8> {
    let head = format!("{key} version {version}\n");
    let seed = version + key.bytes().map(u64::from).sum::<u64>();
    [head.as_bytes(), &pattern(seed, len)].concat()
}

/// Opens the portable implementation.
fn portable_on(root: &Path) -> PortableFs {
    Fs::builder(root).durable(false).build_portable(NameRules::default()).unwrap()
}

fn storage_on(root: &Path, store: MetadataStore, durable: bool) -> Storage {
    Storage::new(Fs::builder(root).metadata(store).durable(durable).build().unwrap())
}

/// Writes until it is killed. Reports each version before it begins and after it is acknowledged.
fn write_for_ever(storage: Storage) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let first = std::env::var("FIRST_VERSION").unwrap().parse().unwrap();
    runtime.block_on(async {
        let writers = [
            tokio::spawn(overwrite(storage.clone(), "small", SMALL, first)),
            tokio::spawn(overwrite(storage.clone(), "d/streamed", LARGE, first)),
            tokio::spawn(create(storage.clone(), first)),
            tokio::spawn(copy(storage.clone(), first)),
            tokio::spawn(rename(storage.clone(), first)),
            tokio::spawn(create_and_delete(storage, first)),
        ];
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn save(
    storage: &Storage,
    key: &str,
    version: u64,
    len: usize,
    mode: fn(storage_core::Save) -> storage_core::Save,
) {
    let body = body(key, version, len);
    let payload = if len >= LARGE { streaming(body, 100_000) } else { body.into() };
    let save = storage.save(key, payload).user_metadata("version", version.to_string());
    mode(save.compute_checksum(ChecksumAlgorithm::Sha256)).await.unwrap();
}

async fn overwrite(storage: Storage, key: &'static str, len: usize, first: u64) {
    for version in first.. {
        save(&storage, key, version, len, |save| save).await;
        jobs::report(&format!("saved {key} {version}"));
    }
}

async fn create(storage: Storage, first: u64) {
    for version in first.. {
        let key = format!("new/{version}/object");
        save(&storage, &key, version, SMALL, storage_core::Save::create_new).await;
        jobs::report(&format!("saved {key} {version}"));
    }
}

async fn copy(storage: Storage, first: u64) {
    for version in first.. {
        // A copy has the body of its source.
        save(&storage, "source", version, SMALL, |save| save).await;
        storage.copy("source", "copies/copy").await.unwrap();
        jobs::report(&format!("saved copies/copy {version}"));
    }
}

/// The object that is renamed, and its new name.
const LEAVING: &str = "leaving";
const ARRIVED: &str = "there/arrived";

async fn rename(storage: Storage, first: u64) {
    for version in first.. {
        save(&storage, LEAVING, version, SMALL, |save| save).await;
        jobs::report(&format!("saved {LEAVING} {version}"));
        jobs::report(&format!("deleting {LEAVING}"));
        storage.rename(LEAVING, ARRIVED).await.unwrap();
        jobs::report(&format!("saved {ARRIVED} {version}"));
    }
}

async fn create_and_delete(storage: Storage, first: u64) {
    for version in first.. {
        save(&storage, "comes/and/goes", version, SMALL, |save| save).await;
        jobs::report(&format!("saved comes/and/goes {version}"));
        jobs::report("deleting comes/and/goes");
        storage.delete("comes/and/goes").await.unwrap();
    }
}

/// The objects that must exist, according to the reports.
#[derive(Default)]
struct Reports {
    versions: HashMap<String, u64>,
    deleting: HashSet<String>,
    count: usize,
}

impl Reports {
    fn take(&mut self, line: &str) {
        self.count += 1;
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["saved", key, version] => {
                self.versions.insert(key.to_owned(), version.parse().unwrap());
                self.deleting.remove(key);
            }
            ["deleting", key] => drop(self.deleting.insert(key.to_owned())),
            _ => panic!("{line}"),
        }
    }

    fn latest(&self) -> u64 {
        self.versions.values().max().copied().unwrap_or(0)
    }

    async fn assert_kept(&self, storage: &Storage) {
        for (key, version) in &self.versions {
            let mut found = storage.stat(key.as_str()).await;
            let is_missing = found.as_ref().is_err_and(storage_core::Error::is_not_found);
            if is_missing && self.deleting.contains(key) {
                if key != LEAVING {
                    continue;
                }
                found = storage.stat(ARRIVED).await;
            }
            let found = found.unwrap_or_else(|error| panic!("{key} version {version}: {error}"));
            let found: u64 = found.metadata.user_metadata["version"].parse().unwrap();
            assert!(found >= *version, "{key} went back from version {version} to {found}");
        }
    }
}

/// Asserts that each object is whole and has its own metadata, acknowledged or not.
async fn assert_whole(storage: &Storage) {
    for key in names(storage, "").await.unwrap() {
        let object = storage.open(key.as_str()).await.unwrap();
        let meta = object.meta().clone();
        let bytes = object.bytes().await.unwrap();
        let version = meta
            .metadata
            .user_metadata
            .get("version")
            .unwrap_or_else(|| panic!("{key} has no metadata"));
        let source = match &*key {
            "copies/copy" => "source",
            ARRIVED => LEAVING,
            key => key,
        };
        let len = if key == "d/streamed" { LARGE } else { SMALL };
        assert!(
            bytes == body(source, version.parse().unwrap(), len),
            "{key} version {version} is torn"
        );
        let mut hasher = storage_core::Hasher::new(ChecksumAlgorithm::Sha256);
        hasher.update(&bytes);
        assert_eq!(meta.checksums.get(ChecksumAlgorithm::Sha256), Some(&hasher.finish()), "{key}");
        assert!(!meta.etag.unwrap().is_weak());
    }
}

fn kill_again_and_again(wrapper: &[&str], job: &str, store: MetadataStore, kills: usize) {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let is_portable = job == WRITE_PORTABLY;
    let is_named =
        is_portable || !wrapper.is_empty() || !common::has_unnamed_files(&scratch.root());
    let (mut reports, mut debris, mut seed) = (Reports::default(), 0, 0x2545_f491_4f6c_dd1d_u64);
    let mut kill = 0;
    // If none of these kills hits a save by chance, more follow.
    while kill < kills || (is_named && debris == 0 && kill < MAX_KILLS) {
        kill += 1;
        let mut command = jobs::command("child", wrapper, job, &scratch.root());
        command.env("FIRST_VERSION", (reports.latest() + 1000).to_string());
        let mut running = Running::start(command);
        // After a random number of reports and a random delay.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..(seed >> 33) % 20 + 1 {
            reports.take(&running.next_report().expect("it runs until it is killed"));
        }
        spin(Duration::from_micros((seed >> 40) % 4_000));
        running.kill().iter().for_each(|line| reports.take(line));
        debris += scratch.staged().len();

        let storage = storage_on(&scratch.root(), store, false);
        runtime.block_on(async {
            reports.assert_kept(&storage).await;
            assert_whole(&storage).await;
        });
        assert_only_objects_and_staging(&scratch, store);
        if kill.is_multiple_of(10) {
            let sweep = if is_portable { "sweep portably" } else { "sweep" };
            sweep_in_child(
                &scratch,
                jobs::command("child", wrapper, sweep, &scratch.root()),
                is_named,
            );
        }
        // The next round uses other keys.
        runtime.block_on(async {
            for key in names(&storage, "new/").await.unwrap() {
                storage.delete(key.as_str()).await.unwrap();
                reports.versions.remove(&key);
            }
        });
    }
    assert!(reports.count > kills, "nothing was written");
    assert!(debris > 0 || !is_named, "no kill hit a save, so that nothing is proved");
}

/// Sweeps in another process, so that the upload in progress has a staged file of the same kind.
fn sweep_in_child(scratch: &Scratch, mut command: Command, is_named: bool) {
    command.env("STAGED", scratch.staged().len().to_string());
    command.env("STAGED_BY_A_LIVING", usize::from(is_named).to_string());
    assert_eq!(jobs::finish(command), ["swept"]);
    assert!(scratch.staged().is_empty());
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn assert_only_objects_and_staging(scratch: &Scratch, store: MetadataStore) {
    for path in scratch.tree().iter().filter(|path| !path.ends_with('/')) {
        let is_sidecar = store == MetadataStore::Sidecar && path.starts_with(".anystorage/meta/");
        let is_known =
            ["small", "d/streamed", "source", "copies/copy", LEAVING, ARRIVED, "comes/and/goes"]
                .contains(&&**path);
        let is_new = path.starts_with("new/") && path.ends_with("/object");
        assert!(
            is_known
                || is_new
                || is_sidecar
                || common::is_lock_file(path)
                || path.starts_with(".anystorage/staging/"),
            "{path}"
        );
    }
}

/// Sweeps while this process uploads: the debris is removed, and the upload succeeds.
fn sweep_beside_a_living_upload(
    root: &Path,
    storage: &Storage,
    sweep: impl AsyncFn(Duration) -> usize,
) {
    let number = |name| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (dead, living) = (number("STAGED"), number("STAGED_BY_A_LIVING"));
    let staged = || fs::read_dir(root.join(".anystorage/staging")).map_or(0, Iterator::count);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (feed, payload) = fed();
        let upload = {
            let storage = storage.clone();
            tokio::spawn(async move { storage.save("upload", payload).await })
        };
        feed.send_at_least(2 * 1024 * 1024).await;
        assert_eq!(staged(), dead + living);
        assert_eq!(sweep(Duration::from_secs(3600)).await, 0, "too young for this");
        assert_eq!(sweep(Duration::ZERO).await, dead);
        assert_eq!(staged(), living);
        feed.send(b"the end".to_vec()).await;
        drop(feed);
        let meta = upload.await.unwrap().unwrap();
        assert_eq!(fs::metadata(root.join("upload")).unwrap().len(), meta.size);
        storage.delete("upload").await.unwrap();
        assert_eq!(staged(), 0);
    });
    jobs::report("swept");
}

#[test]
fn a_killed_process_leaves_whole_objects_and_loses_no_acknowledged_one() {
    kill_again_and_again(&[], "write", MetadataStore::Auto, 20);
}

#[test]
fn a_killed_process_loses_no_acknowledged_object_of_a_durable_driver() {
    kill_again_and_again(&[], "write durably", MetadataStore::Auto, 10);
}

#[test]
fn a_killed_process_loses_no_acknowledged_object_with_sidecars() {
    kill_again_and_again(&[], "write with sidecars", MetadataStore::Sidecar, 20);
}

#[test]
fn a_killed_process_loses_no_acknowledged_object_without_unnamed_files() {
    let Some(strace) = trace::without_unnamed_files() else {
        return skip("strace cannot run a program here");
    };
    kill_again_and_again(strace, "write", MetadataStore::Auto, 20);
}

/// The implementation for Linux reads what the portable one has written.
#[test]
fn a_killed_process_loses_no_acknowledged_object_of_the_portable_driver() {
    kill_again_and_again(&[], WRITE_PORTABLY, MetadataStore::Sidecar, 20);
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("write", |root| write_for_ever(storage_on(root, MetadataStore::Auto, false))),
        ("write durably", |root| write_for_ever(storage_on(root, MetadataStore::Auto, true))),
        ("sweep", |root| {
            let fs = Fs::builder(root).durable(false).build().unwrap();
            sweep_beside_a_living_upload(root, &Storage::new(fs.clone()), async |age| {
                fs.sweep(age).await.unwrap()
            });
        }),
        ("write with sidecars", |root| {
            write_for_ever(storage_on(root, MetadataStore::Sidecar, false));
        }),
        (WRITE_PORTABLY, |root| write_for_ever(Storage::new(portable_on(root)))),
        ("sweep portably", |root| {
            let fs = portable_on(root);
            sweep_beside_a_living_upload(root, &Storage::new(fs.clone()), async |age| {
                fs.sweep(age).await.unwrap()
            });
        }),
    ]);
}

#[tokio::test]
async fn a_sweep_removes_only_regular_files_of_the_staging_directory() {
    let scratch = Scratch::new();
    scratch.put(".anystorage/staging/debris", "left");
    scratch.put(".anystorage/staging/directory/file", "another program's");
    std::os::unix::fs::symlink("nowhere", scratch.file(".anystorage/staging/link")).unwrap();
    common::fifo(&scratch.file(".anystorage/staging/fifo"));
    scratch.put("object", "1");
    let fs = scratch.builder().build().unwrap();
    assert_eq!(fs.sweep(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(fs.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(scratch.staged(), ["directory", "fifo", "link"]);
    assert_eq!(fs::read(scratch.file("object")).unwrap(), b"1");
}

#[tokio::test]
async fn a_sweep_of_an_unused_root_removes_nothing() {
    let scratch = Scratch::new();
    assert_eq!(scratch.builder().build().unwrap().sweep(Duration::ZERO).await.unwrap(), 0);
    assert!(scratch.tree().is_empty());
}
