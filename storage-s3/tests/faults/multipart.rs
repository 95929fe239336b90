//! Multipart uploads that outlive a process, over failing connections: a completion is recognised,
//! a lost upload is reported as lost, and every other failure leaves the upload usable.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{ErrorKind, MultipartUpload, ObjectMeta, Result, Storage};

use crate::fault_proxy::{CannedResponse, Fault, Gate, PlannedFault, Progress};

use crate::fixture::{ATTEMPTS, Fixture, PART, assert_bytes, two_parts};
use crate::scenarios::{ABORT, COMPLETE, CREATE};

const UPLOAD_PART: &str = "UploadPart";
const LIST_PARTS: &str = "ListParts";
const HEAD: &str = "HeadObject";

async fn put_both(upload: &MultipartUpload) -> Result<()> {
    upload.put_part(1, two_parts().slice(..PART as usize)).await?;
    upload.put_part(2, two_parts().slice(PART as usize..)).await.map(drop)
}

/// Begins an upload of `a` and stores its parts. `is_new` stands for `create_new`. Otherwise there
/// is an old object.
async fn uploaded(fixture: &Fixture, is_new: bool) -> MultipartUpload {
    let begin = fixture.storage.multipart("a").part_size(PART).content_type("text/new");
    let upload = if is_new {
        begin.create_new().await.unwrap()
    } else {
        fixture.truth.save("a", "old").await.unwrap();
        begin.await.unwrap()
    };
    put_both(&upload).await.unwrap();
    upload
}

/// Returns the same upload without the proxy.
fn elsewhere(fixture: &Fixture, upload: &MultipartUpload) -> MultipartUpload {
    fixture.truth.resume_multipart("a", upload.id().clone()).unwrap()
}

async fn assert_complete(fixture: &Fixture, meta: &ObjectMeta) {
    assert_eq!((meta.size, meta.content_type()), (two_parts().len() as u64, Some("text/new")));
    assert!(meta.metadata.user_metadata.is_empty(), "{:?}", meta.metadata);
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    fixture.proxy.no_upload_is_left().await;
}

/// Begins to complete the upload, and returns when the request is at the gate.
async fn held_completion(
    fixture: &Fixture,
    upload: &MultipartUpload,
) -> (tokio::task::JoinHandle<Result<ObjectMeta>>, Gate, PlannedFault) {
    let gate = Gate::new();
    let held = fixture.proxy.on(COMPLETE).call(1).then(Fault::Hold(gate.clone()));
    let completing = tokio::spawn({
        let upload = upload.clone();
        async move { upload.complete().await }
    });
    let is_held =
        |record: &crate::fault_proxy::Record| record.count_at(COMPLETE, Progress::Held) == 1;
    fixture.proxy.until("the completion", is_held).await;
    (completing, gate, held)
}

#[tokio::test]
async fn a_completion_whose_response_is_lost_is_recognised() {
    let faults = [
        Fault::LoseResponse,
        Fault::ResetAfterRequest,
        Fault::ReplaceResponse(CannedResponse::error(500, "InternalError")),
        Fault::ReplaceResponse(CannedResponse::error(200, "InternalError")),
    ];
    for fault in faults {
        for is_new in [false, true] {
            let fixture = Fixture::new();
            let upload = uploaded(&fixture, is_new).await;
            let lost = fixture.proxy.on(COMPLETE).call(1).then(fault.clone());
            let meta = upload.complete().await.unwrap();
            lost.assert_fired();
            assert_complete(&fixture, &meta).await;
        }
    }
}

#[tokio::test]
async fn a_condition_that_fails_because_of_the_upload_itself_is_met() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, true).await;
    let refused = Fault::ReplaceResponse(CannedResponse::error(412, "PreconditionFailed"));
    let refused = fixture.proxy.on(COMPLETE).call(1).then(refused);
    let meta = upload.complete().await.unwrap();
    refused.assert_fired();
    assert_complete(&fixture, &meta).await;
}

#[tokio::test]
async fn a_failed_condition_is_not_reported_while_the_object_may_be_the_uploads_own() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, true).await;
    let refused = Fault::ReplaceResponse(CannedResponse::error(412, "PreconditionFailed"));
    let refused = fixture.proxy.on(COMPLETE).call(1).then(refused);
    let unreadable = Fault::Respond(CannedResponse::error(503, "SlowDown"));
    let unreadable = fixture.proxy.on(HEAD).then(unreadable);
    let error = upload.complete().await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.is_retryable(), "{error}");
    refused.assert_fired();
    unreadable.assert_fired();
}

#[tokio::test]
async fn a_completion_by_another_process_at_the_same_time_is_recognised() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, true).await;
    let (completing, gate, held) = held_completion(&fixture, &upload).await;
    elsewhere(&fixture, &upload).complete().await.unwrap();
    gate.open();
    let meta = completing.await.unwrap().unwrap();
    held.assert_fired();
    assert_eq!(meta.size, two_parts().len() as u64);
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
}

#[tokio::test]
async fn a_completion_by_another_process_before_is_recognised_without_another() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    elsewhere(&fixture, &upload).complete().await.unwrap();
    let meta = upload.complete().await.unwrap();
    assert_eq!((meta.size, fixture.proxy.count(COMPLETE)), (two_parts().len() as u64, 0));
}

#[tokio::test]
async fn an_upload_that_is_aborted_during_its_completion_is_lost() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let (completing, gate, held) = held_completion(&fixture, &upload).await;
    elsewhere(&fixture, &upload).abort().await.unwrap();
    gate.open();
    assert_eq!(completing.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    held.assert_fired();
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
}

/// The response of S3 after `AbortIncompleteMultipartUpload`.
#[tokio::test]
async fn an_upload_that_a_lifecycle_rule_aborted_is_lost_for_every_verb() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let gone = || Fault::Respond(CannedResponse::error(404, "NoSuchUpload"));
    let planned = [UPLOAD_PART, LIST_PARTS, COMPLETE, ABORT].map(|operation| {
        // Completion lists the parts, so the first listing succeeds for it.
        let on = fixture.proxy.on(operation);
        if operation == LIST_PARTS {
            on.calls(2..=usize::MAX).then(gone())
        } else {
            on.then(gone())
        }
    });
    let error = upload.complete().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false), "{error}");
    let error = upload.complete().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = upload.put_part(1, "late").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false), "{error}");
    let error = upload.parts().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    upload.abort().await.unwrap();
    planned.iter().for_each(PlannedFault::assert_fired);
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
}

/// S3 ends the upload with this response: "On a 409 failure you should re-initiate the multipart
/// upload" ("CompleteMultipartUpload", `If-None-Match`).
#[tokio::test]
async fn an_upload_that_a_conflict_at_its_completion_ended_is_lost() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, true).await;
    let conflict = Fault::Respond(CannedResponse::error(409, "ConditionalRequestConflict"));
    let conflict = fixture.proxy.on(COMPLETE).call(1).then(conflict);
    let gone = Fault::Respond(CannedResponse::error(404, "NoSuchUpload"));
    let gone = fixture.proxy.on(COMPLETE).call(2).then(gone);
    let error = upload.complete().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false), "{error}");
    assert_eq!((conflict.fired(), gone.fired()), (1, 1));
}

#[tokio::test]
async fn every_step_that_fails_once_is_repeated() {
    let faults = [
        Fault::Drop,
        Fault::Respond(CannedResponse::error(500, "InternalError")),
        Fault::Respond(CannedResponse::error(503, "SlowDown").header("retry-after", "0")),
        Fault::Respond(CannedResponse::error(200, "InternalError")),
    ];
    for fault in faults {
        let fixture = Fixture::new();
        fixture.truth.save("a", "old").await.unwrap();
        // The response to the request for a part or an object has no document.
        let is_document = matches!(&fault, Fault::Respond(response) if response.status == 200);
        let operations: &[_] = if is_document {
            &[CREATE, LIST_PARTS, COMPLETE]
        } else {
            &[CREATE, UPLOAD_PART, LIST_PARTS, COMPLETE, HEAD]
        };
        let planned: Vec<_> = operations
            .iter()
            .map(|operation| fixture.proxy.on(operation).call(1).then(fault.clone()))
            .collect();
        let begin = fixture.storage.multipart("a").part_size(PART).content_type("text/new");
        let upload = begin.await.unwrap();
        put_both(&upload).await.unwrap();
        let meta = upload.complete().await.unwrap();
        planned.iter().for_each(PlannedFault::assert_fired);
        assert_complete(&fixture, &meta).await;
    }
}

#[tokio::test]
async fn a_part_whose_response_is_lost_is_sent_again() {
    for fault in [Fault::LoseResponse, Fault::ResetAfterRequest] {
        let fixture = Fixture::new();
        let upload = fixture.storage.multipart("a").part_size(PART).await.unwrap();
        let lost = fixture.proxy.on(UPLOAD_PART).call(1).then(fault);
        put_both(&upload).await.unwrap();
        lost.assert_fired();
        assert_eq!(fixture.proxy.count(UPLOAD_PART), 3);
        upload.complete().await.unwrap();
        assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    }
}

#[tokio::test]
async fn an_upload_whose_steps_keep_failing_stays_and_is_completed_later() {
    for operation in [LIST_PARTS, COMPLETE] {
        let fixture = Fixture::new();
        let upload = uploaded(&fixture, false).await;
        let error = Fault::Respond(CannedResponse::error(500, "InternalError"));
        let planned = fixture.proxy.on(operation).calls(1..=ATTEMPTS).then(error);
        assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(planned.fired(), ATTEMPTS, "{operation}");
        assert_bytes(&fixture.found("a").await.unwrap(), b"old");
        let meta = upload.complete().await.unwrap();
        assert_complete(&fixture, &meta).await;
    }
}

#[tokio::test]
async fn a_part_that_is_refused_leaves_the_earlier_one() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let denied = Fault::Respond(CannedResponse::error(403, "AccessDenied"));
    let denied = fixture.proxy.on(UPLOAD_PART).then(denied);
    let error = upload.put_part(2, Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    denied.assert_fired();
    let meta = upload.complete().await.unwrap();
    assert_complete(&fixture, &meta).await;
}

#[tokio::test]
async fn an_acknowledged_part_that_is_replaced_during_the_completion_is_a_conflict() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let (completing, gate, held) = held_completion(&fixture, &upload).await;
    elsewhere(&fixture, &upload).put_part(2, "other").await.unwrap();
    gate.open();
    let error = completing.await.unwrap().unwrap_err();
    // Another completion does not help: the part has to be sent again.
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
    held.assert_fired();
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    upload.abort().await.unwrap();
}

#[tokio::test]
async fn a_part_that_no_one_acknowledged_may_be_replaced_during_the_completion() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let upload = fixture.storage.resume_multipart("a", upload.id().clone()).unwrap();
    let (completing, gate, held) = held_completion(&fixture, &upload).await;
    elsewhere(&fixture, &upload).put_part(2, "other").await.unwrap();
    gate.open();
    let meta = completing.await.unwrap().unwrap();
    held.assert_fired();
    let expected = [&two_parts()[..PART as usize], b"other"].concat();
    assert_eq!((meta.size, fixture.proxy.count(COMPLETE)), (expected.len() as u64, 2));
    assert_bytes(&fixture.found("a").await.unwrap(), &expected);
}

#[tokio::test]
async fn a_completion_during_which_parts_are_replaced_again_and_again_is_a_conflict() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let replaced = Fault::Respond(CannedResponse::error(400, "InvalidPart"));
    let replaced = fixture.proxy.on(COMPLETE).then(replaced);
    let error = upload.complete().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");
    replaced.assert_fired();
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    upload.abort().await.unwrap();
}

#[tokio::test]
async fn a_completion_succeeds_if_the_metadata_cannot_be_read_afterwards() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let denied = Fault::Respond(CannedResponse::error(403, "AccessDenied"));
    let denied = fixture.proxy.on(HEAD).then(denied);
    let meta = upload.complete().await.unwrap();
    denied.assert_fired();
    assert_eq!(meta.size, two_parts().len() as u64);
    assert!(meta.etag.is_some());
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
}

#[tokio::test]
async fn an_upload_whose_beginning_is_dropped_is_aborted() {
    let fixture = Fixture::new();
    let gate = Gate::new();
    let held = fixture.proxy.on(CREATE).call(1).then(Fault::HoldResponse(gate.clone()));
    let begin = fixture.storage.multipart("a").part_size(PART);
    let beginning = tokio::spawn(async move { begin.await.map(drop) });
    let is_held =
        |record: &crate::fault_proxy::Record| record.count_at(CREATE, Progress::Held) == 1;
    fixture.proxy.until("the beginning", is_held).await;
    beginning.abort();
    gate.open();
    let is_aborted = |record: &crate::fault_proxy::Record| record.aborted_uploads().len() == 1;
    fixture.proxy.until("the abort", is_aborted).await;
    held.assert_fired();
}

#[tokio::test]
async fn an_upload_that_begins_without_an_id_sends_no_request_about_the_object() {
    let fixture = Fixture::new();
    let response = "<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>";
    let begun =
        fixture.proxy.on(CREATE).then(Fault::ReplaceResponse(CannedResponse::new(200, response)));
    let error = fixture.storage.save("a", two_parts()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    let error = fixture.storage.multipart("a").await.unwrap_err();
    assert!(error.to_string().contains("without an id"), "{error}");
    assert_eq!((begun.fired(), fixture.proxy.count(ABORT)), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_of_a_blocking_writer_that_is_dropped_is_aborted() {
    let fixture = Fixture::new();
    let storage: Storage = fixture.storage.clone();
    let written = std::thread::spawn(move || {
        let storage = storage.blocking().unwrap();
        let mut writer = storage.writer("a").unwrap();
        std::io::Write::write_all(&mut writer, &vec![1; 3 * PART as usize]).unwrap();
        drop(writer);
        storage
    });
    let storage = tokio::task::spawn_blocking(move || written.join().unwrap()).await.unwrap();
    let is_aborted = |record: &crate::fault_proxy::Record| record.aborted_uploads().len() == 1;
    fixture.proxy.until("the abort", is_aborted).await;
    tokio::task::spawn_blocking(move || drop(storage)).await.unwrap();
}

#[tokio::test]
async fn a_handle_that_is_dropped_aborts_nothing() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    let same = elsewhere(&fixture, &upload);
    drop(upload);
    assert_eq!(same.complete().await.unwrap().size, two_parts().len() as u64);
    assert_eq!(fixture.proxy.count(ABORT), 0);
}

/// The nonce is part of the object's user metadata, which a copy keeps.
#[tokio::test]
async fn a_copy_under_another_key_is_not_the_object_of_the_upload() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    upload.complete().await.unwrap();
    let storage: &Storage = &fixture.storage;
    storage.copy("a", "b").await.unwrap();
    let other = storage.resume_multipart("b", upload.id().clone()).unwrap();
    assert_eq!(other.complete().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(upload.complete().await.unwrap().size, two_parts().len() as u64);
}

#[tokio::test]
async fn an_object_whose_metadata_changes_in_place_stays_the_one_of_its_upload() {
    let fixture = Fixture::new();
    let upload = uploaded(&fixture, false).await;
    upload.complete().await.unwrap();
    let metadata = storage_core::Metadata::new().content_type("text/newer");
    fixture.storage.copy("a", "a").metadata(metadata).await.unwrap();
    assert_eq!(upload.complete().await.unwrap().content_type(), Some("text/newer"));
}
