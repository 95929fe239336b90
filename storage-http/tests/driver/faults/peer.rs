//! [`Peer`]: a server on a socket of its own that answers as a test says, byte by byte.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use storage_core::Storage;
use storage_http::{Http, HttpBuilder};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// How long what stalls may stall where a test waits for it.
const PATIENCE: Duration = Duration::from_millis(800);

/// When the files of the peer were saved, long before `DATE`.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) is_whole: bool,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What comes after the bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next request.
    GoOn,
    /// The end of the connection.
    Close,
    /// Nothing, until the driver goes away.
    Stall,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    then: Then,
    is_fault: bool,
}

impl Reply {
    /// These bytes, and the next request.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), then: Then::GoOn, is_fault: false }
    }

    /// A status and headers, each line of them ended by `\r\n`, and a body whose length is told.
    pub(crate) fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        let mut bytes =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }

    /// This is what goes wrong.
    pub(crate) fn fault(mut self) -> Self {
        self.is_fault = true;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Without the last bytes.
    pub(crate) fn without_last(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        self
    }
}

/// A file as a sound server shows it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) bytes: Bytes,
    pub(crate) etag: &'static str,
}

impl File {
    pub(crate) fn new(bytes: impl Into<Bytes>, etag: &'static str) -> Self {
        Self { bytes: bytes.into(), etag }
    }

    pub(crate) fn headers(&self) -> String {
        let etag =
            if self.etag.is_empty() { String::new() } else { format!("ETag: {}\r\n", self.etag) };
        format!("{etag}Last-Modified: {MODIFIED}\r\nDate: {DATE}\r\nContent-Type: text/plain\r\n")
    }

    /// The answer to a GET or HEAD, with a range and `If-Match`.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        if asked.header("if-match").is_some_and(|wanted| wanted != self.etag) {
            return Reply::new("412 Precondition Failed", "", b"");
        }
        let (size, headers) = (self.bytes.len(), self.headers());
        let range = asked.header("range").map(|range| {
            let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let to = if to.is_empty() { size } else { size.min(to.parse::<usize>().unwrap() + 1) };
            (from.parse::<usize>().unwrap(), to)
        });
        match range {
            _ if asked.method == "HEAD" => {
                Reply::raw(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {size}\r\n\r\n"))
            }
            Some((from, to)) => {
                let headers = format!("{headers}Content-Range: bytes {from}-{}/{size}\r\n", to - 1);
                Reply::new("206 Partial Content", &headers, &self.bytes[from..to])
            }
            None => Reply::new("200 OK", &headers, &self.bytes),
        }
    }

    /// All of it, whatever was asked.
    pub(crate) fn whole(&self) -> Reply {
        Reply::new("200 OK", &self.headers(), &self.bytes)
    }
}

#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    fired: usize,
}

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// A server that answers as its script says, which is told the request and how many were before.
pub(crate) struct Peer {
    url: Url,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start(
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/files/", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (script, shared): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                // A driver that goes away is no error.
                tokio::spawn(async move { converse(socket, &*script, &seen).await });
            }
        });
        Self { url, seen, accepting }
    }

    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// A driver for it.
    pub(crate) fn http(&self) -> HttpBuilder {
        Http::builder(self.url())
    }

    /// A driver for it that soon gives up on what stalls.
    pub(crate) fn impatient(&self) -> HttpBuilder {
        self.http().header_timeout(PATIENCE).idle_timeout(PATIENCE)
    }

    pub(crate) fn storage(&self) -> Storage {
        Storage::new(self.http().build().unwrap())
    }

    pub(crate) fn impatient_storage(&self) -> Storage {
        Storage::new(self.impatient().writable(true).build().unwrap())
    }

    pub(crate) fn writable(&self) -> Storage {
        Storage::new(self.http().writable(true).build().unwrap())
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    /// How often what goes wrong went wrong.
    pub(crate) fn fired(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fired
    }

    /// A fault that did not come to pass has proved nothing.
    #[track_caller]
    pub(crate) fn assert_fired(&self) {
        assert!(self.fired() > 0, "the fault never came to pass: {:#?}", self.asked());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn converse(socket: TcpStream, script: &Script, seen: &Mutex<Seen>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(asked) = read(&mut socket).await? {
        let reply = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = script(&asked, seen.asked.len());
            seen.asked.push(asked);
            seen.fired += usize::from(reply.is_fault);
            reply
        };
        socket.write_all(&reply.bytes).await?;
        socket.flush().await?;
        match reply.then {
            Then::GoOn => {}
            Then::Close => {
                // Not a reset, which could overtake what was sent.
                socket.shutdown().await?;
                tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
                return Ok(());
            }
            Then::Stall => {
                tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn line(socket: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    Ok(line.strip_suffix("\r\n").map(str::to_owned))
}

async fn read(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let Some(first) = line(socket).await? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = BTreeMap::new();
    while let Some(header) = line(socket).await?.filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once(": ").ok_or(io::ErrorKind::InvalidData)?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut asked = Asked { method, path, headers, body: Vec::new(), is_whole: true };
    if let Some(len) = asked.header("content-length").map(|len| len.parse::<u64>().unwrap()) {
        let read = socket.take(len).read_to_end(&mut asked.body).await?;
        asked.is_whole = read as u64 == len;
    } else if asked.header("transfer-encoding").is_some() {
        asked.is_whole = read_chunks(socket, &mut asked.body).await?;
    }
    Ok(Some(asked))
}

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
