//! Malformed requests of the IETF draft, and digests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use storage_core::{ChecksumAlgorithm, Hasher, Memory};

use crate::client::{service, stored};
use crate::draft::{LAST, MORE, PARTIAL, begin, head, patch, problem, send};

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
    hasher.update(bytes);
    format!("sha-256=:{}:", STANDARD.encode(hasher.finish().value()))
}

#[tokio::test]
async fn a_malformed_creation_is_rejected_and_stores_nothing() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let cases = [
        vec![("upload-complete", "true")],
        vec![("upload-complete", "1")],
        vec![("upload-complete", "")],
        vec![LAST, LAST],
        vec![LAST, MORE],
        vec![("upload-complete", "?1, ?0")],
        vec![("upload-incomplete", "no")],
        vec![MORE, ("upload-length", "-1")],
        vec![MORE, ("upload-length", "1.5")],
        vec![MORE, ("upload-length", "1000000000000000")],
        vec![MORE, ("upload-length", "1"), ("upload-length", "1")],
        vec![MORE, ("content-range", "bytes 0-3/8")],
        vec![LAST, ("content-digest", "sha-256")],
        vec![LAST, ("content-digest", "sha-256=:AA==:")],
        vec![LAST, ("content-digest", "sha-256=\"x\"")],
        vec![LAST, ("content-digest", "%%")],
        vec![LAST, ("content-digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:")],
        vec![LAST, ("content-digest", "")],
        vec![LAST, ("repr-digest", "crc32c=:AAAAAA==:")],
    ];
    for headers in cases {
        let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0123").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{headers:?}");
        assert!(!problem(&reply)["title"].as_str().unwrap().is_empty());
    }
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_malformed_append_is_rejected_and_changes_nothing() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, &[]).await;
    let offset = ("upload-offset", "0");
    let (bad, unsupported) = (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let cases = [
        (vec![LAST, offset], unsupported),
        (vec![LAST, offset, ("content-type", "text/plain")], unsupported),
        (vec![LAST, PARTIAL], bad),
        (vec![offset, PARTIAL], bad),
        (vec![LAST, PARTIAL, ("upload-offset", "-1")], bad),
        (vec![LAST, PARTIAL, ("upload-offset", "0;")], bad),
        (vec![LAST, PARTIAL, offset, offset], bad),
        (vec![LAST, PARTIAL, ("upload-offset", "\"0\"")], bad),
        (vec![("upload-complete", "yes"), PARTIAL, offset], bad),
    ];
    for (headers, status) in cases {
        let reply = send(&uploads, Method::PATCH, &url, &headers, b"0123").await;
        assert_eq!(reply.status, status, "{headers:?}");
        problem(&reply);
    }
    assert_eq!(head(&uploads, &url).await.header("upload-offset"), "0");
}

#[tokio::test]
async fn a_method_that_has_no_meaning_gets_405() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, &[]).await;
    for (method, uri) in [
        (Method::GET, &*url),
        (Method::PUT, &url),
        (Method::POST, &url),
        (Method::GET, "/uploads"),
        (Method::PATCH, "/uploads"),
        (Method::DELETE, "/uploads"),
    ] {
        let reply = send(&uploads, method, uri, &[LAST], b"").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{uri}");
        assert!(reply.header("allow").contains("OPTIONS"));
    }
}

#[tokio::test]
async fn a_forged_url_gets_404_as_a_problem() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, &[]).await;
    for forged in [format!("{url}0"), "/uploads/x".to_owned(), format!("{url}/a")] {
        let reply = patch(&uploads, &forged, 0, LAST, b"x").await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{forged}");
        problem(&reply);
    }
}

#[tokio::test]
async fn a_body_with_its_digest_is_appended() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let (first, last) = (b"0123456789", b"abc");
    let digest = sha256(first);
    let headers = [MORE, ("content-digest", &*digest)];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, first).await;
    assert_eq!((reply.status, reply.header("upload-offset")), (StatusCode::CREATED, "10"));
    let url = reply.header("location");
    // The members that are not known are ignored.
    let digest = format!("x=1, {}", sha256(last));
    let headers = [PARTIAL, LAST, ("upload-offset", "10"), ("content-digest", &*digest)];
    let reply = send(&uploads, Method::PATCH, url, &headers, last).await;
    assert_eq!(reply.header("upload-complete"), "?1");
    assert_eq!(stored(&storage).await, b"0123456789abc");
}

#[tokio::test]
async fn no_byte_of_a_body_with_another_digest_is_kept() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let url = begin(&uploads, &[]).await;
    patch(&uploads, &url, 0, MORE, b"01234").await;
    let digest = sha256(b"other");
    let headers = [PARTIAL, LAST, ("upload-offset", "5"), ("content-digest", &*digest)];
    let reply = send(&uploads, Method::PATCH, &url, &headers, b"56789abcdefghij").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let problem = problem(&reply);
    assert!(problem["type"].as_str().unwrap().ends_with("#digest-mismatching-values"));
    assert_eq!(problem["mismatching-digests"][0]["header"], "content-digest");
    let reply = head(&uploads, &url).await;
    assert_eq!((reply.header("upload-offset"), reply.header("upload-complete")), ("5", "?0"));
    patch(&uploads, &url, 5, LAST, b"56789").await;
    assert_eq!(stored(&storage).await, b"0123456789");
}

#[tokio::test]
async fn a_creation_with_another_digest_leaves_nothing() {
    for header in ["content-digest", "repr-digest"] {
        let storage = Memory::storage();
        let uploads = service(&storage);
        let digest = sha256(b"other");
        let headers = [LAST, (header, &*digest)];
        let reply = send(&uploads, Method::PUT, "/uploads", &headers, b"0123456789").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(problem(&reply)["mismatching-digests"][0]["header"], header);
        assert!(storage.list("").keys().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_digest_of_the_whole_file_is_verified_if_the_request_contains_it() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let digest = sha256(b"0123456789");
    let headers = [LAST, ("repr-digest", &*digest)];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0123456789").await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(stored(&storage).await, b"0123456789");

    let url = begin(&uploads, &[]).await;
    let headers = [PARTIAL, LAST, ("upload-offset", "0"), ("repr-digest", &*digest)];
    let reply = send(&uploads, Method::PATCH, &url, &headers, b"0123456789").await;
    assert_eq!(reply.header("upload-complete"), "?1");
}

#[tokio::test]
async fn a_digest_that_cannot_be_verified_is_rejected_with_the_way_out() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    let digest = sha256(b"0123456789");
    let headers = [MORE, ("repr-digest", &*digest)];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"01234").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(problem(&reply)["title"].as_str().unwrap().contains("Content-Digest"));

    let headers = [LAST, ("content-digest", "sha-512=:AA==:, md5=:AA==:")];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"01234").await;
    assert_eq!(reply.header("want-content-digest"), "sha-256=10");
    let problem = problem(&reply);
    assert!(problem["type"].as_str().unwrap().ends_with("#digest-unsupported-algorithms"));
    let algorithms = problem["unsupported-algorithms"].as_array().unwrap();
    let algorithms: Vec<_> = algorithms.iter().map(|entry| &entry["algorithm"]).collect();
    assert_eq!(algorithms, ["sha-512", "md5"]);

    let other = sha256(b"x");
    let headers = [LAST, ("content-digest", &*digest), ("repr-digest", &*other)];
    let reply = send(&uploads, Method::POST, "/uploads", &headers, b"0123456789").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}
