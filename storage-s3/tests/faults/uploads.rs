//! Multipart uploads over failing connections: the object is complete or unchanged, and nothing is
//! left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Payload, Result};

use crate::fault_proxy::{CannedResponse, Fault, Gate, Progress};
use crate::fixture::{Fixture, PART, assert_bytes, streaming, two_parts, within_timeout};
use crate::scenarios::{
    ABORT, COMPLETE, CREATE, Case, Scenario, assert_new, assert_old, once, refused, unknown,
};

const UPLOAD_PART: &str = "UploadPart";

/// Saves two parts over an existing object.
async fn save(fixture: &Fixture) -> Result<()> {
    Scenario::Save.run(fixture).await
}

/// Runs each case with each operation of a save.
async fn assert_each_outcome<const N: usize>(
    operations: &[&'static str],
    cases: impl Fn() -> [Case; N],
) {
    Scenario::Save.assert_each_outcome(operations, cases).await;
}

#[tokio::test]
async fn an_upload_whose_steps_fail_once_is_completed() {
    let faults = || {
        [
            Fault::Drop,
            Fault::Reset,
            Fault::Respond(CannedResponse::error(500, "InternalError")),
            Fault::Respond(CannedResponse::error(503, "SlowDown").header("retry-after", "0")),
            Fault::RespondEarly(CannedResponse::error(503, "ServiceUnavailable")),
        ]
    };
    assert_each_outcome(&[CREATE, UPLOAD_PART, COMPLETE], || faults().map(once)).await;
}

#[tokio::test]
async fn an_upload_whose_responses_are_lost_once_is_completed() {
    // The id of an upload is unknown if the response to its creation was lost: see below.
    let faults = || {
        [
            Fault::LoseResponse,
            Fault::ResetAfterRequest,
            Fault::ReplaceResponse(CannedResponse::error(500, "InternalError")),
        ]
    };
    assert_each_outcome(&[UPLOAD_PART, COMPLETE], || faults().map(once)).await;
}

#[tokio::test]
async fn an_upload_whose_steps_keep_failing_is_an_error_and_is_aborted_before_its_completion() {
    let cases = || {
        [
            unknown(Fault::Drop, ErrorKind::Unexpected),
            unknown(
                Fault::Respond(CannedResponse::error(500, "InternalError")),
                ErrorKind::Unexpected,
            ),
            refused(Fault::Respond(CannedResponse::error(429, "")), ErrorKind::RateLimited),
        ]
    };
    assert_each_outcome(&[CREATE, UPLOAD_PART, COMPLETE], cases).await;
}

#[tokio::test]
async fn an_upload_whose_steps_are_refused_is_an_error_and_is_aborted() {
    let cases = || {
        [
            refused(
                Fault::Respond(CannedResponse::error(403, "ExpiredToken")),
                ErrorKind::Unauthenticated,
            ),
            refused(
                Fault::Respond(CannedResponse::error(403, "AccessDenied")),
                ErrorKind::PermissionDenied,
            ),
            refused(
                Fault::Respond(CannedResponse::error(301, "PermanentRedirect")),
                ErrorKind::InvalidConfig,
            ),
            refused(
                Fault::RespondEarly(CannedResponse::error(403, "InvalidAccessKeyId")),
                ErrorKind::Unauthenticated,
            ),
        ]
    };
    assert_each_outcome(&[CREATE, UPLOAD_PART, COMPLETE], cases).await;
}

#[tokio::test]
async fn a_response_that_is_not_from_s3_fails_the_upload() {
    let responses = || {
        [
            CannedResponse::web_page(200),
            CannedResponse::new(200, ""),
            CannedResponse::new(200, "<a/>"),
            CannedResponse::new(200, "{}"),
        ]
    };
    let cases =
        || responses().map(|response| unknown(Fault::Respond(response), ErrorKind::Unexpected));
    assert_each_outcome(&[CREATE, UPLOAD_PART, COMPLETE], cases).await;
}

#[tokio::test]
async fn an_error_in_a_response_of_success_fails_the_upload() {
    let error =
        |code| Fault::Respond(CannedResponse { status: 200, ..CannedResponse::error(500, code) });
    let cases = || {
        [
            once(error("InternalError")),
            refused(error("SlowDown"), ErrorKind::RateLimited),
            refused(error("AccessDenied"), ErrorKind::PermissionDenied),
        ]
    };
    assert_each_outcome(&[CREATE, COMPLETE], cases).await;
}

#[tokio::test]
async fn a_completion_whose_response_ends_early_is_repeated() {
    assert_each_outcome(&[COMPLETE], || [0, 60].map(|len| once(Fault::Truncate(len)))).await;
}

#[tokio::test]
async fn only_an_upload_whose_id_was_lost_is_left() {
    let fixture = Fixture::new();
    let lost = fixture.proxy.on(CREATE).call(1).then(Fault::LoseResponse);
    save(&fixture).await.unwrap();
    lost.assert_fired();
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    // As documented: `Storage::abort_stale` removes it.
    assert_eq!(fixture.proxy.inspect(|record| record.open_uploads().len()), 1);
}

#[tokio::test]
async fn a_completion_without_a_response_is_recognised_by_its_object() {
    let fixture = Fixture::new();
    let lost = fixture.proxy.on(COMPLETE).call(1).then(Fault::LoseResponse);
    fixture.truth.save("a", "old").await.unwrap();
    let saved = fixture.storage.save("a", two_parts()).await.unwrap();
    lost.assert_fired();
    assert_new(&fixture).await;
    assert_eq!(saved.etag, fixture.truth.stat("a").await.unwrap().etag);
    let requests = fixture
        .proxy
        .inspect(|record| [COMPLETE, "HeadObject"].map(|operation| record.count(operation)));
    assert_eq!(requests, [2, 1]);
}

#[tokio::test]
async fn a_completion_without_a_response_is_not_confused_with_another_object() {
    let fixture = Fixture::new();
    let gate = Gate::new();
    let lost = fixture.proxy.on(COMPLETE).call(1).then(Fault::LoseResponse);
    let second = fixture.proxy.on(COMPLETE).call(2).then(Fault::Hold(gate.clone()));
    fixture.truth.save("a", "old").await.unwrap();
    let saving = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.save("a", two_parts()).await.map(|_| ()) }
    });
    fixture
        .proxy
        .until("the second attempt", |record| record.count_at(COMPLETE, Progress::Held) == 1)
        .await;
    fixture.truth.save("a", "of another").await.unwrap();
    gate.open();
    let error = saving.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert_bytes(&fixture.found("a").await.unwrap(), b"of another");
    fixture.proxy.no_upload_is_left().await;
    assert_eq!((lost.fired(), second.fired()), (1, 1));
}

/// The ETags of both objects end in the number of parts.
#[tokio::test]
async fn a_completion_without_a_response_is_not_confused_with_the_object_of_another_upload() {
    let fixture = Fixture::new();
    let gate = Gate::new();
    let lost = fixture.proxy.on(COMPLETE).call(1).then(Fault::LoseResponse);
    let second = fixture.proxy.on(COMPLETE).call(2).then(Fault::Hold(gate.clone()));
    let saving = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.save("a", two_parts()).await.map(|_| ()) }
    });
    fixture
        .proxy
        .until("the second attempt", |record| record.count_at(COMPLETE, Progress::Held) == 1)
        .await;
    let other: Vec<u8> = two_parts().iter().map(|byte| !byte).collect();
    let upload = fixture.truth.multipart("a").part_size(PART).await.unwrap();
    for (number, part) in (1..).zip(other.chunks(PART as usize)) {
        upload.put_part(number, part.to_vec()).await.unwrap();
    }
    let etag = upload.complete().await.unwrap().etag.unwrap();
    assert!(etag.opaque().ends_with("-2"), "{etag}, so this proves nothing");
    gate.open();
    let error = saving.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert!(error.message().contains("unknown"), "{error}");
    assert_bytes(&fixture.found("a").await.unwrap(), &other);
    assert_eq!((lost.fired(), second.fired()), (1, 1));
}

/// The first attempt may still be running, so its kind is not that of a request that was refused.
#[tokio::test]
async fn a_completion_that_is_refused_after_an_attempt_without_a_response_has_an_unknown_outcome() {
    let refusals = [
        CannedResponse::error(503, "SlowDown").header("retry-after", "0"),
        CannedResponse::error(403, "AccessDenied"),
    ];
    for (refusal, is_saved) in
        refusals.iter().flat_map(|refusal| [(refusal, true), (refusal, false)])
    {
        let fixture = Fixture::new();
        fixture.truth.save("a", "old").await.unwrap();
        let lost = fixture.proxy.on(COMPLETE).call(1).then(Fault::Drop);
        let refused = Fault::Respond(refusal.clone());
        let refused = fixture.proxy.on(COMPLETE).calls(2..=usize::MAX).then(refused);
        let error = match is_saved {
            true => save(&fixture).await.unwrap_err(),
            false => {
                let upload = fixture.storage.multipart("a").part_size(PART).await.unwrap();
                upload.put_part(1, "x").await.unwrap();
                upload.complete().await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        assert!(error.message().contains("is unknown"), "{error}");
        assert_eq!(fixture.proxy.count(ABORT), 0);
        lost.assert_fired();
        refused.assert_fired();
    }
}

/// S3 ends the upload with this response: "On a 409 failure you should re-initiate the multipart
/// upload" ("CompleteMultipartUpload", `If-None-Match`).
#[tokio::test]
async fn a_conflict_that_ended_the_upload_is_an_error_after_which_a_save_may_be_repeated() {
    let fixture = Fixture::new();
    let conflict = Fault::Respond(CannedResponse::error(409, "ConditionalRequestConflict"));
    let conflict = fixture.proxy.on(COMPLETE).call(1).then(conflict);
    let gone = Fault::Respond(CannedResponse::error(404, "NoSuchUpload"));
    let gone = fixture.proxy.on(COMPLETE).call(2).then(gone);
    let save = || fixture.storage.save("a", two_parts()).create_new();
    let error = save().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    assert_eq!((conflict.fired(), gone.fired()), (1, 1));
    save().await.unwrap();
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
}

#[tokio::test]
async fn a_payload_that_fails_aborts_its_upload() {
    let fixture = Fixture::new();
    fixture.truth.save("a", "old").await.unwrap();
    let bytes = two_parts();
    let chunks =
        [Ok(bytes.clone()), Ok(bytes), Err(Error::new(ErrorKind::StorageFull, "on purpose"))];
    let error =
        fixture.storage.save("a", Payload::from_stream(stream::iter(chunks))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_old(&fixture).await;
    assert_eq!(fixture.proxy.count(CREATE), 1);
}

#[tokio::test]
async fn a_part_that_fails_ends_a_save_with_a_stalled_payload() {
    let fixture = Fixture::new();
    fixture.truth.save("a", "old").await.unwrap();
    let refused = fixture
        .proxy
        .on(UPLOAD_PART)
        .then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let chunks = stream::iter([Ok::<_, Error>(two_parts())]).chain(stream::pending());
    let error = fixture.storage.save("a", Payload::from_stream(chunks)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    refused.assert_fired();
    assert_old(&fixture).await;
}

#[tokio::test]
async fn an_abort_that_fails_is_repeated() {
    for fault in
        [Fault::Drop, Fault::LoseResponse, Fault::Respond(CannedResponse::error(503, "SlowDown"))]
    {
        let fixture = Fixture::new();
        let refused = fixture
            .proxy
            .on(COMPLETE)
            .then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
        let broken = fixture.proxy.on(ABORT).calls(1..=2).then(fault);
        assert_eq!(save(&fixture).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_old(&fixture).await;
        refused.assert_fired();
        broken.assert_fired();
    }
}

#[tokio::test]
async fn a_save_that_is_dropped_before_its_completion_is_aborted_in_the_background() {
    for operation in [CREATE, UPLOAD_PART] {
        let fixture = Fixture::new();
        let gate = Gate::new();
        let held = fixture.proxy.on(operation).call(1).then(Fault::Hold(gate.clone()));
        let saving = tokio::spawn({
            let storage = fixture.storage.clone();
            async move { storage.save("a", two_parts()).await.map(|_| ()) }
        });
        fixture.truth.save("a", "old").await.unwrap();
        fixture
            .proxy
            .until("the step", move |record| record.count_at(operation, Progress::Held) == 1)
            .await;
        saving.abort();
        assert!(saving.await.unwrap_err().is_cancelled());
        if operation == CREATE {
            // The creation completes, so that the id of the upload is known.
            gate.open();
        }
        fixture.proxy.until("its abort", |record| record.aborted_uploads().len() == 1).await;
        assert_old(&fixture).await;
        held.assert_fired();
    }
}

/// A service that aborts an upload while it completes it can lose the object, as Ceph does.
#[tokio::test]
async fn a_save_that_is_dropped_during_its_completion_is_not_aborted() {
    let fixture = Fixture::new();
    fixture.truth.save("a", "old").await.unwrap();
    let held = fixture.proxy.on(COMPLETE).call(1).then(Fault::Stall);
    let saving = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.save("a", two_parts()).await.map(|_| ()) }
    });
    fixture
        .proxy
        .until("the completion", |record| record.count_at(COMPLETE, Progress::Held) == 1)
        .await;
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    // Another save gives an abort of the first one time to be sent.
    save(&fixture).await.unwrap();
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    assert_eq!(fixture.proxy.count(ABORT), 0);
    assert_eq!(fixture.truth.abort_stale("", Duration::ZERO).await.unwrap(), 1);
    held.assert_fired();
}

#[tokio::test]
async fn a_save_that_is_dropped_while_it_aborts_is_aborted() {
    let fixture = Fixture::new();
    fixture.truth.save("a", "old").await.unwrap();
    let refused = fixture
        .proxy
        .on(UPLOAD_PART)
        .then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let held = fixture.proxy.on(ABORT).call(1).then(Fault::Stall);
    let saving = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.save("a", two_parts()).await.map(|_| ()) }
    });
    fixture.proxy.until("the abort", |record| record.count_at(ABORT, Progress::Held) == 1).await;
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    assert_old(&fixture).await;
    refused.assert_fired();
    held.assert_fired();
}

#[tokio::test]
async fn dropping_a_save_cancels_its_parts() {
    let fixture = Fixture::new();
    let held = fixture.proxy.on(UPLOAD_PART).then(Fault::Stall);
    let saving = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.save("a", two_parts()).await.map(|_| ()) }
    });
    fixture
        .proxy
        .until("both parts", |record| record.count_at(UPLOAD_PART, Progress::Held) == 2)
        .await;
    saving.abort();
    fixture
        .proxy
        .until("their end", |record| record.count_at(UPLOAD_PART, Progress::Abandoned) == 2)
        .await;
    fixture.proxy.no_upload_is_left().await;
    assert_eq!((held.fired(), fixture.proxy.count(UPLOAD_PART)), (2, 2));
}

/// The number of payloads whose parts use the whole memory limit of a driver.
const ALL_MEMORY: usize = 128 * 1024 * 1024 / PART as usize + 1;

/// A payload of one chunk that then stalls. It counts the callers that wait for more.
fn stalling(chunk: Bytes, waiting: &Arc<AtomicUsize>) -> Payload {
    let waiting = Arc::clone(waiting);
    let rest = stream::once(async move {
        waiting.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Bytes, Error>>().await
    });
    Payload::from_stream(stream::iter([Ok(chunk)]).chain(rest))
}

/// Saves payloads that stall after such a chunk, and another one that does not stall.
async fn stalled_payloads_do_not_hold_up_another(chunk: Bytes) {
    let fixture = Fixture::new();
    let waiting = Arc::new(AtomicUsize::new(0));
    let stalled: Vec<_> = (0..ALL_MEMORY)
        .map(|number| {
            let save = fixture
                .storage
                .save(format!("stalled/{number}"), stalling(chunk.clone(), &waiting));
            tokio::spawn(async move { save.await.map(|_| ()) })
        })
        .collect();
    let other = two_parts();
    within_timeout(fixture.storage.save("a", streaming(&other)).into_future()).await.unwrap();
    assert_bytes(&fixture.found("a").await.unwrap(), &other);
    assert!(waiting.load(Ordering::SeqCst) >= ALL_MEMORY - 1, "the others took no room");
    stalled.iter().for_each(tokio::task::JoinHandle::abort);
    fixture.proxy.no_upload_is_left().await;
}

#[tokio::test]
async fn payloads_that_stall_within_a_part_do_not_block_others() {
    stalled_payloads_do_not_hold_up_another(Bytes::from_static(b"the beginning of a part")).await;
}

#[tokio::test]
async fn payloads_that_stall_at_the_end_of_their_first_part_do_not_block_others() {
    stalled_payloads_do_not_hold_up_another(two_parts().slice(..PART as usize)).await;
}
