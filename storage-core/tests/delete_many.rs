//! Deleting many objects: batches, how many run at a time, and the result for each key.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, StreamExt, stream};
use storage_core::{
    DeleteMany, Entry, Error, ErrorKind, Key, MAX_DELETE_MANY, Memory, Operation, Prefix, Result,
    Storage, delete_one_by_one,
};
use storage_testkit::extra_entries::ExtraEntries;
use storage_testkit::faults::Faults;
use storage_testkit::scripted::{End, Fault, Scripted};
use tokio::sync::mpsc;

fn storage(scripted: &Scripted) -> Storage {
    Storage::new(scripted.clone())
}

/// Returns how many keys each request had.
fn batches(scripted: &Scripted) -> Vec<usize> {
    let calls = scripted.calls();
    calls.iter().map(|call| call.strip_prefix("delete_many ").unwrap().split(' ').count()).collect()
}

fn numbers(keys: usize) -> impl Iterator<Item = String> + Send + 'static {
    (0..keys).map(|key| key.to_string())
}

/// Returns the deleted keys, and the kinds of the errors.
fn outcomes(results: &[Result<Key>]) -> Vec<Result<&str, (ErrorKind, Option<&str>)>> {
    results
        .iter()
        .map(|result| result.as_ref().map(Key::as_str).map_err(|error| (error.kind(), error.key())))
        .collect()
}

/// Returns a channel, whose receiver is a stream.
fn channel() -> (
    mpsc::UnboundedSender<&'static str>,
    impl futures_core::Stream<Item = &'static str> + Send + 'static,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        sender,
        stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }),
    )
}

/// Polls once for the next key.
fn poll(deletion: &mut DeleteMany) -> Option<Option<Result<Key>>> {
    deletion.next().now_or_never()
}

#[tokio::test]
async fn delete_many_does_nothing_before_it_is_polled() {
    let (scripted, taken) =
        (Scripted::with_objects(&[("a", "")]).await, Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    let keys = stream::iter(["a"]).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut deletion = storage(&scripted).delete_many(keys);
    assert_eq!((taken.load(Ordering::Relaxed), scripted.calls().len()), (0, 0));
    assert_eq!(deletion.next().await.unwrap().unwrap(), "a");
    assert_eq!((taken.load(Ordering::Relaxed), scripted.calls().len()), (1, 1));
    assert!(deletion.next().await.is_none());
    assert!(deletion.next().await.is_none(), "an item follows the end");
}

#[tokio::test]
async fn keys_are_deleted_in_batches_of_a_thousand_and_returned_in_their_order() {
    let scripted = Scripted::new();
    let results: Vec<_> =
        storage(&scripted).delete_many(stream::iter(numbers(2_500))).collect().await;
    assert_eq!(batches(&scripted), [1000, 1000, 500]);
    let gone: Vec<_> = results.into_iter().map(|result| result.unwrap().to_string()).collect();
    assert_eq!(gone, numbers(2_500).collect::<Vec<_>>());
}

#[tokio::test]
async fn awaiting_a_deletion_deletes_all_and_returns_the_number() {
    let scripted = Scripted::with_objects(&[("a/1", ""), ("a/2", ""), ("b", ""), ("c", "")]).await;
    let storage = storage(&scripted);
    assert_eq!(storage.delete_prefix("a/").await.unwrap(), 2);
    assert_eq!(storage.delete_many(stream::iter(["b"])).await.unwrap(), 1);
    assert_eq!(storage.list("").keys().await.unwrap(), ["c"]);
    assert_eq!(storage.delete_prefix("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn without_a_key_the_driver_is_not_called() {
    let scripted = Scripted::new();
    let storage = storage(&scripted);
    assert_eq!(storage.delete_many(stream::iter(numbers(0))).finish().await.unwrap(), 0);
    assert_eq!(storage.delete_many(stream::iter(["//", ".."])).collect::<Vec<_>>().await.len(), 2);
    assert!(scripted.calls().is_empty(), "{:?}", scripted.calls());
}

#[tokio::test]
async fn four_batches_run_at_a_time_and_no_more_keys_are_read_meanwhile() {
    let (scripted, taken) = (Scripted::new(), Arc::new(AtomicUsize::new(0)));
    scripted.script(Operation::Delete, (0..4).map(|_| Fault::Stall));
    let counter = Arc::clone(&taken);
    // A source that never ends.
    let keys = stream::repeat("a").inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut deletion = storage(&scripted).delete_many(keys);
    for _ in 0..3 {
        assert!(poll(&mut deletion).is_none());
        assert_eq!((scripted.under_way(), taken.load(Ordering::Relaxed)), (4, 4 * MAX_DELETE_MANY));
    }
    drop(deletion);
    assert_eq!((scripted.under_way(), scripted.abandoned()), (0, 4));
    scripted.assert_script_done();
}

#[tokio::test]
async fn results_keep_their_order_when_a_batch_is_slower_than_the_next() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    let held = faults.on(Operation::Delete).of("7").hold();
    let mut deletion = storage.delete_many(stream::iter(numbers(2_000)));
    assert!(poll(&mut deletion).is_none());
    assert_eq!(
        (held.fired(), faults.calls(Operation::Delete)),
        (1, 8 + 1_000),
        "the second batch was returned before the first"
    );
    held.release();
    let results: Vec<_> = deletion.map(|result| result.unwrap().to_string()).collect().await;
    assert_eq!(results, numbers(2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_source_delays_nothing_and_its_keys_are_collected_meanwhile() {
    let faults = Faults::new();
    let scripted = Scripted::new();
    let storage = storage(&scripted).layer(|inner| faults.layer(inner));
    let held = faults.on(Operation::Delete).of("b").hold();
    let (sender, keys) = channel();
    let mut deletion = storage.delete_many(keys);
    assert!(poll(&mut deletion).is_none());
    assert!(scripted.calls().is_empty());

    sender.send("a").unwrap();
    assert_eq!(deletion.next().await.unwrap().unwrap(), "a");
    sender.send("b").unwrap();
    assert!(poll(&mut deletion).is_none());
    for key in ["c", "d", "e"] {
        sender.send(key).unwrap();
        assert!(poll(&mut deletion).is_none());
    }
    held.release();
    drop(sender);
    let rest: Vec<_> = deletion.map(|result| result.unwrap().to_string()).collect().await;
    assert_eq!(rest, ["b", "c", "d", "e"]);
    let mut requests = scripted.calls();
    requests.sort_unstable();
    assert_eq!(requests, ["delete_many a", "delete_many b", "delete_many c d e"]);
    assert_eq!(held.fired(), 1);
}

#[tokio::test]
async fn an_invalid_key_is_one_error_in_its_place() {
    let scripted = Scripted::with_objects(&[("a", ""), ("b", "")]).await;
    let keys = ["a//b", "a", "../b", "b", ""];
    let results: Vec<_> = storage(&scripted).delete_many(stream::iter(keys)).collect().await;
    let odd = |key| Err((ErrorKind::InvalidKey, Some(key)));
    assert_eq!(outcomes(&results), [odd("a//b"), Ok("a"), odd("../b"), Ok("b"), odd("")]);
    let error = results[0].as_ref().unwrap_err();
    assert_eq!((error.operation(), error.driver()), (Some(Operation::Delete), Some("scripted")));
    assert_eq!(scripted.calls(), ["delete_many a b"]);
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_is_one_error_with_the_key() {
    let scripted = Scripted::with_objects(&[("a", ""), ("b", "text"), ("c", "")]).await;
    let denied = Error::new(ErrorKind::PermissionDenied, "not yours");
    scripted.script(Operation::Delete, [Fault::Pass, Fault::Fail(denied), Fault::Pass]);
    let results: Vec<_> =
        storage(&scripted).delete_many(stream::iter(["a", "b", "c"])).collect().await;
    assert_eq!(
        outcomes(&results),
        [Ok("a"), Err((ErrorKind::PermissionDenied, Some("b"))), Ok("c")]
    );
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.operation(), error.driver()), (Some(Operation::Delete), Some("scripted")));
    assert_eq!(scripted.text("b").await, "text");
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_listing_can_be_the_source_with_its_invalid_names_and_its_final_error() {
    let mut scripted =
        Scripted::with_objects(&[("tmp/a", ""), ("tmp/b", ""), ("tmp/c", "kept")]).await;
    scripted.invalid_names = vec![("tmp//odd", "tmp/b")];
    let lost = Error::new(ErrorKind::Timeout, "no more of the listing");
    // The invalid name counts too.
    scripted.script(Operation::List, [Fault::Break { after: 3, with: End::Error(lost) }]);
    let storage = storage(&scripted);
    let results: Vec<_> = storage.delete_many(storage.list("tmp/").entries()).collect().await;
    let odd = Err((ErrorKind::InvalidKey, Some("tmp//odd")));
    let end = Err((ErrorKind::Timeout, Some("tmp/")));
    assert_eq!(outcomes(&results), [Ok("tmp/a"), odd, Ok("tmp/b"), end]);
    assert_eq!(results[3].as_ref().unwrap_err().operation(), Some(Operation::List));
    assert_eq!(scripted.text("tmp/c").await, "kept");
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_common_prefix_is_not_deleted() {
    let storage = Memory::storage();
    for key in ["a", "d/1", "d/2"] {
        storage.save(key, "").await.unwrap();
    }
    let entries = storage.list("").delimiter("/").entries();
    let results: Vec<_> = storage.delete_many(entries).collect().await;
    assert_eq!(outcomes(&results), [Ok("a"), Err((ErrorKind::InvalidInput, Some("d/")))]);
    assert!(storage.exists("d/1").await.unwrap());
    let prefix = Entry::Prefix(Prefix::new("d/").unwrap());
    assert!(Key::try_from(prefix).unwrap_err().message().contains("without a delimiter"));
}

#[tokio::test]
async fn finish_tries_all_keys_and_returns_the_first_error_with_the_number_of_errors() {
    let scripted = Scripted::new();
    let fail = |kind| Fault::Fail(Error::new(kind, "why"));
    let storage = storage(&scripted);
    let keys = || stream::iter(["a", "b", "c", "d"]);
    assert_eq!(storage.delete_many(keys()).finish().await.unwrap(), 4);

    scripted.script(
        Operation::Delete,
        [Fault::Pass, fail(ErrorKind::Conflict), fail(ErrorKind::Timeout)],
    );
    let error = storage.delete_many(keys()).finish().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("b")));
    assert_eq!(error.message(), "the first of 2 errors, 2 keys are gone: why");

    scripted.script(Operation::Delete, [fail(ErrorKind::Conflict)]);
    let error = storage.delete_many(keys()).finish().await.unwrap_err();
    assert_eq!((error.key(), error.message()), (Some("a"), "why"));
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_key_without_a_result_of_the_driver_counts_as_failed() {
    let mut scripted = Scripted::new();
    scripted.max_results = 1;
    let results: Vec<_> = storage(&scripted).delete_many(stream::iter(["a", "b"])).collect().await;
    assert_eq!(outcomes(&results), [Ok("a"), Err((ErrorKind::Unexpected, Some("b")))]);
}

#[tokio::test]
async fn dropping_delete_many_stops_it() {
    let scripted = Scripted::with_objects(&[("a", ""), ("b", "kept")]).await;
    let (sender, keys) = channel();
    let mut deletion = storage(&scripted).delete_many(keys);
    sender.send("a").unwrap();
    assert_eq!(deletion.next().await.unwrap().unwrap(), "a");
    drop(deletion);
    assert!(sender.send("b").is_err(), "the source is still held");
    assert_eq!(scripted.text("b").await, "kept");
}

#[tokio::test]
async fn delete_one_by_one_runs_sixteen_deletes_at_a_time_and_keeps_their_order() {
    let keys: Vec<_> = numbers(40).map(|key| Key::new(key).unwrap()).collect();
    let scripted = Scripted::new();
    scripted.script(Operation::Delete, (0..17).map(|_| Fault::Stall));
    assert!(delete_one_by_one(&scripted, &keys).now_or_never().is_none());
    assert_eq!((scripted.count(Operation::Delete), scripted.abandoned()), (16, 16));

    let faults = Faults::new();
    let driver = faults.layer(Arc::new(Memory::new()));
    let held = faults.on(Operation::Delete).of("0").hold();
    let denied = faults.on(Operation::Delete).of("20").fail(ErrorKind::PermissionDenied);
    held.release();
    let results = delete_one_by_one(&driver, &keys).await;
    let failed: Vec<_> = results
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_err())
        .map(|(at, _)| at)
        .collect();
    assert_eq!((results.len(), failed), (40, vec![20]));
    assert_eq!((held.fired(), denied.fired(), faults.calls(Operation::Delete)), (1, 1, 40));
}

#[tokio::test]
async fn a_prefix_is_deleted_in_batches_with_its_folder_markers_and_failures_in_their_places() {
    let scripted = Scripted::with_objects(&[("d/1", ""), ("d/2", "kept"), ("d/3", "")]).await;
    let denied = Error::new(ErrorKind::PermissionDenied, "not yours");
    scripted.script(Operation::Delete, [Fault::Pass, Fault::Fail(denied), Fault::Pass]);
    let storage = Storage::new(
        ExtraEntries::new(scripted.arc())
            .folder_marker("d/")
            .folder_marker("d/2/")
            .folder_marker("e/"),
    );
    let mut deleted = storage.delete_prefix("d/");
    let mut deleted_or_failed = Vec::new();
    while let Some(entry) = deleted.next().await {
        deleted_or_failed.push(entry.map_or_else(
            |error| {
                format!(
                    "{:?} {}: {}",
                    error.operation(),
                    error.kind(),
                    error.key().unwrap_or_default()
                )
            },
            |entry| entry.name().to_owned(),
        ));
    }
    assert_eq!(
        deleted_or_failed,
        ["d/", "d/1", "Some(Delete) PermissionDenied: d/2", "d/2/", "d/3"]
    );
    assert_eq!(scripted.text("d/2").await, "kept");
    let left = storage.list("").with_folder_markers().entries().collect().await.unwrap();
    assert_eq!(left.iter().map(Entry::name).collect::<Vec<_>>(), ["d/2", "e/"]);
    assert!(
        scripted.calls().contains(&"delete_many d/1 d/2 d/3".to_owned()),
        "{:?}",
        scripted.calls()
    );
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_folder_marker_is_not_deleted_as_a_key() {
    let marker = Entry::FolderMarker(Prefix::new("d/").unwrap());
    let error = Key::try_from(marker).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("d/")));
    assert!(error.message().contains("delete_folder_marker"), "{error}");
}

#[tokio::test]
async fn a_prefix_that_is_not_a_directory_is_refused_before_the_driver_is_called() {
    let scripted = Scripted::with_objects(&[("a/1", ""), ("ab/1", ""), ("b", "")]).await;
    let storage = storage(&scripted);
    for (prefix, way_out) in
        [("", "delete_everything"), ("a", "\"a/\""), ("a/1", "\"a/1/\""), ("b", "\"b/\"")]
    {
        let error = storage.delete_prefix(prefix).finish().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, Some(Operation::Delete)),
            "{prefix}"
        );
        assert!(error.message().contains(way_out), "{error}");
    }
    let error = storage.delete_prefix("/").finish().await.unwrap_err();
    assert_eq!((error.kind(), error.driver()), (ErrorKind::InvalidKey, Some("scripted")));
    assert!(scripted.calls().is_empty(), "{:?}", scripted.calls());
}

#[tokio::test]
async fn an_entry_outside_the_prefix_is_not_deleted() {
    let mut scripted = Scripted::with_objects(&[("d/1", ""), ("elsewhere", "kept")]).await;
    scripted.key_in_results = Some("elsewhere");
    let error = storage(&scripted).delete_prefix("d/").finish().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Unexpected, Some("elsewhere")));
    assert!(error.message().contains("does not begin with"), "{error}");
    assert_eq!(scripted.text("elsewhere").await, "kept");
    assert!(
        !scripted.calls().iter().any(|call| call.starts_with("delete")),
        "{:?}",
        scripted.calls()
    );
}
