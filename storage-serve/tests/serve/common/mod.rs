//! Sending requests and reading responses.

pub(crate) mod multipart;
pub(crate) mod scripted;
pub(crate) mod server;

use std::io::Write;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipEncoder, ZlibEncoder};
use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use storage_core::signed_url::SigningKey;
use storage_core::{Key, Memory, Storage, UrlOptions};
use storage_serve::{ResponseBody, Serve};
use tokio::io::AsyncReadExt;

/// Reports a skipped test on the real standard error, so that the capture of test output does not
/// hide it.
pub(crate) fn skip(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}

/// A response with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl TestResponse {
    /// Returns the value of a header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request and reads the response.
///
/// # Panics
/// If the body fails, or its length differs from `Content-Length`.
pub(crate) async fn send<B: storage_serve::RequestBody>(
    serve: &Serve,
    request: Request<B>,
) -> TestResponse {
    let method = request.method().clone();
    read(&method, serve.handle(request).await).await
}

/// Reads a response.
///
/// # Panics
/// If the body fails, or its length differs from `Content-Length`.
pub(crate) async fn read(method: &Method, response: Response<ResponseBody>) -> TestResponse {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let response = TestResponse { status: head.status, headers: head.headers, body };
    let has_none =
        response.status == StatusCode::NOT_MODIFIED || response.status == StatusCode::NO_CONTENT;
    assert!(!(has_none && response.headers.contains_key("content-length")), "{response:?}");
    assert!(!(has_none || *method == Method::HEAD) || response.body.is_empty(), "{response:?}");
    if *method != Method::HEAD
        && let Some(length) = response.headers.get("content-length")
    {
        assert_eq!(length, &response.body.len().to_string(), "{response:?}");
    }
    response
}

/// Returns a request without a body.
pub(crate) fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    with(Request::builder().method(method).uri(uri), headers).body(Full::default()).unwrap()
}

pub(crate) fn with(request: Builder, headers: &[(&str, &str)]) -> Builder {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

pub(crate) async fn get(serve: &Serve, uri: &str, headers: &[(&str, &str)]) -> TestResponse {
    send(serve, request(Method::GET, uri, headers)).await
}

pub(crate) async fn head(serve: &Serve, uri: &str, headers: &[(&str, &str)]) -> TestResponse {
    send(serve, request(Method::HEAD, uri, headers)).await
}

/// Uploads bytes.
pub(crate) async fn put(
    serve: &Serve,
    uri: &str,
    headers: &[(&str, &str)],
    bytes: &'static [u8],
) -> TestResponse {
    let length = bytes.len().to_string();
    let request = with(Request::put(uri), headers).header("content-length", length);
    send(serve, request.body(Full::from(bytes)).unwrap()).await
}

/// Returns a storage with one object, `a.txt`, of these bytes.
pub(crate) async fn one_object(bytes: impl Into<storage_core::Payload>) -> Storage {
    let storage = Memory::storage();
    storage.save("a.txt", bytes).await.unwrap();
    storage
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::new("the secret of these tests").unwrap()
}

/// Returns the path and query of a link that is valid for one minute.
pub(crate) fn link(key: &str, set: impl FnOnce(&mut UrlOptions)) -> String {
    let mut options = UrlOptions::default();
    options.expires_in = Some(Duration::from_secs(60));
    set(&mut options);
    let link = signing_key().sign(
        &"http://files.example.com/".parse().unwrap(),
        &Key::new(key).unwrap(),
        &options,
    );
    let url = link.unwrap().url().unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// Returns bytes without repeated pieces.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}

pub(crate) async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    GzipEncoder::new(bytes).read_to_end(&mut compressed).await.unwrap();
    compressed
}

pub(crate) async fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    ZlibEncoder::new(bytes).read_to_end(&mut compressed).await.unwrap();
    compressed
}
