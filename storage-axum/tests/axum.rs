//! Handlers of axum with a real router.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use storage_axum::{OpenObject, Respond, RespondWith, Result, Serve, UploadForm};
use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_fs::Fs;
use storage_testkit::faults::Faults;
use storage_testkit::leftovers::Leftovers;
use tower_service::Service;

const MAX_FILE: u64 = 1 << 20;
const MAX_FORM: usize = 3 << 20;

async fn upload(State(storage): State<Storage>, mut form: UploadForm) -> Result<StatusCode> {
    while let Some(file) = form.next_file().await? {
        let key = file.file_name().to_owned();
        storage.save(key, file.max_size(MAX_FILE)).await?;
    }
    Ok(StatusCode::CREATED)
}

async fn download(
    State(storage): State<Storage>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    storage.respond(key, &headers).await
}

async fn opened(
    State(storage): State<Storage>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>> {
    Ok(storage.open(key).await?.respond(&headers))
}

async fn whole(State(storage): State<Storage>, Path(key): Path<String>) -> Result<OpenObject> {
    Ok(storage.open(key).await?.into())
}

fn router(storage: Storage) -> Router {
    Router::new()
        .route("/limited", post(upload).layer(DefaultBodyLimit::max(MAX_FORM)))
        .route("/default", post(upload))
        .route("/download/{*key}", get(download))
        .route("/opened/{*key}", get(opened))
        .route("/whole/{*key}", get(whole))
        .with_state(storage)
}

/// Returns the beginning of a form up to the content of a file, and its end.
fn around(name: &str) -> (Bytes, Bytes) {
    let head = format!("--x\r\ncontent-disposition: form-data; name=f; filename={name}\r\n\r\n");
    (head.into(), Bytes::from_static(b"\r\n--x--\r\n"))
}

fn form_with(name: &str, content: Bytes) -> Body {
    let (head, end) = around(name);
    Body::from_stream(stream::iter([head, content, end].map(Ok::<_, std::io::Error>)))
}

fn post_form(path: &str, body: Body) -> Request<Body> {
    Request::post(path)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(body)
        .unwrap()
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let (head, body) = router.clone().call(request).await.unwrap().into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

async fn read(router: &Router, method: Method, path: &str, range: &str) -> (u16, Bytes) {
    let request = Request::builder().method(method).uri(path).header("range", range);
    let (status, _, body) = send(router, request.body(Body::empty()).unwrap()).await;
    (status.as_u16(), body)
}

/// Returns a storage on a disk, and its directory.
fn on_disk() -> (tempfile::TempDir, Storage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(Fs::builder(directory.path()).build().unwrap());
    (directory, storage)
}

#[tokio::test]
async fn a_file_of_a_form_is_saved_unchanged() {
    let (_directory, storage) = on_disk();
    let content = Bytes::from(vec![7; 1 << 20]);
    let request = post_form("/limited", form_with("a.bin", content.clone()));
    assert_eq!(send(&router(storage.clone()), request).await.0, StatusCode::CREATED);
    assert_eq!(storage.read("a.bin").await.unwrap(), content);
}

#[tokio::test]
async fn a_file_above_its_limit_is_status_413_and_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let request = post_form("/limited", form_with("a.bin", vec![7; (1 << 20) + 1].into()));
    let (status, _, text) = send(&router(storage), request).await;
    assert_eq!((status.as_u16(), &*text), (413, &b"The upload is too large.\n"[..]));
    leftovers.assert_none().await;
}

#[tokio::test]
async fn a_form_above_the_limit_of_axum_is_status_413() {
    let storage = Memory::storage();
    let two_files = |len: usize| {
        let (head, _) = around("a");
        let second = "\r\n--x\r\ncontent-disposition: form-data; name=f; filename=b\r\n\r\n";
        let content = Bytes::from(vec![7; len]);
        let end = Bytes::from_static(b"\r\n--x--\r\n");
        let parts = [head, content.clone(), second.into(), content, end];
        Body::from_stream(stream::iter(parts.map(Ok::<_, std::io::Error>)))
    };
    let router = router(storage.clone());
    // axum's default is 2 MiB.
    assert_eq!(send(&router, post_form("/default", two_files(1 << 20))).await.0.as_u16(), 413);
    assert_eq!(send(&router, post_form("/limited", two_files(1 << 20))).await.0.as_u16(), 201);
}

#[tokio::test]
async fn a_form_whose_connection_breaks_is_status_400_and_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let (head, _) = around("a.bin");
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let chunks = [Ok(head), Ok(Bytes::from(vec![7; 1 << 19])), Err(broken)];
    let request = post_form("/limited", Body::from_stream(stream::iter(chunks)));
    assert_eq!(send(&router(storage), request).await.0, StatusCode::BAD_REQUEST);
    leftovers.assert_none().await;
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let (directory, storage) = on_disk();
    let leftovers = Leftovers::since_now(directory.path());
    let (head, _) = around("a.bin");
    let (reached, waiting) = tokio::sync::oneshot::channel();
    let chunks = stream::iter([Ok::<_, std::io::Error>(head), Ok(vec![7; 1 << 19].into())]).chain(
        // Reports that the file was received so far, and never ends.
        stream::once(async move {
            reached.send(()).unwrap();
            std::future::pending().await
        }),
    );
    let request = post_form("/limited", Body::from_stream(chunks));
    let upload = tokio::spawn(router(storage).call(request));
    waiting.await.unwrap();
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    leftovers.assert_none().await;
}

#[tokio::test]
async fn a_request_that_is_not_a_form_is_status_400() {
    let router = router(Memory::storage());
    for content_type in ["text/plain", "multipart/form-data", "\u{e9}"] {
        let request = Request::post("/default").header("content-type", content_type.as_bytes());
        let (status, ..) = send(&router, request.body(Body::from("hello")).unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{content_type}");
    }
}

#[tokio::test]
async fn an_error_of_the_storage_has_the_status_of_its_kind_and_no_details() {
    for (operation, path, kind, status) in [
        (Operation::Save, "/limited", ErrorKind::StorageFull, 507),
        (Operation::Save, "/limited", ErrorKind::Conflict, 409),
        (Operation::Save, "/limited", ErrorKind::PermissionDenied, 500),
        (Operation::Open, "/download/a", ErrorKind::Timeout, 504),
        (Operation::Open, "/opened/a", ErrorKind::Conflict, 500),
        (Operation::Open, "/whole/a", ErrorKind::NotFound, 404),
    ] {
        let faults = Faults::new();
        let fault = faults.on(operation).fail(kind);
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        let request = match operation {
            Operation::Save => post_form(path, form_with("a", "hello".into())),
            _ => Request::get(path).body(Body::empty()).unwrap(),
        };
        let (received, _, text) = send(&router(storage), request).await;
        assert_eq!((received.as_u16(), fault.fired()), (status, 1), "{operation:?} {kind}");
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("memory") && text.ends_with(".\n"), "{text}");
    }
}

#[tokio::test]
async fn a_hostile_key_is_status_404_for_reading_and_400_for_writing() {
    let router = router(Memory::storage());
    assert_eq!(read(&router, Method::GET, "/download/..%2Fsecret", "").await.0, 404);
    assert_eq!(read(&router, Method::GET, "/opened/..%2Fsecret", "").await.0, 404);
    let request = post_form("/limited", form_with("../secret", "hello".into()));
    assert_eq!(send(&router, request).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn objects_are_sent_with_ranges() {
    let (_directory, storage) = on_disk();
    storage.save("a/b.txt", "hello").await.unwrap();
    let router = router(storage);
    for path in ["/download/a/b.txt", "/opened/a/b.txt"] {
        assert_eq!(read(&router, Method::GET, path, "bytes=1-2").await, (206, "el".into()));
        assert_eq!(read(&router, Method::GET, path, "bytes=9-").await.0, 416);
        assert_eq!(read(&router, Method::GET, path, "").await, (200, "hello".into()));
    }
    let whole = read(&router, Method::GET, "/whole/a/b.txt", "bytes=1-2").await;
    assert_eq!(whole, (200, "hello".into()));
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let storage = Memory::storage();
    storage.save("a.html", "hello").await.unwrap();
    let router = router(storage);
    for path in ["/download/a.html", "/opened/a.html", "/whole/a.html"] {
        let request = Request::head(path).body(Body::empty()).unwrap();
        let (status, headers, body) = send(&router, request).await;
        assert_eq!((status.as_u16(), body.len()), (200, 0), "{path}");
        for (name, value) in [
            ("content-length", "5"),
            ("content-type", "text/html; charset=utf-8"),
            ("content-disposition", "attachment"),
            ("cache-control", "private"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
    }
}

#[tokio::test]
async fn a_mounted_service_accepts_the_links_of_its_storage_only() {
    let base = "/media/".parse().unwrap();
    let key = SigningKey::new("a secret of many bytes").unwrap();
    let storage = Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key));
    storage.save("a.txt", "hello").await.unwrap();
    let serve = Serve::for_storage(&storage).unwrap();
    let router = Router::new().nest_service(serve.mount_path(), serve.clone());

    let link = storage.url("a.txt").expires_in(Duration::from_secs(60)).await.unwrap();
    let signed = read(&router, Method::GET, link.as_str(), "bytes=1-2").await;
    assert_eq!(signed, (206, "el".into()));
    assert_eq!(read(&router, Method::GET, "/media/a.txt", "").await.0, 403);
}
