//! Forms without scripts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use storage_core::{Memory, Storage};
use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};

use crate::client::signing_key;
use crate::s3::{Reply, objects, post_broken_form, post_form, send};

/// Returns a service that stores each file under its name, and refuses those named `bad`.
fn uploads(storage: &Storage) -> Uploads {
    let authorize = |_, file: UploadRequest| async move {
        match file.file_name.as_deref() {
            Some("bad") => Err(Refusal::new(StatusCode::FORBIDDEN, "No such names.\n")),
            name => Ok(Grant::new(name.unwrap_or("none"))?.max_size(10)),
        }
    };
    Uploads::new(storage.clone(), signing_key(), authorize).unwrap()
}

/// Returns a form with these fields: a name, a file name unless it is a text, and the content.
fn form(fields: &[(&str, Option<&str>, &str)]) -> (String, Vec<u8>) {
    let mut body = String::new();
    for (name, file_name, content) in fields {
        let file_name = file_name.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        body += "--x\r\nContent-Disposition: form-data; ";
        body += &format!("name=\"{name}\"{file_name}\r\n\r\n{content}\r\n");
    }
    ("multipart/form-data; boundary=x".to_owned(), (body + "--x--\r\n").into_bytes())
}

async fn post(uploads: &Uploads, fields: &[(&str, Option<&str>, &str)]) -> Reply {
    post_form(uploads, "/uploads", form(fields)).await
}

async fn text(storage: &Storage, key: &str) -> String {
    storage.open(key).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn every_file_of_a_form_is_stored() {
    let storage = Memory::storage();
    let reply = post(
        &uploads(&storage),
        &[("a", Some("1.txt"), "one"), ("note", None, "n"), ("a", Some("2.txt"), "")],
    )
    .await;
    assert_eq!(
        (reply.status, &*reply.text),
        (StatusCode::CREATED, "1.txt: stored\n2.txt: stored\n")
    );
    assert_eq!(text(&storage, "1.txt").await, "one");
    assert_eq!(text(&storage, "2.txt").await, "");
}

#[tokio::test]
async fn a_file_that_is_refused_leaves_nothing_and_the_others_are_stored() {
    let storage = Memory::storage();
    let fields =
        [("a", Some("large"), "more than ten"), ("a", Some("bad"), "b"), ("a", Some("good"), "c")];
    let (content_type, body) = form(&fields);
    let request = Request::post("/uploads")
        .header("content-type", content_type)
        .header("accept", "application/json")
        .body(http_body_util::Full::new(Bytes::from(body)));
    let reply = send(&uploads(&storage), request.unwrap()).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let expected = serde_json::json!({"files": [
        {"field": "a", "name": "large", "status": 413, "message": "The upload is too large."},
        {"field": "a", "name": "bad", "status": 403, "message": "No such names."},
        {"field": "a", "name": "good", "status": 201},
    ]});
    assert_eq!(reply.json(), expected);
    assert_eq!(objects(&storage).await, ["good"]);
    // The state of the stored file is the only one.
    assert_eq!(storage.list(".uploads/").keys().await.unwrap().len(), 1);
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn a_form_that_breaks_off_leaves_nothing_of_its_last_file() {
    let storage = Memory::storage();
    let cut = form(&[("a", Some("1"), "one"), ("a", Some("2"), "two")]);
    let reply = post_broken_form(&uploads(&storage), "/uploads", cut, 10).await;
    assert!(reply.status.is_server_error(), "{reply:?}");
    assert!(reply.text.starts_with("1: stored\n2: "), "{reply:?}");
    assert_eq!(objects(&storage).await, ["1"]);
    assert_eq!(storage.list(".uploads/").keys().await.unwrap().len(), 1);
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn a_form_whose_files_are_all_stored_leads_to_the_configured_page() {
    let storage = Memory::storage();
    let uploads = uploads(&storage).form_redirect(&Uri::from_static("/thanks"));
    let reply = post(&uploads, &[("a", Some("1"), "one")]).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, "/thanks"));
    let reply = post(&uploads, &[("a", Some("2"), "two"), ("a", Some("bad"), "b")]).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(reply.text, "2: stored\nbad: No such names.\n");
}

#[tokio::test]
async fn a_form_without_a_file_or_that_is_malformed_is_refused() {
    let storage = Memory::storage();
    let uploads = uploads(&storage);
    let reply = post(&uploads, &[("note", None, "n")]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let large = "n".repeat(9 << 10);
    let reply = post(&uploads, &[("note", None, &large), ("a", Some("1"), "one")]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    for (content_type, body) in
        [("multipart/form-data", "x"), ("multipart/form-data; boundary=x", "--y")]
    {
        let form = (content_type.to_owned(), body.as_bytes().to_vec());
        let reply = post_form(&uploads, "/uploads", form).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    }
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_form_of_a_page_of_another_site_is_refused() {
    let storage = Memory::storage();
    let (content_type, body) = form(&[("a", Some("1"), "one")]);
    let request = Request::post("/uploads")
        .header("content-type", content_type)
        .header("sec-fetch-site", "cross-site")
        .body(http_body_util::Full::new(Bytes::from(body)));
    let reply = send(&uploads(&storage), request.unwrap()).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_application_decides_once_about_each_file_with_the_texts_before_it() {
    let storage = Memory::storage();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let authorize = move |head: http::request::Parts, file: UploadRequest| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(head.headers["host"], "files.example.com");
            let album = file.metadata.get("album").cloned().unwrap_or_default();
            Ok(Grant::new(format!("{album}/{number}"))?)
        }
    };
    let uploads = Uploads::new(storage.clone(), signing_key(), authorize).unwrap();
    post(&uploads, &[("album", None, "b"), ("a", Some("1"), "x"), ("a", Some("2"), "y")]).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(objects(&storage).await, ["b/0", "b/1"]);
}
