//! Objects that are stored compressed, and what clients accept.

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
async fn a_client_that_accepts_the_encoding_gets_what_is_stored() {
    let (storage, packed) = packed().await;
    let answer = get(&Serve::new(storage), "/a", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (StatusCode::OK, "gzip"));
    assert_eq!(answer.header("content-length"), packed.len().to_string());
    assert_eq!(answer.header("vary"), "accept-encoding");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.body, packed);
}

#[tokio::test]
async fn a_client_that_does_not_gets_it_decoded_without_a_length() {
    let (storage, _) = packed().await;
    for headers in [&[][..], &[("accept-encoding", "identity")], &[("accept-encoding", "gzip;q=0")]]
    {
        let answer = get(&Serve::new(storage.clone()), "/a", headers).await;
        assert_eq!(answer.status, StatusCode::OK);
        for absent in ["content-encoding", "content-length", "accept-ranges"] {
            assert!(!answer.headers.contains_key(absent), "{absent}");
        }
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert!(answer.body == bytes(300_000));
    }
}

#[tokio::test]
async fn deflate_is_decoded_as_well() {
    let storage = Memory::storage();
    storage.save("a", deflate(b"hello").await).content_encoding("deflate").await.unwrap();
    assert_eq!(get(&Serve::new(storage), "/a", &[]).await.text(), "hello");
}

#[tokio::test]
async fn members_of_gzip_one_after_the_other_are_all_decoded() {
    let storage = Memory::storage();
    let members = [gzip(b"hello, ").await, gzip(b"world").await].concat();
    storage.save("a", members).content_encoding("gzip").await.unwrap();
    assert_eq!(get(&Serve::new(storage), "/a", &[]).await.text(), "hello, world");
}

#[tokio::test]
async fn an_empty_object_is_empty_in_any_encoding() {
    let storage = Memory::storage();
    storage.save("a", "").content_encoding("gzip").await.unwrap();
    let answer = get(&Serve::new(storage), "/a", &[]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn what_is_decoded_has_no_ranges() {
    let (storage, _) = packed().await;
    let serve = Serve::new(storage);
    // The last ones are beyond the stored bytes, or beyond all bytes.
    for range in ["bytes=0-9", "bytes=0-9,20-29", "bytes=299999-", "bytes=999999999-", "bytes=-0"] {
        let answer = get(&serve, "/a", &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{range}");
        assert!(answer.body == bytes(300_000), "{range}");
    }
}

#[tokio::test]
async fn what_is_decoded_has_an_etag_of_its_own() {
    let (storage, _) = packed().await;
    let serve = Serve::new(storage);
    let (plain, packed) = ([("accept-encoding", "identity")], [("accept-encoding", "gzip")]);
    let (decoded, stored) = (get(&serve, "/a", &plain).await, get(&serve, "/a", &packed).await);
    let (decoded, stored) = (decoded.header("etag"), stored.header("etag"));
    assert!(decoded.starts_with("W/"), "{decoded}");
    assert_ne!(decoded, format!("W/{stored}"));

    // Each is known to those who have it, and to nobody else.
    for (accept, etag, status) in [
        ("identity", decoded, StatusCode::NOT_MODIFIED),
        ("gzip", stored, StatusCode::NOT_MODIFIED),
        ("identity", stored, StatusCode::OK),
        ("gzip", decoded, StatusCode::OK),
    ] {
        let answer =
            get(&serve, "/a", &[("accept-encoding", accept), ("if-none-match", etag)]).await;
        assert_eq!(answer.status, status, "{accept} {etag}");
        let expected = if accept == "gzip" { stored } else { decoded };
        assert_eq!(answer.header("etag"), expected, "{accept} {etag}");
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
}

#[tokio::test]
async fn an_encoding_that_nobody_here_can_decode_is_not_acceptable_to_those_who_say_so() {
    let storage = Memory::storage();
    storage.save("a", "...").content_encoding("br").await.unwrap();
    let serve = Serve::new(storage);
    for headers in
        [&[("accept-encoding", "gzip")][..], &[("accept-encoding", "gzip"), ("range", "bytes=0-1")]]
    {
        let answer = get(&serve, "/a", headers).await;
        assert_eq!(
            (answer.status, answer.header("vary")),
            (StatusCode::NOT_ACCEPTABLE, "accept-encoding")
        );
    }
    // Who says nothing accepts anything (RFC 9110, section 12.5.3).
    let answer = get(&serve, "/a", &[]).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (StatusCode::OK, "br"));
}

#[tokio::test]
async fn by_option_nothing_is_decoded_and_the_client_is_told() {
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
async fn by_option_everybody_gets_what_is_stored() {
    let (storage, packed) = packed().await;
    let serve = Serve::new(storage).encoding_policy(EncodingPolicy::AsStored);
    let answer = get(&serve, "/a", &[("accept-encoding", "identity")]).await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("gzip", ""));
    assert_eq!(answer.body, packed);
    let part = get(&serve, "/a", &[("accept-encoding", "identity"), ("range", "bytes=0-3")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &packed[..4]));
}

#[tokio::test]
async fn what_is_not_what_its_encoding_says_breaks_off() {
    let storage = Memory::storage();
    let mut torn = gzip(&bytes(300_000)).await;
    torn.truncate(100_000);
    storage.save("torn", torn).content_encoding("gzip").await.unwrap();
    storage.save("other", "not gzip at all").content_encoding("gzip").await.unwrap();
    let serve = Serve::new(storage);
    for path in ["/torn", "/other"] {
        let answer = serve.handle(request(http::Method::GET, path, &[])).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.into_body().collect().await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn identity_is_no_encoding() {
    let storage = Memory::storage();
    storage.save("a", "hello").content_encoding("identity").await.unwrap();
    let answer = get(&Serve::new(storage.clone()), "/a", &[("accept-encoding", "br")]).await;
    assert_eq!(
        (answer.text(), answer.header("content-length"), answer.header("vary")),
        ("hello", "5", "")
    );
    assert_eq!(
        head(&Serve::new(storage), "/a", &[("accept-encoding", "br")]).await.headers,
        answer.headers
    );
}
