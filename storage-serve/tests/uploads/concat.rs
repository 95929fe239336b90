//! The extension `concatenation`.

use http::{Method, StatusCode};
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_serve::uploads::{Grant, Uploads};
use storage_testkit::faults::Faults;

use crate::client::{Reply, begin, call, granting, head, offset, patch, post, service, stored};

/// Begins a partial upload, and sends these bytes. Returns its URL.
async fn partial(uploads: &Uploads, bytes: &[u8]) -> String {
    let headers = [("upload-length", &*bytes.len().to_string()), ("upload-concat", "partial")];
    let reply = post(uploads, &headers).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let url = reply.header("location").to_owned();
    if !bytes.is_empty() {
        let reply = patch(uploads, &url, 0, bytes).await;
        assert_eq!(reply.header("upload-offset"), bytes.len().to_string());
    }
    url
}

async fn join(uploads: &Uploads, urls: &[&str]) -> Reply {
    post(uploads, &[("upload-concat", &format!("final;{}", urls.join(" ")))]).await
}

async fn keys(storage: &Storage) -> Vec<String> {
    let keys = storage.list("").keys().await.unwrap();
    keys.into_iter().map(|key| key.to_string()).collect()
}

#[tokio::test]
async fn partial_uploads_become_one_object_in_the_order_of_the_request() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let one = partial(&uploads, b"0123456789").await;
    let (two, empty) = (partial(&uploads, b"abc").await, partial(&uploads, b"").await);
    assert!(!storage.exists("file").await.unwrap());
    let reply = head(&uploads, &one).await;
    assert_eq!((reply.header("upload-concat"), reply.header("upload-offset")), ("partial", "10"));

    // Clients send absolute URLs.
    let absolute = format!("https://example.com{one}");
    let reply = join(&uploads, &[&two, &empty, &absolute]).await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "13"));
    assert_eq!(stored(&storage).await, b"abc0123456789");
    let url = reply.header("location");
    let described = head(&uploads, url).await;
    assert_eq!(described.header("upload-concat"), format!("final;{two} {empty} {absolute}"));
    assert_eq!(described.header("upload-length"), "13");
    // The partial uploads are gone, and the final one accepts nothing.
    assert_eq!(head(&uploads, &one).await.status, StatusCode::GONE);
    assert_eq!(patch(&uploads, url, 13, b"x").await.status, StatusCode::FORBIDDEN);
    assert_eq!(keys(&storage).await.len(), 2);
}

#[tokio::test]
async fn a_concatenation_names_distinct_complete_partial_uploads() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let whole = begin(&uploads, 3).await;
    patch(&uploads, &whole, 0, b"abc").await;
    let complete = partial(&uploads, b"abc").await;
    let open = post(&uploads, &[("upload-length", "9"), ("upload-concat", "partial")]).await;
    let open = open.header("location");
    for urls in [
        &[][..],
        &[&*whole],
        &[open],
        &[&*complete, &*complete],
        &["/uploads/../x"],
        &[&*complete, "forged"],
    ] {
        let reply = join(&uploads, urls).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{urls:?}");
    }
    for text in ["", "final", "Partial", "final,x"] {
        let reply = post(&uploads, &[("upload-concat", text), ("upload-length", "3")]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{text}");
    }
    assert_eq!(offset(&uploads, &complete).await, 3);
}

#[tokio::test]
async fn a_concatenation_that_fails_keeps_its_parts_and_leaves_nothing_else() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let (one, two) = (partial(&uploads, b"0123456789").await, partial(&uploads, b"abc").await);
    let before = keys(&storage).await;
    let failed = faults.on(Operation::PutPart).call(1).fail(ErrorKind::Timeout);
    let reply = join(&uploads, &[&one, &two]).await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::GATEWAY_TIMEOUT, 1));
    assert_eq!(keys(&storage).await, before);
    assert_eq!(join(&uploads, &[&one, &two]).await.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, b"0123456789abc");
}

#[tokio::test]
async fn the_limits_of_the_grant_hold_for_the_whole_object() {
    let storage = Memory::storage();
    let grant = Grant::new("file").unwrap().max_size(5).types(["image/*"]);
    let uploads = granting(&storage, Ok(grant));
    let (one, two) = (partial(&uploads, b"abc").await, partial(&uploads, b"def").await);
    let metadata = ("upload-metadata", "filetype aW1hZ2UvcG5n");
    let both = format!("final;{one} {two}");
    let reply = post(&uploads, &[("upload-concat", &both), metadata]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let single = format!("final;{one}");
    let reply = post(&uploads, &[("upload-concat", &single)]).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let reply = post(&uploads, &[("upload-concat", &single), metadata]).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(storage.stat("file").await.unwrap().content_type(), Some("image/png"));
}

#[tokio::test]
async fn a_partial_upload_can_be_removed() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = partial(&uploads, b"abc").await;
    let reply = call(&uploads, Method::DELETE, &url, &[], b"").await;
    assert_eq!((reply.status, keys(&storage).await.len()), (StatusCode::NO_CONTENT, 0));
}

#[tokio::test]
async fn a_concatenation_whose_completion_loses_its_response_succeeds() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let uploads = service(&storage);
    let (one, two) = (partial(&uploads, b"0123456789").await, partial(&uploads, b"abc").await);
    let lost = faults.on(Operation::CompleteMultipart).call(1).lose_response(ErrorKind::Timeout);
    let reply = join(&uploads, &[&one, &two]).await;
    assert_eq!((reply.status, lost.fired()), (StatusCode::CREATED, 1), "{reply:?}");
    assert_eq!(stored(&storage).await, b"0123456789abc");
    assert_eq!(head(&uploads, &one).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_client_that_sends_as_many_uploads_at_once_as_it_may_can_join_them() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(Grant::new("file").unwrap().max_open("user 7", 2)));
    let (one, two) = (partial(&uploads, b"abc").await, partial(&uploads, b"def").await);
    let third = post(&uploads, &[("upload-length", "3"), ("upload-concat", "partial")]).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(join(&uploads, &[&one, &two]).await.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, b"abcdef");
    partial(&uploads, b"ghi").await;
}
