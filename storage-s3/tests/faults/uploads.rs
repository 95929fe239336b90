//! Multipart uploads over connections that fail: the object is whole or as it was, and nothing is
//! left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Payload, Result};

use crate::fault_proxy::{Answer, Fault, Gate, Reached};
use crate::scenes::{ABORT, COMPLETE, CREATE, Case, Scene, always, assert_new, assert_old, once};
use crate::stage::{PART, Stage, assert_bytes, in_time, part_and_a_bit, streaming};

const PART_OF_IT: &str = "UploadPart";

/// Saves two parts over an object that is there.
async fn save(stage: &Stage) -> Result<()> {
    Scene::Save.play(stage).await
}

/// Tries each case on each operation of a save.
async fn each_comes_to<const N: usize>(operations: &[&'static str], cases: impl Fn() -> [Case; N]) {
    Scene::Save.each_comes_to(operations, cases).await;
}

#[tokio::test]
async fn an_upload_whose_steps_fail_once_is_completed() {
    let faults = || {
        [
            Fault::Drop,
            Fault::Reset,
            Fault::Say(Answer::error(500, "InternalError")),
            Fault::Say(Answer::error(503, "SlowDown").header("retry-after", "0")),
            Fault::SayEarly(Answer::error(503, "ServiceUnavailable")),
        ]
    };
    each_comes_to(&[CREATE, PART_OF_IT, COMPLETE], || faults().map(once)).await;
}

#[tokio::test]
async fn an_upload_whose_answers_are_lost_once_is_completed() {
    // Of a lost answer to a creation nobody knows the upload's name: see below.
    let faults = || {
        [
            Fault::LoseAnswer,
            Fault::ResetAnswer,
            Fault::SayInstead(Answer::error(500, "InternalError")),
        ]
    };
    each_comes_to(&[PART_OF_IT, COMPLETE], || faults().map(once)).await;
}

#[tokio::test]
async fn an_upload_whose_steps_keep_failing_is_an_error_and_is_aborted() {
    let cases = || {
        [
            always(Fault::Drop, ErrorKind::Unexpected),
            always(Fault::Say(Answer::error(500, "InternalError")), ErrorKind::Unexpected),
            always(Fault::Say(Answer::error(429, "")), ErrorKind::RateLimited),
        ]
    };
    each_comes_to(&[CREATE, PART_OF_IT, COMPLETE], cases).await;
}

#[tokio::test]
async fn an_upload_whose_steps_are_refused_is_an_error_and_is_aborted() {
    let cases = || {
        [
            always(Fault::Say(Answer::error(403, "ExpiredToken")), ErrorKind::Unauthenticated),
            always(Fault::Say(Answer::error(403, "AccessDenied")), ErrorKind::PermissionDenied),
            always(Fault::Say(Answer::error(301, "PermanentRedirect")), ErrorKind::InvalidConfig),
            always(
                Fault::SayEarly(Answer::error(403, "InvalidAccessKeyId")),
                ErrorKind::Unauthenticated,
            ),
        ]
    };
    each_comes_to(&[CREATE, PART_OF_IT, COMPLETE], cases).await;
}

#[tokio::test]
async fn what_is_no_answer_of_s3_is_not_taken_for_success() {
    let answers = || {
        [
            Answer::web_page(200),
            Answer::new(200, ""),
            Answer::new(200, "<a/>"),
            Answer::new(200, "{}"),
        ]
    };
    let cases = || answers().map(|answer| always(Fault::Say(answer), ErrorKind::Unexpected));
    each_comes_to(&[CREATE, PART_OF_IT, COMPLETE], cases).await;
}

#[tokio::test]
async fn an_error_inside_an_answer_of_success_is_one() {
    let error = |code| Fault::Say(Answer { status: 200, ..Answer::error(500, code) });
    let cases = || {
        [
            once(error("InternalError")),
            always(error("SlowDown"), ErrorKind::RateLimited),
            always(error("AccessDenied"), ErrorKind::PermissionDenied),
        ]
    };
    each_comes_to(&[CREATE, COMPLETE], cases).await;
}

#[tokio::test]
async fn a_completion_whose_answer_ends_early_is_asked_for_again() {
    each_comes_to(&[COMPLETE], || [0, 60].map(|len| once(Fault::Truncate(len)))).await;
}

#[tokio::test]
async fn an_upload_of_which_only_the_server_knows_the_name_is_the_one_that_is_left() {
    let stage = Stage::new();
    let lost = stage.proxy.on(CREATE).call(1).then(Fault::LoseAnswer);
    save(&stage).await.unwrap();
    lost.assert_fired();
    assert_bytes(&stage.found("a").await.unwrap(), &part_and_a_bit());
    // The documentation says so, and what to do: `abort_stale_uploads`.
    assert_eq!(stage.proxy.look(|record| record.open_uploads().len()), 1);
}

#[tokio::test]
async fn a_completion_that_may_have_happened_is_recognised_by_its_object() {
    let stage = Stage::new();
    let lost = stage.proxy.on(COMPLETE).call(1).then(Fault::LoseAnswer);
    stage.truth.save("a", "old").await.unwrap();
    let saved = stage.storage.save("a", part_and_a_bit()).await.unwrap();
    lost.assert_fired();
    assert_new(&stage).await;
    assert_eq!(saved.etag, stage.truth.stat("a").await.unwrap().etag);
    let requests = stage
        .proxy
        .look(|record| [COMPLETE, "HeadObject"].map(|operation| record.count(operation)));
    assert_eq!(requests, [2, 1]);
}

#[tokio::test]
async fn a_completion_that_may_have_happened_is_not_claimed_for_an_object_of_another() {
    let stage = Stage::new();
    let gate = Gate::new();
    let lost = stage.proxy.on(COMPLETE).call(1).then(Fault::LoseAnswer);
    let second = stage.proxy.on(COMPLETE).call(2).then(Fault::Hold(gate.clone()));
    stage.truth.save("a", "old").await.unwrap();
    let saving = tokio::spawn({
        let storage = stage.storage.clone();
        async move { storage.save("a", part_and_a_bit()).await.map(|_| ()) }
    });
    stage
        .proxy
        .until("the second attempt", |record| record.count_at(COMPLETE, Reached::Held) == 1)
        .await;
    stage.truth.save("a", "of another").await.unwrap();
    gate.open();
    let error = saving.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert_bytes(&stage.found("a").await.unwrap(), b"of another");
    stage.proxy.no_upload_is_left().await;
    assert_eq!((lost.fired(), second.fired()), (1, 1));
}

#[tokio::test]
async fn a_payload_that_fails_ends_its_upload() {
    let stage = Stage::new();
    stage.truth.save("a", "old").await.unwrap();
    let bytes = part_and_a_bit();
    let chunks =
        [Ok(bytes.clone()), Ok(bytes), Err(Error::new(ErrorKind::StorageFull, "on purpose"))];
    let error =
        stage.storage.save("a", Payload::from_stream(stream::iter(chunks))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_old(&stage).await;
    assert_eq!(stage.proxy.count(CREATE), 1);
}

#[tokio::test]
async fn a_part_that_fails_ends_a_save_whose_payload_has_stalled() {
    let stage = Stage::new();
    stage.truth.save("a", "old").await.unwrap();
    let refused = stage.proxy.on(PART_OF_IT).then(Fault::Say(Answer::error(403, "AccessDenied")));
    let chunks = stream::iter([Ok::<_, Error>(part_and_a_bit())]).chain(stream::pending());
    let error = stage.storage.save("a", Payload::from_stream(chunks)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    refused.assert_fired();
    assert_old(&stage).await;
}

#[tokio::test]
async fn an_abort_that_fails_is_tried_again() {
    for fault in [Fault::Drop, Fault::LoseAnswer, Fault::Say(Answer::error(503, "SlowDown"))] {
        let stage = Stage::new();
        let refused = stage.proxy.on(COMPLETE).then(Fault::Say(Answer::error(403, "AccessDenied")));
        let broken = stage.proxy.on(ABORT).calls(1..=2).then(fault);
        assert_eq!(save(&stage).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_old(&stage).await;
        refused.assert_fired();
        broken.assert_fired();
    }
}

#[tokio::test]
async fn a_save_that_is_dropped_while_its_upload_is_at_any_step_is_aborted_in_the_background() {
    for operation in [CREATE, PART_OF_IT, COMPLETE] {
        let stage = Stage::new();
        let gate = Gate::new();
        let held = stage.proxy.on(operation).call(1).then(Fault::Hold(gate.clone()));
        let saving = tokio::spawn({
            let storage = stage.storage.clone();
            async move { storage.save("a", part_and_a_bit()).await.map(|_| ()) }
        });
        stage.truth.save("a", "old").await.unwrap();
        stage
            .proxy
            .until("the step", move |record| record.count_at(operation, Reached::Held) == 1)
            .await;
        saving.abort();
        assert!(saving.await.unwrap_err().is_cancelled());
        if operation == CREATE {
            // It is seen through, so that the upload's name is known.
            gate.open();
        }
        stage.proxy.until("its abort", |record| record.aborted_uploads().len() == 1).await;
        assert_old(&stage).await;
        held.assert_fired();
    }
}

#[tokio::test]
async fn a_save_that_is_dropped_while_it_aborts_is_aborted_all_the_same() {
    let stage = Stage::new();
    stage.truth.save("a", "old").await.unwrap();
    let refused = stage.proxy.on(PART_OF_IT).then(Fault::Say(Answer::error(403, "AccessDenied")));
    let held = stage.proxy.on(ABORT).call(1).then(Fault::Stall);
    let saving = tokio::spawn({
        let storage = stage.storage.clone();
        async move { storage.save("a", part_and_a_bit()).await.map(|_| ()) }
    });
    stage.proxy.until("the abort", |record| record.count_at(ABORT, Reached::Held) == 1).await;
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    assert_old(&stage).await;
    refused.assert_fired();
    held.assert_fired();
}

#[tokio::test]
async fn parts_that_a_dropped_save_was_sending_are_broken_off() {
    let stage = Stage::new();
    let held = stage.proxy.on(PART_OF_IT).then(Fault::Stall);
    let saving = tokio::spawn({
        let storage = stage.storage.clone();
        async move { storage.save("a", part_and_a_bit()).await.map(|_| ()) }
    });
    stage.proxy.until("both parts", |record| record.count_at(PART_OF_IT, Reached::Held) == 2).await;
    saving.abort();
    stage
        .proxy
        .until("their end", |record| record.count_at(PART_OF_IT, Reached::Abandoned) == 2)
        .await;
    stage.proxy.no_upload_is_left().await;
    assert_eq!((held.fired(), stage.proxy.count(PART_OF_IT)), (2, 2));
}

/// How many payloads of a part each take all the room that a driver has.
const ALL_ROOM: usize = 128 * 1024 * 1024 / PART as usize + 1;

/// A payload of one chunk, and nothing more for ever; it says when somebody waits for more.
fn stalling(chunk: Bytes, waiting: &Arc<AtomicUsize>) -> Payload {
    let waiting = Arc::clone(waiting);
    let rest = stream::once(async move {
        waiting.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Bytes, Error>>().await
    });
    Payload::from_stream(stream::iter([Ok(chunk)]).chain(rest))
}

/// Saves payloads that stall after such a chunk, and another one that does not.
async fn stalled_payloads_do_not_hold_up_another(chunk: Bytes) {
    let stage = Stage::new();
    let waiting = Arc::new(AtomicUsize::new(0));
    let stalled: Vec<_> = (0..ALL_ROOM)
        .map(|number| {
            let save =
                stage.storage.save(format!("stalled/{number}"), stalling(chunk.clone(), &waiting));
            tokio::spawn(async move { save.await.map(|_| ()) })
        })
        .collect();
    let other = part_and_a_bit();
    in_time(stage.storage.save("a", streaming(&other)).into_future()).await.unwrap();
    assert_bytes(&stage.found("a").await.unwrap(), &other);
    assert!(waiting.load(Ordering::SeqCst) >= ALL_ROOM - 1, "the others took no room");
    stalled.iter().for_each(tokio::task::JoinHandle::abort);
    stage.proxy.no_upload_is_left().await;
}

#[tokio::test]
async fn payloads_that_stall_within_a_part_do_not_hold_up_others() {
    stalled_payloads_do_not_hold_up_another(Bytes::from_static(b"the beginning of a part")).await;
}

#[tokio::test]
async fn payloads_that_stall_at_the_end_of_their_first_part_do_not_hold_up_others() {
    stalled_payloads_do_not_hold_up_another(part_and_a_bit().slice(..PART as usize)).await;
}
