//! A run that is stopped ends soon, begins nothing new, and deletes nothing more.

use std::time::Duration;

use storage_core::{Memory, Operation};
use storage_testkit::faults::Faults;
use storage_transfer::{Concurrency, Ended, Stop, check, sync};
use tokio::time::Instant;

use crate::support::{deleting, fill, fill_numbered, keys, memory, whole};

/// How long a run may take to end after it was stopped.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_stopped_ends_although_its_copies_hang() {
    let faults = Faults::new();
    let source = faults.in_memory();
    fill_numbered(&source, 0..10).await;
    let target = memory(&[("extra", "1")]).await;
    let held = faults.on(Operation::Open).hold();
    let stop = Stop::new();
    let run = sync(&whole(&source), &whole(&target), deleting()).stop(stop.clone());
    let running = tokio::spawn(run.concurrency(Concurrency::Fixed(2)).into_future());
    held.reached().await;
    held.reached().await;
    let start = Instant::now();
    stop.stop();
    let summary = running.await.unwrap().unwrap();
    assert!(start.elapsed() <= BOUND, "{:?}", start.elapsed());
    assert!(matches!(summary.ended, Ended::Interrupted), "{summary:?}");
    assert_eq!((faults.calls(Operation::Open), summary.counts.deleted), (2, 0));
    assert_eq!(keys(&target).await, ["extra"]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_stopped_finishes_the_copies_that_are_under_way() {
    let faults = Faults::new();
    let source = faults.in_memory();
    fill_numbered(&source, 0..10).await;
    let target = memory(&[("extra", "1")]).await;
    let held = faults.on(Operation::Open).hold();
    let stop = Stop::new();
    let run = sync(&whole(&source), &whole(&target), deleting()).stop(stop.clone());
    let running = tokio::spawn(run.concurrency(Concurrency::Fixed(2)).into_future());
    held.reached().await;
    held.reached().await;
    stop.stop();
    held.release();
    held.release();
    let summary = running.await.unwrap().unwrap();
    assert!(matches!(summary.ended, Ended::Interrupted), "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.deleted), (2, 0));
    assert_eq!(keys(&target).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_stopped_ends_although_a_listing_hangs() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), memory(&[("extra", "1")]).await);
    let held = faults.on(Operation::List).hold();
    let stop = Stop::new();
    let run = sync(&whole(&source), &whole(&target), deleting()).stop(stop.clone());
    let running = tokio::spawn(run.into_future());
    held.reached().await;
    let start = Instant::now();
    stop.stop();
    let summary = running.await.unwrap().unwrap();
    assert!(start.elapsed() <= BOUND, "{:?}", start.elapsed());
    assert!(matches!(summary.ended, Ended::Interrupted), "{summary:?}");
    assert_eq!(keys(&target).await, ["extra"]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_stopped_before_its_deletes_ends_although_they_hang() {
    for verb in [Operation::Exists, Operation::Stat, Operation::Delete] {
        let faults = Faults::new();
        let (source, target) = (faults.in_memory(), faults.in_memory());
        fill(&source, &[("a", "1")]).await;
        fill(&target, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
        let held = faults.on(verb).hold();
        let stop = Stop::new();
        let run = sync(&whole(&source), &whole(&target), deleting()).stop(stop.clone());
        let running = tokio::spawn(run.into_future());
        held.reached().await;
        let start = Instant::now();
        stop.stop();
        let summary = running.await.unwrap().unwrap();
        assert!(start.elapsed() <= BOUND, "{verb} {:?}", start.elapsed());
        assert!(matches!(summary.ended, Ended::Interrupted), "{verb} {summary:?}");
        assert_eq!(summary.counts.deleted, 0, "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_stopped_between_the_look_and_the_delete_deletes_nothing() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), Memory::storage());
    fill(&source, &[("a", "1")]).await;
    fill(&target, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let held = faults.on(Operation::Exists).hold();
    let stop = Stop::new();
    let run = sync(&whole(&source), &whole(&target), deleting()).stop(stop.clone());
    let running = tokio::spawn(run.into_future());
    held.reached().await;
    held.reached().await;
    stop.stop();
    held.release();
    held.release();
    let summary = running.await.unwrap().unwrap();
    assert!(matches!(summary.ended, Ended::Interrupted), "{summary:?}");
    assert_eq!((summary.counts.deleted, keys(&target).await.len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_is_stopped_ends_although_its_comparisons_hang() {
    let faults = Faults::new();
    let source = faults.in_memory();
    fill_numbered(&source, 0..10).await;
    let target = Memory::storage();
    fill_numbered(&target, 0..10).await;
    let held = faults.on(Operation::Stat).hold();
    let stop = Stop::new();
    let run = check(&whole(&source), &whole(&target)).stop(stop.clone()).concurrency(2);
    let running = tokio::spawn(run.into_future());
    held.reached().await;
    held.reached().await;
    stop.stop();
    let summary = running.await.unwrap().unwrap();
    assert!(matches!(summary.ended, Ended::Interrupted), "{summary:?}");
    assert!(!summary.is_same());
}
