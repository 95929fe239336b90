//! Small files, which the client sends in one request.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use storage_serve::uploads::{Grant, Uploads};

use super::client::{
    ORIGIN, Reply, call, form, get, objects, post_broken_form, post_form, put, send, stored,
};
use super::places::{all, memory};

const PARAMS: &str = "/uploads/s3/params?filename=a.txt&type=text%2Fplain&metadata%5Bname%5D=a.txt";

/// Returns the form that the service offers, and the path to which it is sent.
async fn offer(uploads: &Uploads, uri: &str) -> (String, Vec<(String, String)>) {
    let reply = get(uploads, uri).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let target = reply.json();
    assert_eq!(target["method"], "POST");
    let path = target["url"].as_str().unwrap().strip_prefix(ORIGIN).unwrap().to_owned();
    let Value::Object(fields) = &target["fields"] else { panic!("{target}") };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (path, fields.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

async fn post_file(
    uploads: &Uploads,
    (path, fields): &(String, Vec<(String, String)>),
    file: &[u8],
) -> Reply {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    post_form(uploads, path, form(&fields, file)).await
}

#[tokio::test]
async fn a_form_stores_a_file_on_every_storage() {
    for place in all() {
        let uploads = place.uploads();
        for file in [&b"hello"[..], b"", &[b'a'; 20_000]] {
            let target = offer(&uploads, PARAMS).await;
            assert!(target.1.contains(&("key".to_owned(), "file".to_owned())));
            let reply = post_file(&uploads, &target, file).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
            let meta = place.storage.stat("file").await.unwrap();
            assert_eq!(reply.header("etag"), meta.etag.unwrap().to_string());
            assert!(reply.header("location").starts_with(ORIGIN));
            assert!(reply.text.contains("<Key>file</Key>"), "{reply:?}");
            assert_eq!(stored(&place.storage).await, file);
            assert_eq!(meta.metadata.content_type.as_deref(), Some("text/plain"));
        }
    }
}

#[tokio::test]
async fn a_put_stores_a_file_too() {
    let place = memory();
    let uploads = place.uploads();
    let (path, _) = offer(&uploads, PARAMS).await;
    let reply = put(&uploads, &format!("{ORIGIN}{path}"), b"hello").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(!reply.header("etag").is_empty());
    assert_eq!(stored(&place.storage).await, b"hello");
}

#[tokio::test]
async fn a_form_that_is_sent_again_after_a_lost_response_succeeds() {
    let place = memory();
    let uploads = place.uploads();
    let target = offer(&uploads, PARAMS).await;
    for _ in 0..2 {
        let reply = post_file(&uploads, &target, b"hello").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }
    for other in [&b"hell"[..], b"hello!"] {
        let reply = post_file(&uploads, &target, other).await;
        assert_eq!(reply.status, StatusCode::CONFLICT, "{reply:?}");
    }
    assert_eq!(stored(&place.storage).await, b"hello");
}

#[tokio::test]
async fn a_form_that_breaks_off_is_sent_again_from_its_beginning() {
    for place in all() {
        let uploads = place.uploads();
        let uploads = if place.is_direct { uploads } else { uploads.part_size(4) };
        let target = offer(&uploads, PARAMS).await;
        let cut = form(&[("key", "file")], b"first bytes of a file");
        let reply = post_broken_form(&uploads, &target.0, cut, 20).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{reply:?}");
        assert!(objects(&place.storage).await.is_empty());

        let reply = post_file(&uploads, &target, b"other").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        assert_eq!(stored(&place.storage).await, b"other");
        let rests = place.storage.list(".uploads/").keys().await.unwrap();
        assert!(rests.iter().all(|key| key.as_str().ends_with("/state.json")), "{rests:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_larger_than_its_grant_is_refused_and_leaves_nothing() {
    let place = memory();
    let uploads = place.granting(Grant::new("file").unwrap().max_size(4));
    let target = offer(&uploads, PARAMS).await;
    let reply = post_file(&uploads, &target, b"hello").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{reply:?}");
    assert!(place.storage.list("").keys().await.unwrap().is_empty());
    assert_eq!(place.storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
    let reply = get(&uploads, &format!("{PARAMS}&metadata%5Bsize%5D=5")).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_file_of_another_size_than_declared_is_refused() {
    let place = memory();
    let uploads = place.uploads();
    for file in [&b"hell"[..], b"hello!"] {
        let target = offer(&uploads, &format!("{PARAMS}&metadata%5Bsize%5D=5")).await;
        let reply = post_file(&uploads, &target, file).await;
        assert!(reply.status.is_client_error(), "{reply:?}");
        assert!(place.storage.list("").keys().await.unwrap().is_empty());
    }
    let target = offer(&uploads, &format!("{PARAMS}&metadata%5Bsize%5D=5")).await;
    assert_eq!(post_file(&uploads, &target, b"hello").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_form_for_another_key_or_without_a_file_is_refused() {
    let place = memory();
    let uploads = place.uploads();
    let (path, _) = offer(&uploads, PARAMS).await;
    let reply = post_form(&uploads, &path, form(&[("Key", "other")], b"hello")).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let text = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nfile\r\n--x--\r\n";
    let form_type = "multipart/form-data; boundary=x".to_owned();
    for (content_type, body) in
        [(form_type.clone(), text), (form_type.clone(), "--x"), ("text/plain".to_owned(), "hello")]
    {
        let reply = post_form(&uploads, &path, (content_type, body.as_bytes().to_vec())).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    }
    assert!(objects(&place.storage).await.is_empty());
}

#[tokio::test]
async fn the_url_for_a_file_is_good_for_nothing_else() {
    let place = memory();
    let uploads = place.uploads();
    let (path, _) = offer(&uploads, PARAMS).await;
    let ticket = path.rsplit('/').next().unwrap();
    let uri = format!("/uploads/s3/multipart/{ticket}?key=file");
    assert_eq!(get(&uploads, &uri).await.status, StatusCode::NOT_FOUND);
    let uri = format!("{ORIGIN}/uploads/s3/part/{ticket}");
    assert_eq!(put(&uploads, &uri, b"abc").await.status, StatusCode::NOT_FOUND);
    let reply = post_form(&uploads, &format!("{path}0"), form(&[], b"hello")).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_urls_of_files_and_parts_have_the_configured_origin() {
    let place = memory();
    let origin = url::Url::parse("https://cdn.example.com/x").unwrap();
    let uploads = place.uploads().public_origin(&origin).mounted_at("up");
    let reply = get(&uploads, "/up/s3/params?filename=a.txt").await;
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://cdn.example.com/up/s3/file/"), "{url}");

    // As a router sends it that removes the mount path.
    let uploads = place.uploads();
    let reply = get(&uploads, "/s3/params?filename=a.txt").await;
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{ORIGIN}/uploads/s3/file/")), "{url}");

    let without_host = Request::get(PARAMS).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(send(&uploads, without_host).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(call(&uploads, Method::GET, PARAMS).await.status, StatusCode::OK);
}
