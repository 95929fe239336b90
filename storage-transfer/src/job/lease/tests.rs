//! Tests of saves without a clear result.

use storage_core::{Error, ErrorKind, Memory, Operation};
use storage_testkit::faults::Faults;

use super::saving::MAX_ATTEMPTS;
use super::*;
use crate::directory::Directory;
use crate::sync::summary::Counts;

/// Stores a shard that no worker has.
async fn free(faults: &Faults) -> (Store, Document<ShardDocument>) {
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    let store = Store::new(&Directory::new(&storage, "job").unwrap()).unwrap();
    let shard = ShardDocument::new("job", "a".to_owned(), None, None);
    let shard = store.create_shard(&shard).await.unwrap().unwrap();
    (store, shard)
}

async fn claim(
    store: &Store,
    shard: Document<ShardDocument>,
) -> storage_core::Result<Option<Arc<Lease>>> {
    Lease::claim(store, shard, 1, ("worker", Duration::from_secs(60))).await
}

async fn claimed(faults: &Faults) -> Arc<Lease> {
    let (store, shard) = free(faults).await;
    claim(&store, shard).await.unwrap().unwrap()
}

fn settle(lease: &Lease, new: u64) {
    lease.ledger().note(Counts { new, ..Counts::default() }.into());
}

#[tokio::test]
async fn what_a_save_whose_response_is_lost_has_stored_is_counted_once() {
    let faults = Faults::new();
    let lease = claimed(&faults).await;
    settle(&lease, 3);
    let lost = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Unexpected);
    lease.renew().await.unwrap();
    settle(&lease, 1);
    lease.renew().await.unwrap();
    assert_eq!((lease.document().await.counts.new, lost.fired()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_another_worker_took_the_end_is_counted_once() {
    let faults = Faults::new();
    let lease = claimed(&faults).await;
    settle(&lease, 3);
    let lost = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    let taken = async {
        while lost.fired() == 0 {
            tokio::task::yield_now().await;
        }
        let mut shard = lease.store.shard("a").await.unwrap();
        shard.value.cut_off("m".to_owned(), "b".to_owned());
        lease.store.replace_shard(shard).await.unwrap().unwrap();
    };
    let (renewed, ()) = tokio::join!(lease.renew(), taken);
    let begins_again = lease.rewind().await;
    let shard = lease.document().await;
    assert_eq!((shard.counts.new, shard.until.as_deref()), (3, Some("m")));
    assert!(begins_again, "{renewed:?}");
}

#[tokio::test]
async fn after_a_save_without_a_clear_result_the_pass_begins_again_from_what_is_stored() {
    for (is_stored, counted) in [(true, 3), (false, 0)] {
        let faults = Faults::new();
        let lease = claimed(&faults).await;
        settle(&lease, 3);
        let save = faults.on(Operation::Save).call(1);
        let save = match is_stored {
            true => save.lose_response(ErrorKind::Unexpected),
            false => save.fail(ErrorKind::Unexpected),
        };
        let read = faults.on(Operation::Open).call(1).fail(ErrorKind::Unexpected);
        assert_eq!(lease.renew().await.unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!((save.fired(), read.fired()), (1, 1));
        assert!(lease.stop().is_stopped());
        assert!(lease.rewind().await);
        assert_eq!(lease.document().await.counts.new, counted);
        settle(&lease, 1);
        lease.renew().await.unwrap();
        assert_eq!(lease.document().await.counts.new, counted + 1);
    }
}

#[tokio::test]
async fn a_renewal_without_a_clear_result_does_not_end_the_pass() {
    let faults = Faults::new();
    let lease = claimed(&faults).await;
    let failed = faults.on(Operation::Save).call(1).fail(ErrorKind::Unexpected);
    let unread = faults.on(Operation::Open).call(1).fail(ErrorKind::Unexpected);
    lease.renew().await.unwrap_err();
    assert_eq!((failed.fired(), unread.fired()), (1, 1));
    assert!(!lease.stop().is_stopped() && !lease.rewind().await);
    lease.renew().await.unwrap();
}

#[tokio::test]
async fn a_claim_that_can_never_be_stored_fails_with_its_error() {
    let faults = Faults::new();
    let lease = claimed(&faults).await;
    let shard = lease.document.lock().await.clone();
    let failed = faults.on(Operation::Save).fail(ErrorKind::Unexpected);
    let error = claim(&lease.store, shard).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!(failed.fired(), MAX_ATTEMPTS as usize);
}

#[tokio::test]
async fn a_claim_whose_response_is_lost_is_read_back() {
    let faults = Faults::new();
    let lost = faults.on(Operation::Save).call(2).lose_response(ErrorKind::Unexpected);
    assert_eq!(claimed(&faults).await.document().await.owner.as_deref(), Some("worker"));
    assert_eq!(lost.fired(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_response_is_lost_is_known_again_although_its_end_was_taken_since() {
    let faults = Faults::new();
    let (store, shard) = free(&faults).await;
    let lost = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    let taken = async {
        while lost.fired() == 0 {
            tokio::task::yield_now().await;
        }
        let mut shard = store.shard("a").await.unwrap();
        shard.value.cut_off("m".to_owned(), "b".to_owned());
        store.replace_shard(shard).await.unwrap().unwrap();
    };
    let (lease, ()) = tokio::join!(claim(&store, shard), taken);
    let lease = lease.unwrap().expect("the worker has the shard");
    assert_eq!(lease.document().await.until.as_deref(), Some("m"));
    assert!(lease.includes("m") && !lease.includes("n"));
    settle(&lease, 1);
    lease.renew().await.unwrap();
    assert_eq!(store.shard("a").await.unwrap().value.counts.new, 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_refused_for_now_is_repeated() {
    // A conflict may also last for longer than the attempts of one save.
    for (kind, times) in
        [(ErrorKind::RateLimited, 4), (ErrorKind::Conflict, 1), (ErrorKind::Conflict, 7)]
    {
        let faults = Faults::new();
        let (store, shard) = free(&faults).await;
        let again = move || Error::new(kind, "not now").with_retryable(true);
        let refused = faults.on(Operation::Save).calls(times).fail_with(again);
        let lease = claim(&store, shard).await.unwrap().expect("no other worker is there");
        assert_eq!((refused.fired(), lease.document().await.epoch), (times, 1));
    }
}

#[tokio::test]
async fn a_key_of_a_lost_lease_is_left_to_the_other_worker() {
    let lease = claimed(&Faults::new()).await;
    assert!(lease.includes("a"));
    lease.lose();
    assert!(!lease.includes("a"));
}

#[tokio::test]
async fn a_lost_lease_is_not_revived_by_a_shorter_range() {
    let lease = claimed(&Faults::new()).await;
    lease.state().must_rewind = true;
    lease.lose();
    assert!(!lease.rewind().await);
    assert!(lease.stop().is_stopped());
}
