//! What an earlier job or an earlier worker has left, and places where a job cannot be.

use std::time::Duration;

use storage_core::{ErrorKind, Memory, Storage};
use storage_transfer::{DeleteExtras, Directory, Job, JobSpec, SyncOptions};

use crate::support::Sides;

/// Returns all of a storage.
fn directory(storage: &Storage) -> Directory {
    Directory::new(storage, "").unwrap()
}

#[tokio::test]
async fn a_job_does_not_take_the_shards_of_a_removed_job_for_its_own() {
    let [first, second, target, state] = [(); 4].map(|()| Memory::storage());
    first.save("a", "1").await.unwrap();
    second.save("b", "2").await.unwrap();
    let at = Directory::new(&state, "job").unwrap();
    let (first, target) = (directory(&first), directory(&target));
    let spec = |from: &str| JobSpec::new(from, "target:", &SyncOptions::new());
    let job = Job::plan(&at, spec("first:"), (&first, &target), 4).await.unwrap();
    assert!(job.work(&first, &target).await.unwrap().is_done());
    // A removal that was interrupted: `job.json` is listed before the shards.
    state.delete("job/job.json").await.unwrap();

    let second = directory(&second);
    let error = Job::plan(&at, spec("second:"), (&second, &target), 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("another job"), "{error}");
    assert!(!target.storage().exists("b").await.unwrap());
}

#[tokio::test]
async fn a_job_is_not_planned_where_it_would_transfer_its_own_documents() {
    let (storage, other) = (Memory::storage(), Memory::storage());
    storage.save("media/a", "1").await.unwrap();
    let at = |path: &str| Directory::new(&storage, path).unwrap();
    let (media, other) = (at("media"), directory(&other));
    let spec = || JobSpec::new("a:", "b:", &SyncOptions::new());
    for (state, source, target) in [
        ("media/state", &media, &other),
        ("job", &media, &at("job/shards")),
        ("job", &at("job/shards"), &other),
    ] {
        let error = Job::plan(&at(state), spec(), (source, target), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{state}");
    }
    assert_eq!(storage.list("").keys().await.unwrap(), ["media/a"]);

    let job = Job::plan(&at("job"), spec(), (&media, &other), 1).await.unwrap();
    let error = job.work(&media, &at("job/shards")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_worker_settles_more_keys_that_moved_aside_than_a_ledger_holds() {
    let sides = Sides::new();
    sides.source.save("c", "1").await.unwrap();
    let aside: Vec<_> = (0..10_001).map(|number| format!("a{number:05}")).collect();
    for key in &aside {
        sides.target.save(format!("copy/{key}"), "extra").await.unwrap();
    }
    let mut options = SyncOptions::new();
    options.delete = Some(DeleteExtras::new());
    let job = sides.plan(&options, 1).await;
    let document = "job/shards/00000.json";
    let text = sides.state.read(document).await.unwrap();
    let mut shard: serde_json::Value = serde_json::from_slice(&text).unwrap();
    shard["aside"] = aside.into();
    shard["watermark"] = "b".into();
    sides.state.save(document, shard.to_string()).await.unwrap();

    let (from, to) = (sides.from(), sides.to());
    let work = job.work(&from, &to).into_future();
    let summary = tokio::time::timeout(Duration::from_secs(3600), work).await;
    assert_eq!(summary.expect("the work ends").unwrap().counts.deleted, 10_001);
    sides.assert_equal().await;
}
