//! [`Staged`]: a mirror that does what a test says, request by request, on real sockets.
//!
//! It speaks HTTP/1.1 by hand, since most faults are in the bytes on the wire. It writes down what
//! it was asked and what it did, so that no test passes because its fault never came to pass, and a
//! test waits for events of it, never for time. It lives on a runtime of its own: a test may stop
//! and turn on its own clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use storage_core::ObjectMeta;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use url::Url;

/// For how long an event is waited for that must come: a test that fails takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done about a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// This is answered.
    Say(Answer),
    /// Nothing is ever answered.
    BlackHole,
    /// The connection is closed before an answer.
    Close,
    /// The head of the answer stops in the middle.
    StallHead(Answer),
    /// After so many bytes of the body nothing more comes.
    StallBody(Answer, usize),
    /// After so many bytes of the body the connection is closed.
    CutBody(Answer, usize),
    /// These bytes are sent in place of an answer, and the connection is closed.
    Babble(Bytes),
    /// This is answered once the gate is open.
    Hold(Gate, Answer),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    /// What was done about it.
    pub(crate) act: &'static str,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Held answers go on once it is open.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

type Script = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// A mirror. Dropping it breaks off all connections.
pub(crate) struct Staged {
    address: SocketAddr,
    record: Arc<Record>,
    accepting: AbortHandle,
}

struct Record {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    /// Says that there is something new.
    news: watch::Sender<()>,
}

impl Staged {
    pub(crate) fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Arc::new(script);
        let record = Arc::new(Record {
            script: Mutex::new(script),
            asked: Mutex::default(),
            news: watch::Sender::new(()),
        });
        let accepting = runtime().spawn(accept(listener, Arc::clone(&record))).abort_handle();
        Self { address, record, accepting }
    }

    /// From now on it does this.
    pub(crate) fn now(&self, script: impl Fn(&Asked) -> Act + Send + Sync + 'static) {
        *self.record.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/", self.address).parse().unwrap()
    }

    /// All that it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.record.asked().clone()
    }

    /// How often it was asked for something that begins so: `"GET /download/"`.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.record.count(start)
    }

    /// How often it did this: `"StallBody"`.
    pub(crate) fn fired(&self, act: &str) -> usize {
        self.record.asked().iter().filter(|asked| asked.act == act).count()
    }

    /// Waits until it has been asked so often for something that begins so.
    pub(crate) async fn until(&self, start: &'static str, count: usize) {
        let record = Arc::clone(&self.record);
        // On its own clock, which no test turns on.
        let waiting = runtime().spawn(async move {
            let mut news = record.news.subscribe();
            let came = async {
                while record.count(start) < count {
                    let _ = news.changed().await;
                }
            };
            tokio::time::timeout(PATIENCE, came).await.is_ok()
        });
        assert!(
            waiting.await.unwrap(),
            "{start:?} was waited for {count} times in vain: {:#?}",
            self.asked()
        );
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Record {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, start: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| format!("{} {}", asked.method, asked.target).starts_with(start))
            .count()
    }

    fn act_for(&self, mut asked: Asked) -> Act {
        let script = Arc::clone(&self.script.lock().unwrap_or_else(PoisonError::into_inner));
        let act = script(&asked);
        asked.act = act.name();
        self.asked().push(asked);
        self.news.send_replace(());
        act
    }
}

impl Act {
    fn name(&self) -> &'static str {
        match self {
            Self::Say(_) => "Say",
            Self::BlackHole => "BlackHole",
            Self::Close => "Close",
            Self::StallHead(_) => "StallHead",
            Self::StallBody(..) => "StallBody",
            Self::CutBody(..) => "CutBody",
            Self::Babble(_) => "Babble",
            Self::Hold(..) => "Hold",
        }
    }
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The positions that a range asks for, of an object of this size.
    pub(crate) fn range(&self, size: usize) -> Option<std::ops::Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let end = last.parse().map_or(size, |last: usize| last + 1).min(size);
        Some(first.parse().ok()?..end)
    }
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An object, as our own server tells it.
    pub(crate) fn object(meta: &ObjectMeta, body: impl Into<Bytes>) -> Self {
        Self::foreign(meta.etag.as_ref().unwrap().to_string(), body)
            .header("cache-status", "anystorage; hit")
    }

    /// An object with an ETag of the mirror's own.
    pub(crate) fn foreign(etag: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(200) }
            .header("etag", etag)
            .header("content-type", "a/b")
    }

    /// The answer to a verification.
    pub(crate) fn verdict(available: bool) -> Self {
        Self::json(&format!(
            r#"{{"available": {available}, "file": "x", "error": false, "error_msg": null}}"#
        ))
    }

    pub(crate) fn json(text: &str) -> Self {
        Self { body: Bytes::copy_from_slice(text.as_bytes()), ..Self::new(200) }
            .header("content-type", "application/json")
    }

    /// The part that was asked for, if a part was asked for.
    pub(crate) fn part_for(self, asked: &Asked) -> Self {
        let size = self.body.len();
        let Some(range) = asked.range(size) else { return self };
        let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        Self { status: 206, body: self.body.slice(range), ..self }.header("content-range", told)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The head, as it goes over the wire. The body's length is told unless a length or a coding is
    /// among the headers.
    fn head(&self) -> Bytes {
        let mut head = format!("HTTP/1.1 {} Said\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let framed = self
            .headers
            .iter()
            .any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        let has_none = self.status == 204 || self.status == 304;
        if !framed && !has_none {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        Bytes::from(head + "\r\n")
    }
}

impl From<Answer> for Act {
    fn from(answer: Answer) -> Self {
        Self::Say(answer)
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }
}

/// Where nobody listens.
pub(crate) fn closed_port() -> Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

async fn accept(listener: std::net::TcpListener, record: Arc<Record>) {
    let listener = TcpListener::from_std(listener).unwrap();
    // They end with this task.
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let record = Arc::clone(&record);
        conversations.spawn(async move {
            // A driver that goes away is its own business.
            let _ = converse(socket, &record).await;
        });
        while conversations.try_join_next().is_some() {}
    }
}

async fn converse(mut socket: TcpStream, record: &Record) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut read = BytesMut::new();
    while let Some(asked) = next(&mut socket, &mut read).await? {
        let is_head = asked.method == "HEAD";
        match record.act_for(asked) {
            Act::Say(answer) => say(&mut socket, &answer, is_head).await?,
            Act::Hold(gate, answer) => {
                let _ = gate.0.subscribe().wait_for(|is_open| *is_open).await;
                say(&mut socket, &answer, is_head).await?;
            }
            Act::BlackHole => std::future::pending::<()>().await,
            Act::Close => return Ok(()),
            Act::StallHead(answer) => {
                let head = answer.head();
                socket.write_all(&head[..head.len() / 2]).await?;
                std::future::pending::<()>().await;
            }
            Act::StallBody(answer, bytes) => {
                socket.write_all(&answer.head()).await?;
                socket.write_all(&answer.body[..bytes]).await?;
                std::future::pending::<()>().await;
            }
            Act::CutBody(answer, bytes) => {
                socket.write_all(&answer.head()).await?;
                socket.write_all(&answer.body[..bytes]).await?;
                return socket.shutdown().await;
            }
            Act::Babble(bytes) => {
                socket.write_all(&bytes).await?;
                return socket.shutdown().await;
            }
        }
    }
    Ok(())
}

async fn say(socket: &mut TcpStream, answer: &Answer, is_head: bool) -> std::io::Result<()> {
    socket.write_all(&answer.head()).await?;
    if is_head { Ok(()) } else { socket.write_all(&answer.body).await }
}

/// The next request; `None` if the driver has closed the connection. No request of the driver to a
/// mirror has a body.
async fn next(socket: &mut TcpStream, read: &mut BytesMut) -> std::io::Result<Option<Asked>> {
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(read.split_to(end + 4).to_vec())
        .map_err(|_| std::io::ErrorKind::InvalidData)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Some(Asked { method, target, headers: headers.collect(), act: "" }))
}
