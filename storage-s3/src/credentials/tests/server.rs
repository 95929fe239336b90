//! Clients for tests: [`LocalClient`] sends all requests to a scripted peer, and [`SilentClient`]
//! receives no response.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use storage_testkit::http::Peer;

/// Returns the URL of a peer, without a slash at its end.
pub(super) fn base(peer: &Peer) -> String {
    format!("http://{}", peer.address())
}

/// A client that sends all requests to one peer, regardless of their host, and records the hosts.
///
/// In a test whose clock is paused, time stands still during a request, so that no time limit ends
/// however slow the machine is. Pauses between requests take no time.
#[derive(Debug, Clone)]
pub(super) struct LocalClient {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<String>>>,
}

impl LocalClient {
    pub(super) fn to(peer: &Peer) -> Self {
        Self { address: peer.address(), recorded: Arc::default() }
    }

    /// Returns the recorded schemes, hosts and ports.
    pub(super) fn recorded(&self) -> Vec<String> {
        self.recorded.lock().unwrap().clone()
    }
}

impl HttpConnector for LocalClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // No proxy is used, because the address is a loopback address.
        let client = HttpClient::new(crate::transport::Http::default());
        Ok(HttpClient::new(Service { client, recorder: self.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    recorder: LocalClient,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let recorded = format!("{}://{}", uri.scheme_str().unwrap(), uri.authority().unwrap());
        self.recorder.recorded.lock().unwrap().push(recorded);
        let path = uri.path_and_query().unwrap();
        *request.uri_mut() = format!("http://{}{path}", self.recorder.address).parse().unwrap();
        let _frozen = freeze_clock();
        let (parts, body) = self.client.execute(request).await?.into_parts();
        let body = body.bytes().await?;
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// Keeps a paused clock from advancing by itself until the value is dropped: Tokio does not advance
/// it while blocking work is in progress.
fn freeze_clock() -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    drop(tokio::task::spawn_blocking(move || released.recv()));
    release
}

/// A client that receives no response. With `after`, a PUT receives one after this time.
#[derive(Debug)]
pub(super) struct SilentClient {
    pub(super) after: Option<Duration>,
}

impl HttpConnector for SilentClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self { after: self.after }))
    }
}

#[async_trait]
impl HttpService for SilentClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.after {
            Some(after) if request.method() == Method::PUT => tokio::time::sleep(after).await,
            _ => std::future::pending().await,
        }
        Ok(HttpResponse::new("metadata-token".to_owned().into()))
    }
}
