//! Storages that fail or lose responses, one test for each failure that other servers had.

use http::{Method, StatusCode};
use storage_core::{ErrorKind, Operation};
use storage_testkit::faults::Faults;

use crate::client::{BYTES, begin, call, head, offset, patch, rests, service, stored};

#[tokio::test]
async fn a_failed_completion_shows_no_offset_and_the_next_head_finishes_it() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 10).await;
    let fails = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Timeout);
    let again = faults.on(Operation::CompleteMultipart).call(2).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"0123456789").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::GATEWAY_TIMEOUT, ""));
    // After any other status than 423, clients send all bytes again.
    let reply = head(&uploads, &url).await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::LOCKED, ""));
    assert_eq!((fails.fired(), again.fired()), (1, 1));
    assert_eq!(offset(&uploads, &url).await, 10);
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn a_completion_whose_response_was_lost_is_finished_by_a_repeated_patch() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 10).await;
    let lost = faults.on(Operation::CompleteMultipart).call(1).lose_response(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"0123456789").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    let reply = patch(&uploads, &url, 10, b"").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "10"));
    assert_eq!((lost.fired(), stored(&storage).await), (1, b"0123456789".to_vec()));
}

#[tokio::test]
async fn an_upload_whose_parts_vanished_is_lost_and_never_finished() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 10).await;
    patch(&uploads, &url, 0, b"012345678").await;
    // A lifecycle rule of the bucket.
    let removed = storage.abort_stale("", std::time::Duration::ZERO).await.unwrap();
    assert_eq!(removed, 1);
    for _ in 0..2 {
        assert_eq!(patch(&uploads, &url, 9, b"9").await.status, StatusCode::GONE);
        assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
    }
    assert!(!storage.exists("file").await.unwrap());
}

#[tokio::test]
async fn a_creation_whose_completion_fails_shows_no_offset() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let failed = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Timeout);
    let headers = [("upload-length", "3"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"abc").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::CREATED, 1));
    assert_eq!(reply.header("upload-offset"), "");
    assert_eq!(offset(&uploads, reply.header("location")).await, 3);
    assert_eq!(stored(&storage).await, b"abc");
}

#[tokio::test]
async fn a_whole_part_that_could_not_be_stored_is_kept_in_segments_and_stored_later() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 30).await;
    patch(&uploads, &url, 0, b"012").await;
    // The part is full, and its beginning cannot be read. The first call reads the state.
    let failed = faults.on(Operation::Open).call(2).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 3, b"34567").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::GATEWAY_TIMEOUT, 1));
    assert_eq!((offset(&uploads, &url).await, rests(&storage).await.len()), (8, 2));
    patch(&uploads, &url, 8, b"89abcdefghijklmnopqrst").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghijklmnopqrst");
}

#[tokio::test]
async fn a_completion_that_finds_no_upload_is_lost() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    let gone = faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::NotFound);
    assert_eq!(patch(&uploads, &url, 0, b"abc").await.status, StatusCode::GONE);
    assert_eq!(gone.fired(), 1);
    assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_commit_whose_response_was_lost_is_read_back() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let created = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    let url = begin(&uploads, 20).await;
    // The first save of the request is the rest, the second one is the state.
    let committed = faults.on(Operation::Save).call(2).lose_response(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"0123456789").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "10"));
    assert_eq!((created.fired(), committed.fired()), (1, 1));
    patch(&uploads, &url, 10, b"abcdefghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_rest_stays_until_the_state_that_drops_it_is_committed() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 20).await;
    patch(&uploads, &url, 0, b"012").await;
    let old = rests(&storage).await;
    assert_eq!(old.len(), 1);
    // The new rest is stored, and the state that names it is not.
    let failed = faults.on(Operation::Save).call(2).fail(ErrorKind::StorageFull);
    let reply = patch(&uploads, &url, 3, b"345").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::INSUFFICIENT_STORAGE, 1));
    assert!(rests(&storage).await.contains(&old[0]));
    assert_eq!(offset(&uploads, &url).await, 3);
    patch(&uploads, &url, 3, b"3456789abcdefghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_failed_part_keeps_the_offset_and_leaves_no_gap() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 30).await;
    let failed = faults.on(Operation::PutPart).call(2).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"0123456789abcdefghijklmno").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::GATEWAY_TIMEOUT, 1));
    assert_eq!(offset(&uploads, &url).await, 8);
    patch(&uploads, &url, 8, b"89abcdefghijklmnopqrst").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghijklmnopqrst");
}

#[tokio::test]
async fn three_parts_are_stored_at_a_time() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let url = begin(&uploads, 40).await;
    let held = faults.on(Operation::PutPart).call(1).hold();
    let sent = patch(&uploads, &url, 0, b"0123456789abcdefghijklmnopqrstuvwxyzABCD");
    let calls = async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let calls = faults.calls(Operation::PutPart);
        held.release();
        calls
    };
    let (reply, calls) = tokio::join!(sent, calls);
    assert_eq!((reply.status, calls, held.fired()), (StatusCode::NO_CONTENT, 3, 1));
    assert_eq!(stored(&storage).await, b"0123456789abcdefghijklmnopqrstuvwxyzABCD");
}

#[tokio::test]
async fn an_upload_whose_state_cannot_be_saved_leaves_no_multipart_upload() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let failed = faults.on(Operation::Save).fail(ErrorKind::StorageFull);
    let reply = crate::client::post(&uploads, &[("upload-length", "3")]).await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::INSUFFICIENT_STORAGE, 1));
    let removed = storage.abort_stale("", std::time::Duration::ZERO).await.unwrap();
    assert_eq!(removed, 0);
}
