//! Accepts connections and passes their requests to the [`Site`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::site::Site;

/// The maximum number of connections.
const MAX_CONNECTIONS: usize = 256;
/// The time limit for receiving the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The bytes that a connection buffers at most. hyper's default of 400 KiB for each of the
/// connections would be more than everything else together.
const BUFFER_BYTES: usize = 64 << 10;
/// The pause after the operating system fails to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the future is dropped, which closes all connections.
pub(crate) async fn serve(listener: TcpListener, site: Site) {
    let site = Arc::new(site);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        // Removes the ended tasks, so that their results take no memory.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                connections.spawn(async move {
                    connection(stream, site).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again in 50 ms");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) {
    let respond = service_fn(move |request: http::Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.respond(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), respond)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
