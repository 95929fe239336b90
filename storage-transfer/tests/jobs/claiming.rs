//! Claims of shards whose conditional save has no clear result, or is refused for now.

use std::future::IntoFuture;
use std::time::Duration;

use storage_core::{Error, ErrorKind, Operation};
use storage_testkit::faults::Faults;
use storage_transfer::{Job, SyncOptions};

use crate::support::Sides;

/// A lease that a test cannot wait for.
const HOUR: Duration = Duration::from_secs(3600);
const SHARD: &str = "job/shards/00000.json";

/// A job of one shard, whose state has these faults.
async fn planned(faults: &Faults) -> (Sides, Job) {
    let sides = Sides::with_objects(10).await;
    let state = sides.state.layer(|inner| faults.layer(inner));
    let sides = Sides { state, ..sides };
    let job = sides.plan_with_lease(&SyncOptions::new(), 1, HOUR).await;
    (sides, job)
}

/// Returns how often the shard was claimed.
async fn claims(sides: &Sides) -> u64 {
    let text = sides.state.open(SHARD).await.unwrap().text().await.unwrap();
    let shard: serde_json::Value = serde_json::from_str(&text).unwrap();
    shard["epoch"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_refused_for_now_is_repeated_and_does_not_count_as_taken() {
    for kind in [ErrorKind::RateLimited, ErrorKind::Conflict] {
        let faults = Faults::new();
        let (sides, job) = planned(&faults).await;
        let lists = faults.calls(Operation::List);
        let not_now = move || Error::new(kind, "not now").with_retryable(true);
        let refused = faults.on(Operation::Save).of(SHARD).call(1).fail_with(not_now);
        let repeated = faults.on(Operation::Save).of(SHARD).call(2).hold();
        let work = tokio::spawn(job.work(&sides.from(), &sides.to()).into_future());
        repeated.reached().await;
        // A worker lists the shards again if another one was faster.
        assert_eq!((refused.fired(), faults.calls(Operation::List) - lists), (1, 1), "{kind:?}");
        repeated.release();
        let summary = work.await.unwrap().unwrap();
        assert!(summary.is_done(), "{summary:?}");
        assert_eq!(claims(&sides).await, 1);
        sides.assert_equal().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_claim_has_no_response_knows_that_the_shard_is_its_own() {
    for kind in [ErrorKind::Timeout, ErrorKind::Unexpected] {
        let faults = Faults::new();
        let (sides, job) = planned(&faults).await;
        let lost = faults.on(Operation::Save).of(SHARD).call(1).lose_response(kind);
        let work = job.work(&sides.from(), &sides.to()).into_future();
        let summary = tokio::time::timeout(HOUR / 2, work).await.unwrap().unwrap();
        assert!(summary.is_done(), "{summary:?}");
        assert_eq!((lost.fired(), claims(&sides).await), (1, 1), "{kind:?}");
        sides.assert_equal().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_workers_whose_claims_have_no_response_one_has_the_shard() {
    let faults = Faults::new();
    let (sides, job) = planned(&faults).await;
    let lost = faults.on(Operation::Save).of(SHARD).calls(2).lose_response(ErrorKind::Unexpected);
    let (from, to) = (sides.from(), sides.to());
    let (first, second) = tokio::join!(job.work(&from, &to), job.work(&from, &to).index(1, 2));
    for summary in [first.unwrap(), second.unwrap()] {
        assert!(summary.is_done(), "{summary:?}");
        assert_eq!(summary.counts.new, 10);
    }
    assert_eq!((lost.fired(), claims(&sides).await), (2, 1));
    sides.assert_equal().await;
}
