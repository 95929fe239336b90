//! Renames, which are a copy and a DELETE: a failure between them loses no object.

use storage_core::{Error, ErrorKind};

use crate::fault_proxy::{CannedResponse, Fault, Gate, Progress};
use crate::fixture::Fixture;

const COPY: &str = "CopyObject";
const DELETE: &str = "DeleteObject";
const HEAD: &str = "HeadObject";

async fn small() -> Fixture {
    let fixture = Fixture::new();
    fixture.truth.save("source", "new").await.unwrap();
    fixture.truth.save("a", "old").await.unwrap();
    fixture
}

async fn assert_holds(fixture: &Fixture, source: Option<&'static str>, a: &'static str) {
    assert_eq!(fixture.found("source").await, source.map(Into::into));
    assert_eq!(fixture.found("a").await, Some(a.into()));
}

async fn fail(fixture: &Fixture) -> Error {
    fixture.storage.rename("source", "a").await.unwrap_err()
}

#[tokio::test]
async fn a_rename_whose_delete_fails_leaves_both_objects_and_reports_it() {
    for (response, kind) in [
        (CannedResponse::error(403, "AccessDenied"), ErrorKind::PermissionDenied),
        (CannedResponse::error(500, "InternalError"), ErrorKind::Unexpected),
        (CannedResponse::error(503, "SlowDown"), ErrorKind::RateLimited),
    ] {
        let fixture = small().await;
        let failing = fixture.proxy.on(DELETE).then(Fault::Respond(response));
        let error = fail(&fixture).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("both may exist"), "{error}");
        failing.assert_fired();
        assert_holds(&fixture, Some("new"), "new").await;
    }
}

#[tokio::test]
async fn a_rename_whose_copy_fails_changes_nothing() {
    let fixture = small().await;
    let failing =
        fixture.proxy.on(COPY).then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    assert_eq!(fail(&fixture).await.kind(), ErrorKind::PermissionDenied);
    failing.assert_fired();
    assert_eq!(fixture.proxy.count(DELETE), 0);
    assert_holds(&fixture, Some("new"), "old").await;
}

#[tokio::test]
async fn a_rename_that_is_dropped_before_its_delete_leaves_both_objects() {
    let fixture = small().await;
    let held = fixture.proxy.on(DELETE).then(Fault::Hold(Gate::new()));
    let renaming = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.rename("source", "a").await }
    });
    fixture.proxy.until("the DELETE", |record| record.count_at(DELETE, Progress::Held) == 1).await;
    renaming.abort();
    assert!(renaming.await.unwrap_err().is_cancelled());
    held.assert_fired();
    assert_holds(&fixture, Some("new"), "new").await;
}

#[tokio::test]
async fn an_object_that_is_saved_under_the_source_after_the_copy_stays() {
    let fixture = small().await;
    let gate = Gate::new();
    // The first HEAD looks up the version to copy, the second one the version to delete.
    let held = fixture.proxy.on(HEAD).call(2).then(Fault::Hold(gate.clone()));
    let renaming = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.rename("source", "a").await }
    });
    fixture
        .proxy
        .until("the second HEAD", |record| record.count_at(HEAD, Progress::Held) == 1)
        .await;
    fixture.truth.save("source", "saved meanwhile").await.unwrap();
    gate.open();
    renaming.await.unwrap().unwrap();
    held.assert_fired();
    assert_eq!(fixture.proxy.count(DELETE), 0);
    assert_holds(&fixture, Some("saved meanwhile"), "new").await;
}

#[tokio::test]
async fn a_rename_whose_source_is_replaced_before_the_copy_moves_the_new_version() {
    let fixture = small().await;
    let replaced = fixture
        .proxy
        .on(COPY)
        .call(1)
        .then(Fault::Respond(CannedResponse::error(412, "PreconditionFailed")));
    fixture.storage.rename("source", "a").await.unwrap();
    assert_eq!((replaced.fired(), fixture.proxy.count(COPY)), (1, 2));
    assert_holds(&fixture, None, "new").await;
}

#[tokio::test]
async fn a_rename_whose_source_is_replaced_during_every_attempt_fails() {
    let fixture = small().await;
    let replaced = fixture
        .proxy
        .on(COPY)
        .then(Fault::Respond(CannedResponse::error(412, "PreconditionFailed")));
    let error = fail(&fixture).await;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(replaced.fired() <= 10 && fixture.proxy.count(DELETE) == 0);
    assert_holds(&fixture, Some("new"), "old").await;
}

#[tokio::test]
async fn a_rename_succeeds_if_the_source_is_deleted_before_its_own_delete() {
    let fixture = small().await;
    let gone =
        fixture.proxy.on(DELETE).then(Fault::Respond(CannedResponse::error(404, "NoSuchKey")));
    fixture.storage.rename("source", "a").await.unwrap();
    gone.assert_fired();
}
