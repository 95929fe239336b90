//! [`Request`]: what a client sent.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// A request that a [`Peer`](super::Peer) received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The number of requests that the peer received before this one, on any connection.
    pub index: usize,
    /// The method, such as `GET`.
    pub method: String,
    /// Path and query, as the client sent them.
    pub target: String,
    /// The headers in their order, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub body: Bytes,
    /// Whether the body reached its end. False if the client closed the connection before.
    pub is_complete: bool,
}

impl Request {
    /// Returns the first value of a header. The name is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns method, target and headers as text, one a line: `GET /a.txt`, `host: example.com`.
    #[must_use]
    pub fn head(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        format!("{} {}\n", self.method, self.target) + &headers.collect::<String>()
    }

    /// Returns the body as text, with replacement characters for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Returns a copy without the headers whose names begin with `prefix`, as a server sees the
    /// request that does not implement them.
    #[must_use]
    pub fn without_headers(&self, prefix: &str) -> Self {
        let mut request = self.clone();
        request.headers.retain(|(name, _)| !name.starts_with(prefix));
        request
    }

    /// Returns the positions that the header `Range` selects of a body of `size` bytes, cut at the
    /// end of the body. `None` without the header, and if it is not a single range of bytes (RFC
    /// 9110, section 14.1.2).
    #[must_use]
    pub fn range(&self, size: usize) -> Option<Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            return Some(size.saturating_sub(last.parse().ok()?)..size);
        }
        let end = match last {
            "" => size,
            last => last.parse::<usize>().ok()?.saturating_add(1).min(size),
        };
        Some(first.parse().ok()?..end)
    }

    /// Reads the next request of a connection; `None` at its end.
    pub(super) async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let Some(first) = line(socket).await? else { return Ok(None) };
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let Some(header) = line(socket).await? else { return Ok(None) };
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request =
            Self { index: 0, method, target, headers, body: Bytes::new(), is_complete: true };
        request.read_body(socket).await?;
        Ok(Some(request))
    }

    async fn read_body(&mut self, socket: &mut BufReader<TcpStream>) -> io::Result<()> {
        let mut body = Vec::new();
        if let Some(length) = self.header("content-length") {
            let length: u64 = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            let read = socket.take(length).read_to_end(&mut body).await?;
            self.is_complete = read as u64 == length;
        } else if self.header("transfer-encoding").is_some() {
            self.is_complete = read_chunks(socket, &mut body).await?;
        }
        self.body = body.into();
        Ok(())
    }
}

/// Reads a line without its end; `None` at the end of the connection.
async fn line(socket: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    Ok(line.strip_suffix("\r\n").map(str::to_owned))
}

/// Reads a chunked body (RFC 9112, section 7.1). Returns whether its last chunk arrived.
async fn read_chunks(socket: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<bool> {
    while let Some(size) = line(socket).await? {
        let size = u64::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        socket.take(size).read_to_end(body).await?;
        line(socket).await?;
        if size == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
