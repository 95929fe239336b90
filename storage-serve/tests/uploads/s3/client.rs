//! A client of the S3 routes, which sends what Uppy's plugin sends.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use storage_core::Storage;
use storage_serve::RequestBody;
use storage_serve::uploads::Uploads;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const ORIGIN: &str = "http://files.example.com";

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An upload as the plugin knows it.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Upload {
    /// Returns the URL of a route of this upload, such as `/complete`.
    pub(crate) fn route(&self, rest: &str) -> String {
        let key: String = url::form_urlencoded::byte_serialize(self.key.as_bytes()).collect();
        format!("/uploads/s3/multipart/{}{rest}?key={key}", self.id)
    }
}

pub(crate) async fn send<B: RequestBody>(uploads: &Uploads, request: Request<B>) -> Reply {
    let (head, body) = uploads.handle(request).await.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Reply { status: head.status, headers: head.headers, text }
}

/// Sends a request without a body.
pub(crate) async fn call(uploads: &Uploads, method: Method, uri: &str) -> Reply {
    let request = Request::builder().method(method).uri(uri).header("host", "files.example.com");
    send(uploads, request.body(Full::<Bytes>::default()).unwrap()).await
}

pub(crate) async fn get(uploads: &Uploads, uri: &str) -> Reply {
    call(uploads, Method::GET, uri).await
}

pub(crate) async fn post_json(uploads: &Uploads, uri: &str, body: &str) -> Reply {
    let request = Request::post(uri)
        .header("host", "files.example.com")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    send(uploads, request.unwrap()).await
}

/// Begins an upload with this metadata.
pub(crate) async fn try_begin(uploads: &Uploads, metadata: Value) -> Reply {
    let body = json!({"filename": "a.txt", "type": "text/plain", "metadata": metadata});
    post_json(uploads, "/uploads/s3/multipart", &body.to_string()).await
}

pub(crate) async fn begin(uploads: &Uploads, metadata: Value) -> Upload {
    let reply = try_begin(uploads, metadata).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
    Upload { id: text("uploadId"), key: text("key") }
}

/// Returns the URL to which a part is sent.
pub(crate) async fn part_url(uploads: &Uploads, upload: &Upload, number: u32) -> String {
    let reply = get(uploads, &upload.route(&format!("/{number}"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.json()["expires"].as_u64().unwrap() > 0);
    reply.json()["url"].as_str().unwrap().to_owned()
}

/// Sends bytes to a URL of the service, or to that of a server.
pub(crate) async fn put(uploads: &Uploads, url: &str, bytes: &[u8]) -> Reply {
    let Some(path) = url.strip_prefix(ORIGIN) else { return put_to_server(url, bytes).await };
    let request = Request::put(path)
        .header("content-length", bytes.len())
        .body(Full::new(Bytes::copy_from_slice(bytes)));
    send(uploads, request.unwrap()).await
}

/// Sends a part, and returns its ETag.
pub(crate) async fn put_part(
    uploads: &Uploads,
    upload: &Upload,
    number: u32,
    bytes: &[u8],
) -> String {
    let url = part_url(uploads, upload, number).await;
    let reply = put(uploads, &url, bytes).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.header("etag").to_owned()
}

pub(crate) async fn list(uploads: &Uploads, upload: &Upload) -> Vec<Value> {
    let reply = get(uploads, &upload.route("")).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json().as_array().unwrap().clone()
}

/// Completes an upload with these parts, which are numbered from 1.
pub(crate) async fn complete(uploads: &Uploads, upload: &Upload, etags: &[String]) -> Reply {
    let parts: Vec<_> = etags
        .iter()
        .zip(1..)
        .map(|(etag, number)| json!({"PartNumber": number, "ETag": etag}))
        .collect();
    let body = json!({ "parts": parts }).to_string();
    post_json(uploads, &upload.route("/complete"), &body).await
}

/// Returns a form as the plugin sends it: texts, and the file as the last field.
pub(crate) fn form(fields: &[(&str, &str)], file: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(format!("{part}{value}\r\n").as_bytes());
    }
    body.extend_from_slice(
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"blob\"\r\n\
          Content-Type: text/plain\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--x--\r\n");
    ("multipart/form-data; boundary=x".to_owned(), body)
}

pub(crate) async fn post_form(
    uploads: &Uploads,
    uri: &str,
    (content_type, body): (String, Vec<u8>),
) -> Reply {
    let request = Request::post(uri)
        .header("host", "files.example.com")
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)));
    send(uploads, request.unwrap()).await
}

/// Sends a PUT to a server on loopback, as a browser follows a signed link.
async fn put_to_server(url: &str, bytes: &[u8]) -> Reply {
    let url = url::Url::parse(url).unwrap();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut socket = TcpStream::connect(&host).await.unwrap();
    let target = &url[url::Position::BeforePath..];
    let length = bytes.len();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await.unwrap();
    parse(&String::from_utf8_lossy(&response))
}

fn parse(response: &str) -> Reply {
    let (head, text) = response.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(
            http::HeaderName::try_from(name).unwrap(),
            http::HeaderValue::try_from(value).unwrap(),
        );
    }
    Reply { status, headers, text: text.to_owned() }
}

/// Returns the bytes of the object under the key `file`.
pub(crate) async fn stored(storage: &Storage) -> Vec<u8> {
    storage.open("file").await.unwrap().bytes().await.unwrap().to_vec()
}

/// Returns the keys of objects, without those of unfinished uploads.
pub(crate) async fn objects(storage: &Storage) -> Vec<String> {
    let keys = storage.list("").keys().await.unwrap();
    let keys = keys.into_iter().map(|key| key.to_string());
    keys.filter(|key| !key.starts_with(".uploads/")).collect()
}

/// Sends a form whose body breaks off before its last bytes.
pub(crate) async fn post_broken_form(
    uploads: &Uploads,
    uri: &str,
    (content_type, body): (String, Vec<u8>),
    missing: usize,
) -> Reply {
    // In small pieces, so that the form is parsed up to the error.
    let pieces = body[..body.len() - missing].chunks(4).map(Bytes::copy_from_slice);
    let frames: Vec<_> = pieces
        .map(|piece| Ok(http_body::Frame::data(piece)))
        .chain([Err(std::io::Error::other("the client is gone"))])
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post(uri)
        .header("host", "files.example.com")
        .header("content-type", content_type)
        .body(body);
    send(uploads, request.unwrap()).await
}
