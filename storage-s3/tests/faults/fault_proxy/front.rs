//! [`Front`]: where the driver connects to, and who of several proxies a request is for.
//!
//! To make a driver takes its time, so that the cases of a test share one, each below a prefix of
//! its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use super::conversation::{Server, converse};
use super::wire::{CannedResponse, RecordedRequest};
use super::{State, runtime};

/// A port. Dropping it breaks off all connections.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What the conversations know.
pub(super) struct Shared {
    pub(super) server: Server,
    /// Whether requests about an upload that is over are answered here.
    pub(super) knows_what_is_over: bool,
    proxies: Mutex<Vec<Weak<State>>>,
}

impl Front {
    /// In front of a server.
    pub(crate) fn before(endpoint: &Url) -> Arc<Self> {
        Self::start(Server::At(endpoint.clone()), false)
    }

    /// In front of s3s-fs, which says `AccessDenied` of an upload that is over, where S3 says
    /// `NoSuchUpload`.
    pub(crate) fn before_s3s_fs(endpoint: &Url) -> Arc<Self> {
        Self::start(Server::At(endpoint.clone()), true)
    }

    /// In place of a server: responses what the script says.
    pub(crate) fn scripted(
        script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::start(Server::Script(Arc::new(script)), true)
    }

    fn start(server: Server, knows_what_is_over: bool) -> Arc<Self> {
        let shared = Arc::new(Shared { server, knows_what_is_over, proxies: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = runtime().spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Arc::new(Self { address, shared, accepting })
    }

    /// Where the driver finds it.
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
    /// Whom a request is for, by what it mentions: in its URL, or, if that is about no object, in
    /// its body.
    pub(super) fn proxy_of(&self, request: &RecordedRequest) -> Option<Arc<State>> {
        let target = request.uri().to_string();
        let body = String::from_utf8_lossy(request.body());
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = proxies.iter().filter_map(Weak::upgrade);
        there.find(|state| target.contains(&state.prefix) || body.contains(&state.prefix))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    // They end with this task.
    let mut conversations = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        conversations.spawn(converse(socket, Arc::clone(&shared)));
        while conversations.try_join_next().is_some() {}
    }
}
