//! Objects with a stored encoding, and the encodings that clients accept.

use http::StatusCode;
use http_body_util::BodyExt;
use storage_core::{Memory, Storage};
use storage_serve::EncodingPolicy;
use storage_serve::Serve;

use crate::common::{bytes, deflate, get, gzip, head, request};

async fn packed() -> (Storage, Vec<u8>) {
    let storage = Memory::storage();
    let bytes = gzip(&bytes(300_000)).await;
    storage
        .save("a", bytes.clone())
        .content_encoding("gzip")
        .content_type("text/plain")
        .await
        .unwrap();
    (storage, bytes)
}

#[tokio::test]
async fn a_client_that_accepts_the_encoding_receives_the_stored_bytes() {
    let (storage, packed) = packed().await;
    let response = get(&Serve::new(storage), "/a", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!((response.status, response.header("content-encoding")), (StatusCode::OK, "gzip"));
    assert_eq!(response.header("content-length"), packed.len().to_string());
    assert_eq!(response.header("vary"), "accept-encoding");
    assert_eq!(response.header("accept-ranges"), "bytes");
    assert_eq!(response.body, packed);
}

#[tokio::test]
async fn a_client_that_does_not_accept_the_encoding_receives_decoded_bytes_without_a_length() {
    let (storage, _) = packed().await;
    for headers in [&[][..], &[("accept-encoding", "identity")], &[("accept-encoding", "gzip;q=0")]]
    {
        let response = get(&Serve::new(storage.clone()), "/a", headers).await;
        assert_eq!(response.status, StatusCode::OK);
        for absent in ["content-encoding", "content-length", "accept-ranges"] {
            assert!(!response.headers.contains_key(absent), "{absent}");
        }
        assert_eq!(response.header("vary"), "accept-encoding");
        assert!(response.body == bytes(300_000));
    }
}

#[tokio::test]
async fn deflate_is_decoded() {
    let storage = Memory::storage();
    storage.save("a", deflate(b"hello").await).content_encoding("deflate").await.unwrap();
    assert_eq!(get(&Serve::new(storage), "/a", &[]).await.text(), "hello");
}

#[tokio::test]
async fn all_members_of_a_gzip_file_are_decoded() {
    let storage = Memory::storage();
    let members = [gzip(b"hello, ").await, gzip(b"world").await].concat();
    storage.save("a", members).content_encoding("gzip").await.unwrap();
    assert_eq!(get(&Serve::new(storage), "/a", &[]).await.text(), "hello, world");
}

#[tokio::test]
async fn an_empty_object_with_an_encoding_is_sent_as_an_empty_body() {
    let storage = Memory::storage();
    storage.save("a", "").content_encoding("gzip").await.unwrap();
    let response = get(&Serve::new(storage), "/a", &[]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_decoded_response_has_no_ranges() {
    let (storage, _) = packed().await;
    let serve = Serve::new(storage);
    // The last ranges are beyond the stored bytes, or beyond all bytes.
    for range in ["bytes=0-9", "bytes=0-9,20-29", "bytes=299999-", "bytes=999999999-", "bytes=-0"] {
        let response = get(&serve, "/a", &[("range", range)]).await;
        assert_eq!(response.status, StatusCode::OK, "{range}");
        assert!(response.body == bytes(300_000), "{range}");
    }
}

#[tokio::test]
async fn a_decoded_response_has_its_own_etag() {
    let (storage, _) = packed().await;
    let serve = Serve::new(storage);
    let (plain, packed) = ([("accept-encoding", "identity")], [("accept-encoding", "gzip")]);
    let (decoded, stored) = (get(&serve, "/a", &plain).await, get(&serve, "/a", &packed).await);
    let (decoded, stored) = (decoded.header("etag"), stored.header("etag"));
    assert!(decoded.starts_with("W/"), "{decoded}");
    assert_ne!(decoded, format!("W/{stored}"));

    // Each ETag matches only its own representation.
    for (accept, etag, status) in [
        ("identity", decoded, StatusCode::NOT_MODIFIED),
        ("gzip", stored, StatusCode::NOT_MODIFIED),
        ("identity", stored, StatusCode::OK),
        ("gzip", decoded, StatusCode::OK),
    ] {
        let response =
            get(&serve, "/a", &[("accept-encoding", accept), ("if-none-match", etag)]).await;
        assert_eq!(response.status, status, "{accept} {etag}");
        let expected = if accept == "gzip" { stored } else { decoded };
        assert_eq!(response.header("etag"), expected, "{accept} {etag}");
        assert_eq!(response.header("vary"), "accept-encoding");
    }
}

#[tokio::test]
async fn an_unsupported_encoding_is_406_for_a_client_that_excludes_it() {
    let storage = Memory::storage();
    storage.save("a", "...").content_encoding("br").await.unwrap();
    let serve = Serve::new(storage);
    for headers in
        [&[("accept-encoding", "gzip")][..], &[("accept-encoding", "gzip"), ("range", "bytes=0-1")]]
    {
        let response = get(&serve, "/a", headers).await;
        assert_eq!(
            (response.status, response.header("vary")),
            (StatusCode::NOT_ACCEPTABLE, "accept-encoding")
        );
    }
    // A request without Accept-Encoding accepts any encoding (RFC 9110 section 12.5.3).
    let response = get(&serve, "/a", &[]).await;
    assert_eq!((response.status, response.header("content-encoding")), (StatusCode::OK, "br"));
}

#[tokio::test]
async fn the_policy_refuse_responds_406_instead_of_decoding() {
    let (storage, packed) = packed().await;
    let serve = Serve::new(storage).encoding_policy(EncodingPolicy::Refuse);
    assert_eq!(
        get(&serve, "/a", &[("accept-encoding", "br")]).await.status,
        StatusCode::NOT_ACCEPTABLE
    );
    assert_eq!(get(&serve, "/a", &[("accept-encoding", "gzip")]).await.body, packed);
    assert_eq!(get(&serve, "/a", &[]).await.body, packed);
}

#[tokio::test]
async fn the_policy_as_stored_sends_the_stored_bytes_to_every_client() {
    let (storage, packed) = packed().await;
    let serve = Serve::new(storage).encoding_policy(EncodingPolicy::AsStored);
    let response = get(&serve, "/a", &[("accept-encoding", "identity")]).await;
    assert_eq!((response.header("content-encoding"), response.header("vary")), ("gzip", ""));
    assert_eq!(response.body, packed);
    let part = get(&serve, "/a", &[("accept-encoding", "identity"), ("range", "bytes=0-3")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &packed[..4]));
}

#[tokio::test]
async fn a_body_that_does_not_have_its_encoding_fails() {
    let storage = Memory::storage();
    let mut torn = gzip(&bytes(300_000)).await;
    torn.truncate(100_000);
    storage.save("torn", torn).content_encoding("gzip").await.unwrap();
    storage.save("other", "not gzip at all").content_encoding("gzip").await.unwrap();
    let serve = Serve::new(storage);
    for path in ["/torn", "/other"] {
        let response = serve.handle(request(http::Method::GET, path, &[])).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.into_body().collect().await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn identity_counts_as_no_encoding() {
    let storage = Memory::storage();
    storage.save("a", "hello").content_encoding("identity").await.unwrap();
    let response = get(&Serve::new(storage.clone()), "/a", &[("accept-encoding", "br")]).await;
    assert_eq!(
        (response.text(), response.header("content-length"), response.header("vary")),
        ("hello", "5", "")
    );
    assert_eq!(
        head(&Serve::new(storage), "/a", &[("accept-encoding", "br")]).await.headers,
        response.headers
    );
}
