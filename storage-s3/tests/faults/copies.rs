//! Copies over connections that fail: in one request, and by ranges as of an object that is too
//! large for one.

use storage_core::{ErrorKind, Metadata};

use crate::fault_proxy::{Answer, Fault, Gate, Reached};
use crate::scenes::{ABORT, COMPLETE, CREATE, Scene, always, assert_new, assert_old, once};
use crate::stage::{PART, Stage, assert_bytes, part_and_a_bit};

const RANGE: &str = "UploadPartCopy";

fn in_success(code: &str) -> Fault {
    Fault::Say(Answer { status: 200, ..Answer::error(500, code) })
}

#[tokio::test]
async fn a_copy_by_ranges_whose_steps_fail_once_is_completed() {
    let cases = || {
        [
            once(Fault::Drop),
            once(Fault::Reset),
            once(Fault::Say(Answer::error(500, "InternalError"))),
            once(in_success("InternalError")),
        ]
    };
    Scene::Copy.each_comes_to(&[CREATE, RANGE, COMPLETE], cases).await;
    Scene::Copy
        .each_comes_to(&["HeadObject"], || {
            [once(Fault::Drop), once(Fault::Say(Answer::new(503, "")))]
        })
        .await;
    Scene::Copy.each_comes_to(&[RANGE, COMPLETE], || [once(Fault::LoseAnswer)]).await;
}

#[tokio::test]
async fn a_copy_by_ranges_whose_steps_keep_failing_is_an_error_and_is_aborted() {
    let cases = || {
        [
            always(Fault::Drop, ErrorKind::Unexpected),
            always(in_success("SlowDown"), ErrorKind::RateLimited),
            always(Fault::Say(Answer::error(403, "AccessDenied")), ErrorKind::PermissionDenied),
            always(Fault::Say(Answer::web_page(200)), ErrorKind::Unexpected),
            always(Fault::Say(Answer::new(200, "")), ErrorKind::Unexpected),
        ]
    };
    Scene::Copy.each_comes_to(&[CREATE, RANGE, COMPLETE], cases).await;
}

#[tokio::test]
async fn a_copy_whose_source_is_replaced_meanwhile_begins_anew() {
    let stage = Stage::on(&Scene::Copy.ground());
    let replaced =
        stage.proxy.on(RANGE).call(1).then(Fault::Say(Answer::error(412, "PreconditionFailed")));
    Scene::Copy.play(&stage).await.unwrap();
    assert_new(&stage).await;
    assert_eq!((replaced.fired(), stage.proxy.count(CREATE)), (1, 2));
}

#[tokio::test]
async fn a_copy_whose_source_is_replaced_all_the_time_gives_up() {
    let stage = Stage::on(&Scene::Copy.ground());
    let replaced = stage.proxy.on(RANGE).then(Fault::Say(Answer::error(412, "PreconditionFailed")));
    let error = Scene::Copy.play(&stage).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.is_retryable());
    assert_old(&stage).await;
    assert!(replaced.fired() <= 2 * stage.proxy.count(CREATE) && stage.proxy.count(CREATE) <= 5);
}

#[tokio::test]
async fn a_copy_by_ranges_that_is_dropped_at_any_step_is_aborted_in_the_background() {
    for operation in [CREATE, RANGE, COMPLETE] {
        let stage = Stage::on(&Scene::Copy.ground());
        stage.truth.save("a", "old").await.unwrap();
        stage.truth.save("source", part_and_a_bit()).await.unwrap();
        let gate = Gate::new();
        let held = stage.proxy.on(operation).call(1).then(Fault::Hold(gate.clone()));
        let copying = tokio::spawn({
            let storage = stage.storage.clone();
            async move { storage.copy("source", "a").metadata(Metadata::new()).await }
        });
        stage
            .proxy
            .until("the step", move |record| record.count_at(operation, Reached::Held) == 1)
            .await;
        copying.abort();
        assert!(copying.await.unwrap_err().is_cancelled());
        if operation == CREATE {
            // It is seen through, so that the upload's name is known.
            gate.open();
        }
        stage.proxy.until("its abort", |record| record.aborted_uploads().len() == 1).await;
        assert_old(&stage).await;
        held.assert_fired();
        assert!(stage.proxy.count(ABORT) > 0);
    }
}

/// A small object, its copy's place taken by another one.
async fn small() -> Stage {
    let stage = Stage::new();
    stage.truth.save("source", "new").await.unwrap();
    stage.truth.save("a", "old").await.unwrap();
    stage
}

#[tokio::test]
async fn an_error_inside_an_answer_of_success_to_a_copy_is_one() {
    let stage = small().await;
    let once = stage.proxy.on("CopyObject").call(1).then(in_success("InternalError"));
    stage.storage.copy("source", "a").await.unwrap();
    assert_bytes(&stage.found("a").await.unwrap(), b"new");
    assert_eq!(once.fired(), 1);

    let stage = small().await;
    let always = stage.proxy.on("CopyObject").then(in_success("AccessDenied"));
    assert_eq!(
        stage.storage.copy("source", "a").await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_bytes(&stage.found("a").await.unwrap(), b"old");
    assert_eq!(always.fired(), 1);
}

#[tokio::test]
async fn what_is_no_answer_of_s3_is_not_taken_for_a_copy() {
    for answer in
        [Answer::web_page(200), Answer::new(200, ""), Answer::new(200, "<ListBucketResult/>")]
    {
        let stage = small().await;
        let wrong = stage.proxy.on("CopyObject").then(Fault::Say(answer));
        assert_eq!(
            stage.storage.copy("source", "a").await.unwrap_err().kind(),
            ErrorKind::Unexpected
        );
        assert_bytes(&stage.found("a").await.unwrap(), b"old");
        assert_eq!(wrong.fired(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_the_service_finds_too_large_is_done_by_ranges() {
    let stage = Stage::with(|builder| builder.largest_copy(PART));
    stage.truth.save("source", part_and_a_bit()).await.unwrap();
    let refused =
        stage.proxy.on("CopyObject").then(Fault::Say(Answer::error(400, "InvalidRequest")));
    stage.storage.copy("source", "a").await.unwrap();
    assert_new(&stage).await;
    assert_eq!((refused.fired(), stage.proxy.count(RANGE)), (1, 2));
}

#[tokio::test]
async fn a_copy_that_is_refused_for_another_reason_than_its_size_is_that_error() {
    let stage = small().await;
    let refused =
        stage.proxy.on("CopyObject").then(Fault::Say(Answer::error(400, "InvalidRequest")));
    let error = stage.storage.copy("source", "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.message().contains("InvalidRequest"), "{error}");
    assert_eq!((refused.fired(), stage.proxy.count(CREATE)), (1, 0));
    assert_bytes(&stage.found("a").await.unwrap(), b"old");
}
