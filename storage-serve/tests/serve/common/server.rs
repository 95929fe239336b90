//! The service in hyper on loopback, and clients that read the raw bytes.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use storage_serve::Serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_service::Service;

/// A server that ends with its connections when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A listener whose address is known before the server starts.
pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    (listener, base)
}

impl Server {
    pub(crate) async fn start(serve: Serve) -> Self {
        Self::on(listener().await.0, serve)
    }

    pub(crate) fn on(listener: TcpListener, serve: Serve) -> Self {
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let serve = serve.clone();
                let service = service_fn(move |request| serve.clone().call(request));
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new());
                connections.spawn(builder.serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, accepting }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends text on a new connection, and returns all bytes until the server closes it.
    pub(crate) async fn talk(&self, sent: &str) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        socket.read_to_end(&mut received).await.unwrap();
        received
    }

    /// Sends one request with `Connection: close` and returns the response.
    pub(crate) async fn request(&self, method: &str, path: &str, headers: &str) -> Raw {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: files\r\nconnection: close\r\n{headers}\r\n"
        );
        Raw::of(&self.talk(&text).await)
    }
}

/// A response as received on the wire.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The number of bytes of the body. Bytes that are not text are replaced in `body`.
    pub(crate) length: usize,
}

impl Raw {
    fn of(received: &[u8]) -> Self {
        let text = String::from_utf8_lossy(received);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap().to_owned();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        // The head is ASCII, so its length in bytes is that of its text.
        Self { status, headers, body: body.to_owned(), length: received.len() - head.len() - 4 }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}
