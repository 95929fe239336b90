//! Workers that share a job.

use storage_core::{ErrorKind, Memory, Operation};
use storage_testkit::faults::Faults;
use storage_transfer::{
    Comparison, Directory, Job, JobSpec, JobState, Side, SyncOptions, WorkEnded,
};

use crate::doubles::{lacking, without_etags};
use crate::support::Sides;

#[tokio::test]
async fn one_worker_does_all_shards() {
    let sides = Sides::with_objects(5_000).await;
    let job = sides.plan(&SyncOptions::new(), 4).await;
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.shards.len()), (JobState::Copying, 4));

    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert!(summary.is_done(), "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.source_objects), (5_000, 5_000));
    sides.assert_equal().await;
    assert_eq!(job.status().await.unwrap().state, JobState::Done);
}

#[tokio::test]
async fn a_job_that_is_done_begins_a_new_pass() {
    let sides = Sides::with_objects(100).await;
    let job = sides.plan(&SyncOptions::new(), 2).await;
    job.work(&sides.from(), &sides.to()).await.unwrap();
    sides.source.save("later", "x").await.unwrap();
    assert_eq!(job.work(&sides.from(), &sides.to()).await.unwrap().counts.new, 100);

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert_eq!((summary.counts.new, summary.counts.same), (1, 100));
    assert_eq!(job.status().await.unwrap().pass, 2);
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_job_that_has_lost_the_document_of_a_shard_is_not_done() {
    let sides = Sides::with_objects(5_000).await;
    for lost in [0, 1, 2] {
        let state = Memory::storage();
        let sides = Sides { state, ..sides.clone() };
        let job = sides.plan(&SyncOptions::new(), 4).await;
        let shards = sides.documents("shards/").await;
        assert!(shards.len() >= 3, "{shards:?}");
        sides.state.delete(shards[lost].as_str()).await.unwrap();
        let error = job.work(&sides.from(), &sides.to()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{lost}");
        assert!(error.message().contains("is missing"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_copy_every_object_and_count_it_once() {
    let sides = Sides::with_objects(20_000).await;
    let job = sides.plan(&SyncOptions::new(), 12).await;

    let mut workers = tokio::task::JoinSet::new();
    for index in 0..8 {
        let (job, from, to) = (job.clone(), sides.from(), sides.to());
        workers.spawn(async move { job.work(&from, &to).index(index, 8).await.unwrap() });
    }
    while let Some(worker) = workers.join_next().await {
        let summary = worker.unwrap();
        assert!(summary.is_done(), "{summary:?}");
        let counts = summary.counts;
        assert_eq!((counts.source_objects, counts.new + counts.same), (20_000, 20_000));
    }
    sides.assert_equal().await;
}

#[tokio::test]
async fn an_idle_worker_takes_a_half_of_what_another_has() {
    let sides = Sides::with_objects(8_000).await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    let (from, to) = (sides.from(), sides.to());
    // A worker that claims the only shard and then does nothing for a while.
    let throttled = job.work(&from, &to).requests(2_000);
    let (slow, fast) = tokio::join!(throttled, job.work(&from, &to).index(1, 2));

    let (slow, fast) = (slow.unwrap(), fast.unwrap());
    assert!(slow.is_done() && fast.is_done(), "{slow:?} {fast:?}");
    assert_eq!(slow.counts.source_objects, 8_000);
    assert!(job.status().await.unwrap().shards.len() > 1, "nothing was taken");
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_plan_with_other_options_is_refused() {
    let sides = Sides::with_objects(10).await;
    let job = sides.plan(&SyncOptions::new(), 1).await;
    // The same plan is the same job.
    sides.plan(&SyncOptions::new(), 5).await;
    let mut options = SyncOptions::new();
    options.comparison = Comparison::Size;
    let spec = JobSpec::new("a:", "b:", &options);
    let error = Job::plan(&sides.at(), spec, (&sides.from(), &sides.to()), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("comparison"), "{error}");
    assert_eq!(job.status().await.unwrap().shards.len(), 1);
}

#[tokio::test]
async fn a_plan_of_a_dry_run_is_refused() {
    let sides = Sides::with_objects(1).await;
    let spec = JobSpec::new("a:", "b:", &SyncOptions::new().dry_run());
    let error = Job::plan(&sides.at(), spec, (&sides.from(), &sides.to()), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(sides.documents("").await.is_empty());
}

#[tokio::test]
async fn a_job_needs_a_storage_with_conditions() {
    let without = [
        Memory::storage().read_only(),
        lacking(&Memory::storage(), |capabilities| capabilities.create_new = false),
        lacking(&Memory::storage(), |capabilities| capabilities.save_if_match = false),
    ];
    for state in without {
        let at = Directory::new(&state, "job").unwrap();
        assert_eq!(Job::open(&at).await.unwrap_err().kind(), ErrorKind::Unsupported, "{state:?}");
    }
    let empty = Directory::new(&Memory::storage(), "job").unwrap();
    assert_eq!(Job::open(&empty).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_cancelled_job_continues_after_resume() {
    let sides = Sides::with_objects(3_000).await;
    let job = sides.plan(&SyncOptions::new(), 2).await;
    job.cancel().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert!(matches!(summary.ended, WorkEnded::Cancelled), "{summary:?}");
    assert_eq!(summary.counts.new, 0);

    job.resume().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((summary.is_done(), summary.counts.new), (true, 3_000));
}

#[tokio::test]
async fn a_plan_that_failed_in_the_middle_is_completed_with_the_same_borders() {
    let sides = Sides::with_objects(5_000).await;
    let faults = Faults::new();
    // The job, its borders, and two of four shards are stored.
    let failing = faults.on(Operation::Save).call(5).fail(ErrorKind::PermissionDenied);
    let state = sides.state.layer(|inner| faults.layer(inner));
    let sides = Sides { state, ..sides };
    let spec = JobSpec::new("a:", "b:", &SyncOptions::new());
    let both = (sides.from(), sides.to());
    let planned = Job::plan(&sides.at(), spec.clone(), (&both.0, &both.1), 4).await;
    assert_eq!(planned.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(failing.fired(), 1);
    let error = Job::open(&sides.at()).await.unwrap().work(&both.0, &both.1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    // Other borders would be found now.
    for number in 0..5_000 {
        sides.source.save(format!("0/{number}"), "").await.unwrap();
    }

    let job = sides.plan(&SyncOptions::new(), 4).await;
    let shards = job.status().await.unwrap().shards;
    for pair in shards.windows(2) {
        assert_eq!(pair[0].until, pair[1].after);
    }
    assert_eq!((shards[0].after.as_ref(), shards.last().unwrap().until.as_ref()), (None, None));
    let summary = job.work(&both.0, &both.1).await.unwrap();
    assert_eq!((summary.is_done(), summary.counts.new), (true, 10_000));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_new_pass_looks_at_all_shards_although_a_key_had_failed() {
    let sides = Sides::with_objects(5_000).await;
    let (sides, failing) = sides.with_failing_save("copy/000/000007");
    let job = sides.plan(&SyncOptions::new(), 4).await;
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();
    assert_eq!((failing.fired(), summary.counts.failed), (1, 1));
    sides.source.save("zz/new", "x").await.unwrap();

    job.next_pass().await.unwrap();
    let summary = job.work(&sides.from(), &sides.to()).await.unwrap();

    assert_eq!((summary.is_done(), summary.counts.new, summary.counts.same), (true, 2, 4_999));
    sides.assert_equal().await;
}

#[tokio::test]
async fn a_plan_warns_about_a_source_without_etags() {
    let sides = Sides::with_objects(1).await;
    assert!(Job::warnings(&sides.from(), &sides.to()).await.unwrap().is_empty());
    let sides = Sides { source: without_etags(&sides.source), ..sides };
    let warnings = Job::warnings(&sides.from(), &sides.to()).await.unwrap();
    assert!(matches!(warnings[..], [(Side::Source, text)] if text.contains("ETags")));
}

#[tokio::test]
async fn a_plan_warns_about_a_destination_without_conditions() {
    let sides = Sides::with_objects(1).await;
    let without = [
        ("create_new", lacking(&sides.target, |capabilities| capabilities.create_new = false)),
        ("if_match", lacking(&sides.target, |capabilities| capabilities.save_if_match = false)),
    ];
    for (name, target) in without {
        let sides = Sides { target, ..sides.clone() };
        let warnings = Job::warnings(&sides.from(), &sides.to()).await.unwrap();
        let is_named = matches!(warnings[..], [(Side::Target, text)] if text.contains(name));
        assert!(is_named, "{name}: {warnings:?}");
    }
}
