//! [`Response`]: what the peer sends, byte by byte.

use std::fmt::{self, Display, Write as _};
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::request::Request;

/// A response, and where its transmission stops.
///
/// [`new`](Self::new) adds a `Content-Length` that matches the body unless a header sets the
/// framing, and responds to HEAD without a body. The connection is kept for the next request unless
/// a method changes this.
///
/// A response that cannot be received completely counts as a *fault*. Any other response that a
/// test means as a fault, such as one with a wrong header, is marked with [`fault`](Self::fault).
#[derive(Debug, Clone)]
#[must_use = "the peer sends only what the script returns"]
pub struct Response {
    /// `None` for raw bytes.
    head: Option<Head>,
    body: Vec<Step>,
    delay: Option<Gate>,
    /// How many bytes of the body are sent.
    limit: usize,
    end: End,
    is_fault: bool,
}

#[derive(Debug, Clone)]
struct Head {
    status: String,
    /// Each ends with `\r\n`.
    lines: String,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Bytes),
    Wait(Gate),
}

/// What follows the bytes of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NextRequest,
    Close,
    Reset,
    Stall,
}

impl Response {
    /// Creates a response with a status (`404` or `"404 Not Found"`), without headers or body.
    pub fn new(status: impl Display) -> Self {
        let mut status = status.to_string();
        if !status.contains(' ') {
            status.push_str(" Scripted");
        }
        Self::with(Some(Head { status, lines: String::new() }))
    }

    /// Creates a response with the status 200 and a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::new("200 OK").body(body)
    }

    /// Creates a response of exactly these bytes, regardless of the request: they contain status
    /// line, headers and body, or something that is not HTTP.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::with(None).body(bytes)
    }

    /// Creates a fault: no byte is sent, and the connection stays open.
    pub fn never() -> Self {
        Self::with(None).stall()
    }

    /// Creates a fault: the connection is closed without a response.
    pub fn disconnect() -> Self {
        Self::with(None).cut_after(0)
    }

    fn with(head: Option<Head>) -> Self {
        Self {
            head,
            body: Vec::new(),
            delay: None,
            limit: usize::MAX,
            end: End::NextRequest,
            is_fault: false,
        }
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: impl Display) -> Self {
        self.headers(&format!("{name}: {value}\r\n"))
    }

    /// Adds header lines as they are, each ended by `\r\n`.
    ///
    /// # Panics
    /// If the response is [`raw`](Self::raw).
    pub fn headers(mut self, lines: &str) -> Self {
        let head = self.head.as_mut().expect("raw bytes contain their headers");
        head.lines.push_str(lines);
        self
    }

    /// Appends bytes to the body.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body.push(Step::Send(bytes.into()));
        self
    }

    /// Holds back what is appended to the body after this call until the gate is open.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.body.push(Step::Wait(gate.clone()));
        self
    }

    /// Holds back the whole response until the gate is open.
    pub fn delay(mut self, gate: &Gate) -> Self {
        self.delay = Some(gate.clone());
        self
    }

    /// Reduces the response to the range that the request selects, with the status 206 and a
    /// `Content-Range`; with the status 416 if the body has no byte in the range. Returns the
    /// response unchanged if the request has no range.
    ///
    /// # Panics
    /// If the response is [`raw`](Self::raw).
    pub fn in_range(mut self, request: &Request) -> Self {
        let whole = self.bytes();
        let size = whole.len();
        let Some(range) = request.range(size) else { return self };
        let head = self.head.as_mut().expect("raw bytes contain their headers");
        let (part, content_range) = if range.is_empty() {
            head.status = "416 Range Not Satisfiable".to_owned();
            (Bytes::new(), format!("bytes */{size}"))
        } else {
            head.status = "206 Partial Content".to_owned();
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            (whole.slice(range), content_range)
        };
        self.body = vec![Step::Send(part)];
        self.header("content-range", content_range)
    }

    /// Closes the connection after the response. Adds `Connection: close`, unless the response is
    /// [`raw`](Self::raw).
    pub fn close(mut self) -> Self {
        self.end = End::Close;
        if self.head.is_some() { self.header("connection", "close") } else { self }
    }

    /// Marks the response as a fault.
    pub fn fault(mut self) -> Self {
        self.is_fault = true;
        self
    }

    /// Makes the response a fault: the connection is closed after `bytes` bytes of the body; of a
    /// [`raw`](Self::raw) response, after `bytes` bytes.
    pub fn cut_after(self, bytes: usize) -> Self {
        self.ends_after(bytes, End::Close)
    }

    /// Makes the response a fault: the connection is reset after `bytes` bytes of the body. The
    /// client may lose bytes that it has not read before.
    pub fn reset_after(self, bytes: usize) -> Self {
        self.ends_after(bytes, End::Reset)
    }

    /// Makes the response a fault: nothing is sent after `bytes` bytes of the body, and the
    /// connection stays open until the client closes it.
    pub fn stall_after(self, bytes: usize) -> Self {
        self.ends_after(bytes, End::Stall)
    }

    /// Makes the response a fault: nothing is sent after it, and the connection stays open until
    /// the client closes it.
    pub fn stall(self) -> Self {
        self.ends_after(usize::MAX, End::Stall)
    }

    fn ends_after(mut self, bytes: usize, end: End) -> Self {
        (self.limit, self.end) = (bytes, end);
        self.fault()
    }

    pub(super) fn is_fault(&self) -> bool {
        self.is_fault
    }

    /// Joins the body to one piece.
    fn bytes(&self) -> Bytes {
        let mut pieces = self.body.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(bytes),
            Step::Wait(_) => None,
        });
        match (pieces.next(), pieces.next()) {
            (None, _) => Bytes::new(),
            (Some(piece), None) => piece.clone(),
            (Some(first), Some(second)) => {
                let mut joined = BytesMut::from(&first[..]);
                for piece in std::iter::once(second).chain(pieces) {
                    joined.extend_from_slice(piece);
                }
                joined.freeze()
            }
        }
    }

    /// Sends the response. Returns whether another request may follow.
    pub(super) async fn send(
        &self,
        socket: &mut BufReader<TcpStream>,
        request: &Request,
    ) -> io::Result<bool> {
        if let Some(gate) = &self.delay {
            gate.wait().await;
        }
        // Sent in one piece until a gate holds it back, so that no time passes between the head and
        // the body.
        let mut unsent = Vec::new();
        if let Some(head) = &self.head {
            unsent.extend_from_slice(head.on_the_wire(self.bytes().len()).as_bytes());
        }
        let mut left = self.limit;
        if self.head.is_none() || request.method != "HEAD" {
            for step in &self.body {
                match step {
                    Step::Wait(gate) if left > 0 => {
                        socket.write_all(&std::mem::take(&mut unsent)).await?;
                        gate.wait().await;
                    }
                    Step::Wait(_) => {}
                    Step::Send(bytes) => {
                        let sent = bytes.len().min(left);
                        unsent.extend_from_slice(&bytes[..sent]);
                        left -= sent;
                    }
                }
            }
        }
        socket.write_all(&unsent).await?;
        socket.flush().await?;
        match self.end {
            End::NextRequest => return Ok(true),
            // Without waiting for the client, the system may reset the connection and discard what
            // it has not delivered.
            End::Close => {
                socket.shutdown().await?;
                tokio::io::copy(socket, &mut tokio::io::sink()).await?;
            }
            End::Stall => {
                tokio::io::copy(socket, &mut tokio::io::sink()).await?;
            }
            #[allow(deprecated, reason = "a linger time of zero does not block")]
            End::Reset => socket.get_ref().set_linger(Some(std::time::Duration::ZERO))?,
        }
        Ok(false)
    }
}

impl Head {
    fn on_the_wire(&self, length: usize) -> String {
        let mut head = format!("HTTP/1.1 {}\r\n{}", self.status, self.lines);
        let names = self.lines.split("\r\n").filter_map(|line| line.split_once(':'));
        let is_framed = names.into_iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        // RFC 9110, section 8.6.
        let has_length = !is_framed && !self.status.starts_with("204") && !self.is_not_modified();
        if has_length {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head + "\r\n"
    }

    fn is_not_modified(&self) -> bool {
        self.status.starts_with("304")
    }
}

/// Holds back the bytes of a [`Response`] until the test opens it. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens the gate. It stays open.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        // Fails only without a sender, and `self` is one.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &*self.0.borrow()).finish()
    }
}
