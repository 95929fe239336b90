//! The type is what the bytes are.

use http::{Method, StatusCode};
use storage_core::{Memory, Storage};
use storage_serve::uploads::{Grant, Uploads};

use crate::client::{Reply, call, granting, patch};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and the rest of a picture";
const HTML: &[u8] = b"<!DOCTYPE html><script>alert(1)</script>";

fn pictures(storage: &Storage) -> Uploads {
    granting(storage, Ok(Grant::new("file").unwrap().types(["image/*"]).sniff()))
}

/// Uploads bytes with this declared type, in Base64.
async fn upload(uploads: &Uploads, declared: &str, body: &[u8]) -> Reply {
    let metadata = format!("filetype {declared}");
    let length = body.len().to_string();
    let headers = [("upload-length", &*length), ("upload-metadata", &*metadata)];
    let reply = call(uploads, Method::POST, "/uploads", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    patch(uploads, reply.header("location"), 0, body).await
}

#[tokio::test]
async fn html_that_is_declared_as_an_image_is_refused_and_never_visible() {
    let storage = Memory::storage();
    let uploads = pictures(&storage);
    let reply = upload(&uploads, "aW1hZ2UvcG5n", HTML).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Also one that is shorter than a part.
    let reply = upload(&uploads, "aW1hZ2UvcG5n", b"<html>").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(!storage.exists("file").await.unwrap());
    let keys = storage.list("").keys().await.unwrap();
    assert!(keys.iter().all(|key| key.as_str().ends_with("/state.json")), "{keys:?}");
}

#[tokio::test]
async fn html_whose_length_is_declared_at_the_end_is_refused_too() {
    let storage = Memory::storage();
    let uploads = pictures(&storage);
    let headers = [("upload-defer-length", "1"), ("upload-metadata", "filetype aW1hZ2UvcG5n")];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"").await;
    let length = HTML.len().to_string();
    let headers = [
        ("upload-offset", "0"),
        ("upload-length", &*length),
        ("content-type", crate::client::BYTES),
    ];
    let reply = call(&uploads, Method::PATCH, reply.header("location"), &headers, HTML).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{reply:?}");
}

#[tokio::test]
async fn an_object_has_the_type_of_its_bytes() {
    // image/jpeg, application/octet-stream, and no type.
    for declared in ["aW1hZ2UvanBlZw==", "YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt", ""] {
        let storage = Memory::storage();
        let reply = upload(&pictures(&storage), declared, PNG).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{declared}: {reply:?}");
        let meta = storage.stat("file").await.unwrap();
        assert_eq!((meta.content_type(), meta.size), (Some("image/png"), PNG.len() as u64));
    }
}

#[tokio::test]
async fn a_list_of_types_is_no_type() {
    let storage = Memory::storage();
    // "image/x,text/html"
    let metadata = "filetype aW1hZ2UveCx0ZXh0L2h0bWw=";
    let grant = Grant::new("file").unwrap().types(["image/*"]);
    let uploads = granting(&storage, Ok(grant));
    let headers = [("upload-length", "3"), ("upload-metadata", metadata)];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let uploads = granting(&storage, Ok(Grant::new("file").unwrap()));
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"").await;
    patch(&uploads, reply.header("location"), 0, b"abc").await;
    let meta = storage.stat("file").await.unwrap();
    assert_eq!(meta.content_type(), Some("application/octet-stream"));
}

#[tokio::test]
async fn the_function_of_the_application_sees_the_type_of_the_bytes() {
    let storage = Memory::storage();
    let uploads = pictures(&storage).on_complete(|upload| async move {
        assert_eq!(upload.object.content_type(), Some("image/png"));
        Ok(())
    });
    let reply = upload(&uploads, "aW1hZ2UvanBlZw==", PNG).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    assert_eq!(storage.stat("file").await.unwrap().content_type(), Some("image/png"));
}
