//! Keys that exclude each other, and races between tasks, drivers and processes on one root.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::payloads::streaming;
use common::{Scratch, read, refused};
use storage_core::{ETag, ErrorKind, Storage};
use storage_fs::{Fs, MetadataStore};
use storage_testkit::jobs::{self, Running};
use tokio::sync::Barrier;

const STORES: [MetadataStore; 2] = [MetadataStore::Auto, MetadataStore::Sidecar];

fn storage_on(root: &Path, store: MetadataStore) -> Storage {
    Storage::new(Fs::builder(root).durable(false).metadata(store).build().unwrap())
}

/// Tries each way to save a key that conflicts with an object, and asserts that nothing changed.
async fn assert_each_save_conflicts(scratch: &Scratch, store: MetadataStore, key: &str) {
    let storage = storage_on(&scratch.root(), store);
    storage.save("source", "source").await.unwrap();
    let (tree, sidecars) = (scratch.plain_tree(), scratch.sidecars());

    refused(storage.save(key, "new").await, ErrorKind::Conflict);
    refused(storage.save(key, streaming("new", 1)).await, ErrorKind::Conflict);
    refused(storage.save(key, "new").create_new().await, ErrorKind::Conflict);
    refused(storage.save(key, streaming("new", 1)).create_new().await, ErrorKind::Conflict);
    refused(storage.copy("source", key).await, ErrorKind::Conflict);
    refused(storage.copy("source", key).create_new().await, ErrorKind::Conflict);
    let unknown = ETag::strong("unknown").unwrap();
    for payload in ["new".into(), streaming("new", 1)] {
        let kind = storage.save(key, payload).if_match(unknown.clone()).await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Conflict | ErrorKind::PreconditionFailed), "{kind}");
    }
    refused(storage.open(key).await, ErrorKind::NotFound);
    assert!(!storage.exists(key).await.unwrap());
    storage.delete(key).await.unwrap();

    assert_eq!(scratch.plain_tree(), tree);
    assert_eq!(scratch.sidecars(), sidecars);
    assert!(scratch.staged().is_empty());
}

#[tokio::test]
async fn a_save_below_an_object_is_a_conflict() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        storage.save("a", "1").user_metadata("n", "1").await.unwrap();
        storage.save("d/e", "2").await.unwrap();
        for key in ["a/b", "a/b/c/d", "d/e/f", "d/e/f/g"] {
            assert_each_save_conflicts(&scratch, store, key).await;
            refused(storage.save(key, "new").unique_name().await, ErrorKind::Conflict);
        }
        assert_eq!(storage.stat("a").await.unwrap().metadata.user_metadata["n"], "1");
        assert_eq!(read(&storage, "d/e").await.unwrap(), b"2");
    }
}

#[tokio::test]
async fn a_save_above_an_object_is_a_conflict() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        storage.save("a/b/c/d", "1").user_metadata("n", "1").await.unwrap();
        for key in ["a", "a/b", "a/b/c"] {
            assert_each_save_conflicts(&scratch, store, key).await;
        }
        assert_eq!(storage.stat("a/b/c/d").await.unwrap().metadata.user_metadata["n"], "1");
        let beside = storage.save("a/b", "2").unique_name().await.unwrap();
        assert_ne!(beside.key, "a/b");
        assert_eq!(read(&storage, beside.key.as_str()).await.unwrap(), b"2");
    }
}

#[tokio::test]
async fn a_save_succeeds_after_the_conflicting_object_is_deleted() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("a/b/c", "1").await.unwrap();
    storage.delete("a/b/c").await.unwrap();
    storage.save("a", "2").await.unwrap();
    storage.delete("a").await.unwrap();
    storage.save("a/b", "3").create_new().await.unwrap();
    assert_eq!(scratch.plain_tree(), ["a/", "a/b"]);
}

#[tokio::test]
async fn an_empty_directory_is_replaced_by_an_object() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        for name in ["a", "b", "c", "d"] {
            fs::create_dir(scratch.file(name)).unwrap();
        }
        storage.save("a", "1").await.unwrap();
        storage.save("b", "1").create_new().await.unwrap();
        storage.save("c", streaming("1", 1)).await.unwrap();
        storage.copy("a", "d").await.unwrap();
        assert_eq!(scratch.plain_tree(), ["a", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn a_failed_save_leaves_no_new_directory() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let (feed, payload) = common::payloads::fed();
    let upload = {
        let storage = storage.clone();
        tokio::spawn(async move { storage.save("new/dir/upload", payload).await })
    };
    feed.send_at_least(2 * 1024 * 1024).await;
    feed.fail().await;
    upload.await.unwrap().unwrap_err();
    let no_such = ETag::strong("none").unwrap();
    refused(storage.save("new/dir/x", "1").if_match(no_such).await, ErrorKind::PreconditionFailed);
    refused(storage.copy("missing", "new/dir/x").await, ErrorKind::NotFound);
    assert!(scratch.plain_tree().is_empty(), "{:?}", scratch.plain_tree());
    assert!(scratch.staged().is_empty());
}

/// Exactly one of the two exists in the end, and the other save failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_two_concurrent_saves_of_a_key_and_a_key_below_it_fails_with_conflict() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        let (mut above, mut below) = (0, 0);
        for round in 0..300 {
            let start = Arc::new(Barrier::new(2));
            let tasks = ["a", "a/b"].map(|key| {
                let (storage, start) = (storage.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    storage.save(key, format!("{round}")).await
                })
            });
            let [at_a, at_b] = tasks;
            let saved = [at_a.await.unwrap(), at_b.await.unwrap()];
            for error in saved.iter().filter_map(|saved| saved.as_ref().err()) {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            }
            let there = [storage.exists("a").await.unwrap(), storage.exists("a/b").await.unwrap()];
            assert_eq!(there, [saved[0].is_ok(), saved[1].is_ok()], "round {round}");
            above += usize::from(there[0]);
            below += usize::from(there[1]);
            storage.delete("a/b").await.unwrap();
            storage.delete("a").await.unwrap();
            assert!(scratch.plain_tree().is_empty(), "{:?}", scratch.plain_tree());
        }
        assert!(above + below > 0);
    }
}

/// Tasks save and delete in one directory, which is often empty. No save fails or loses its object.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn removing_empty_directories_never_fails_a_save_or_loses_an_object() {
    for store in STORES {
        let scratch = Scratch::new();
        let tasks: Vec<_> = (0..6)
            .map(|task| {
                // Some tasks share a driver; others have their own, as processes do.
                let storage = storage_on(&scratch.root(), store);
                tokio::spawn(async move {
                    let key = format!("d/e/f/{task}");
                    for round in 0..150 {
                        let body = format!("{task} {round}");
                        match round % 3 {
                            0 => storage.save(&key, body.clone()).await.unwrap(),
                            1 => storage.save(&key, body.clone()).create_new().await.unwrap(),
                            _ => storage.save(&key, streaming(body.clone(), 3)).await.unwrap(),
                        };
                        assert_eq!(
                            read(&storage, &key).await.unwrap(),
                            body.as_bytes(),
                            "{key} {round}"
                        );
                        storage.delete(&key).await.unwrap();
                        assert!(!storage.exists(&key).await.unwrap());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(scratch.plain_tree().is_empty(), "{:?}", scratch.plain_tree());
        assert!(scratch.sidecars().is_empty(), "{:?}", scratch.sidecars());
    }
}

/// A delete must not remove the metadata of an object that is saved right after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_delete_that_races_a_save_leaves_the_new_object_its_metadata() {
    for store in STORES {
        let scratch = Scratch::new();
        let deleters: Vec<_> = (0..2)
            .map(|_| {
                let storage = storage_on(&scratch.root(), store);
                tokio::spawn(async move {
                    for _ in 0..600 {
                        storage.delete("d/k").await.unwrap();
                    }
                    storage
                })
            })
            .collect();
        let savers: Vec<_> = (0..2)
            .map(|saver| {
                let storage = storage_on(&scratch.root(), store);
                tokio::spawn(async move {
                    for round in 0..300 {
                        let name = format!("{saver}-{round}");
                        storage
                            .save("d/k", name.clone())
                            .user_metadata("name", name)
                            .await
                            .unwrap();
                        assert_belongs_together(&storage).await;
                    }
                    storage
                })
            })
            .collect();
        let mut storages = Vec::new();
        for task in savers.into_iter().chain(deleters) {
            storages.push(task.await.unwrap());
        }
        storages[0].delete("d/k").await.unwrap();
        assert!(
            scratch.plain_tree().is_empty() && scratch.sidecars().is_empty(),
            "{:?}",
            scratch.tree()
        );
    }
}

async fn assert_belongs_together(storage: &Storage) {
    match storage.open("d/k").await {
        Ok(object) => {
            let name = object.meta().metadata.user_metadata.get("name").cloned();
            let body = object.text().await.unwrap();
            assert_eq!(name.as_ref(), Some(&body), "the body has lost its metadata");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
}

/// Each command has its own driver, which cleans up when it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opening_and_dropping_drivers_on_one_root_fails_no_operation_of_another_driver() {
    for store in STORES {
        let scratch = Scratch::new();
        let root = scratch.root();
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let root = root.clone();
                tokio::spawn(async move {
                    for round in 0..150 {
                        let storage = storage_on(&root, store);
                        let key = format!("{task}");
                        storage
                            .save(&key, format!("{round}"))
                            .user_metadata("n", format!("{round}"))
                            .await
                            .unwrap();
                        let meta = storage.stat(&key).await.unwrap();
                        assert_eq!(meta.metadata.user_metadata["n"], format!("{round}"));
                        storage.delete(&key).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(scratch.plain_tree().is_empty());
    }
}

const RACES: usize = 20;
const PROCESSES: usize = 4;
const TASKS: usize = 8;

/// 32 tasks in four processes.
#[test]
fn exactly_one_of_racing_processes_creates_each_object() {
    for job in ["create new", "create new in sidecars"] {
        let scratch = Scratch::new();
        let racers = Running::start_together(
            (0..PROCESSES).map(|_| jobs::command("child", &[], job, &scratch.root())),
        );
        let mut winners: HashMap<String, Vec<String>> = HashMap::new();
        for line in racers.into_iter().flat_map(Running::finish) {
            let (key, body) = line.split_once(' ').unwrap();
            winners.entry(key.to_owned()).or_default().push(body.to_owned());
        }
        assert_eq!(winners.len(), RACES);
        for (key, bodies) in winners {
            let [body] = &bodies[..] else { panic!("{key} was created by {bodies:?}") };
            assert_eq!(fs::read(scratch.file(&key)).unwrap(), body.as_bytes());
        }
    }
}

fn create_new(root: &Path, store: MetadataStore) {
    let storage = storage_on(root, store);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    jobs::await_go();
    runtime.block_on(async {
        for race in 0..RACES {
            let racers: Vec<_> = (0..TASKS)
                .map(|task| {
                    let storage = storage.clone();
                    let (key, body) = (
                        format!("d/{race}"),
                        format!("process {} task {task}", std::process::id()),
                    );
                    tokio::spawn(async move {
                        match storage
                            .save(&key, body.clone())
                            .user_metadata("by", body.clone())
                            .create_new()
                            .await
                        {
                            Ok(_) => jobs::report(&format!("{key} {body}")),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                            }
                        }
                        // The object exists with its metadata, whichever task created it.
                        let object = storage.open(&key).await.unwrap();
                        let by = object.meta().metadata.user_metadata["by"].clone();
                        assert_eq!(object.text().await.unwrap(), by);
                    })
                })
                .collect();
            for racer in racers {
                racer.await.unwrap();
            }
        }
    });
}

const INCREMENTS: usize = 15;
const COUNTERS: usize = 3;

#[test]
fn increments_by_if_match_from_several_processes_are_all_counted() {
    for (job, store) in
        [("count", MetadataStore::Auto), ("count in sidecars", MetadataStore::Sidecar)]
    {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(storage.save("d/counter", "0").user_metadata("count", "0").into_future())
            .unwrap();
        let counters = Running::start_together(
            (0..PROCESSES).map(|_| jobs::command("child", &[], job, &scratch.root())),
        );
        counters.into_iter().for_each(|counter| drop(counter.finish()));
        let object = runtime.block_on(storage.open("d/counter").into_future()).unwrap();
        let expected = (PROCESSES * COUNTERS * INCREMENTS).to_string();
        assert_eq!(object.meta().metadata.user_metadata["count"], expected);
        assert_eq!(runtime.block_on(object.text()).unwrap(), expected);
        assert!(scratch.staged().is_empty());
    }
}

fn count(root: &Path, store: MetadataStore) {
    let storage = storage_on(root, store);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    jobs::await_go();
    runtime.block_on(async {
        let counters: Vec<_> = (0..COUNTERS)
            .map(|_| {
                let storage = storage.clone();
                tokio::spawn(async move {
                    for _ in 0..INCREMENTS {
                        increment(&storage).await;
                    }
                })
            })
            .collect();
        for counter in counters {
            counter.await.unwrap();
        }
    });
}

async fn increment(storage: &Storage) {
    for _ in 0..100_000 {
        let object = storage.open("d/counter").await.unwrap();
        let etag = object.meta().etag.clone().unwrap();
        let next = (object.text().await.unwrap().parse::<u64>().unwrap() + 1).to_string();
        match storage
            .save("d/counter", next.clone())
            .user_metadata("count", next)
            .if_match(etag)
            .await
        {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}"),
        }
    }
    panic!("it never succeeds");
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("create new", |root| create_new(root, MetadataStore::Auto)),
        ("create new in sidecars", |root| create_new(root, MetadataStore::Sidecar)),
        ("count", |root| count(root, MetadataStore::Auto)),
        ("count in sidecars", |root| count(root, MetadataStore::Sidecar)),
    ]);
}

/// Changing only the metadata must not restore bytes that were replaced in the meantime.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_onto_itself_never_undoes_a_save() {
    for store in STORES {
        let scratch = Scratch::new();
        let storage = storage_on(&scratch.root(), store);
        storage.save("k", "start").await.unwrap();
        let copier = {
            let storage = storage_on(&scratch.root(), store);
            tokio::spawn(async move {
                for round in 0..300 {
                    let metadata = storage_core::Metadata::new().user("round", round.to_string());
                    storage.copy("k", "k").metadata(metadata).await.unwrap();
                }
            })
        };
        for round in 0..300 {
            let body = format!("round {round}");
            storage.save("k", body.clone()).await.unwrap();
            assert_eq!(read(&storage, "k").await.unwrap(), body.as_bytes());
        }
        copier.await.unwrap();
        assert_eq!(read(&storage, "k").await.unwrap(), b"round 299");
    }
}
