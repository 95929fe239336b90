//! The application's function for complete uploads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_serve::uploads::{CompletedUpload, Grant, Refusal, Uploads};
use storage_testkit::faults::Faults;
use tokio::sync::Notify;

use crate::client::{begin, granting, head, offset, patch, service, stored};

/// Returns a service whose function counts its calls and returns this result.
fn deciding(
    storage: &Storage,
    decide: impl Fn(usize, CompletedUpload) -> Result<(), Refusal> + Clone + Send + Sync + 'static,
) -> (Uploads, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let uploads = service(storage).on_complete(move |upload| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let decision = decide(call, upload);
        async move { decision }
    });
    (uploads, calls)
}

fn count(calls: &AtomicUsize) -> usize {
    calls.load(Ordering::SeqCst)
}

/// Returns the keys of all objects but the states.
async fn objects(storage: &Storage) -> Vec<String> {
    let keys = storage.list("").keys().await.unwrap();
    let keys = keys.into_iter().map(|key| key.to_string());
    keys.filter(|key| !key.ends_with("/state.json")).collect()
}

#[tokio::test]
async fn the_function_sees_the_whole_object_before_it_is_visible() {
    let storage = Memory::storage();
    let seen = storage.clone();
    let uploads = service(&storage).on_complete(move |upload| {
        let seen = seen.clone();
        async move {
            assert!(!seen.exists("file").await?);
            let object = upload.storage.open(&upload.object.key).await?;
            assert_eq!(object.bytes().await?, "0123456789");
            assert_eq!((upload.object.size, upload.key.as_str()), (10, "file"));
            Ok(())
        }
    });
    let url = begin(&uploads, 10).await;
    let reply = patch(&uploads, &url, 0, b"0123456789").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    assert_eq!(stored(&storage).await, b"0123456789");
    assert_eq!(objects(&storage).await, ["file"]);
}

#[tokio::test]
async fn a_refusal_removes_the_upload_and_is_repeated() {
    let storage = Memory::storage();
    let (uploads, calls) = deciding(&storage, |_, _| {
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "A virus.\n"))
    });
    let url = begin(&uploads, 3).await;
    for _ in 0..2 {
        let reply = patch(&uploads, &url, 0, b"abc").await;
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, "A virus.\n");
        assert_eq!((reply.status, &*reply.text), expected);
    }
    assert_eq!(head(&uploads, &url).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!((count(&calls), objects(&storage).await.len()), (1, 0));
}

#[tokio::test]
async fn the_function_is_called_again_after_a_failure_and_not_after_its_success() {
    let storage = Memory::storage();
    let (uploads, calls) = deciding(&storage, |call, _| match call {
        1 => Err(Refusal::new(StatusCode::BAD_GATEWAY, "The scanner is down.\n")),
        2 => panic!("a fault of the application"),
        _ => Ok(()),
    });
    let url = begin(&uploads, 3).await;
    assert_eq!(patch(&uploads, &url, 0, b"abc").await.status, StatusCode::BAD_GATEWAY);
    // A client that gets 5xx for HEAD sends all bytes again.
    assert_eq!(head(&uploads, &url).await.status, StatusCode::LOCKED);
    assert!(!storage.exists("file").await.unwrap());
    for _ in 0..3 {
        assert_eq!(offset(&uploads, &url).await, 3);
    }
    assert_eq!((count(&calls), stored(&storage).await), (3, b"abc".to_vec()));
}

#[tokio::test]
async fn the_function_is_never_called_twice_at_a_time() {
    let storage = Memory::storage();
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enters, leaves) = (Arc::clone(&entered), Arc::clone(&leave));
    let one = service(&storage).on_complete(move |_| {
        let (enters, leaves) = (Arc::clone(&enters), Arc::clone(&leaves));
        async move {
            enters.notify_one();
            leaves.notified().await;
            Ok(())
        }
    });
    let (other, calls) = deciding(&storage, |_, _| Ok(()));
    let url = begin(&one, 3).await;
    let running = tokio::spawn({
        let url = url.clone();
        async move { patch(&one, &url, 0, b"abc").await }
    });
    entered.notified().await;
    // Another process.
    assert_eq!(head(&other, &url).await.status, StatusCode::LOCKED);
    leave.notify_one();
    assert_eq!(running.await.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!((offset(&other, &url).await, count(&calls)), (3, 0));
}

#[tokio::test]
async fn a_result_that_is_recorded_is_promoted_by_a_later_request_without_another_call() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let (uploads, calls) = deciding(&storage, |_, _| Ok(()));
    let url = begin(&uploads, 3).await;
    let failed = faults.on(Operation::Rename).call(1).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::GATEWAY_TIMEOUT, 1));
    assert!(!storage.exists("file").await.unwrap());
    let (other, calls_of_other) = deciding(&storage, |_, _| Ok(()));
    assert_eq!((offset(&other, &url).await, stored(&storage).await), (3, b"abc".to_vec()));
    assert_eq!((count(&calls), count(&calls_of_other)), (1, 0));
}

#[tokio::test]
async fn a_promotion_whose_response_was_lost_is_recognised() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    storage.save("file", "an older one").await.unwrap();
    let (uploads, calls) = deciding(&storage, |_, _| Ok(()));
    let url = begin(&uploads, 3).await;
    let lost = faults.on(Operation::Rename).call(1).lose_response(ErrorKind::Timeout);
    patch(&uploads, &url, 0, b"abc").await;
    assert_eq!((offset(&uploads, &url).await, lost.fired()), (3, 1));
    assert_eq!((stored(&storage).await, count(&calls)), (b"abc".to_vec(), 1));
    assert_eq!(objects(&storage).await, ["file"]);
}

#[tokio::test]
async fn an_object_that_vanished_before_its_promotion_is_lost() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    storage.save("file", "old").await.unwrap();
    let (uploads, _) = deciding(&storage, |_, _| Ok(()));
    let url = begin(&uploads, 3).await;
    let failed = faults.on(Operation::Rename).call(1).fail(ErrorKind::Timeout);
    patch(&uploads, &url, 0, b"abc").await;
    assert_eq!(failed.fired(), 1);
    for key in objects(&storage).await.iter().filter(|key| key.ends_with("/object")) {
        storage.delete(&**key).await.unwrap();
    }
    assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
    assert_eq!(stored(&storage).await, b"old");
}

#[tokio::test]
async fn a_process_without_the_function_leaves_the_upload_to_the_others() {
    let storage = Memory::storage();
    let (uploads, _) =
        deciding(&storage, |_, _| Err(Refusal::new(StatusCode::BAD_GATEWAY, "Down.\n")));
    let url = begin(&uploads, 3).await;
    patch(&uploads, &url, 0, b"abc").await;
    let without = service(&storage);
    assert_eq!(head(&without, &url).await.status, StatusCode::LOCKED);
    assert!(!storage.exists("file").await.unwrap());
    let (uploads, calls) = deciding(&storage, |_, _| Ok(()));
    assert_eq!((offset(&uploads, &url).await, count(&calls)), (3, 1));
}

#[tokio::test]
async fn the_function_is_not_called_if_the_key_of_a_new_object_is_taken() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(Grant::new("file").unwrap().create_new()));
    let uploads = uploads.on_complete(|_| async { panic!("the key is taken") });
    let url = begin(&uploads, 3).await;
    storage.save("file", "other").await.unwrap();
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_result_whose_record_was_lost_is_recorded_again_without_another_call() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let (uploads, calls) = deciding(&storage, |_, _| Ok(()));
    let url = begin(&uploads, 3).await;
    // The saves are that of the parts, of the completion, of the claim, and of the result.
    let failed = faults.on(Operation::Save).call(4).fail(ErrorKind::Timeout);
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::NO_CONTENT, 1));
    assert_eq!((count(&calls), stored(&storage).await), (1, b"abc".to_vec()));
}

#[tokio::test]
async fn a_taken_key_rejects_a_new_object_at_its_promotion() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(Grant::new("file").unwrap().create_new()));
    let uploads = uploads.on_complete(|_| async { Ok(()) });
    let url = begin(&uploads, 3).await;
    storage.save("file", "other").await.unwrap();
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stored(&storage).await, b"other");
}

#[tokio::test]
async fn an_upload_that_is_removed_before_its_function_succeeded_leaves_nothing() {
    let storage = Memory::storage();
    let (uploads, _) =
        deciding(&storage, |_, _| Err(Refusal::new(StatusCode::BAD_GATEWAY, "Down.\n")));
    let url = begin(&uploads, 3).await;
    patch(&uploads, &url, 0, b"abc").await;
    let reply = crate::client::call(&uploads, http::Method::DELETE, &url, &[], b"").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}
