//! An S3 server in this process: s3s-fs with multipart uploads ([`WithUploads`]), on a free port.
//!
//! All tests of a binary share one server, which runs on a thread and a runtime of its own. It
//! stores objects in a file system; [`S3S_FS`](super::known_failures::S3S_FS) lists its deviations
//! from S3.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use storage_core::Storage;
use storage_s3::{Quirks, S3Builder};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::requests::Requests;
use super::uploads::WithUploads;

pub(crate) const ACCESS_KEY_ID: &str = "AKINPROCESS";
/// Contains characters that need escaping.
pub(crate) const SECRET_ACCESS_KEY: &str = "canary/secret+of=the tests";
pub(crate) const REGION: &str = "us-east-1";

/// The server of this process.
pub(crate) struct Server {
    address: SocketAddr,
    buckets: Arc<Buckets>,
}

/// The service of each bucket, by its name.
type Buckets = Mutex<HashMap<String, Served>>;

/// Most buckets have a root directory of their own, because the server stores the data of all
/// buckets in one directory and reads all of it at times.
#[derive(Clone)]
struct Served {
    service: S3Service,
    requests: Arc<Requests>,
    /// Locked during a request, if there is only one at a time.
    turn: Option<Arc<tokio::sync::Mutex<()>>>,
}

/// A bucket for one test. Dropping it deletes all objects.
pub(crate) struct Bucket {
    name: String,
    /// The directory of the bucket and of those beside it.
    root: Arc<TempDir>,
    service: S3Service,
    requests: Arc<Requests>,
}

impl Server {
    /// Returns the server, and starts it for the first call.
    pub(crate) fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let buckets = Arc::<Buckets>::default();
        let served = Arc::clone(&buckets);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        std::thread::spawn(move || {
            runtime
                .block_on(async { serve(TcpListener::from_std(listener).unwrap(), served).await });
        });
        Self { address, buckets }
    }

    pub(crate) fn endpoint(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Creates a bucket that no other test uses.
    pub(crate) fn bucket(&self) -> Bucket {
        let root = tempfile::Builder::new().prefix("storage-s3-").tempdir().unwrap();
        let mut service = S3ServiceBuilder::new(WithUploads::new(root.path().to_owned()));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        self.bucket_in(Arc::new(root), service.build())
    }

    fn bucket_in(&self, root: Arc<TempDir>, service: S3Service) -> Bucket {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bucket-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(root.path().join(&name)).unwrap();
        let requests = Arc::<Requests>::default();
        let served =
            Served { service: service.clone(), requests: Arc::clone(&requests), turn: None };
        lock(&self.buckets).insert(name.clone(), served);
        Bucket { name, root, service, requests }
    }
}

impl Bucket {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Creates a bucket from and to which this one can copy. Their multipart uploads must have
    /// different keys.
    pub(crate) fn beside(&self) -> Self {
        Server::get().bucket_in(Arc::clone(&self.root), self.service.clone())
    }

    /// Returns the requests for this bucket.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Lets the server handle one request after the other. Otherwise it evaluates conditions before
    /// it has the bytes, so that several conditional saves of one version may succeed.
    pub(crate) fn take_turns(&self) {
        let mut buckets = lock(&Server::get().buckets);
        if let Some(served) = buckets.get_mut(&self.name) {
            served.turn = Some(Arc::default());
        }
    }

    /// Returns a builder for drivers of the bucket. The profile of MinIO fits the server: it
    /// ignores conditions of copies and has no ACLs.
    pub(crate) fn builder(&self) -> S3Builder {
        S3Builder::new(&self.name)
            .quirks(Quirks::Minio)
            .endpoint(Server::get().endpoint())
            .region(REGION)
            .access_key_id(ACCESS_KEY_ID)
            .secret_access_key(SECRET_ACCESS_KEY)
            .path_style(true)
            .allow_http(true)
    }

    pub(crate) fn storage(&self) -> Storage {
        Storage::new(self.builder().build().unwrap())
    }
}

impl Drop for Bucket {
    /// A request in progress may create files while they are removed.
    fn drop(&mut self) {
        lock(&Server::get().buckets).remove(&self.name);
        if Arc::strong_count(&self.root) > 1 {
            return;
        }
        for _ in 0..1_000 {
            match fs::remove_dir_all(self.root.path()) {
                Err(_) if self.root.path().exists() => std::thread::yield_now(),
                _ => return,
            }
        }
    }
}

fn lock(buckets: &Buckets) -> MutexGuard<'_, HashMap<String, Served>> {
    buckets.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, buckets: Arc<Buckets>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        tokio::spawn(converse(socket, Arc::clone(&buckets)));
    }
}

async fn converse(socket: TcpStream, buckets: Arc<Buckets>) {
    // Without it, a small response on a kept connection takes 44 ms.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let mut server = hyper::server::conn::http1::Builder::new();
    // Each piece of user metadata is a header. The default limit is 100.
    server.max_headers(1000);
    let response = service_fn(move |request| {
        let buckets = Arc::clone(&buckets);
        async move { Ok::<_, Infallible>(response(&buckets, request).await) }
    });
    // A client may disconnect at any time.
    let _ = server.serve_connection(TokioIo::new(socket), response).await;
}

async fn response(buckets: &Buckets, request: Request<Incoming>) -> Response<s3s::Body> {
    let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
    let served = lock(buckets).get(bucket).cloned();
    let Some(Served { service, requests, turn }) = served else { return no_such_bucket() };
    requests.count(&request);
    // Runs as a task of its own, so that the server finishes a request whose client disconnects.
    let request = request.map(|body| s3s::Body::http_body(ReadToItsEnd(Some(body))));
    let response = tokio::spawn(async move {
        let _turn = match turn {
            Some(turn) => Some(turn.lock_owned().await),
            None => None,
        };
        service.call(request).await
    });
    match response.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) | Err(_) => status(500, s3s::Body::empty()),
    }
}

/// The body of a request, which is read to its end even if the service ignores the rest. Otherwise
/// the connection would be closed while the client still sends, and the response would be lost.
struct ReadToItsEnd(Option<Incoming>);

impl Body for ReadToItsEnd {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for ReadToItsEnd {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        tokio::spawn(async move {
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        });
    }
}

fn no_such_bucket() -> Response<s3s::Body> {
    let error =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchBucket</Code></Error>";
    status(404, s3s::Body::from(error.to_owned()))
}

fn status(code: u16, body: s3s::Body) -> Response<s3s::Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code.try_into().unwrap();
    response
}
