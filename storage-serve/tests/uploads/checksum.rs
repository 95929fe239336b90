//! The extension `checksum`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use storage_core::Memory;

use crate::client::{BYTES, Reply, begin, call, offset, request, rests, send, service, stored};

/// "hello world" in the four algorithms.
const CHECKSUMS: [&str; 4] = [
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "md5 XrY7u+Ae7tCTyyK7j1rNww==",
    "crc32 DUoRhQ==",
];

async fn patch_with(
    uploads: &storage_serve::uploads::Uploads,
    url: &str,
    checksum: &str,
    body: &[u8],
) -> Reply {
    let headers = [("upload-offset", "0"), ("content-type", BYTES), ("upload-checksum", checksum)];
    call(uploads, Method::PATCH, url, &headers, body).await
}

#[tokio::test]
async fn a_body_with_its_checksum_is_stored_with_every_algorithm() {
    for checksum in CHECKSUMS {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let url = begin(&uploads, 11).await;
        let reply = patch_with(&uploads, &url, checksum, b"hello world").await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{checksum}: {reply:?}");
        assert_eq!(stored(&storage).await, b"hello world");
    }
}

#[tokio::test]
async fn a_body_with_another_checksum_is_discarded_as_a_whole() {
    for checksum in CHECKSUMS {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let url = begin(&uploads, 30).await;
        // The first part is stored before the body ends.
        let reply = patch_with(&uploads, &url, checksum, b"hello World, and more").await;
        assert_eq!(reply.status.as_u16(), 460, "{checksum}");
        assert_eq!((offset(&uploads, &url).await, rests(&storage).await.len()), (0, 0));
        let headers = [("upload-offset", "0"), ("content-type", BYTES)];
        let body = b"012345678901234567890123456789";
        call(&uploads, Method::PATCH, &url, &headers, body).await;
        assert_eq!(stored(&storage).await, body);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_before_its_checksum_is_verified_is_discarded() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, 30).await;
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"hello world"))),
        Err(std::io::Error::other("the client is gone")),
    ];
    let headers =
        [("upload-offset", "0"), ("content-type", BYTES), ("upload-checksum", CHECKSUMS[0])];
    let body = StreamBody::new(stream::iter(frames));
    let reply = send(&uploads, request(Method::PATCH, &url, &headers).body(body).unwrap()).await;
    assert!(reply.status.is_server_error(), "{reply:?}");
    assert_eq!((offset(&uploads, &url).await, rests(&storage).await.len()), (0, 0));
}

#[tokio::test]
async fn an_unknown_algorithm_is_rejected_and_the_known_ones_are_listed() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, 5).await;
    let value = BASE64_STANDARD.encode([0; 8]);
    let reply = patch_with(&uploads, &url, &format!("crc64 {value}"), b"hello").await;
    assert_eq!((reply.status, offset(&uploads, &url).await), (StatusCode::BAD_REQUEST, 0));
    let reply = call(&uploads, Method::OPTIONS, "/uploads", &[], b"").await;
    assert_eq!(reply.header("tus-checksum-algorithm"), "sha1,sha256,md5,crc32");
}

#[tokio::test]
async fn a_creation_whose_bytes_have_another_checksum_leaves_nothing() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let headers =
        [("upload-length", "11"), ("content-type", BYTES), ("upload-checksum", CHECKSUMS[2])];
    let reply = call(&uploads, Method::POST, "/uploads", &headers, b"hello World").await;
    assert_eq!(reply.status.as_u16(), 460);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}
