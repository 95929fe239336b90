//! Workers that die.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use storage_core::{ErrorKind, Operation, Payload};
use storage_testkit::faults::{Faults, Planned};
use storage_transfer::{Stop, SyncOptions, WorkEnded};

use crate::support::Sides;

/// Drops the work of a worker after it has copied this many objects.
async fn die_after(sides: &Sides, job: &storage_transfer::Job, objects: u64) {
    let (died, events) = (Arc::new(tokio::sync::Notify::new()), AtomicU64::new(0));
    let notify = Arc::clone(&died);
    let work = job.work(&sides.from(), &sides.to()).on_event(Arc::new(move |_| {
        if events.fetch_add(1, Ordering::Relaxed) + 1 == objects {
            notify.notify_one();
        }
    }));
    tokio::select! {
        summary = work.into_future() => panic!("the worker ended: {summary:?}"),
        () = died.notified() => {}
    }
}

#[tokio::test]
async fn a_worker_that_died_is_replaced_after_its_lease() {
    let sides = Sides::with_objects(4_000).await;
    let job = sides.plan(&SyncOptions::new(), 3).await;
    for objects in [1, 500, 900] {
        die_after(&sides, &job, objects).await;
    }
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(summary.is_done(), "{summary:?}");
    let counts = summary.counts;
    assert_eq!((counts.source_objects, counts.new + counts.same), (4_000, 4_000));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_stores_its_state_and_the_next_one_need_not_wait() {
    let sides = Sides::with_objects(4_000).await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (stop, events) = (Stop::new(), AtomicU64::new(0));
    let stopping = stop.clone();
    let work = job.work(&sides.from(), &sides.to()).stop(stop).on_event(Arc::new(move |_| {
        if events.fetch_add(1, Ordering::Relaxed) == 1_000 {
            stopping.stop();
        }
    }));
    let summary = work.await.unwrap();
    assert!(matches!(summary.ended, WorkEnded::Interrupted), "{summary:?}");
    let status = job.status().await.unwrap();
    assert!(!status.shards[0].is_claimed && status.shards[0].watermark.is_some(), "{status:?}");
    let stored = status.counts.new;
    assert!((1_000..4_000).contains(&stored), "{stored}");

    // The longest lease: if it had to expire, this would wait for an hour.
    let job = job.lease(std::time::Duration::from_secs(3600));
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((summary.is_done(), summary.counts.source_objects), (true, 4_000));
    assert_eq!((summary.counts.new, summary.counts.same), (4_000, 0));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_large_object_continues_with_the_parts_that_are_missing() {
    const SIZE: usize = 96 * 1024 * 1024;
    let sides = Sides::new();
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 1_000) as u8).collect();
    sides.source.save("large", Payload::from_bytes(bytes)).await.unwrap();
    let faults = Faults::new();
    // The eighth part never arrives.
    let held = faults.on(Operation::PutPart).call(8).hold();
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan(&SyncOptions::new(), 1).await;
    {
        let sent = || faults.calls(Operation::PutPart) >= 11;
        let work = job.work(&sides.from(), &sides.to()).into_future();
        let mut work = std::pin::pin!(work);
        while !sent() {
            assert!(work.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(held.fired(), 1);
    faults.clear();
    let before = faults.calls(Operation::PutPart);

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    let resent = faults.calls(Operation::PutPart) - before;
    // The object has 12 parts of 8 MiB, of which at most 4 were under way.
    assert!(resent <= 5, "{resent} parts were sent again");
    assert!(summary.counts.bytes_sent < SIZE as u64);
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_lost_response_of_a_conditional_save_neither_loses_nor_repeats_a_shard() {
    let sides = Sides::with_objects(6_000).await;
    let faults = Faults::new();
    // Claims, renewals and divisions of shards are stored, but the response is lost.
    let lost = [6, 8, 9, 11, 13, 15]
        .map(|call| faults.on(Operation::Save).call(call).lose_response(ErrorKind::Timeout));
    let state = sides.state.layer(|inner| faults.layer(inner));
    let sides = Sides { state, ..sides };
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (from, to) = (sides.from(), sides.to());
    let workers = tokio::join!(
        job.work(&from, &to).requests(4_000).into_future(),
        job.work(&from, &to).index(1, 2).into_future()
    );
    let summaries = [workers.0.unwrap(), workers.1.unwrap()];
    assert!(lost.iter().map(Planned::fired).sum::<usize>() > 0);
    for summary in summaries {
        assert!(summary.is_done(), "{summary:?}");
        let counts = summary.counts;
        assert_eq!((counts.source_objects, counts.new + counts.same), (6_000, 6_000));
    }
    sides.assert_equal().await;
}

#[tokio::test]
async fn an_object_that_takes_long_is_copied_although_its_shard_is_divided_meanwhile() {
    let sides = Sides::with_objects(14_000).await;
    let faults = Faults::new();
    let held = faults.on(Operation::Save).of("copy/000/000000").call(1).hold();
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (from, to) = (sides.from(), sides.to());
    // The first worker has the slow object; the second one takes halves of its range.
    let workers = async {
        tokio::join!(
            job.work(&from, &to).into_future(),
            job.work(&from, &to).index(1, 2).into_future()
        )
    };
    let released = async {
        while job.status().await.unwrap().shards.len() < 2 {
            tokio::task::yield_now().await;
        }
        held.release();
    };
    let ((first, second), ()) = tokio::join!(workers, released);
    for summary in [first.unwrap(), second.unwrap()] {
        assert!(summary.is_done(), "{summary:?}");
        let counts = summary.counts;
        assert_eq!((counts.source_objects, counts.new + counts.same), (14_000, 14_000));
    }
    sides.assert_equal().await;
}
