//! The requests of tus 1.0 and its extensions.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use storage_core::Memory;
use storage_serve::Serve;
use storage_serve::uploads::{Grant, UploadRequest, Uploads};

use crate::client::{
    BYTES, begin, call, head, offset, patch, patch_broken, post, rests, service, signing_key,
    stored,
};

#[tokio::test]
async fn an_upload_in_two_requests_becomes_the_object_with_the_last_byte() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 20).await;
    let reply = patch(&uploads, &url, 0, b"0123456789ab").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "12"));
    assert!(!storage.exists("file").await.unwrap());
    assert_eq!(rests(&storage).await.len(), 1);

    let reply = patch(&uploads, &url, 12, b"cdefghij").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "20"));
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
    assert_eq!(offset(&uploads, &url).await, 20);
    assert_eq!(rests(&storage).await, Vec::<String>::new());
}

#[tokio::test]
async fn head_describes_the_upload_and_is_not_cached() {
    let uploads = service(&Memory::storage());
    let metadata = "filename YS50eHQ=,flag";
    let reply = post(&uploads, &[("upload-length", "9"), ("upload-metadata", metadata)]).await;
    let url = reply.header("location");
    assert!(url.starts_with("/uploads/") && !reply.header("upload-expires").is_empty());
    let reply = head(&uploads, url).await;
    assert_eq!(reply.header("upload-offset"), "0");
    assert_eq!(reply.header("upload-length"), "9");
    assert_eq!(reply.header("upload-metadata"), metadata);
    assert_eq!(reply.header("cache-control"), "no-store");
}

#[tokio::test]
async fn an_upload_with_a_body_and_no_length_gets_its_length_later() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [("upload-defer-length", "1"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"0123456789").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "10"));
    let url = reply.header("location");
    assert_eq!(head(&uploads, url).await.header("upload-defer-length"), "1");

    // The length alone completes an upload whose bytes are all there.
    let headers = [("upload-offset", "10"), ("upload-length", "10"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::PATCH, url, &headers, b"").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "10"));
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn a_deferred_length_at_the_end_of_a_part_completes_the_upload() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let reply = post(&uploads, &[("upload-defer-length", "1")]).await;
    let url = reply.header("location");
    assert_eq!(patch(&uploads, url, 0, b"0123456789abcdef").await.status, StatusCode::NO_CONTENT);
    let headers = [("upload-offset", "16"), ("upload-length", "16"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::PATCH, url, &headers, b"").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(stored(&storage).await, b"0123456789abcdef");
}

#[tokio::test]
async fn an_empty_upload_is_complete_at_its_creation() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 0).await;
    assert_eq!(stored(&storage).await, b"");
    assert_eq!(offset(&uploads, &url).await, 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_what_arrived() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 20).await;
    let reply = patch_broken(&uploads, &url, 0, b"0123456789abc").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(offset(&uploads, &url).await, 13);
    patch(&uploads, &url, 13, b"defghij").await;
    assert_eq!(stored(&storage).await, b"0123456789abcdefghij");
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_last_byte_completes_the_upload() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 16).await;
    patch_broken(&uploads, &url, 0, b"0123456789abcdef").await;
    assert_eq!(offset(&uploads, &url).await, 16);
    assert_eq!(stored(&storage).await, b"0123456789abcdef");
}

#[tokio::test]
async fn a_request_at_another_offset_gets_409_and_changes_nothing() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, 20).await;
    patch(&uploads, &url, 0, b"012").await;
    for wrong in [0, 2, 4] {
        assert_eq!(patch(&uploads, &url, wrong, b"x").await.status, StatusCode::CONFLICT);
    }
    assert_eq!(offset(&uploads, &url).await, 3);
}

#[tokio::test]
async fn a_removed_upload_is_gone_with_its_parts() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 20).await;
    patch(&uploads, &url, 0, b"0123456789").await;
    let reply = call(&uploads, Method::DELETE, &url, &[], b"").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(head(&uploads, &url).await.status, StatusCode::GONE);
    assert_eq!(patch(&uploads, &url, 10, b"x").await.status, StatusCode::GONE);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn removing_a_finished_upload_keeps_its_object() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    patch(&uploads, &url, 0, b"abc").await;
    let reply = call(&uploads, Method::DELETE, &url, &[], b"").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(stored(&storage).await, b"abc");
}

#[tokio::test]
async fn a_post_with_a_method_override_is_that_method() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, 20).await;
    let headers =
        [("x-http-method-override", "PATCH"), ("upload-offset", "0"), ("content-type", BYTES)];
    let reply = call(&uploads, Method::POST, &url, &headers, b"abc").await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::NO_CONTENT, "3"));
}

#[tokio::test]
async fn options_lists_the_extensions() {
    let uploads = service(&Memory::storage()).max_size(99);
    let reply = call(&uploads, Method::OPTIONS, "/uploads", &[], b"").await;
    assert_eq!((reply.status, reply.header("tus-version")), (StatusCode::NO_CONTENT, "1.0.0"));
    assert_eq!(reply.header("tus-max-size"), "99");
    assert!(reply.header("tus-extension").contains("creation-defer-length"));
}

#[tokio::test]
async fn the_application_receives_the_name_the_type_and_the_size() {
    let storage = Memory::storage();
    let authorize = |head: http::request::Parts, file: UploadRequest| async move {
        assert_eq!(head.headers["cookie"], "session");
        assert_eq!(file.file_name.as_deref(), Some("a.txt"));
        assert_eq!((file.content_type.as_deref(), file.size), (Some("text/plain"), Some(3)));
        Ok(Grant::new("file")?)
    };
    let uploads = Uploads::new(storage.clone(), signing_key(), authorize).unwrap();
    let headers = [
        ("upload-length", "3"),
        ("cookie", "session"),
        ("upload-metadata", "filename YS50eHQ=,filetype dGV4dC9wbGFpbg=="),
    ];
    let reply = post(&uploads, &headers).await;
    patch(&uploads, reply.header("location"), 0, b"abc").await;
    assert_eq!(storage.stat("file").await.unwrap().content_type(), Some("text/plain"));
}

#[tokio::test]
async fn serve_responds_with_404_to_requests_for_the_state_of_an_upload() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 20).await;
    patch(&uploads, &url, 0, b"0123456789ab").await;
    let keys: Vec<_> = storage.list("").keys().await.unwrap();
    assert_eq!(keys.len(), 2, "a state and a rest: {keys:?}");
    for (root, prefix) in [(storage.clone(), ""), (Memory::storage(), "videos/")] {
        for key in &keys {
            let key = format!("{prefix}{key}");
            root.save(&*key, "state").await.unwrap();
            let request = Request::get(format!("/{key}")).body(Full::<Bytes>::default()).unwrap();
            let response = Serve::new(root.clone()).handle(request).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{key}");
        }
    }
}

#[tokio::test]
async fn bytes_with_an_encoding_are_refused_because_it_would_get_lost() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 3).await;
    let headers = [("upload-offset", "0"), ("content-type", BYTES), ("content-encoding", "gzip")];
    let reply = call(&uploads, Method::PATCH, &url, &headers, b"abc").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(offset(&uploads, &url).await, 0);
}
