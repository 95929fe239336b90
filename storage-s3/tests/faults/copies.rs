//! Copies over failing connections: in one request, and by ranges.

use storage_core::{ErrorKind, Metadata};

use crate::fault_proxy::{CannedResponse, Fault, Gate, Progress};
use crate::fixture::{Fixture, PART, assert_bytes, two_parts};
use crate::scenarios::{
    ABORT, COMPLETE, CREATE, Scenario, assert_new, assert_old, once, refused, unknown,
};

const RANGE: &str = "UploadPartCopy";

fn in_success(code: &str) -> Fault {
    Fault::Respond(CannedResponse { status: 200, ..CannedResponse::error(500, code) })
}

#[tokio::test]
async fn a_copy_by_ranges_whose_steps_fail_once_is_completed() {
    let cases = || {
        [
            once(Fault::Drop),
            once(Fault::Reset),
            once(Fault::Respond(CannedResponse::error(500, "InternalError"))),
            once(in_success("InternalError")),
        ]
    };
    Scenario::Copy.assert_each_outcome(&[CREATE, RANGE, COMPLETE], cases).await;
    Scenario::Copy
        .assert_each_outcome(&["HeadObject"], || {
            [once(Fault::Drop), once(Fault::Respond(CannedResponse::new(503, "")))]
        })
        .await;
    Scenario::Copy.assert_each_outcome(&[RANGE, COMPLETE], || [once(Fault::LoseResponse)]).await;
}

#[tokio::test]
async fn a_copy_by_ranges_whose_steps_keep_failing_fails_and_is_aborted_before_its_completion() {
    let cases = || {
        [
            unknown(Fault::Drop, ErrorKind::Unexpected),
            refused(in_success("SlowDown"), ErrorKind::RateLimited),
            refused(
                Fault::Respond(CannedResponse::error(403, "AccessDenied")),
                ErrorKind::PermissionDenied,
            ),
            unknown(Fault::Respond(CannedResponse::web_page(200)), ErrorKind::Unexpected),
            unknown(Fault::Respond(CannedResponse::new(200, "")), ErrorKind::Unexpected),
        ]
    };
    Scenario::Copy.assert_each_outcome(&[CREATE, RANGE, COMPLETE], cases).await;
}

#[tokio::test]
async fn a_copy_whose_source_is_replaced_meanwhile_starts_again() {
    let fixture = Fixture::on(&Scenario::Copy.shared());
    let replaced = fixture
        .proxy
        .on(RANGE)
        .call(1)
        .then(Fault::Respond(CannedResponse::error(412, "PreconditionFailed")));
    Scenario::Copy.run(&fixture).await.unwrap();
    assert_new(&fixture).await;
    assert_eq!((replaced.fired(), fixture.proxy.count(CREATE)), (1, 2));
}

#[tokio::test]
async fn a_copy_whose_source_is_replaced_during_every_attempt_fails() {
    let fixture = Fixture::on(&Scenario::Copy.shared());
    let replaced = fixture
        .proxy
        .on(RANGE)
        .then(Fault::Respond(CannedResponse::error(412, "PreconditionFailed")));
    let error = Scenario::Copy.run(&fixture).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.is_retryable());
    assert_old(&fixture).await;
    assert!(
        replaced.fired() <= 2 * fixture.proxy.count(CREATE) && fixture.proxy.count(CREATE) <= 5
    );
}

#[tokio::test]
async fn a_copy_by_ranges_that_is_dropped_before_its_completion_is_aborted_in_the_background() {
    for operation in [CREATE, RANGE] {
        let fixture = Fixture::on(&Scenario::Copy.shared());
        fixture.truth.save("a", "old").await.unwrap();
        fixture.truth.save("source", two_parts()).await.unwrap();
        let gate = Gate::new();
        let held = fixture.proxy.on(operation).call(1).then(Fault::Hold(gate.clone()));
        let copying = tokio::spawn({
            let storage = fixture.storage.clone();
            async move { storage.copy("source", "a").metadata(Metadata::new()).await }
        });
        fixture
            .proxy
            .until("the step", move |record| record.count_at(operation, Progress::Held) == 1)
            .await;
        copying.abort();
        assert!(copying.await.unwrap_err().is_cancelled());
        if operation == CREATE {
            // The creation completes, so that the id of the upload is known.
            gate.open();
        }
        fixture.proxy.until("its abort", |record| record.aborted_uploads().len() == 1).await;
        assert_old(&fixture).await;
        held.assert_fired();
        assert!(fixture.proxy.count(ABORT) > 0);
    }
}

/// Returns a fixture with a small object and an object at the destination.
async fn small() -> Fixture {
    let fixture = Fixture::new();
    fixture.truth.save("source", "new").await.unwrap();
    fixture.truth.save("a", "old").await.unwrap();
    fixture
}

#[tokio::test]
async fn an_error_in_a_response_of_success_fails_the_copy() {
    let fixture = small().await;
    let once = fixture.proxy.on("CopyObject").call(1).then(in_success("InternalError"));
    fixture.storage.copy("source", "a").await.unwrap();
    assert_bytes(&fixture.found("a").await.unwrap(), b"new");
    assert_eq!(once.fired(), 1);

    let fixture = small().await;
    let always = fixture.proxy.on("CopyObject").then(in_success("AccessDenied"));
    assert_eq!(
        fixture.storage.copy("source", "a").await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    assert_eq!(always.fired(), 1);
}

#[tokio::test]
async fn a_response_that_is_not_from_s3_fails_the_copy() {
    for response in [
        CannedResponse::web_page(200),
        CannedResponse::new(200, ""),
        CannedResponse::new(200, "<ListBucketResult/>"),
    ] {
        let fixture = small().await;
        let wrong = fixture.proxy.on("CopyObject").then(Fault::Respond(response));
        assert_eq!(
            fixture.storage.copy("source", "a").await.unwrap_err().kind(),
            ErrorKind::Unexpected
        );
        assert_bytes(&fixture.found("a").await.unwrap(), b"old");
        assert_eq!(wrong.fired(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_is_too_large_for_the_service_is_done_by_ranges() {
    let fixture = Fixture::with(|builder| builder.largest_copy(PART));
    fixture.truth.save("source", two_parts()).await.unwrap();
    let refused = fixture
        .proxy
        .on("CopyObject")
        .then(Fault::Respond(CannedResponse::error(400, "InvalidRequest")));
    fixture.storage.copy("source", "a").await.unwrap();
    assert_new(&fixture).await;
    assert_eq!((refused.fired(), fixture.proxy.count(RANGE)), (1, 2));
}

#[tokio::test]
async fn a_copy_that_is_refused_for_another_reason_fails_with_that_error() {
    let fixture = small().await;
    let refused = fixture
        .proxy
        .on("CopyObject")
        .then(Fault::Respond(CannedResponse::error(400, "InvalidRequest")));
    let error = fixture.storage.copy("source", "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.message().contains("InvalidRequest"), "{error}");
    assert_eq!((refused.fired(), fixture.proxy.count(CREATE)), (1, 0));
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
}
