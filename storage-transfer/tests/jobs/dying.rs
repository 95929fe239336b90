//! Workers that die.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use storage_core::{ErrorKind, Operation};
use storage_testkit::faults::{Faults, Planned};
use storage_transfer::{JobState, Stop, SyncOptions, WorkEnded};

use crate::doubles::{ahead, asleep_before_save, unreadable};
use crate::support::Sides;

const HOUR: Duration = Duration::from_secs(3600);

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
async fn the_copy_of_a_worker_that_died_does_not_replace_the_backup_of_the_original() {
    let sides = Sides::with_objects(1).await;
    let faults = Faults::new();
    let state = sides.state.layer(|inner| faults.layer(inner));
    let sides = Sides { source: ahead(&sides.source), state, ..sides };
    sides.target.save("copy/000/000000", "original").await.unwrap();
    let mut options = SyncOptions::new();
    options.backup = Some("old".to_owned());
    let job = sides.plan(&options, 1).await;
    // The claim is stored. The end of the shard is not, although its key was copied.
    let end = faults.on(Operation::Save).of("job/shards/00000.json").call(2).hold();
    let killed = tokio::spawn(job.work(&sides.from(), &sides.to()).into_future());
    end.reached().await;
    killed.abort();

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert_eq!((summary.is_done(), summary.counts.changed), (true, 1), "{summary:?}");
    let text = async |key| sides.target.open(key).await.unwrap().text().await.unwrap();
    assert_eq!(text("copy/000/000000").await, "0");
    assert_eq!(text("copy/old/000/000000").await, "original");
}

/// Makes the shards of this process those of a process that has ended.
#[cfg(target_os = "linux")]
async fn end_process_of_workers(sides: &Sides) {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let ended = child.id().to_string();
    child.wait().unwrap();
    for key in sides.documents("shards/").await {
        let text = sides.state.open(&*key).await.unwrap().text().await.unwrap();
        let mut shard: serde_json::Value = serde_json::from_str(&text).unwrap();
        let Some(owner) = shard["owner"].as_str() else { continue };
        let mut fields: Vec<_> = owner.split(' ').collect();
        assert_eq!(fields[3], std::process::id().to_string());
        fields[3] = &ended;
        shard["owner"] = fields.join(" ").into();
        sides.state.save(&*key, shard.to_string()).await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_worker_of_the_same_machine_does_not_wait_for_a_process_that_has_ended() {
    let sides = Sides::with_objects(4_000).await;
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, HOUR).await;
    die_after(&sides, &job, 500).await;
    end_process_of_workers(&sides).await;

    let work = job.work(&sides.from(), &sides.to()).into_future();
    let summary = tokio::time::timeout(HOUR / 2, work).await.unwrap().unwrap();

    assert!(summary.is_done(), "{summary:?}");
    sides.assert_equal().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_in_time_although_the_storage_of_the_job_does_not_respond() {
    let sides = Sides::with_objects(10).await;
    let (of_state, of_target) = (Faults::new(), Faults::new());
    let state = sides.state.layer(|inner| of_state.layer(inner));
    let target = sides.target.layer(|inner| of_target.layer(inner));
    let sides = Sides { state, target, ..sides };
    let job = sides.plan(&SyncOptions::new(), 1).await;
    of_target.on(Operation::Save).of("copy/000/000000").call(1).hold();
    // The claim is stored, the first renewal is not.
    let renewal = of_state.on(Operation::Save).of("job/shards/00000.json").call(2).hold();
    let stop = Stop::new();
    let work = job.work(&sides.from(), &sides.to()).stop(stop.clone());
    let work = tokio::spawn(work.into_future());
    renewal.reached().await;

    stop.stop();
    let summary = tokio::time::timeout(Duration::from_secs(10), work).await.unwrap();

    assert!(matches!(summary.unwrap().unwrap().ended, WorkEnded::Interrupted));
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_is_counted_once_by_workers_that_continue() {
    let sides = Sides::with_objects(3_000).await;
    let sides = Sides { source: unreadable(&sides.source), ..sides };
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (stop, events) = (Stop::new(), AtomicU64::new(0));
    let stopping = stop.clone();
    let work = job.work(&sides.from(), &sides.to()).stop(stop).on_event(Arc::new(move |_| {
        if events.fetch_add(1, Ordering::Relaxed) == 1_000 {
            stopping.stop();
        }
    }));
    assert!(matches!(work.await.unwrap().ended, WorkEnded::Interrupted));
    assert_eq!(job.status().await.unwrap().counts.unknown, 1);

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert_eq!((summary.counts.unknown, summary.counts.new), (1, 3_000));
    assert!(!summary.is_done());
}

#[tokio::test]
async fn a_worker_that_is_stopped_stores_its_state_and_the_next_one_need_not_wait() {
    let sides = Sides::with_objects(4_000).await;
    // If this lease had to expire, the next worker would wait for an hour.
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, HOUR).await;
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

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((summary.is_done(), summary.counts.source_objects), (true, 4_000));
    assert_eq!((summary.counts.new, summary.counts.same), (4_000, 0));
    sides.assert_equal().await;
}

/// A job of one shard with 30 objects, of which one never arrives: its first save is held.
async fn with_held_object() -> (Sides, storage_transfer::Job, Planned) {
    let sides = Sides::with_objects(30).await;
    let faults = Faults::new();
    let held = faults.on(Operation::Save).of("copy/003/000010").call(1).hold();
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, HOUR).await;
    (sides, job, held)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_after_the_end_of_the_listing_is_copied_after_a_kill() {
    let (sides, job, held) = with_held_object().await;
    die_after(&sides, &job, 29).await;
    assert_eq!(held.fired(), 1);

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    assert_eq!(summary.counts.new + summary.counts.same, 30);
    sides.assert_equal().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_after_the_end_of_the_listing_is_copied_after_a_stop() {
    let (sides, job, held) = with_held_object().await;
    let (stop, events) = (Stop::new(), AtomicU64::new(0));
    let stopping = stop.clone();
    let work = job.work(&sides.from(), &sides.to()).stop(stop).on_event(Arc::new(move |_| {
        if events.fetch_add(1, Ordering::Relaxed) + 1 == 29 {
            stopping.stop();
        }
    }));
    assert!(matches!(work.await.unwrap().ended, WorkEnded::Interrupted));
    let status = job.status().await.unwrap();
    assert_eq!((held.fired(), status.state), (1, JobState::Copying));
    assert!(status.counts.new < 30 && !status.shards[0].is_claimed, "{status:?}");

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    assert_eq!(summary.counts.source_objects, 30);
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_shard_that_runs_twice_at_once_replaces_nothing_newer_and_is_counted_once() {
    let key = "003/000010";
    let sides = Sides::with_objects(30).await;
    // The first worker is a thread that sleeps in the middle of a copy, as a suspended process.
    let (target, asleep) = asleep_before_save(&sides.target, &format!("copy/{key}"));
    let first = Sides { target, ..sides.clone() };
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, Duration::from_millis(50)).await;
    let first = std::thread::spawn({
        let job = job.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let work = async { job.work(&first.from(), &first.to()).await };
            runtime.unwrap().block_on(work)
        }
    });
    asleep.reached();
    sides.source.save(key, "newer").await.unwrap();
    let second = job.work(&sides.from(), &sides.to()).index(1, 2).await.unwrap();
    assert!(second.is_done(), "{second:?}");
    asleep.wake();
    let first = first.join().unwrap().unwrap();

    assert_eq!((first.counts.failed, second.counts.failed), (0, 0));
    let copied = sides.target.open(format!("copy/{key}")).await.unwrap().text().await.unwrap();
    assert_eq!(copied, "newer");
    let status = job.status().await.unwrap();
    let counts = status.counts;
    assert_eq!((status.state, counts.source_objects), (JobState::Done, 30));
    assert_eq!(counts.new + counts.same, 30);
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

/// Runs a job whose saves of the shard after the claim fail this often, without a clear result.
async fn with_failing_ends(times: usize) -> (Sides, storage_core::Result<bool>) {
    let sides = Sides::with_objects(30).await;
    let faults = Faults::new();
    let state = sides.state.layer(|inner| faults.layer(inner));
    let sides = Sides { state, ..sides };
    // No lease is renewed, so the saves have these numbers.
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, HOUR).await;
    let shard = sides.documents("shards/").await.remove(0);
    let failed: Vec<_> = (2..2 + times)
        .map(|call| faults.on(Operation::Save).of(&*shard).call(call).fail(ErrorKind::Unexpected))
        .collect();
    let summary = job.work(&sides.from(), &sides.to()).await;
    assert_eq!(failed.iter().map(Planned::fired).sum::<usize>(), times);
    let counts = job.status().await.unwrap().counts;
    assert!(counts.source_objects == 30 || summary.is_err(), "{counts:?}");
    (sides, summary.map(|summary| summary.is_done()))
}

#[tokio::test]
async fn a_shard_whose_end_cannot_be_stored_at_first_is_done_and_counted_once() {
    let (sides, is_done) = with_failing_ends(2).await;
    assert!(is_done.unwrap());
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_shard_whose_end_can_never_be_stored_is_an_error_and_free_for_others() {
    let (sides, is_done) = with_failing_ends(4).await;
    assert_eq!(is_done.unwrap_err().kind(), ErrorKind::Unexpected);
    let shard = sides.documents("shards/").await.remove(0);
    let text = sides.state.open(&*shard).await.unwrap().text().await.unwrap();
    assert!(!text.contains("\"owner\""), "{text}");
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

#[tokio::test(start_paused = true)]
async fn keys_that_failed_while_the_destination_was_unavailable_are_copied_by_a_later_worker() {
    for objects in [16, 50] {
        let sides = Sides::with_objects(objects).await;
        let job = sides.plan(&SyncOptions::new(), 1).await;
        let faults = Faults::new();
        let planned = faults.on(Operation::Save).fail(ErrorKind::Timeout);
        let target = sides.target.layer(|inner| faults.layer(inner));
        let down = Sides { target, ..sides.clone() };

        let summary = job.work(&down.from(), &down.to()).await.unwrap();
        assert!(matches!(summary.ended, WorkEnded::Unavailable(_)), "{summary:?}");
        assert!(planned.fired() > 0);
        assert_eq!(job.status().await.unwrap().counts.failed, 0, "no key is settled");

        let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
        assert!(summary.is_done(), "{summary:?}");
        sides.assert_equal().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_of_objects_that_can_never_be_copied_ends_with_failures_after_some_workers() {
    let sides = Sides::with_objects(100).await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let faults = Faults::new();
    faults.on(Operation::Save).fail(ErrorKind::Timeout);
    let target = sides.target.layer(|inner| faults.layer(inner));
    let sides = Sides { target, ..sides };
    for _ in 0..3 {
        let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
        assert!(matches!(summary.ended, WorkEnded::Unavailable(_)), "{summary:?}");
    }
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(matches!(summary.ended, WorkEnded::Done), "{summary:?}");
    assert_eq!(summary.counts.failed, 100);
}
