//! What a grant and the service do not allow.

use std::time::Duration;

use http::{Method, StatusCode};
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Memory};
use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
use storage_testkit::wait::until;

use crate::client::{
    BYTES, begin, call, granting, head, offset, patch, post, service, signing_key, stored,
};

fn grant() -> Grant {
    Grant::new("file").unwrap()
}

#[tokio::test]
async fn a_refusal_has_the_status_and_the_text_of_the_application() {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.");
    let storage = Memory::storage();
    let reply = post(&granting(&storage, Err(refusal)), &[("upload-length", "1")]).await;
    assert_eq!((reply.status, &*reply.text), (StatusCode::UNAUTHORIZED, "Sign in first."));
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_of_a_type_that_is_not_allowed_is_refused() {
    let uploads = granting(&Memory::storage(), Ok(grant().types(["image/*"])));
    let html = [("upload-length", "1"), ("upload-metadata", "filetype dGV4dC9odG1s")];
    assert_eq!(post(&uploads, &html).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let png = [("upload-length", "1"), ("upload-metadata", "filetype aW1hZ2UvcG5n")];
    assert_eq!(post(&uploads, &png).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_upload_larger_than_its_grant_is_refused_at_its_beginning() {
    let uploads = granting(&Memory::storage(), Ok(grant().max_size(10)));
    let reply = post(&uploads, &[("upload-length", "11")]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn bytes_beyond_the_limit_of_a_deferred_upload_are_refused() {
    let uploads = granting(&Memory::storage(), Ok(grant().max_size(10)));
    let reply = post(&uploads, &[("upload-defer-length", "1")]).await;
    let url = reply.header("location");
    let reply = patch(&uploads, url, 0, b"0123456789a").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(patch(&uploads, url, 0, b"0123456789").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_upload_that_is_refused_with_its_first_bytes_leaves_nothing() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [("upload-length", "3"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"abcd").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(storage.list("").keys().await.unwrap().is_empty());
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn bytes_beyond_the_length_are_refused() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    assert_eq!(patch(&uploads, &url, 0, b"abcd").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(offset(&uploads, &url).await, 0);
    patch(&uploads, &url, 0, b"abc").await;
    assert_eq!(stored(&storage).await, b"abc");
}

#[tokio::test]
async fn a_group_has_at_most_its_number_of_open_uploads() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(grant().max_open("user 7/../*", 2)));
    let (one, two) = (begin(&uploads, 3).await, begin(&uploads, 3).await);
    let third = [("upload-length", "3")];
    assert_eq!(post(&uploads, &third).await.status, StatusCode::TOO_MANY_REQUESTS);
    // Another group has its own number.
    let other = granting(&storage, Ok(grant().max_open("user 8", 1)));
    assert_eq!(post(&other, &third).await.status, StatusCode::CREATED);
    // A finished upload and a removed one make room.
    patch(&uploads, &one, 0, b"abc").await;
    assert_eq!(post(&uploads, &third).await.status, StatusCode::CREATED);
    assert_eq!(post(&uploads, &third).await.status, StatusCode::TOO_MANY_REQUESTS);
    call(&uploads, Method::DELETE, &two, &[], b"").await;
    assert_eq!(post(&uploads, &third).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn uploads_of_a_group_that_begin_at_the_same_moment_do_not_exceed_its_number() {
    let faults = storage_testkit::faults::Faults::new();
    let storage = faults.in_memory();
    let uploads = granting(&storage, Ok(grant().max_open("user 7", 1)));
    let length = [("upload-length", "3")];
    // The first marker is saved after the second upload could have counted.
    let marker = faults.on(storage_core::Operation::Save).call(1).hold();
    let release = async {
        marker.reached().await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        marker.release();
    };
    let (one, other, ()) = tokio::join!(post(&uploads, &length), post(&uploads, &length), release);
    let mut statuses = [one.status, other.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::TOO_MANY_REQUESTS]);
    assert_eq!(marker.fired(), 1);
}

/// Such an upload is completed when it begins.
#[tokio::test]
async fn an_empty_upload_that_is_refused_does_not_count_as_open() {
    let storage = Memory::storage();
    storage.save("taken", "of another").await.unwrap();
    let taken = Grant::new("taken").unwrap().create_new().max_open("user 7", 1);
    let uploads = granting(&storage, Ok(taken));
    for _ in 0..2 {
        let reply = post(&uploads, &[("upload-length", "0")]).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(storage.list(".uploads/").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_small_upload_has_parts_within_the_memory() {
    let storage = Memory::storage();
    for grant in [grant(), grant().max_size(1 << 40)] {
        let uploads = granting(&storage, Ok(grant)).memory(4 << 20);
        for length in [("upload-length", "3"), ("upload-defer-length", "1")] {
            assert_eq!(post(&uploads, &[length]).await.status, StatusCode::CREATED, "{length:?}");
        }
    }
}

/// Several servers change it, and each may have a cache.
#[tokio::test]
async fn no_cache_keeps_the_state_of_an_upload() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    patch(&uploads, &url, 0, b"a").await;
    let mut states = 0;
    for key in storage.list(".uploads/").keys().await.unwrap() {
        if key.as_str().ends_with("/state.json") {
            let meta = storage.stat(&key).await.unwrap();
            assert_eq!(meta.metadata.cache_control.as_deref(), Some("no-store"), "{key}");
            states += 1;
        }
    }
    assert_eq!(states, 1);
}

#[tokio::test]
async fn an_upload_that_cannot_begin_does_not_count_as_open() {
    let faults = storage_testkit::faults::Faults::new();
    let storage = faults.in_memory();
    let uploads = granting(&storage, Ok(grant().max_open("user 7", 1)));
    let failed = faults.on(storage_core::Operation::BeginMultipart).call(1);
    let failed = failed.fail(ErrorKind::StorageFull);
    let length = [("upload-length", "3")];
    let reply = post(&uploads, &length).await;
    assert_eq!((reply.status, failed.fired()), (StatusCode::INSUFFICIENT_STORAGE, 1));
    assert_eq!(post(&uploads, &length).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_upload_whose_parts_exceed_the_memory_is_refused() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(grant())).memory(1 << 20);
    let reply = post(&uploads, &[("upload-length", &(1_u64 << 50).to_string())]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_deferred_upload_has_no_more_bytes_than_its_parts_can_have() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(grant()));
    let reply = post(&uploads, &[("upload-defer-length", "1")]).await;
    let length = (1_u64 << 50).to_string();
    let headers = [("upload-offset", "0"), ("content-type", BYTES), ("upload-length", &*length)];
    let reply = call(&uploads, Method::PATCH, reply.header("location"), &headers, b"").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_url_may_work_for_ever() {
    let uploads = granting(&Memory::storage(), Ok(grant().lifetime(Duration::MAX)));
    let reply = post(&uploads, &[("upload-length", "3")]).await;
    assert_eq!(reply.header("upload-expires"), "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[tokio::test]
async fn an_expired_url_gets_410() {
    let storage = Memory::storage();
    // A lifetime of no second ends with the second in which the upload begins.
    let uploads = granting(&storage, Ok(grant().lifetime(Duration::ZERO)));
    let url = begin(&uploads, 3).await;
    let is_refused = async || head(&uploads, &url).await.status != StatusCode::OK;
    assert!(until(is_refused).await, "the URL never expires");
    assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_forged_url_gets_404() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    for forged in [&url[..url.len() - 1], &format!("{url}0"), "/uploads/x", "/uploads/a/b"] {
        assert_eq!(head(&uploads, forged).await.status, StatusCode::NOT_FOUND, "{forged}");
    }
    let other = SigningKey::new("fedcba9876543210").unwrap();
    let authorize = |_, _: UploadRequest| async { Ok(Grant::new("file")?) };
    let other = Uploads::new(storage, other, authorize).unwrap();
    assert_eq!(head(&other, &url).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_taken_key_rejects_an_upload_for_a_new_object() {
    let storage = Memory::storage();
    let uploads = granting(&storage, Ok(grant().create_new()));
    let url = begin(&uploads, 3).await;
    storage.save("file", "other").await.unwrap();
    let reply = patch(&uploads, &url, 0, b"abc").await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(head(&uploads, &url).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stored(&storage).await, b"other");
}

#[tokio::test]
async fn a_read_only_storage_is_refused_when_the_service_is_created() {
    let authorize = |_, _: UploadRequest| async { Ok(Grant::new("file")?) };
    let storage = Memory::storage();
    let error = Uploads::new(storage.read_only(), signing_key(), authorize).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let state = storage.read_only();
    let error = Uploads::with_state(storage, state, signing_key(), authorize).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("conditional saves"), "{error}");
}
