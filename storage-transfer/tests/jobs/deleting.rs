//! Jobs that delete what the source lacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream;
use storage_core::{ErrorKind, Operation};
use storage_testkit::faults::Faults;
use storage_transfer::{
    DeleteExtras, Job, JobState, MaxDelete, Outcome, Refusal, ShardStatus, SyncOptions, WorkEnded,
};

use crate::support::Sides;

fn deleting(max: Option<MaxDelete>) -> SyncOptions {
    let mut options = SyncOptions::new();
    let delete = DeleteExtras::new();
    options.delete = Some(match max {
        Some(max) => delete.max(max),
        None => delete,
    });
    options
}

async fn with_extras(extras: usize) -> Sides {
    let sides = Sides::with_objects(3_000).await;
    for number in 0..extras {
        sides.target.save(format!("copy/{:03}/extra{number}", number % 7), "x").await.unwrap();
    }
    sides
}

async fn failed_keys(job: &Job) -> Vec<String> {
    let mut failed = Vec::new();
    job.failed(|key| failed.push(key.key)).await.unwrap();
    failed
}

#[tokio::test]
async fn extras_of_all_shards_are_deleted_after_the_copies() {
    let sides = with_extras(500).await;
    let job = sides.plan(&deleting(None), 3).await;
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    assert_eq!((summary.counts.extra, summary.counts.deleted), (500, 500));
    sides.assert_equal().await;
}

#[tokio::test]
async fn the_cap_counts_the_extras_of_all_shards() {
    let sides = with_extras(50).await;
    let job = sides.plan(&deleting(Some(MaxDelete::Count(49))), 3).await;
    let kept = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&kept);
    let work = job.work(&sides.from(), &sides.to()).on_event(Arc::new(move |event| {
        if event.outcome == Outcome::Extra && event.error.is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let summary = work.await.unwrap();
    let refused = matches!(summary.ended, WorkEnded::Refused(Refusal::TooManyExtras(50)));
    assert!(refused, "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.deleted), (3_000, 0));
    assert_eq!(kept.load(Ordering::Relaxed), 50);
    assert_eq!(job.status().await.unwrap().state, JobState::Refused);
}

#[tokio::test]
async fn a_failed_copy_keeps_the_extras_of_its_shard_and_resume_deletes_them() {
    let sides = with_extras(7).await;
    let (sides, failing) = sides.with_failing_save("copy/000/000007");
    let job = sides.plan(&deleting(None), 1).await;

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!(failing.fired(), 1);
    assert_eq!((summary.counts.failed, summary.counts.kept), (1, 7));
    assert_eq!(failed_keys(&job).await, ["000/000007"]);

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.deleted), (1, 7));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_source_that_has_become_empty_deletes_nothing_in_a_pass_of_failed_shards() {
    let sides = with_extras(7).await;
    let (sides, failing) = sides.with_failing_save("copy/000/000007");
    let job = sides.plan(&deleting(None), 3).await;
    job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!(failing.fired(), 1);
    let before = sides.target.list("").keys().await.unwrap().len();
    sides.source.delete_everything().await.unwrap();

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(matches!(summary.ended, WorkEnded::Refused(Refusal::EmptySource)), "{summary:?}");
    assert_eq!(sides.target.list("").keys().await.unwrap().len(), before);
}

#[tokio::test]
async fn a_deletion_that_failed_is_listed_and_repeated_after_resume() {
    let sides = with_extras(7).await;
    let faults = Faults::new();
    let delete = faults.on(Operation::Delete).of("copy/000/extra0").call(1);
    let denied = delete.fail(ErrorKind::PermissionDenied);
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan(&deleting(None), 2).await;

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((denied.fired(), summary.counts.failed, summary.counts.deleted), (1, 1, 6));
    assert_eq!(failed_keys(&job).await, ["000/extra0"]);

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    assert!(failed_keys(&job).await.is_empty());
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_pass_of_failed_shards_counts_the_objects_of_the_whole_job() {
    let sides = with_extras(7).await;
    for key in sides.source.list("").keys().await.unwrap() {
        sides.target.save(format!("copy/{key}"), "older").await.unwrap();
    }
    let faults = Faults::new();
    let delete = faults.on(Operation::Delete).of("copy/006/extra6").call(1);
    let denied = delete.fail(ErrorKind::PermissionDenied);
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan(&deleting(Some(MaxDelete::Percent(50))), 3).await;
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((denied.fired(), summary.counts.failed), (1, 1));

    // The failed shard has no object now, which is less than half of all.
    for directory in ["004/", "005/", "006/"] {
        let keys = sides.source.list(directory).keys().await.unwrap();
        sides.source.delete_many(stream::iter(keys)).finish().await.unwrap();
    }
    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    let is_empty = |shard: &ShardStatus| shard.counts.source_objects == 0;
    let shards = job.status().await.unwrap().shards;
    assert_eq!(shards.iter().filter(|shard| is_empty(shard)).count(), 1, "{shards:?}");
    assert!(!sides.target.exists("copy/006/000006").await.unwrap());
    assert!(sides.target.exists("copy/000/000000").await.unwrap());
}

#[tokio::test]
async fn the_records_of_a_pass_are_deleted_in_the_next_one() {
    let sides = with_extras(7).await;
    let (sides, failing) = sides.with_failing_save("copy/000/000007");
    let job = sides.plan(&deleting(None), 1).await;
    job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!(failing.fired(), 1);
    let (failed, extras) = (sides.documents("failed/").await, sides.documents("extra/").await);
    assert!(!failed.is_empty() && !extras.is_empty());

    job.resume().await.unwrap();
    job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(sides.documents("failed/").await.is_empty());
    let now = sides.documents("extra/").await;
    assert!(extras.iter().all(|before| !now.contains(before)), "{now:?}");
}
