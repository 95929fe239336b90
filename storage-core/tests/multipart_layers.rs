//! Multipart uploads through the layers, beyond what the conformance suite tests.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use storage_core::layers::{DefaultMetadata, Limit, Observed, Retry, Timeout};
use storage_core::{
    ErrorKind, Memory, Metadata, MultipartUpload, Operation, Payload, Result, Storage,
};
use storage_testkit::faults::Faults;
use tokio::time::sleep;

const AFTER: Duration = Duration::from_secs(10);

#[track_caller]
fn refused<T>(result: Result<T>, kind: ErrorKind) {
    assert_eq!(result.err().map(|error| error.kind()), Some(kind));
}

/// Begins an upload whose parts may have 100 bytes.
async fn begin(storage: &Storage) -> MultipartUpload {
    storage.multipart("a").part_size(100).await.unwrap()
}

/// Returns a payload whose chunks arrive after this time each.
fn slow(chunks: &'static [&'static str], pause: Duration) -> Payload {
    Payload::from_stream(stream::iter(chunks).then(move |chunk| async move {
        sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))
    }))
}

fn timing_out(faults: &Faults) -> Storage {
    Memory::storage().layer(|inner| faults.layer(inner)).layer(|inner| Timeout::new(inner, AFTER))
}

#[tokio::test(start_paused = true)]
async fn a_part_that_the_driver_does_not_take_times_out() {
    let faults = Faults::new();
    let storage = timing_out(&faults);
    let upload = begin(&storage).await;
    let held = faults.on(Operation::PutPart).hold();
    refused(upload.put_part(1, "late").await, ErrorKind::Timeout);
    assert_eq!(held.fired(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_the_caller_sends_slowly_does_not_time_out() {
    let storage = timing_out(&Faults::new());
    let upload = begin(&storage).await;
    let part = upload.put_part(1, slow(&["a", "b", "c"], 100 * AFTER)).await.unwrap();
    assert_eq!(part.size, 3);
}

#[tokio::test(start_paused = true)]
async fn each_call_of_an_upload_times_out() {
    for operation in [
        Operation::BeginMultipart,
        Operation::ListParts,
        Operation::CompleteMultipart,
        Operation::AbortMultipart,
        Operation::ListMultipart,
    ] {
        let faults = Faults::new();
        let storage = timing_out(&faults);
        let upload = begin(&storage).await;
        upload.put_part(1, "a").await.unwrap();
        let held = faults.on(operation).hold();
        let result = match operation {
            Operation::BeginMultipart => storage.multipart("b").await.map(drop),
            Operation::ListParts => upload.parts().try_collect::<Vec<_>>().await.map(drop),
            Operation::CompleteMultipart => upload.complete().await.map(drop),
            Operation::AbortMultipart => upload.abort().await,
            _ => storage.multipart_uploads("").try_collect::<Vec<_>>().await.map(drop),
        };
        refused(result, ErrorKind::Timeout);
        assert_eq!(held.fired(), 1, "{operation}");
    }
}

fn retrying(faults: &Faults) -> Storage {
    Memory::storage().layer(|inner| faults.layer(inner)).layer(|inner| Retry::new(inner, 2))
}

#[tokio::test(start_paused = true)]
async fn a_part_in_memory_is_sent_again_and_a_stream_is_not() {
    let faults = Faults::new();
    let storage = retrying(&faults);
    let upload = begin(&storage).await;
    let failing = faults.on(Operation::PutPart).call(1).fail(ErrorKind::Timeout);
    upload.put_part(1, "part").await.unwrap();
    assert_eq!((failing.fired(), faults.calls(Operation::PutPart)), (1, 2));

    let failing = faults.on(Operation::PutPart).fail(ErrorKind::Timeout);
    refused(upload.put_part(1, slow(&["a"], Duration::ZERO)).await, ErrorKind::Timeout);
    assert_eq!(failing.fired(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_response_is_lost_is_repeated_and_succeeds() {
    let faults = Faults::new();
    let storage = retrying(&faults);
    let upload = storage.multipart("a").create_new().await.unwrap();
    upload.put_part(1, "part").await.unwrap();
    let complete = faults.on(Operation::CompleteMultipart);
    let lost = complete.call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(upload.complete().await.unwrap().size, 4);
    assert_eq!((lost.fired(), faults.calls(Operation::CompleteMultipart)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_beginning_and_an_abort_are_repeated() {
    let faults = Faults::new();
    let storage = retrying(&faults);
    let begin_again = faults.on(Operation::BeginMultipart).call(1).fail(ErrorKind::Timeout);
    let abort_again = faults.on(Operation::AbortMultipart).call(1).fail(ErrorKind::Timeout);
    begin(&storage).await.abort().await.unwrap();
    assert_eq!((begin_again.fired(), abort_again.fired()), (1, 1));
}

#[tokio::test]
async fn parts_wait_for_their_turn() {
    let faults = Faults::new();
    let storage =
        Memory::storage().layer(|inner| faults.layer(inner)).layer(|inner| Limit::new(inner, 1));
    let upload = begin(&storage).await;
    let held = faults.on(Operation::PutPart).call(1).hold();
    let first = tokio::spawn({
        let upload = upload.clone();
        async move { upload.put_part(1, "a").await }
    });
    held.reached().await;
    let mut second = Box::pin(upload.put_part(1, "b"));
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(faults.calls(Operation::PutPart), 1);
    held.release();
    first.await.unwrap().unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn each_call_of_an_upload_waits_for_its_turn() {
    for operation in [
        Operation::BeginMultipart,
        Operation::PutPart,
        Operation::ListParts,
        Operation::CompleteMultipart,
        Operation::AbortMultipart,
        Operation::ListMultipart,
    ] {
        let faults = Faults::new();
        let storage = Memory::storage()
            .layer(|inner| faults.layer(inner))
            .layer(|inner| Limit::new(inner, 1));
        let upload = begin(&storage).await;
        upload.put_part(1, "a").await.unwrap();
        let held = faults.on(Operation::Exists).hold();
        let first = tokio::spawn({
            let storage = storage.clone();
            async move { storage.exists("b").await }
        });
        held.reached().await;
        let calls = faults.calls(operation);
        let call = async {
            match operation {
                Operation::BeginMultipart => drop(begin(&storage).await),
                Operation::PutPart => drop(upload.put_part(2, "b").await.unwrap()),
                Operation::ListParts => assert_eq!(upload.parts().count().await, 1),
                Operation::CompleteMultipart => drop(upload.complete().await.unwrap()),
                Operation::AbortMultipart => upload.abort().await.unwrap(),
                _ => assert_eq!(storage.multipart_uploads("").count().await, 1),
            }
        };
        let mut call = Box::pin(call);
        assert!(call.as_mut().now_or_never().is_none(), "{operation}");
        assert_eq!(faults.calls(operation), calls, "{operation}");
        held.release();
        first.await.unwrap().unwrap();
        call.await;
        assert_eq!(faults.calls(operation), calls + 1, "{operation}");
    }
}

#[tokio::test]
async fn default_metadata_completes_that_of_the_beginning() {
    let defaults = Metadata::new().cache_control("no-cache").content_language("en");
    let storage = Memory::storage().layer(|inner| DefaultMetadata::new(inner, defaults));
    let upload = storage.multipart("a.txt").content_language("de").await.unwrap();
    upload.put_part(1, "a").await.unwrap();
    let metadata = upload.complete().await.unwrap().metadata;
    assert_eq!(metadata.cache_control.as_deref(), Some("no-cache"));
    assert_eq!(metadata.content_language.as_deref(), Some("de"));
}

#[tokio::test]
async fn a_read_only_storage_refuses_uploads() {
    let memory = Memory::storage();
    let upload = begin(&memory).await;
    let storage = memory.read_only();
    refused(storage.multipart_limits(), ErrorKind::PermissionDenied);
    refused(storage.multipart("a").await, ErrorKind::PermissionDenied);
    refused(
        storage.resume_multipart("a", upload.id().clone()).map(drop),
        ErrorKind::PermissionDenied,
    );
    let listed = storage.multipart_uploads("").try_collect::<Vec<_>>().await;
    refused(listed, ErrorKind::PermissionDenied);
    refused(storage.abort_stale("", Duration::ZERO).await, ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn an_id_with_a_part_size_beyond_the_limits_stores_no_part() {
    let storage = Memory::storage();
    let upload = begin(&storage).await;
    for part_size in [u64::MAX, storage.multipart_limits().unwrap().max_part_size + 1] {
        let forged = format!("{}.p{part_size}", upload.id().upload()).parse().unwrap();
        let forged = storage.resume_multipart("a", forged).unwrap();
        refused(forged.put_part(1, "evil").await, ErrorKind::InvalidInput);
    }
    assert_eq!(upload.parts().count().await, 0);
}

#[tokio::test]
async fn an_upload_below_a_prefix_has_the_key_of_its_storage() {
    let memory = Memory::storage();
    let (inside, beside) = (memory.prefixed("in").unwrap(), memory.prefixed("beside").unwrap());
    let upload = begin(&inside).await;
    upload.put_part(1, "body").await.unwrap();
    assert_eq!(upload.key(), "a");
    let listed: Vec<_> = inside.multipart_uploads("").try_collect().await.unwrap();
    assert_eq!(listed[0].key, "a");
    // The id leads to no other key, through whatever storage it is used.
    let stray = beside.resume_multipart("a", upload.id().clone()).unwrap();
    let error = stray.put_part(1, "evil").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("a")));
    assert_eq!(beside.multipart_uploads("").count().await, 0);

    let outside = memory.resume_multipart("in/a", upload.id().clone()).unwrap();
    assert_eq!(outside.complete().await.unwrap().key, "in/a");
    assert_eq!(upload.complete().await.unwrap().key, "a");
}

#[test]
fn calls_of_an_upload_and_their_bytes_are_counted() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let storage = Memory::storage().layer(Observed::new);
            let upload = begin(&storage).await;
            upload.put_part(1, "12345").await.unwrap();
            upload.put_part(2, slow(&["678"], Duration::ZERO)).await.unwrap();
            refused(upload.complete().await, ErrorKind::Conflict);
            upload.abort().await.unwrap();
        });
    });
    let counted: Vec<String> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let metrics_util::debugging::DebugValue::Counter(count) = value else { return None };
            let labels: Vec<_> = key
                .key()
                .labels()
                .filter(|label| label.key() != "driver")
                .map(|label| label.value().to_owned())
                .collect();
            Some(format!("{} {count}", labels.join(" ")))
        })
        .collect();
    for expected in [
        "begin_multipart ok 1",
        "put_part ok 2",
        "complete_multipart Conflict 1",
        "abort_multipart ok 1",
        "in 8",
    ] {
        assert!(counted.iter().any(|line| line == expected), "{expected} is not in {counted:?}");
    }
}

#[tokio::test]
async fn dropping_a_beginning_before_it_is_awaited_begins_nothing() {
    let storage = Memory::storage();
    drop(storage.multipart("a").into_future());
    assert_eq!(storage.multipart_uploads("").count().await, 0);
}
