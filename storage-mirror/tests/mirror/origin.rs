//! An HTTP server that does what the test says, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use storage_core::Storage;
use storage_http::Http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What is done with a connection, once a request has been read.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Until the test says so.
    Wait(Arc<Semaphore>),
}

impl Step {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Send(text.into().into_bytes())
    }
}

type Script = Arc<dyn Fn(&str) -> Vec<Step> + Send + Sync>;

/// A server that reads one request of a connection, does the steps for it, and closes.
pub(crate) struct Origin {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) async fn start(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Arc::new(script)));
        let requests = Arc::new(AtomicUsize::new(0));
        let (scripts, count) = (Arc::clone(&script), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (scripts, count) = (Arc::clone(&scripts), Arc::clone(&count));
                tokio::spawn(async move {
                    // A client that goes away ends it.
                    let _ = serve(stream, &scripts, &count).await;
                });
            }
        });
        Self { address, script, requests }
    }

    /// From now on.
    pub(crate) fn does(&self, script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn storage(&self) -> Storage {
        Storage::new(
            Http::builder(format!("http://{}/", self.address).parse().unwrap()).build().unwrap(),
        )
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &Mutex<Script>,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        head.push(byte);
    }
    count.fetch_add(1, Ordering::SeqCst);
    let script = Arc::clone(&script.lock().unwrap());
    for step in script(&String::from_utf8_lossy(&head)) {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Wait(gate) => gate.acquire().await.unwrap().forget(),
        }
    }
    stream.shutdown().await
}

/// The head of an answer with a body of a length.
pub(crate) fn head(len: usize, more: &str) -> Step {
    Step::text(format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"v1\"\r\n{more}Content-Length: {len}\r\n\r\n"
    ))
}

/// `0123456789`, of which the second half comes when the test says so.
pub(crate) async fn in_two_halves() -> (Origin, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        vec![head(10, ""), Step::text("01234"), Step::Wait(Arc::clone(&waits)), Step::text("56789")]
    })
    .await;
    (origin, gate)
}
