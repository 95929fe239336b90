//! [`Front`]: the port that the driver connects to. It assigns each request to a proxy.
//!
//! The cases of a test share a port, because building a driver takes time. Each case has a prefix
//! of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use super::conversation::{Server, serve_connection};
use super::wire::{CannedResponse, RecordedRequest};
use super::{State, runtime};

/// A port. Dropping it closes all connections.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// The state that all connections share.
pub(super) struct Shared {
    pub(super) server: Server,
    /// Whether the proxy itself responds to requests about an upload that has ended.
    pub(super) rejects_ended_uploads: bool,
    proxies: Mutex<Vec<Weak<State>>>,
}

impl Front {
    /// Creates a port in front of a server.
    pub(crate) fn before(endpoint: &Url) -> Arc<Self> {
        Self::start(Server::At(endpoint.clone()), false)
    }

    /// Creates a port in front of s3s-fs. For an upload that has ended, s3s-fs responds with
    /// `AccessDenied` where S3 responds with `NoSuchUpload`.
    pub(crate) fn before_s3s_fs(endpoint: &Url) -> Arc<Self> {
        Self::start(Server::At(endpoint.clone()), true)
    }

    /// Creates a port whose responses come from a script.
    pub(crate) fn scripted(
        script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::start(Server::Script(Arc::new(script)), true)
    }

    fn start(server: Server, rejects_ended_uploads: bool) -> Arc<Self> {
        let shared = Arc::new(Shared { server, rejects_ended_uploads, proxies: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = runtime().spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Arc::new(Self { address, shared, accepting })
    }

    /// Returns the URL of the port.
    pub(crate) fn endpoint(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(super) fn add(&self, state: &Arc<State>) {
        self.shared
            .proxies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(state));
    }
}

impl Shared {
    /// Returns the proxy of a request, by the prefix in its URL, or in its body if the URL names no
    /// object.
    pub(super) fn proxy_of(&self, request: &RecordedRequest) -> Option<Arc<State>> {
        let target = request.uri().to_string();
        let body = String::from_utf8_lossy(request.body());
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = proxies.iter().filter_map(Weak::upgrade);
        live.find(|state| target.contains(&state.prefix) || body.contains(&state.prefix))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    // The connections end with this task.
    let mut conversations = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        conversations.spawn(serve_connection(socket, Arc::clone(&shared)));
        while conversations.try_join_next().is_some() {}
    }
}
