//! A client of the protocol, for tests.

use bytes::Bytes;
use futures_util::stream;
use http::request::Builder;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use storage_core::Storage;
use storage_core::signed_url::SigningKey;
use storage_serve::RequestBody;
use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};

pub(crate) const PART_SIZE: u64 = 8;
pub(crate) const BYTES: &str = "application/offset+octet-stream";

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// Returns the value of a header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::new("0123456789abcdef").unwrap()
}

/// Returns a service that allows every upload to the key `file`.
pub(crate) fn service(storage: &Storage) -> Uploads {
    granting(storage, Ok(Grant::new("file").unwrap()))
}

/// Returns a service that decides so about every upload.
pub(crate) fn granting(storage: &Storage, decision: Result<Grant, Refusal>) -> Uploads {
    let authorize = move |_, _: UploadRequest| {
        let decision = decision.clone();
        async move { decision }
    };
    Uploads::new(storage.clone(), signing_key(), authorize).unwrap().part_size(PART_SIZE)
}

pub(crate) fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Builder {
    let request = Request::builder().method(method).uri(uri).header("tus-resumable", "1.0.0");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

pub(crate) async fn send<B: RequestBody>(uploads: &Uploads, request: Request<B>) -> Reply {
    let (head, body) = uploads.handle(request).await.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert_eq!(head.headers["tus-resumable"], "1.0.0");
    Reply { status: head.status, headers: head.headers, text }
}

pub(crate) async fn call(
    uploads: &Uploads,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let body = Full::new(Bytes::copy_from_slice(body));
    send(uploads, request(method, uri, headers).body(body).unwrap()).await
}

pub(crate) async fn post(uploads: &Uploads, headers: &[(&str, &str)]) -> Reply {
    call(uploads, Method::POST, "/uploads", headers, b"").await
}

/// Begins an upload of this length, and returns its URL.
pub(crate) async fn begin(uploads: &Uploads, length: usize) -> String {
    let reply = post(uploads, &[("upload-length", &length.to_string())]).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    reply.header("location").to_owned()
}

pub(crate) async fn patch(uploads: &Uploads, url: &str, offset: usize, body: &[u8]) -> Reply {
    let headers = [("upload-offset", &*offset.to_string()), ("content-type", BYTES)];
    call(uploads, Method::PATCH, url, &headers, body).await
}

/// Sends a body that breaks off after these bytes.
pub(crate) async fn patch_broken(
    uploads: &Uploads,
    url: &str,
    offset: usize,
    body: &[u8],
) -> Reply {
    let frames = [
        Ok(http_body::Frame::data(Bytes::copy_from_slice(body))),
        Err(std::io::Error::other("the client is gone")),
    ];
    let headers = [("upload-offset", &*offset.to_string()), ("content-type", BYTES)];
    let body = StreamBody::new(stream::iter(frames));
    send(uploads, request(Method::PATCH, url, &headers).body(body).unwrap()).await
}

pub(crate) async fn head(uploads: &Uploads, url: &str) -> Reply {
    call(uploads, Method::HEAD, url, &[], b"").await
}

pub(crate) async fn offset(uploads: &Uploads, url: &str) -> usize {
    let reply = head(uploads, url).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.header("upload-offset").parse().unwrap()
}

pub(crate) async fn stored(storage: &Storage) -> Vec<u8> {
    storage.open("file").await.unwrap().bytes().await.unwrap().to_vec()
}

/// Returns the keys of the rests of all uploads.
pub(crate) async fn rests(storage: &Storage) -> Vec<String> {
    let keys = storage.list(".uploads/").keys().await.unwrap();
    let keys = keys.into_iter().map(|key| key.to_string());
    keys.filter(|key| key.contains("/rest-")).collect()
}
