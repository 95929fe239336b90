//! Malformed requests.

use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use storage_core::Memory;

use crate::client::{BYTES, begin, call, post, send, service};

#[tokio::test]
async fn a_request_of_another_version_gets_412_and_the_version() {
    let uploads = service(&Memory::storage());
    for version in [None, Some("0.2.2")] {
        let request = Request::post("/uploads").header("upload-length", "1");
        let request =
            version.into_iter().fold(request, |it, version| it.header("tus-resumable", version));
        let reply = send(&uploads, request.body(Empty::<bytes::Bytes>::new()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(reply.header("tus-version"), "1.0.0");
    }
}

#[tokio::test]
async fn a_malformed_length_is_rejected() {
    let storage = Memory::storage();
    let uploads = service(&storage);
    for length in ["", "-1", "+1", "1.0", "0x1", "99999999999999999999", "9223372036854775808"] {
        let reply = post(&uploads, &[("upload-length", length)]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{length}");
    }
    for headers in [
        &[][..],
        &[("upload-defer-length", "2")],
        &[("upload-length", "1"), ("upload-defer-length", "1")],
        &[("upload-length", "1"), ("upload-length", "1")],
        &[("upload-length", "1"), ("upload-metadata", "a !")],
        &[("upload-length", "1"), ("x-http-method-override", "a b")],
    ] {
        assert_eq!(post(&uploads, headers).await.status, StatusCode::BAD_REQUEST, "{headers:?}");
    }
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_malformed_patch_is_rejected() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, 3).await;
    let bytes = ("content-type", BYTES);
    let cases = [
        (&[("upload-offset", "0")][..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            &[("upload-offset", "0"), ("content-type", "text/plain")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (&[bytes], StatusCode::BAD_REQUEST),
        (&[bytes, ("upload-offset", "-1")], StatusCode::BAD_REQUEST),
        (&[bytes, ("upload-offset", "0"), ("upload-length", "4")], StatusCode::BAD_REQUEST),
        (&[bytes, ("upload-offset", "0"), ("upload-checksum", "sha1 x")], StatusCode::BAD_REQUEST),
    ];
    for (headers, status) in cases {
        let reply = call(&uploads, Method::PATCH, &url, headers, b"abc").await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_method_that_has_no_meaning_gets_405() {
    let uploads = service(&Memory::storage());
    let url = begin(&uploads, 3).await;
    for (method, uri) in [(Method::GET, &*url), (Method::PUT, &url), (Method::PATCH, "/uploads")] {
        let reply = call(&uploads, method, uri, &[], b"").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(reply.header("allow").contains("OPTIONS"));
    }
}
