//! [`Server`]: sockets, threads, connections, and their end.

use std::convert::Infallible;
use std::fmt;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use storage_core::{Error, ErrorKind, Result, Storage};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::clients::{Clients, Connected};
use super::config::MirrorConfig;
use super::paced::Paced;
use super::records::Records;
use super::site::{Listener, Site};
use crate::engine::Engine;

/// How long the headers of a request may take, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many headers a request may have, ...
const MAX_HEADERS: usize = 100;
/// ... and how long all of them may be. Also how much of an answer waits in memory for its client:
/// one block is enough.
const MAX_BUFFER: usize = 64 * 1024;
/// How long answers under way may take when the server is stopped.
const DRAIN: Duration = Duration::from_secs(30);
/// How many connections the administration may have, if it has a listener of its own.
const ADMIN_CONNECTIONS: usize = 64;
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A mirror: a server that keeps an origin's objects, filling itself on the first request.
///
/// ```no_run
/// use storage_core::Memory;
/// use storage_mirror::{MirrorConfig, Server};
///
/// let config: MirrorConfig = serde_json::from_str(
///     r#"{ "listen": "127.0.0.1:8080", "cache_dir": "/var/cache/anystorage", "max_size": "50GiB" }"#,
/// )?;
/// let server = Server::bind(config, Memory::storage())?;
/// let handle = server.handle();
/// // On SIGTERM, from another thread: handle.stop();
/// server.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    handle: Handle,
    public: Vec<StdListener>,
    admin: Option<StdListener>,
    listen: SocketAddr,
    admin_listen: Option<SocketAddr>,
    connections: Arc<Semaphore>,
    clients: Arc<Clients>,
}

/// A hold on a server that runs: to stop it, or to give it another configuration.
#[derive(Clone)]
pub struct Handle {
    site: Arc<RwLock<Arc<Site>>>,
    config: Arc<RwLock<MirrorConfig>>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Opens the cache's directory and the sockets. Nothing is served yet. Blocks for as long as it
    /// takes to read what the cache holds.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the option; `Conflict` if another mirror has the directory;
    /// what the operating system says about directory and sockets.
    pub fn bind(config: MirrorConfig, origin: Storage) -> Result<Self> {
        let config = config.validated()?;
        let engine = Engine::open(&config.cache_dir, origin, config.engine_options()?)?;
        // After the engine, which holds the lock of the directory.
        let records = Records::open(&config)?;
        let site = Site::new(&config, engine, records)?;
        let workers = config
            .workers
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let (public, listen) = listeners(config.listen, workers)?;
        let (admin, admin_listen) = match config.admin_listen {
            Some(address) => {
                let (mut listeners, address) = listeners(address, 1)?;
                (listeners.pop(), Some(address))
            }
            None => (None, None),
        };
        // Each listener waits with a permit in hand.
        let most = config.max_connections.max(public.len()).min(Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(most));
        let handle = Handle {
            site: Arc::new(RwLock::new(Arc::new(site))),
            config: Arc::new(RwLock::new(config)),
            stop: watch::Sender::new(false),
        };
        Ok(Self {
            handle,
            public,
            admin,
            listen,
            admin_listen,
            connections,
            clients: Arc::default(),
        })
    }

    /// Where the public routes are: with the port that the system chose, if `listen` has port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where the administration is, if it has a listener of its own.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_listen
    }

    /// A hold on the server, for whoever stops it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it is stopped; then answers under way are finished, for up to 30 seconds.
    /// Blocks; threads are its own.
    ///
    /// # Errors
    /// What the operating system says about threads.
    pub fn run(self) -> Result<()> {
        let records = Arc::clone(&self.handle.site().records);
        // Dropped, it ends the thread that saves, which saves once more.
        let (saving, ends) = mpsc::channel();
        let saved = Arc::clone(&records);
        let saver = thread::Builder::new().name("analytics".to_owned()).spawn(move || {
            if let Some(analytics) = &saved.analytics {
                analytics.keep_saving(&ends);
            }
        })?;
        let outcome = self.serve();
        drop::<mpsc::Sender<()>>(saving);
        records.close_log();
        outcome.and(
            saver.join().map_err(|_| Error::new(ErrorKind::Unexpected, "the analytics panicked")),
        )
    }

    fn serve(self) -> Result<()> {
        let mut threads = Vec::new();
        let sockets = self.public.into_iter().map(|socket| (socket, Listener::Public));
        let sockets = sockets.chain(self.admin.map(|socket| (socket, Listener::Admin)));
        for (number, (socket, listener)) in sockets.enumerate() {
            // Clients that use up the public listener leave the other one open.
            let connections = match listener {
                Listener::Public => Arc::clone(&self.connections),
                Listener::Admin => Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
            };
            let clients = Arc::clone(&self.clients);
            let worker = Worker { handle: self.handle.clone(), listener, connections, clients };
            let started = thread::Builder::new()
                .name(format!("mirror-{number}"))
                .spawn(move || worker.run(socket));
            threads.push(started?);
        }
        let mut outcome = Ok(());
        for thread in threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unexpected, "a worker panicked")));
            // One that fails takes the others along: half a server is none.
            if ended.is_err() {
                self.handle.stop();
            }
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Handle {
    /// Stops the server. Returns at once; [`Server::run`] returns when all is over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Puts another configuration in place of the present one, for requests from now on.
    /// Connections stay, and so does what is kept. The access log is opened anew, so that its file
    /// may have been moved away.
    ///
    /// # Errors
    /// `InvalidConfig` if the new one is wrong, or changes what cannot change while the server
    /// runs: `listen`, `admin_listen`, `cache_dir`, `max_size`, `max_object_size`, `memory`,
    /// `index_memory`, `analytics_days`, `workers`, `max_connections`, the TTLs; or if its
    /// `access_log` cannot be opened. Then the present one stays.
    pub fn reload(&self, config: MirrorConfig) -> Result<()> {
        let config = config.validated()?;
        let mut present = self.config.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(option) = present.first_fixed_difference(&config) {
            return Err(Error::config(format!(
                "option {option}: cannot change while the mirror runs; restart it"
            )));
        }
        let (engine, records) = (self.site().engine.clone(), Arc::clone(&self.site().records));
        let site = Arc::new(Site::new(&config, engine, Arc::clone(&records))?);
        records.open_log(config.access_log.as_deref())?;
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = site;
        *present = config;
        Ok(())
    }

    fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// A socket for each worker, all at one address: the system spreads connections over them.
fn listeners(address: SocketAddr, workers: usize) -> Result<(Vec<StdListener>, SocketAddr)> {
    let refused = |cause| Error::unexpected(format!("cannot listen at {address}"), cause);
    let mut listeners: Vec<StdListener> = Vec::new();
    let mut address = address;
    // What only one listens at nobody else may take by accident.
    let workers = if cfg!(unix) { workers } else { 1 };
    for _ in 0..workers {
        let listener = listener(address, workers > 1).map_err(refused)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((listeners, address))
}

fn listener(address: SocketAddr, shared: bool) -> std::io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a restart need not wait for the connections of the last run to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A client has as many connections as it may have.
#[derive(Debug)]
struct TooMany;

/// A thread that serves connections.
struct Worker {
    handle: Handle,
    listener: Listener,
    connections: Arc<Semaphore>,
    clients: Arc<Clients>,
}

impl Worker {
    fn run(self, listener: StdListener) -> Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let graceful = GracefulShutdown::new();
            self.accept(&listener, &graceful).await;
            drop(listener);
            if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
                tracing::warn!("answers under way were cut off");
            }
            Ok(())
        });
        // What still writes to the disk need not be waited for: it is not visible before it is
        // whole.
        runtime.shutdown_background();
        served
    }

    async fn accept(&self, listener: &TcpListener, graceful: &GracefulShutdown) {
        let mut stop = self.handle.stop.subscribe();
        let mut stopped = pin!(async move {
            // An error means that nobody can stop it any more.
            stop.wait_for(|stop| *stop).await.is_ok()
        });
        loop {
            let accepted = tokio::select! {
                accepted = self.next(listener) => accepted,
                _ = &mut stopped => return,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let Ok(client) = self.admit(peer) else { continue };
                    let connection = graceful.watch(self.connection(stream, peer));
                    tokio::spawn(async move {
                        let _while_it_lasts = (permit, client);
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The next connection, once there is room for one.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit =
            Arc::clone(&self.connections).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, permit))
    }

    /// Counts the connection as one of its client's, unless there is no limit for it.
    ///
    /// # Errors
    /// If the client has too many: then the connection is to be closed.
    fn admit(&self, peer: SocketAddr) -> Result<Option<Connected>, TooMany> {
        let site = self.handle.site();
        let Some(most) =
            site.connection_limit(peer.ip()).filter(|_| self.listener == Listener::Public)
        else {
            return Ok(None);
        };
        let connected = self.clients.connect(peer.ip(), most);
        if connected.is_none() {
            site.records.requests.refused_connections.add(1);
        }
        connected.map(Some).ok_or(TooMany)
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + 'static
    {
        // Without it each small answer on a kept connection may wait 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let stream = Paced::new(stream, self.handle.site().min_rate);
        let (handle, listener) = (self.handle.clone(), self.listener);
        let service = service_fn(move |request: Request<Incoming>| {
            let site = handle.site();
            async move {
                let (head, _) = request.into_parts();
                Ok::<_, Infallible>(site.respond(peer, listener, &head).await)
            }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
    }
}
