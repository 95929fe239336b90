//! What every application of this workspace does.

use std::time::Duration;

use anystorage::{ErrorKind, Operation, Storage, UrlMethod};
use reqwest::{Client, Response};
use storage_testkit::faults::Faults;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FORM_HEAD: &str = "--x\r\ncontent-disposition: form-data; name=f; filename=a.txt\r\n\r\n";

const MINUTE: Duration = Duration::from_secs(60);

/// How the application receives files.
#[derive(Clone, Copy)]
pub(crate) enum Uploads {
    /// The file of a form, by POST.
    Form,
    /// The body of a PUT.
    Put,
}

impl Uploads {
    /// Uploads a file named `a.txt` and returns the status.
    async fn send(self, app: &str, content: &[u8]) -> u16 {
        let request = match self {
            Self::Form => {
                let form = [FORM_HEAD.as_bytes(), content, b"\r\n--x--\r\n"].concat();
                let request = client().post(format!("{app}/photos")).body(form);
                request.header("content-type", "multipart/form-data; boundary=x")
            }
            Self::Put => client().put(format!("{app}/photos/a.txt")).body(content.to_vec()),
        };
        request.send().await.unwrap().status().as_u16()
    }
}

fn client() -> Client {
    // The feature `tls-ring` of anystorage selects no provider for other clients.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

async fn get(url: impl AsRef<str>) -> reqwest::Result<Response> {
    client().get(url.as_ref()).send().await
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

pub(crate) async fn a_signed_link_sends_an_object(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
) {
    let content = bytes(300_000);
    // A name whose path needs escapes, which must be decoded exactly once.
    let key = "reports/März 100%25 done.txt";
    let etag = storage.save(key, content.clone()).await.unwrap().etag.unwrap().to_string();
    let link = storage.url(key).expires_in(MINUTE).await.unwrap();
    let app = start(storage).await;
    let link = format!("{app}{}", link.as_str());

    let response = get(&link).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "300000");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.bytes().await.unwrap(), content);

    let range = client().get(&link).header("range", "bytes=1000-1999");
    let response = range.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 206);
    assert_eq!(response.headers()["content-range"], "bytes 1000-1999/300000");
    assert_eq!(response.bytes().await.unwrap(), content[1000..2000]);

    let cached = client().get(&link).header("if-none-match", &etag);
    assert_eq!(cached.send().await.unwrap().status().as_u16(), 304);

    let unsigned = get(link.split('?').next().unwrap()).await.unwrap();
    assert_eq!(unsigned.status().as_u16(), 403);
}

pub(crate) async fn an_uploaded_file_is_sent(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
    uploads: Uploads,
) {
    let app = start(storage.clone()).await;
    let content = bytes(300_000);
    assert_eq!(uploads.send(&app, &content).await, 201);
    let keys = storage.list("photos/").keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(storage.read(&keys[0]).await.unwrap(), content);

    let url = format!("{app}/{}", keys[0]);
    let range = client().get(&url).header("range", "bytes=1000-1999");
    let response = range.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 206);
    assert_eq!(response.headers()["cache-control"], "private");
    assert_eq!(response.bytes().await.unwrap(), content[1000..2000]);

    let response = client().head(&url).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "300000");
    assert!(response.bytes().await.unwrap().is_empty());

    let missing = get(format!("{app}/photos/b.txt")).await.unwrap();
    assert_eq!(missing.status().as_u16(), 404);
}

pub(crate) async fn a_large_file_leaves_nothing(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
    uploads: Uploads,
) {
    let app = start(storage.clone()).await;
    assert_eq!(uploads.send(&app, &bytes((10 << 20) + 1)).await, 413);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

pub(crate) async fn an_upload_that_breaks_off_leaves_nothing(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
) {
    let faults = Faults::new();
    let faulty = storage.layer(|inner| faults.layer(inner));
    // The save has begun when the connection closes.
    let began = faults.on(Operation::Save).hold();
    let app = start(faulty).await;
    let request = format!(
        "POST /photos HTTP/1.1\r\nhost: app\r\ncontent-type: multipart/form-data; boundary=x\r\n\
         content-length: 300000\r\n\r\n{FORM_HEAD}{}",
        "a part of the file ".repeat(1000),
    );
    let mut socket = TcpStream::connect(app.trim_start_matches("http://")).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut early = [0; 1000];
    tokio::select! {
        () = began.reached() => {}
        read = socket.read(&mut early) => {
            panic!("before the save: {}", String::from_utf8_lossy(&early[..read.unwrap()]))
        }
    }
    socket.shutdown().await.unwrap();
    began.release();
    // The server has received the end when it closes the connection.
    let mut response = Vec::new();
    let _ = socket.read_to_end(&mut response).await;
    assert!(!response.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&response));
    assert_eq!(began.fired(), 1);
    assert!(storage.list("").keys().await.unwrap().is_empty());
}

pub(crate) async fn a_broken_object_does_not_look_complete(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
) {
    let faults = Faults::new();
    let storage = storage.layer(|inner| faults.layer(inner));
    storage.save("a.txt", bytes(2_000_000)).await.unwrap();
    let broken = faults.on(Operation::Open).fail_midway(1_000_000, ErrorKind::Unexpected);
    let link = storage.url("a.txt").expires_in(MINUTE).await.unwrap();
    let app = start(storage).await;
    let response = get(format!("{app}{}", link.as_str())).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.bytes().await.is_err());
    assert_eq!(broken.fired(), 1);
}

pub(crate) async fn a_failure_is_a_response_without_internals(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
) {
    let faults = Faults::new();
    let storage = storage.layer(|inner| faults.layer(inner));
    let failing = faults.on(Operation::Open).fail_with(|| {
        anystorage::Error::new(ErrorKind::Timeout, "the disk /srv/secret does not respond")
    });
    let app = start(storage).await;
    let response = get(format!("{app}/photos/a.txt")).await.unwrap();
    assert_eq!(response.status().as_u16(), 504);
    assert!(!response.text().await.unwrap().contains("secret"));
    assert_eq!(failing.fired(), 1);
}

pub(crate) async fn an_upload_by_a_signed_link_is_stored(
    start: impl AsyncFn(Storage) -> String,
    storage: Storage,
) {
    let app = start(storage.clone()).await;
    let link = storage.url("a.txt").method(UrlMethod::Put).expires_in(MINUTE).await.unwrap();
    let content = bytes(300_000);
    let upload = client().put(format!("{app}{}", link.as_str())).body(content.clone());
    assert_eq!(upload.send().await.unwrap().status().as_u16(), 201);
    assert_eq!(storage.read("a.txt").await.unwrap(), content);
}
