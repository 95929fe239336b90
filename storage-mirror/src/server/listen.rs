//! [`Server`]: sockets, threads, connections, and shutdown.

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
use storage_serve::website::Paths;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::clients::{Clients, ConnectionGuard};
use super::config::MirrorConfig;
use super::paced::Paced;
use super::records::Records;
use super::site::{Listener, Site};
use crate::engine::Engine;

/// The time limit for receiving the headers of a request, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of headers of a request.
const MAX_HEADERS: usize = 100;
/// The maximum size of all headers of a request, in bytes. Also bounds the part of a response that
/// is buffered for its client; one block is enough.
const MAX_BUFFER: usize = 64 * 1024;
/// The time limit for finishing running responses after a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of connections to the separate listener of the admin routes.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// The number of connections that the operating system queues before they are accepted.
const BACKLOG: i32 = 1024;
/// The pause after the operating system fails to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A mirror server: it serves an origin's objects from a cache, and fetches each on its first
/// request.
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

/// Stops a running [`Server`] or reloads its configuration. Clones control the same server.
#[derive(Clone)]
pub struct Handle {
    site: Arc<RwLock<Arc<Site>>>,
    config: Arc<RwLock<MirrorConfig>>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Opens the cache directory and the sockets. Requests are served once [`run`](Self::run) is
    /// called. Blocks while it reads the index of the cache.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` and the name of the option if an option is invalid, with
    /// `Conflict` if another mirror uses the directory, and with the error of the operating system
    /// if the directory or a socket cannot be opened.
    pub fn bind(config: MirrorConfig, origin: Storage) -> Result<Self> {
        if config.website {
            return Err(Error::config(
                "website: this program serves objects only; use `anystorage mirror`, or \
                 Server::bind_website",
            ));
        }
        Self::bind_with(config, origin, None)
    }

    /// Opens the cache directory and the sockets of a mirror that serves a website, as
    /// [`bind`](Self::bind) does. `paths` says which objects of origin the website has; the type
    /// `ServedRelease` of the crate `storage-publish` reads them from the current release. This
    /// sets the option [`website`](MirrorConfig::website), so [`Handle::reload`] needs it set, too.
    ///
    /// The public routes are the paths of the website and `/healthz`. Each precompressed form has
    /// its own entry in the cache, its own ETag and its own ranges.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_website(
        mut config: MirrorConfig,
        origin: Storage,
        paths: impl Paths,
    ) -> Result<Self> {
        config.website = true;
        Self::bind_with(config, origin, Some(Arc::new(paths)))
    }

    fn bind_with(
        config: MirrorConfig,
        origin: Storage,
        website: Option<Arc<dyn Paths>>,
    ) -> Result<Self> {
        let config = config.validated()?;
        let engine = Engine::open(&config.cache_dir, origin, config.engine_options()?)?;
        // The engine is opened first because it locks the directory.
        let records = Records::open(&config)?;
        let site = Site::new(&config, engine, records, website)?;
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
        // Each listener holds a permit while it waits for a connection.
        let max = config.max_connections.max(public.len()).min(Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(max));
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

    /// Returns the address of the public routes. If `listen` has port 0, it contains the port that
    /// the operating system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Returns the address of the admin routes, or `None` if they have no separate listener.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_listen
    }

    /// Returns a handle that stops the server or reloads its configuration.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves requests until [`Handle::stop`] is called, then finishes running responses for up to
    /// 30 seconds. Blocks the calling thread and starts its own worker threads.
    ///
    /// # Errors
    /// Fails with the error of the operating system if a thread or its event loop cannot be
    /// started, and with `Unexpected` if a thread panics.
    pub fn run(self) -> Result<()> {
        let records = Arc::clone(&self.handle.site().records);
        // Dropping the sender makes the thread save a last time and end.
        let (stop_saving, stopped) = mpsc::channel();
        let saved = Arc::clone(&records);
        let saver = thread::Builder::new().name("analytics".to_owned()).spawn(move || {
            if let Some(analytics) = &saved.analytics {
                analytics.keep_saving(&stopped);
            }
        })?;
        let outcome = self.serve();
        drop::<mpsc::Sender<()>>(stop_saving);
        records.close_log();
        outcome.and(
            saver.join().map_err(|_| Error::new(ErrorKind::Unexpected, "the analytics panicked")),
        )
    }

    fn serve(self) -> Result<()> {
        let mut threads = Vec::new();
        let mut outcome = Ok(());
        let sockets = self.public.into_iter().map(|socket| (socket, Listener::Public));
        let sockets = sockets.chain(self.admin.map(|socket| (socket, Listener::Admin)));
        for (number, (socket, listener)) in sockets.enumerate() {
            // A separate limit keeps the admin routes reachable when the public listener is full.
            let connections = match listener {
                Listener::Public => Arc::clone(&self.connections),
                Listener::Admin => Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS)),
            };
            let clients = Arc::clone(&self.clients);
            let worker = Worker { handle: self.handle.clone(), listener, connections, clients };
            let started = thread::Builder::new()
                .name(format!("mirror-{number}"))
                .spawn(move || worker.run(socket));
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.handle.stop();
                    outcome = Err(error.into());
                    break;
                }
            }
        }
        for thread in threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unexpected, "a worker panicked")));
            // If one worker fails, all workers stop.
            if ended.is_err() {
                self.handle.stop();
            }
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Handle {
    /// Stops the server. Returns at once; [`Server::run`] returns when the workers have ended.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Replaces the configuration for all later requests. Connections and cached objects stay. The
    /// access log is reopened, so that its file can be moved away before.
    ///
    /// # Errors
    /// Fails with `InvalidConfig`, and keeps the current configuration, if an option is invalid, if
    /// the `access_log` cannot be opened, or if an option differs that cannot change while the
    /// server runs: `listen`, `admin_listen`, `cache_dir`, `max_size`, `max_object_size`, `memory`,
    /// `index_memory`, `ttl`, `negative_ttl`, `stale_if_error`, `stale_while_revalidate`,
    /// `website`, `analytics_days`, `workers` or `max_connections`.
    pub fn reload(&self, config: MirrorConfig) -> Result<()> {
        let config = config.validated()?;
        let mut present = self.config.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(option) = present.first_fixed_difference(&config) {
            return Err(Error::config(format!(
                "option {option}: cannot change while the mirror runs; restart it"
            )));
        }
        let present_site = self.site();
        let (engine, website) = (present_site.engine.clone(), present_site.website.clone());
        let records = Arc::clone(&present_site.records);
        let site = Arc::new(Site::new(&config, engine, Arc::clone(&records), website)?);
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

/// Opens a socket for each worker, all at one address. The operating system distributes the
/// connections.
fn listeners(address: SocketAddr, workers: usize) -> Result<(Vec<StdListener>, SocketAddr)> {
    let in_context = |cause| Error::unexpected(format!("cannot listen at {address}"), cause);
    let mut listeners: Vec<StdListener> = Vec::new();
    let mut address = address;
    // A single socket is opened without SO_REUSEPORT, so that no other process can share the
    // address. Other systems than Unix have no such option.
    let workers = if cfg!(unix) { workers } else { 1 };
    for _ in 0..workers {
        let listener = listener(address, workers > 1).map_err(in_context)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((listeners, address))
}

fn listener(address: SocketAddr, shared: bool) -> std::io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart bind while connections of the last run are in TIME_WAIT.
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

/// The client already has the maximum number of connections.
#[derive(Debug)]
struct TooManyConnections;

/// Accepts and serves the connections of one socket, on a thread of its own.
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
            if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
                tracing::warn!("running responses were cut off");
            }
            Ok(())
        });
        // Does not wait for writes to the disk: an object becomes visible when it is complete.
        runtime.shutdown_background();
        served
    }

    async fn accept(&self, listener: &TcpListener, graceful: &GracefulShutdown) {
        let mut stop = self.handle.stop.subscribe();
        let mut stopped = pin!(async move {
            // Fails only if every handle is gone, which also stops the server.
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
                        let _released_at_end = (permit, client);
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again in 50 ms");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits for a permit, then accepts the next connection.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit =
            Arc::clone(&self.connections).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, permit))
    }

    /// Counts the connection for its client. Returns `None` if the client has no limit.
    ///
    /// # Errors
    /// Fails if the client has too many connections. The caller closes the connection.
    fn admit(&self, peer: SocketAddr) -> Result<Option<ConnectionGuard>, TooManyConnections> {
        let site = self.handle.site();
        let Some(max) =
            site.connection_limit(peer.ip()).filter(|_| self.listener == Listener::Public)
        else {
            return Ok(None);
        };
        let connected = self.clients.connect(peer.ip(), max);
        if connected.is_none() {
            site.records.requests.refused_connections.add(1);
        }
        connected.map(Some).ok_or(TooManyConnections)
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + 'static
    {
        // Without TCP_NODELAY a small response on a reused connection may wait 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
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
