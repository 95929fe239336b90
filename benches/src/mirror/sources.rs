//! Origins in this process, which make bodies up: as slow or as large as wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::Result;

const CHUNK: usize = 256 << 10;

/// A server that answers every request with a body of one length.
pub struct Source {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
}

impl Source {
    /// Each body takes this long, at an even pace.
    pub async fn start(length: usize, takes: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // A client that goes away ends it.
                tokio::spawn(async move { drop(serve(stream, length, takes, &count).await) });
            }
        });
        Ok(Self { url, requests })
    }
}

async fn serve(
    mut stream: TcpStream,
    length: usize,
    takes: Duration,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        head.push(byte);
    }
    count.fetch_add(1, Ordering::SeqCst);
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"v1\"\r\nCache-Control: max-age=3600\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; CHUNK];
    let pause = takes.mul_f64(CHUNK as f64 / length as f64);
    for sent in (0..length).step_by(CHUNK) {
        stream.write_all(&chunk[..CHUNK.min(length - sent)]).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    stream.shutdown().await
}

/// Asks a server for a path, and reads until the first byte of the body.
pub async fn ask(port: u16, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&head).into_owned().into());
    }
    stream.read_u8().await?;
    Ok(stream)
}

/// Reads the rest. How much there was.
pub async fn rest(mut stream: TcpStream) -> Result<usize> {
    let (mut buffer, mut read) = (vec![0; CHUNK], 1);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(read),
            n => read += n,
        }
    }
}
