//! [`TestMirror`]: a small mirror server that caches origin in memory, with planned faults.
//!
//! It sends the `Cache-Status` of the mirror of this project. It runs on a runtime of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use storage_core::{
    BoxError, ByteRange, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result, Storage,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use url::Url;

pub(crate) const TOKEN: &str = "canary-token-of-the-tests";
/// Larger objects are forwarded without caching.
const LARGEST_KEPT: u64 = 8 * 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The behaviour of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Healthy,
    /// Every other request fails, in varying ways.
    Flapping,
    /// Most responses to downloads are wrong in a way that a length or a validator shows.
    Lying,
}

/// A mirror server. Dropping it breaks off all connections.
pub(crate) struct TestMirror {
    address: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    kind: Kind,
    origin: Storage,
    kept: Mutex<Kept>,
    requests: AtomicUsize,
    downloads: AtomicUsize,
    wrong: AtomicUsize,
    purges: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    objects: HashMap<Key, Arc<Stored>>,
    /// Purged objects, for wrong responses.
    old: HashMap<Key, Arc<Stored>>,
    /// How often each key was purged: a fetch that began before a purge must not store its result.
    purged: HashMap<Key, usize>,
}

struct Stored {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl TestMirror {
    pub(crate) fn start(kind: Kind, origin: Storage) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let zero = AtomicUsize::default;
        let (requests, downloads, wrong, purges) = (zero(), zero(), zero(), zero());
        let state = Arc::new(State {
            kind,
            origin,
            kept: Mutex::default(),
            requests,
            downloads,
            wrong,
            purges,
        });
        let accepting = runtime().spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Self { address, state, accepting }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/", self.address).parse().unwrap()
    }

    /// Returns how many responses to downloads were wrong on purpose.
    pub(crate) fn wrong(&self) -> usize {
        self.state.wrong.load(Ordering::SeqCst)
    }

    /// Returns how many purges it has performed.
    pub(crate) fn purges(&self) -> usize {
        self.state.purges.load(Ordering::SeqCst)
    }

    /// Returns whether it has cached an object.
    pub(crate) fn keeps(&self, key: &str) -> bool {
        self.state.kept().objects.contains_key(key)
    }
}

impl Drop for TestMirror {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    // The connections end with this task.
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        conversations.spawn(converse(socket, Arc::clone(&state)));
        while conversations.try_join_next().is_some() {}
    }
}

async fn converse(socket: TcpStream, state: Arc<State>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.respond(&request).await) }
    });
    // A client may close its connection at any time.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

impl State {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let is_download = request.uri().path().starts_with("/download/");
        if self.kind == Kind::Flapping && number % 2 == 1 {
            if is_download {
                self.wrong.fetch_add(1, Ordering::SeqCst);
            }
            return status(if number % 4 == 1 { 500 } else { 503 });
        }
        let path = request.uri().path().trim_start_matches('/');
        let (route, key) = path.split_once('/').unwrap_or((path, ""));
        let key =
            percent_decode_str(key).decode_utf8().ok().and_then(|key| Key::new(key.as_ref()).ok());
        match (request.method(), route, key) {
            (&Method::GET | &Method::HEAD, "download", Some(key)) => {
                let options = options_of(request.headers());
                self.download(&key, &options).await.unwrap_or_else(|error| refusal(error.kind()))
            }
            (&Method::GET, "verify", Some(key)) => {
                let available = self.find(&key).await.is_ok();
                let verdict = format!(
                    r#"{{"available": {available}, "file": "x", "error": false, "error_msg": null}}"#
                );
                Response::new(
                    Full::new(Bytes::from(verdict)).map_err(|never| match never {}).boxed_unsync(),
                )
            }
            (&Method::POST, "purge", Some(key)) => {
                let expected = format!("Bearer {TOKEN}");
                if request
                    .headers()
                    .get(AUTHORIZATION)
                    .is_none_or(|value| value.as_bytes() != expected.as_bytes())
                {
                    return status(401);
                }
                self.purge(&key);
                status(204)
            }
            _ => status(404),
        }
    }

    fn purge(&self, key: &Key) {
        let mut kept = self.kept();
        *kept.purged.entry(key.clone()).or_default() += 1;
        if let Some(old) = kept.objects.remove(key) {
            kept.old.insert(key.clone(), old);
        }
        self.purges.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns a cached object, or fetches it.
    async fn find(&self, key: &Key) -> Result<std::result::Result<Arc<Stored>, Object>> {
        let before = {
            let kept = self.kept();
            if let Some(stored) = kept.objects.get(key) {
                return Ok(Ok(Arc::clone(stored)));
            }
            kept.purged.get(key).copied()
        };
        let object = self.origin.open(key).await?;
        if object.meta().size > LARGEST_KEPT {
            return Ok(Err(object));
        }
        let meta = object.meta().clone();
        let stored = Arc::new(Stored { meta, bytes: object.bytes().await? });
        let mut kept = self.kept();
        if kept.purged.get(key).copied() == before {
            kept.objects.insert(key.clone(), Arc::clone(&stored));
        }
        Ok(Ok(stored))
    }

    async fn download(&self, key: &Key, options: &OpenOptions) -> Result<Response<Body>> {
        let number = self.downloads.fetch_add(1, Ordering::SeqCst);
        match self.find(key).await? {
            Ok(stored) if self.kind == Kind::Lying && !number.is_multiple_of(7) => {
                self.lie(number, key, &stored, options)
            }
            Ok(stored) => stored.respond(options),
            // Forwards the requested version.
            Err(_) => {
                let mut open = self.origin.open(key);
                if let Some(range) = options.range {
                    open = open.range(range);
                }
                let object = open.await?;
                options.check(object.meta())?;
                Ok(whole(object, options.range.is_some()))
            }
        }
    }

    fn lie(
        &self,
        number: usize,
        key: &Key,
        stored: &Stored,
        options: &OpenOptions,
    ) -> Result<Response<Body>> {
        let old = self.kept().old.get(key).cloned();
        self.wrong.fetch_add(1, Ordering::SeqCst);
        match number % 7 {
            1 => {
                // A longer length.
                let mut meta = stored.meta.clone();
                meta.size += 10;
                let mut response = head(&meta);
                *response.body_mut() = broken_off(stored.bytes.clone());
                Ok(response)
            }
            2 => {
                // A correct body that breaks off in the middle.
                let mut response = head(&stored.meta);
                *response.body_mut() = broken_off(stored.bytes.slice(..stored.bytes.len() / 2));
                Ok(response)
            }
            3 => {
                // Another object of the same length.
                let other = Stored {
                    meta: stored.meta.clone(),
                    bytes: Bytes::from(vec![b'?'; stored.bytes.len()]),
                };
                let mut response = other.respond(options)?;
                response.headers_mut().insert("etag", "\"of-another-object\"".parse().unwrap());
                Ok(response)
            }
            4 => match old {
                // A purged version.
                Some(old) => old.respond(options),
                None => Ok(status(404)),
            },
            5 => Ok(status(304)),
            _ => {
                // Another range.
                let mut response = head(&stored.meta);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let size = stored.bytes.len();
                response.headers_mut().insert("content-length", "1".parse().unwrap());
                response.headers_mut().insert(
                    "content-range",
                    format!("bytes {size}-{size}/{}", size + 1).parse().unwrap(),
                );
                *response.body_mut() = full(Bytes::from_static(b"?"));
                Ok(response)
            }
        }
    }
}

impl Stored {
    fn respond(&self, options: &OpenOptions) -> Result<Response<Body>> {
        options.check(&self.meta)?;
        let size = self.meta.size;
        let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
        let bytes = self.bytes.slice(range.start as usize..range.end as usize);
        Ok(whole(Object::from_bytes(self.meta.clone(), range, bytes), options.range.is_some()))
    }
}

/// Returns the response for an object or a range of it.
fn whole(object: Object, is_part: bool) -> Response<Body> {
    let mut response = head(object.meta());
    let (range, size) = (object.range(), object.meta().size);
    response.headers_mut().insert("content-length", object.content_length().into());
    if is_part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range_header = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.headers_mut().insert("content-range", range_header.parse().unwrap());
    }
    let chunks = object.into_stream().map_ok(Frame::data).map_err(BoxError::from);
    *response.body_mut() = StreamBody::new(chunks).boxed_unsync();
    response
}

/// Returns the headers of an object, including its length.
fn head(meta: &ObjectMeta) -> Response<Body> {
    let mut response = status(200);
    let headers = response.headers_mut();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
    };
    let stored = &meta.metadata;
    put("cache-status", Some("anystorage; hit".to_owned()));
    put("content-length", Some(meta.size.to_string()));
    put("etag", meta.etag.as_ref().map(ToString::to_string));
    put("last-modified", meta.last_modified.map(httpdate::fmt_http_date));
    put("content-type", stored.content_type.clone());
    put("content-encoding", stored.content_encoding.clone());
    put("content-disposition", stored.content_disposition.clone());
    put("content-language", stored.content_language.clone());
    put("cache-control", stored.cache_control.clone());
    put("expires", stored.expires.map(httpdate::fmt_http_date));
    for (name, value) in &stored.user_metadata {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        put(&format!("x-storage-meta-{name}"), Some(value));
    }
    response
}

fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn refusal(kind: ErrorKind) -> Response<Body> {
    status(match kind {
        ErrorKind::NotFound => 404,
        ErrorKind::PreconditionFailed => 412,
        ErrorKind::NotModified => 304,
        ErrorKind::RangeNotSatisfiable => 416,
        _ => 502,
    })
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Returns a body that breaks off after these bytes.
fn broken_off(bytes: Bytes) -> Body {
    let end = stream::once(async {
        // The bytes are sent while the body is pending.
        tokio::task::yield_now().await;
        Err(BoxError::from("on purpose"))
    });
    StreamBody::new(stream::iter([Ok(Frame::data(bytes))]).chain(end)).boxed_unsync()
}

/// Reads the options of the driver's request.
fn options_of(headers: &HeaderMap) -> OpenOptions {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut options = OpenOptions::default();
    options.range = text(RANGE).and_then(|range| range.strip_prefix("bytes=")).and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some(match (first.parse().ok(), last.parse::<u64>().ok()) {
            (Some(first), Some(last)) => ByteRange::FromTo(first, last + 1),
            (Some(first), None) => ByteRange::From(first),
            (None, last) => ByteRange::Last(last?),
        })
    });
    options.if_match = text(IF_MATCH).and_then(|etag| etag.parse().ok());
    options.if_none_match = text(IF_NONE_MATCH).and_then(|etag| etag.parse().ok());
    options.if_modified_since =
        text(IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
    options
}
