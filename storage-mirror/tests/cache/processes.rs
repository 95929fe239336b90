//! Tests in child processes: killed while they fill, two on one directory, and on a full disk.
//!
//! The ignored test [`child`] runs the job that the environment names.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::Storage;
use storage_fs::Fs;
use storage_mirror::cache::Cache;
use storage_testkit::jobs::{self, Running, report};
use storage_testkit::wait::until;

use super::common::{MIB, entry_files, open_directory, pattern, read, until_unlocked};

const KEYS: u64 = 12;

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("fill", |path| block_on(fill_until_killed(path))),
        ("second", |path| block_on(read_beside_another(path))),
        ("full disk", |path| block_on(read_on_a_full_disk(path))),
    ]);
}

fn block_on(job: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(job);
}

fn job(wrapper: &[&str], name: &str, path: &Path) -> Command {
    jobs::command(concat!(module_path!(), "::child"), wrapper, name, path)
}

fn origin_in(path: &Path) -> Storage {
    Storage::new(Fs::builder(path.join("root")).durable(false).build().unwrap())
}

fn cache_in(path: &Path) -> (Cache, Storage) {
    let cache = Cache::builder(origin_in(path), path.join("cache"), 8 * MIB).memory(0);
    let cache = cache.max_object_size(2 * MIB).build().unwrap();
    (cache.clone(), Storage::new(cache))
}

async fn open_cache_in(path: &Path) -> (Cache, Storage) {
    let (cache, storage) = cache_in(path);
    open_directory(&path.join("cache"), &cache, &storage).await;
    (cache, storage)
}

fn key(number: u64) -> String {
    format!("object/{number}")
}

fn body(number: u64, version: u64) -> Vec<u8> {
    let len = 20_000 + (number * 97_003 + version * 31_013) % 1_200_000;
    [format!("{version}\n").as_bytes(), &pattern(number * 1_000_003 + version, len as usize)]
        .concat()
}

fn version_of(body: &[u8]) -> u64 {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap();
    std::str::from_utf8(&body[..end]).unwrap().parse().unwrap()
}

/// Reads and writes a few objects until the process is killed, so that the cache fills, evicts and
/// purges all the time.
async fn fill_until_killed(path: &Path) {
    let (_, storage) = open_cache_in(path).await;
    let mut tasks = Vec::new();
    for task in 0..3_u64 {
        let storage = storage.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0_u64.. {
                let number = (round * 7 + task * 5) % KEYS;
                let found = read(&storage, &key(number)).await;
                let version = version_of(&found);
                assert!(found == body(number, version), "object {number} is torn");
                report(&format!("read {number} {version}"));
                // Only one task writes each object.
                if number % 3 == task && round % 4 == 3 {
                    storage.save(key(number), body(number, version + 1)).await.unwrap();
                    report(&format!("saved {number} {}", version + 1));
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_leaves_a_cache_that_serves_the_objects_of_origin() {
    let scratch = tempfile::tempdir().unwrap();
    let origin = origin_in(scratch.path());
    for number in 0..KEYS {
        origin.save(key(number), body(number, 0)).await.unwrap();
    }
    let mut kept = 0;
    for kill in 0..12_u64 {
        let mut running = Running::start(job(&[], "fill", scratch.path()));
        for _ in 0..(kill * 5) % 23 + 3 {
            running.next_report().expect("it runs until it is killed");
        }
        drop(running);
        // An object whose write the kill interrupted is read as origin has it.
        let (cache, storage) = open_cache_in(scratch.path()).await;
        for number in 0..KEYS {
            let expected = read(&origin, &key(number)).await;
            assert!(read(&storage, &key(number)).await == expected, "object {number}");
            assert!(expected == body(number, version_of(&expected)));
        }
        kept += cache.status().hits;
        assert!(cache.status().is_open);
        drop((cache, storage));
        until_unlocked(&scratch.path().join("cache")).await;
    }
    assert!(kept > 0, "no killed process left an object in the cache");
}

/// Counts the warnings of this process about a locked cache directory.
struct Warnings;

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().contains("cache::directory")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text += &format!("{field}={value:?} ");
        });
        if text.contains("another process uses it") {
            WARNINGS.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Reads and writes on a directory that another process has locked.
async fn read_beside_another(path: &Path) {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let (cache, storage) = cache_in(path);
    for round in 0..5 {
        for number in 0..KEYS {
            assert!(read(&storage, &key(number)).await == body(number, round));
            storage.save(key(number), body(number, round + 1)).await.unwrap();
        }
    }
    let status = cache.status();
    assert_eq!((status.is_open, status.hits, status.bypassed), (false, 0, 5 * KEYS));
    assert!(until(async || WARNINGS.load(Ordering::SeqCst) > 0).await, "no warning");
    report(&format!("warnings {}", WARNINGS.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_second_process_on_a_directory_reads_from_origin_and_logs_the_reason_once() {
    let scratch = tempfile::tempdir().unwrap();
    let origin = origin_in(scratch.path());
    for number in 0..KEYS {
        origin.save(key(number), body(number, 0)).await.unwrap();
    }
    let (first, _storage) = open_cache_in(scratch.path()).await;
    let mut second = Running::start(job(&[], "second", scratch.path()));
    assert_eq!(second.next_report().as_deref(), Some("warnings 1"));
    second.finish();
    assert!(first.status().is_open);
}

/// Reads objects on a disk that is much smaller than `max_size`.
async fn read_on_a_full_disk(path: &Path) {
    std::fs::create_dir(path.join("cache")).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "test"])
        .arg(path.join("cache"))
        .output()
        .unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let origin = origin_in(path);
    let (cache, storage) = open_cache_in(path).await;
    origin.save("kept", pattern(1, 100_000)).await.unwrap();
    for _ in 0..3 {
        assert!(read(&storage, "kept").await == pattern(1, 100_000));
    }
    for number in 0..KEYS {
        origin.save(key(number), body(number, 0)).await.unwrap();
        for _ in 0..3 {
            assert!(read(&storage, &key(number)).await == body(number, 0));
        }
    }
    // Fills the rest of the disk.
    let mut filler = std::fs::File::create(path.join("cache/filler")).unwrap();
    std::io::copy(&mut std::io::repeat(b'x'), &mut filler).unwrap_err();
    for number in 0..KEYS {
        storage.save(key(number), body(number, 1)).await.unwrap();
        assert!(read(&storage, &key(number)).await == body(number, 1));
    }
    assert!(read(&storage, "kept").await == pattern(1, 100_000));
    assert!(cache.status().is_open);
    report("done");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_no_read() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(way) = jobs::mount_wrapper() else {
        let _ = writeln!(
            std::io::stderr(),
            "a_full_disk_fails_no_read: SKIPPED: this machine forbids mounts"
        );
        return;
    };
    let mut running = Running::start(job(way, "full disk", scratch.path()));
    assert_eq!(running.next_report().as_deref(), Some("done"));
    running.finish();
    assert!(entry_files(&scratch.path().join("cache")).is_empty(), "the mount ended with the job");
}
