//! Whole files in one request, without the headers of a protocol.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use storage_core::{ErrorKind, Key, Memory, Operation};
use storage_serve::Cors;
use storage_serve::uploads::{Grant, Refusal};
use storage_testkit::faults::Faults;

use crate::client::{granting, service, stored};
use crate::draft::{LAST, head, send};

#[tokio::test]
async fn a_plain_put_or_post_stores_the_file() {
    for method in [Method::PUT, Method::POST] {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let headers = [("content-type", "text/plain")];
        let reply = send(&uploads, method, "/uploads", &headers, b"0123456789").await;
        assert_eq!((reply.status, &*reply.text), (StatusCode::CREATED, ""));
        assert_eq!((reply.header("upload-complete"), reply.header("upload-offset")), ("", ""));
        assert_eq!(stored(&storage).await, b"0123456789");
        let reply = head(&uploads, reply.header("location")).await;
        assert_eq!(reply.header("upload-complete"), "?1");
    }
}

#[tokio::test]
async fn the_headers_of_the_draft_change_nothing_about_a_whole_file() {
    // What URLSession of iOS sends with every upload task.
    for version in ["3", "5", "6", "8"] {
        let complete = if version == "3" { ("upload-incomplete", "?0") } else { LAST };
        let headers = [complete, ("upload-draft-interop-version", version)];
        let storage = Memory::storage();
        let uploads = service(&storage);
        let reply = send(&uploads, Method::PUT, "/uploads", &headers, b"0123456789").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{version}");
        assert_eq!(stored(&storage).await, b"0123456789");
    }
}

#[tokio::test]
async fn a_refusal_has_its_status_and_text() {
    let storage = Memory::storage();
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.\n");
    let reply = send(&granting(&storage, Err(refusal)), Method::PUT, "/uploads", &[], b"0").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.text.contains("\"Sign in first.\""), "{}", reply.text);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_type_that_is_not_allowed_is_refused() {
    let uploads = granting(&Memory::storage(), Ok(Grant::new("file").unwrap().types(["image/*"])));
    for (kind, status) in
        [("image/png", StatusCode::CREATED), ("text/html", StatusCode::UNSUPPORTED_MEDIA_TYPE)]
    {
        let headers = [("content-type", kind)];
        assert_eq!(send(&uploads, Method::PUT, "/uploads", &headers, b"0").await.status, status);
    }
}

#[tokio::test]
async fn bodies_that_are_no_files_are_refused() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    for (header, status) in [
        (("content-encoding", "gzip"), unsupported),
        (("content-type", "application/x-www-form-urlencoded"), unsupported),
        (("content-range", "bytes 0-1/2"), StatusCode::BAD_REQUEST),
    ] {
        let reply = send(&uploads, Method::PUT, "/uploads", &[header], b"0").await;
        assert_eq!(reply.status, status, "{header:?}");
    }
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_upload_with_the_cookies_of_its_visitor() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let page = ("origin", "https://evil.example");
    let headers = [page, ("sec-fetch-site", "cross-site"), ("cookie", "session")];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(storage.list("").keys().await.unwrap().is_empty());
    // An origin that is listed needs the right to send cookies.
    let listed = Cors::origins([page.1]).unwrap();
    for (cors, status) in [
        (listed.clone(), StatusCode::FORBIDDEN),
        (listed.credentials().unwrap(), StatusCode::CREATED),
    ] {
        let uploads = uploads.clone().cors(cors);
        let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0").await;
        assert_eq!(reply.status, status);
    }
}

#[tokio::test]
async fn a_picture_on_another_page_begins_no_upload_with_the_cookies_of_its_visitor() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers = [("sec-fetch-site", "cross-site"), ("cookie", "session")];
    let url = "/uploads/s3/params?filename=a.png&type=image/png";
    let reply = send(&uploads, Method::GET, url, &headers, b"").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_was_accepted_stays_if_its_promotion_fails_and_its_state_cannot_be_read() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    let unreadable = Arc::new(OnceLock::new());
    let uploads = service(&storage).on_complete({
        let (faults, unreadable) = (faults.clone(), Arc::clone(&unreadable));
        move |_| {
            let planned = faults.on(Operation::Open).calls(1).fail(ErrorKind::Timeout);
            assert!(unreadable.set(planned).is_ok());
            async { Ok(()) }
        }
    });
    let failed = faults.on(Operation::Rename).call(1).fail(ErrorKind::Timeout);
    let reply = send(&uploads, Method::PUT, "/uploads", &[], b"accepted").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((failed.fired(), unreadable.get().unwrap().fired()), (1, 1));
    // The next sweep finishes it.
    let keys = storage.list(".uploads/").keys().await.unwrap();
    assert_eq!(keys.iter().map(Key::name).collect::<Vec<_>>(), ["object", "state.json"]);
    assert_eq!(storage.read(&keys[0]).await.unwrap(), "accepted");
}
