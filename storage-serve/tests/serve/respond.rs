//! `respond` and `respond_with`: objects as responses of an application's handlers.

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use storage_core::{ErrorKind, Key, Memory, Object, ObjectMeta, Storage};
use storage_serve::{ResponseBody, respond, respond_with};

fn request(headers: &[(&'static str, &str)]) -> HeaderMap {
    let header = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    headers.iter().map(header).collect()
}

async fn text(response: Response<ResponseBody>) -> (u16, String) {
    let status = response.status().as_u16();
    let chunks: Vec<Bytes> = response.into_body().try_collect().await.unwrap();
    (status, String::from_utf8(chunks.concat()).unwrap())
}

/// Returns the responses to a request: by key, and with the open object.
async fn both(storage: &Storage, headers: &[(&'static str, &str)]) -> [(u16, String); 2] {
    let headers = request(headers);
    let by_key = respond(storage, "a", &Method::GET, &headers).await.unwrap();
    let object = storage.open("a").await.unwrap();
    let opened = respond_with(object, &Method::GET, &headers);
    [text(by_key).await, text(opened).await]
}

async fn storage() -> Storage {
    let storage = Memory::storage();
    storage.save("a", "hello").content_type("text/html").await.unwrap();
    storage
}

#[tokio::test]
async fn ranges_and_conditions_apply_to_keys_and_to_open_objects() {
    let storage = storage().await;
    let etag = storage.stat("a").await.unwrap().etag.unwrap().to_string();
    for (headers, expected) in [
        (&[][..], (200, "hello")),
        (&[("range", "bytes=1-2")], (206, "el")),
        (&[("range", "bytes=-2")], (206, "lo")),
        (&[("if-none-match", &etag)], (304, "")),
        (&[("range", "bytes=1-2"), ("if-range", &etag)], (206, "el")),
        (&[("range", "bytes=1-2"), ("if-range", "\"other\"")], (200, "hello")),
    ] {
        for (status, body) in both(&storage, headers).await {
            assert_eq!((status, &*body), expected, "{headers:?}");
        }
    }
    for headers in [("if-match", "\"other\""), ("range", "bytes=9-")] {
        let [by_key, opened] = both(&storage, &[headers]).await;
        assert!(by_key.0 == 412 || by_key.0 == 416, "{by_key:?}");
        assert_eq!(by_key, opened);
    }
}

#[tokio::test]
async fn a_response_is_private_and_protects_browsers() {
    let storage = storage().await;
    storage.save("a", "hello").content_type("text/html").cache_control("public").await.unwrap();
    let empty = HeaderMap::new();
    let by_key = respond(&storage, "a", &Method::GET, &empty).await.unwrap();
    let opened = respond_with(storage.open("a").await.unwrap(), &Method::GET, &empty);
    for response in [by_key, opened] {
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "private");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-disposition"], "attachment");
        assert_eq!(headers["content-length"], "5");
    }
}

#[tokio::test]
async fn an_object_that_was_opened_with_a_range_is_a_part() {
    let storage = storage().await;
    let object = storage.open("a").range(1..3).await.unwrap();
    let response = respond_with(object, &Method::GET, &request(&[("range", "bytes=0-0")]));
    assert_eq!(response.headers()["content-range"], "bytes 1-2/5");
    assert_eq!(text(response).await, (206, "el".to_owned()));
}

#[tokio::test]
async fn a_body_that_streams_is_sent_whole() {
    let chunks = stream::iter([Ok(Bytes::from("hel")), Ok(Bytes::from("lo"))]);
    let object = Object::from_stream(ObjectMeta::new(Key::new("a").unwrap(), 5), 0..5, chunks);
    let response = respond_with(object, &Method::GET, &request(&[("range", "bytes=1-2")]));
    assert_eq!(text(response).await, (200, "hello".to_owned()));
}

#[tokio::test]
async fn a_response_to_head_has_the_length_and_no_body() {
    let storage = storage().await;
    let empty = HeaderMap::new();
    let by_key = respond(&storage, "a", &Method::HEAD, &empty).await.unwrap();
    let opened = respond_with(storage.open("a").await.unwrap(), &Method::HEAD, &empty);
    for response in [by_key, opened] {
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(text(response).await, (200, String::new()));
    }
}

#[tokio::test]
async fn a_missing_object_and_an_invalid_key_are_errors_of_opening() {
    let storage = storage().await;
    for (key, kind) in [("b", ErrorKind::NotFound), ("../b", ErrorKind::InvalidKey)] {
        let error = respond(&storage, key, &Method::GET, &HeaderMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.operation(), Some(storage_core::Operation::Open));
    }
}

/// poem, salvo and warp require bodies that are `Sync`.
#[test]
fn a_body_can_be_sent_and_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<ResponseBody>();
}

#[tokio::test]
async fn a_part_of_an_encoded_object_is_sent_as_it_is_stored() {
    let storage = Memory::storage();
    storage.save("a", "no gzip").content_encoding("gzip").await.unwrap();
    let part = storage.open("a").range(1..4).await.unwrap();
    let response = respond_with(part, &Method::GET, &HeaderMap::new());
    assert_eq!(response.headers()["content-range"], "bytes 1-3/7");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(text(response).await, (206, "o g".to_owned()));
}

#[tokio::test]
async fn an_object_that_a_handler_has_narrowed_to_nothing_is_no_range() {
    let storage = storage().await;
    for at in [0, 2] {
        let nothing = storage.open("a").await.unwrap().narrow(at..at).unwrap();
        let response = respond_with(nothing, &Method::GET, &HeaderMap::new());
        assert_eq!(response.headers()["content-range"], "bytes */5");
        assert_eq!(response.status(), 416);
    }
}
