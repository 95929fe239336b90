//! Jobs that delete what the source lacks.

use storage_core::{ErrorKind, Operation};
use storage_testkit::faults::Faults;
use storage_transfer::{DeleteExtras, JobState, MaxDelete, Refusal, SyncOptions, WorkEnded};

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
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    let refused = matches!(summary.ended, WorkEnded::Refused(Refusal::TooManyExtras(50)));
    assert!(refused, "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.deleted), (3_000, 0));
    assert_eq!(job.status().await.unwrap().state, JobState::Refused);
}

#[tokio::test]
async fn a_failed_copy_keeps_the_extras_of_its_shard_and_resume_deletes_them() {
    let sides = with_extras(7).await;
    let faults = Faults::new();
    let save = faults.on(Operation::Save).of("copy/000/000007").call(1);
    let failing = save.fail(ErrorKind::PermissionDenied);
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan(&deleting(None), 1).await;

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!(failing.fired(), 1);
    assert_eq!((summary.counts.failed, summary.counts.kept), (1, 7));
    let mut failed = Vec::new();
    job.failed(|key| failed.push(key.key)).await.unwrap();
    assert_eq!(failed, ["000/000007"]);

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.deleted), (1, 7));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_source_that_has_become_empty_deletes_nothing_in_a_pass_of_failed_shards() {
    let sides = with_extras(7).await;
    let faults = Faults::new();
    let save = faults.on(Operation::Save).of("copy/000/000007").call(1);
    let failing = save.fail(ErrorKind::PermissionDenied);
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
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
