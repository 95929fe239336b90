//! [`Peer`]: the server, and its record of requests.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use super::request::Request;
use super::response::Response;

/// How long [`Peer::until_requested`] waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

type Script = Box<dyn FnMut(&Request) -> Response + Send>;

/// An HTTP/1.1 server on the loopback interface that follows a script.
///
/// Serves any number of connections, and any number of requests on each. Dropping it closes the
/// port and all connections.
pub struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    /// Notified after each request.
    news: watch::Sender<()>,
}

struct State {
    script: Script,
    requests: Vec<Request>,
    fired: usize,
}

impl Peer {
    /// Starts a peer on a free port. It calls `script` for each request; calls do not overlap.
    ///
    /// # Panics
    /// If the system provides no port.
    pub fn start(script: impl FnMut(&Request) -> Response + Send + 'static) -> Self {
        let listener = listen();
        listener.set_nonblocking(true).expect("a listener becomes non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let state = State { script: Box::new(script), requests: Vec::new(), fired: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: watch::Sender::new(()) });
        let accepting = runtime().spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, accepting }
    }

    /// Replaces the script, from the next request on.
    pub fn set_script(&self, script: impl FnMut(&Request) -> Response + Send + 'static) {
        self.shared.state().script = Box::new(script);
    }

    /// Returns the address that the peer listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the peer, with the path `/`.
    #[must_use]
    pub fn url(&self) -> Url {
        url_of(self.address)
    }

    /// Returns all requests so far, in the order in which they were received.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Returns the number of requests whose method and target begin with `start`, such as
    /// `"GET /download/"`.
    #[must_use]
    pub fn count(&self, start: &str) -> usize {
        self.shared.count(start)
    }

    /// Returns the number of responses that were faults: see [`Response`].
    #[must_use]
    pub fn fired(&self) -> usize {
        self.shared.state().fired
    }

    /// Returns the number of responses that were not faults.
    #[must_use]
    pub fn sound(&self) -> usize {
        let state = self.shared.state();
        state.requests.len() - state.fired
    }

    /// Asserts that at least one fault was sent.
    ///
    /// # Panics
    /// If none was.
    #[track_caller]
    pub fn assert_fired(&self) {
        assert!(self.fired() > 0, "no fault was sent: {:#?}", self.requests());
    }

    /// Waits until there are `count` requests whose method and target begin with `start`.
    ///
    /// It uses the clock of the peer, so a test may pause its own.
    ///
    /// # Panics
    /// If there are fewer after 30 s.
    pub async fn until_requested(&self, start: &str, count: usize) {
        let (shared, wanted) = (Arc::clone(&self.shared), start.to_owned());
        let waiting = runtime().spawn(async move {
            let mut news = shared.news.subscribe();
            let received = async {
                while shared.count(&wanted) < count {
                    let _ = news.changed().await;
                }
            };
            tokio::time::timeout(REQUEST_TIMEOUT, received).await.is_ok()
        });
        let is_received = waiting.await.unwrap_or(false);
        assert!(is_received, "fewer than {count} requests {start:?}: {:#?}", self.requests());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A script that panics ends its connection and leaves the record as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, start: &str) -> usize {
        let state = self.state();
        let lines = state.requests.iter().map(|it| format!("{} {}", it.method, it.target));
        lines.filter(|line| line.starts_with(start)).count()
    }

    /// Records a request and returns the response of the script.
    fn respond(&self, request: &mut Request) -> Response {
        let response = {
            let mut state = self.state();
            request.index = state.requests.len();
            let response = (state.script)(request);
            state.requests.push(request.clone());
            state.fired += usize::from(response.is_fault());
            response
        };
        self.news.send_replace(());
        response
    }
}

/// Returns the URL of a port of the loopback interface that refuses connections.
///
/// The port stays reserved until the process ends, so no other program listens on it. Each call
/// returns the same URL.
///
/// # Panics
/// If the system provides no port.
#[must_use]
pub fn closed_port() -> Url {
    /// Has a port and does not listen.
    static SOCKET: OnceLock<TcpSocket> = OnceLock::new();
    let socket = SOCKET.get_or_init(|| {
        let socket = TcpSocket::new_v4().expect("the system provides sockets");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("the loopback has a free port");
        socket
    });
    url_of(socket.local_addr().expect("a bound socket has an address"))
}

fn listen() -> std::net::TcpListener {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port")
}

fn url_of(address: SocketAddr) -> Url {
    format!("http://{address}/").parse().expect("an address is an authority")
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime starts")
    })
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    // Dropping this task closes the port, and then drops the set, which closes all connections.
    let mut connections = JoinSet::new();
    let listener = TcpListener::from_std(listener).expect("the runtime accepts the listener");
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client may close its connection at any time.
            let _ = converse(socket, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(mut request) = Request::read(&mut socket).await? {
        let response = shared.respond(&mut request);
        if !response.send(&mut socket, &request).await? {
            break;
        }
    }
    Ok(())
}
