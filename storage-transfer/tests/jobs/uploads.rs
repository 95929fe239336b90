//! The uploads of large objects: they are continued with their keys, and none is left.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use storage_core::{Operation, Payload};
use storage_testkit::faults::Faults;
use storage_transfer::{Outcome, SyncOptions};

use crate::doubles::small_conditions;
use crate::support::Sides;

/// Twelve parts of 8 MiB.
const SIZE: usize = 96 * 1024 * 1024;

/// Adds a large object to the source, and faults to the destination.
async fn with_large(sides: Sides, key: &str) -> (Sides, Faults) {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 1_000) as u8).collect();
    sides.source.save(key, Payload::from_bytes(bytes)).await.unwrap();
    let faults = Faults::new();
    let target = sides.target.layer(|inner| faults.layer(inner));
    (Sides { target, ..sides }, faults)
}

/// Drops the work of a worker during the upload of the large object, whose eighth part never
/// arrives.
async fn die_during_upload(sides: &Sides, faults: &Faults, job: &storage_transfer::Job) {
    let held = faults.on(Operation::PutPart).call(8).hold();
    let sent = || faults.calls(Operation::PutPart) >= 11;
    {
        let work = job.work(&sides.from(), &sides.to()).into_future();
        let mut work = std::pin::pin!(work);
        while !sent() {
            assert!(work.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(held.fired(), 1);
    faults.clear();
}

#[tokio::test]
async fn a_large_object_continues_with_the_parts_that_are_missing() {
    let (sides, faults) = with_large(Sides::new(), "large").await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    die_during_upload(&sides, &faults, &job).await;

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    // The first worker had begun at least 11 of the 12 parts, of which at most 4 were under way.
    let resent = faults.calls(Operation::PutPart) - 12;
    assert!(resent <= 4, "{resent} parts were sent again");
    assert!(summary.counts.bytes_sent < SIZE as u64);
    sides.assert_equal().await;
}

#[tokio::test]
async fn an_upload_to_a_service_that_evaluates_no_condition_of_it_is_continued() {
    let sides = Sides::new();
    let sides = Sides { target: small_conditions(&sides.target), ..sides };
    let (sides, faults) = with_large(sides, "large").await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    die_during_upload(&sides, &faults, &job).await;
    let before = faults.calls(Operation::PutPart);

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    let resent = faults.calls(Operation::PutPart) - before;
    assert!(resent <= 5, "{resent} parts were sent again");
    assert_eq!((faults.calls(Operation::BeginMultipart), sides.uploads().await), (1, 0));
    sides.assert_equal().await;
}

#[tokio::test]
async fn the_upload_of_an_object_that_the_source_no_longer_has_is_aborted() {
    let (sides, faults) = with_large(Sides::with_objects(3).await, "large").await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    die_during_upload(&sides, &faults, &job).await;
    assert_eq!(sides.uploads().await, 1);
    sides.source.delete("large").await.unwrap();

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    assert_eq!(sides.uploads().await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_upload_of_a_key_that_another_worker_takes_is_continued_by_it() {
    let (sides, faults) = with_large(Sides::with_objects(5_000).await, "zz").await;
    // The first worker stores no watermark, and does not end the upload.
    faults.on(Operation::Save).of("copy/000/000000").call(1).hold();
    let part = faults.on(Operation::PutPart).call(8).hold();
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (from, to) = (sides.from(), sides.to());
    let first = tokio::spawn(job.work(&from, &to).into_future());
    part.reached().await;

    let second = job.work(&from, &to).index(1, 2).await.unwrap();
    let first = first.await.unwrap().unwrap();

    assert!(first.is_done() && second.is_done(), "{first:?} {second:?}");
    assert!(job.status().await.unwrap().shards.len() > 1, "nothing was taken");
    assert_eq!(first.counts.source_objects, 5_001);
    assert_eq!((faults.calls(Operation::BeginMultipart), sides.uploads().await), (1, 0));
    sides.assert_equal().await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_begins_while_another_worker_takes_its_key_is_aborted() {
    let (sides, _) = with_large(Sides::with_objects(5_000).await, "zz").await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (from, to) = (sides.from(), sides.to());
    // The first worker begins the upload late, and would never end it.
    let faults = Faults::new();
    faults.on(Operation::Save).of("copy/000/000000").call(1).hold();
    let begin = faults.on(Operation::BeginMultipart).call(1).hold();
    faults.on(Operation::PutPart).hold();
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let failed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&failed);
    let work = job.work(&from, &sides.to()).on_event(Arc::new(move |event| {
        if event.outcome == Outcome::Failed {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let first = tokio::spawn(work.into_future());
    begin.reached().await;
    let second = tokio::spawn(job.work(&from, &to).index(1, 2).into_future());
    while job.status().await.unwrap().shards.len() < 2 {
        tokio::task::yield_now().await;
    }

    begin.release();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());

    assert!(first.is_done() && second.is_done(), "{first:?} {second:?}");
    assert_eq!((failed.load(Ordering::Relaxed), sides.uploads().await), (0, 0));
    sides.assert_equal().await;
}
