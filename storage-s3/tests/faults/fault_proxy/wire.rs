//! The parts of HTTP/1.1 that a client of S3 uses.

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// A connection of the driver.
pub(crate) type Socket = BufReader<TcpStream>;

/// A request. Its body is empty until it has been read.
pub(crate) type RecordedRequest = Request<Bytes>;

/// The longest line of a head.
const MAX_LINE: u64 = 64 * 1024;

/// A response.
#[derive(Debug, Clone)]
pub(crate) struct CannedResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl CannedResponse {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    /// Returns an error document of S3.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>on purpose</Message>\
             <RequestId>4442587FB7D0A2F9</RequestId><HostId>aGVyZQ==</HostId></Error>"
        );
        Self::new(status, document).header("content-type", "application/xml")
    }

    /// Returns a web page, which is not a response of S3.
    pub(crate) fn web_page(status: u16) -> Self {
        let page = "<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>Sign in</p></body></html>";
        Self::new(status, page).header("content-type", "text/html")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(name, value.parse().unwrap());
    }

    /// Returns the head as it is sent. Contains the length of the body, unless a length is among
    /// the headers, as in the response to a HEAD.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Canned\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        let has_none = self.status == 204 || self.status == 304;
        if !self.headers.contains_key("content-length") && !has_none {
            head.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Reads the head of the next request. Returns `None` if the driver closed the connection.
pub(crate) async fn read_head(socket: &mut Socket) -> io::Result<Option<RecordedRequest>> {
    let Some(first) = read_line(socket).await? else { return Ok(None) };
    let mut words = first.split(' ');
    let method: Method = parsed(words.next())?;
    let uri: Uri = parsed(words.next())?;
    let mut headers = HeaderMap::new();
    loop {
        let line = read_line(socket).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").ok_or(io::ErrorKind::InvalidData)?;
        headers.append(parsed::<HeaderName>(Some(name))?, parsed::<HeaderValue>(Some(value))?);
    }
    let mut request = Request::new(Bytes::new());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    Ok(Some(request))
}

/// Reads the body. Every request of the driver states its length.
pub(crate) async fn read_body(
    socket: &mut Socket,
    request: &mut RecordedRequest,
) -> io::Result<()> {
    let len: u64 = match request.headers().get("content-length") {
        Some(len) => parsed(len.to_str().ok())?,
        None => 0,
    };
    let mut body = BytesMut::with_capacity(usize::try_from(len).unwrap());
    let mut limited = socket.take(len);
    while limited.read_buf(&mut body).await? > 0 {}
    if body.len() as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *request.body_mut() = body.freeze();
    Ok(())
}

/// Returns once the driver closes the connection.
pub(crate) async fn gone(socket: &mut Socket) {
    // The driver sends no second request before the first response.
    while socket.fill_buf().await.is_ok_and(|read| !read.is_empty()) {
        std::future::pending::<()>().await;
    }
}

async fn read_line(socket: &mut Socket) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    socket.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(String::from_utf8(line.to_vec()).map_err(|_| io::ErrorKind::InvalidData)?))
}

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> io::Result<T> {
    text.and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}
