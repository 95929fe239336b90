//! The layer of faults applies each plan to the calls that it selects, and counts it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use storage_core::{
    Checksum, ChecksumAlgorithm, Error, ErrorKind, Memory, Operation, Payload, Storage,
};
use storage_testkit::faults::Faults;

fn with_faults() -> (Storage, Faults) {
    let faults = Faults::new();
    (Memory::storage().layer(|inner| faults.layer(inner)), faults)
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().as_ref().map(Error::kind)
}

#[tokio::test]
async fn the_second_save_fails_and_the_others_do_not() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Save).call(2).fail(ErrorKind::StorageFull);
    storage.save("a", "1").await.unwrap();
    assert_eq!(plan.fired(), 0);
    assert_eq!(kind(storage.save("b", "2").await), Some(ErrorKind::StorageFull));
    storage.save("c", "3").await.unwrap();
    assert_eq!((plan.fired(), faults.fired(), faults.calls(Operation::Save)), (1, 1, 3));
    assert!(!storage.exists("b").await.unwrap());
}

#[tokio::test]
async fn calls_are_counted_from_the_addition_of_the_plan() {
    let (storage, faults) = with_faults();
    storage.save("a", "1").await.unwrap();
    let plan = faults.on(Operation::Save).call(1).fail(ErrorKind::Timeout);
    assert_eq!(kind(storage.save("a", "2").await), Some(ErrorKind::Timeout));
    assert_eq!(plan.fired(), 1);
}

#[tokio::test]
async fn every_verb_can_fail() {
    let (storage, faults) = with_faults();
    storage.save("a", "1").await.unwrap();
    let verbs = [
        Operation::Save,
        Operation::Open,
        Operation::Stat,
        Operation::Exists,
        Operation::Delete,
        Operation::List,
        Operation::Copy,
        Operation::Rename,
        Operation::Url,
    ];
    let plans = verbs.map(|verb| faults.on(verb).fail(ErrorKind::RateLimited));
    let kinds = [
        kind(storage.save("a", "2").await),
        kind(storage.open("a").await),
        kind(storage.stat("a").await),
        kind(storage.exists("a").await),
        kind(storage.delete("a").await),
        kind(storage.list("").entries().collect().await),
        kind(storage.copy("a", "b").await),
        kind(storage.rename("a", "b").await),
        kind(storage.url("a").await),
    ];
    assert_eq!(kinds, [Some(ErrorKind::RateLimited); 9]);
    assert!(plans.iter().all(|plan| plan.fired() == 1));
    faults.clear();
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "1");
}

#[tokio::test]
async fn fail_all_makes_every_verb_fail_that_needs_the_backend() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    storage.save("a", "1").await.unwrap();
    faults.fail_all(ErrorKind::Timeout);
    let kinds = [
        kind(storage.save("a", "2").await),
        kind(storage.open("a").await),
        kind(storage.stat("a").await),
        kind(storage.exists("a").await),
        kind(storage.delete("a").await),
        kind(storage.list("").entries().collect().await),
        kind(storage.copy("a", "b").await),
        kind(storage.rename("a", "b").await),
        kind(storage.multipart("a").await),
    ];
    assert_eq!(kinds, [Some(ErrorKind::Timeout); 9]);
    assert_eq!(faults.fired(), 9);
}

#[tokio::test]
async fn each_key_of_delete_many_counts_as_a_call() {
    let (storage, faults) = with_faults();
    for key in ["a", "b", "c", "d"] {
        storage.save(key, key).await.unwrap();
    }
    let denied = faults.on(Operation::Delete).of("b").fail(ErrorKind::PermissionDenied);
    let lost = faults.on(Operation::Delete).call(3).lose_response(ErrorKind::Timeout);
    let results: Vec<_> =
        storage.delete_many(stream::iter(["a", "b", "c", "d"])).map(kind).collect().await;
    assert_eq!(results, [None, Some(ErrorKind::PermissionDenied), Some(ErrorKind::Timeout), None]);
    assert_eq!((denied.fired(), lost.fired(), faults.calls(Operation::Delete)), (1, 1, 4));
    let left = storage.list("").entries().collect().await.unwrap();
    assert_eq!(
        left.iter().map(storage_core::Entry::name).collect::<Vec<_>>(),
        ["b"],
        "c is deleted, only its response is lost"
    );
}

#[tokio::test]
async fn a_held_delete_delays_its_batch() {
    let (storage, faults) = with_faults();
    storage.save("a", "1").await.unwrap();
    let held = faults.on(Operation::Delete).of("b").hold();
    let deletion = tokio::spawn(storage.delete_many(stream::iter(["a", "b"])).finish());
    held.reached().await;
    assert!(storage.exists("a").await.unwrap());
    held.release();
    assert_eq!(deletion.await.unwrap().unwrap(), 2);
    assert!(!storage.exists("a").await.unwrap());
}

#[tokio::test]
async fn calls_limits_a_fault_to_the_next_calls_of_the_key() {
    let (storage, faults) = with_faults();
    storage.save("a", "1").await.unwrap();
    storage.save("b", "1").await.unwrap();
    let plan = faults.on(Operation::Stat).of("a").calls(2).fail(ErrorKind::Timeout);
    storage.stat("b").await.unwrap();
    assert_eq!(kind(storage.stat("a").await), Some(ErrorKind::Timeout));
    assert_eq!(kind(storage.stat("a").await), Some(ErrorKind::Timeout));
    storage.stat("a").await.unwrap();
    assert_eq!(plan.fired(), 2);
}

#[tokio::test]
async fn fail_with_returns_the_given_error() {
    let (storage, faults) = with_faults();
    faults
        .on(Operation::Stat)
        .fail_with(|| Error::new(ErrorKind::RateLimited, "slow down").with_retryable(false));
    let error = storage.stat("a").await.unwrap_err();
    assert_eq!((error.message(), error.is_retryable()), ("slow down", false));
}

#[tokio::test]
async fn a_save_whose_response_is_lost_takes_effect() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(kind(storage.save("a", "1").create_new().await), Some(ErrorKind::Timeout));
    assert_eq!(kind(storage.save("a", "1").create_new().await), Some(ErrorKind::AlreadyExists));
    assert_eq!(plan.fired(), 1);
}

#[tokio::test]
async fn a_save_that_fails_midway_leaves_nothing() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Save).fail_midway(3, ErrorKind::Timeout);
    assert_eq!(kind(storage.save("a", "hello").await), Some(ErrorKind::Timeout));
    assert_eq!(plan.fired(), 1);
    assert!(!storage.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_body_breaks_off_fails_or_is_changed_after_some_bytes() {
    let (storage, faults) = with_faults();
    storage.save("a", "hello world").await.unwrap();
    let truncated = faults.on(Operation::Open).call(1).truncate(5);
    let failed = faults.on(Operation::Open).call(2).fail_midway(5, ErrorKind::Timeout);
    let corrupted = faults.on(Operation::Open).call(3).corrupt(6);

    let mut chunks = storage.open("a").await.unwrap().into_stream();
    assert_eq!(chunks.next().await.unwrap().unwrap(), "hello");
    assert!(chunks.next().await.unwrap().unwrap_err().is_retryable(), "an early end is an error");

    let mut chunks = storage.open("a").await.unwrap().into_stream();
    assert_eq!(chunks.next().await.unwrap().unwrap(), "hello");
    assert_eq!(kind(chunks.next().await.unwrap()), Some(ErrorKind::Timeout));

    let bytes = storage.open("a").await.unwrap().bytes().await.unwrap();
    assert_eq!((&bytes[..6], &bytes[7..]), (&b"hello "[..], &b"orld"[..]));
    assert_ne!(bytes[6], b'w');
    assert_eq!([truncated.fired(), failed.fired(), corrupted.fired()], [1, 1, 1]);
}

#[tokio::test]
async fn a_fault_past_the_end_does_not_fire() {
    let (storage, faults) = with_faults();
    storage.save("a", "hello").await.unwrap();
    for at in [5, 6, 100] {
        faults.on(Operation::Open).truncate(at);
        faults.on(Operation::Open).corrupt(at);
    }
    faults.on(Operation::Open).fail_midway(6, ErrorKind::Timeout);
    faults.on(Operation::Open).stall(6);
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "hello");
    assert_eq!(faults.fired(), 0);
}

#[tokio::test]
async fn truncate_and_corrupt_change_the_stored_bytes() {
    let (storage, faults) = with_faults();
    faults.on(Operation::Save).call(1).truncate(2);
    faults.on(Operation::Save).call(2).corrupt(0);
    let chunks = ["he", "llo"].map(|chunk| Ok::<_, Error>(Bytes::from(chunk)));
    let sum = Checksum::of(ChecksumAlgorithm::Sha256, b"hello");
    let stream = Payload::from_stream(futures_util::stream::iter(chunks));
    storage.save("a", stream).expect_checksum(sum.clone()).await.unwrap();
    storage.save("b", "hello").expect_checksum(sum).await.unwrap();
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "he");
    assert_ne!(storage.open("b").await.unwrap().bytes().await.unwrap(), "hello");
    assert_eq!(faults.fired(), 2);
}

#[tokio::test]
async fn a_listing_ends_early_fails_or_stops_after_some_entries() {
    let (storage, faults) = with_faults();
    for key in ["a", "b", "c"] {
        storage.save(key, key).await.unwrap();
    }
    faults.on(Operation::List).call(1).truncate(2);
    faults.on(Operation::List).call(2).fail_midway(2, ErrorKind::Timeout);
    let stalled = faults.on(Operation::List).call(3).stall(1);
    assert_eq!(storage.list("").entries().collect().await.unwrap().len(), 2);
    let items: Vec<_> = StreamExt::collect(storage.list("").entries()).await;
    assert_eq!(items.len(), 3);
    assert_eq!(kind(items.into_iter().last().unwrap()), Some(ErrorKind::Timeout));
    let mut entries = storage.list("").entries();
    entries.next().await.unwrap().unwrap();
    assert!(entries.next().now_or_never().is_none());
    assert_eq!((faults.fired(), stalled.fired()), (3, 1));
}

#[tokio::test]
async fn a_held_call_continues_when_it_is_released() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Save).hold();
    let save = tokio::spawn(storage.save("a", "1").into_future());
    plan.reached().await;
    assert!(!storage.exists("a").await.unwrap());
    plan.release();
    save.await.unwrap().unwrap();
    assert!(storage.exists("a").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_starts_later() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Stat).delay(Duration::from_secs(60));
    let call = tokio::time::timeout(Duration::from_secs(59), storage.stat("a"));
    assert!(call.await.is_err());
    assert_eq!(kind(storage.stat("a").await), Some(ErrorKind::NotFound));
    assert_eq!(plan.fired(), 2);
}

#[tokio::test]
async fn a_stalled_payload_blocks_the_save_until_it_is_dropped() {
    let (storage, faults) = with_faults();
    let plan = faults.on(Operation::Save).stall(3);
    let save = tokio::spawn(storage.save("a", "hello").into_future());
    plan.reached().await;
    save.abort();
    assert!(save.await.unwrap_err().is_cancelled());
    assert!(!storage.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_part_is_changed_and_its_listing_ends_early() {
    let (storage, faults) = with_faults();
    let upload = storage.multipart("a").await.unwrap();
    let corrupted = faults.on(Operation::PutPart).corrupt(0);
    upload.put_part(1, "hello").await.unwrap();
    let ended = faults.on(Operation::ListParts).fail_midway(0, ErrorKind::Timeout);
    let parts: Vec<_> = upload.parts().collect().await;
    assert!(matches!(&parts[..], [Err(error)] if error.kind() == ErrorKind::Timeout), "{parts:?}");
    assert_eq!((corrupted.fired(), ended.fired()), (1, 1));
    faults.clear();
    upload.complete().await.unwrap();
    let text = storage.open("a").await.unwrap().bytes().await.unwrap();
    assert!(text.len() == 5 && text.ends_with(b"ello") && text[0] != b'h', "{text:?}");
}

#[test]
#[should_panic(expected = "a listing has no response to lose")]
fn a_lost_response_of_a_listing_of_parts_is_refused() {
    Faults::new().on(Operation::ListParts).lose_response(ErrorKind::Timeout);
}

#[test]
#[should_panic(expected = "stat has no bytes to corrupt")]
fn a_fault_that_the_verb_cannot_have_is_refused() {
    Faults::new().on(Operation::Stat).corrupt(1);
}
