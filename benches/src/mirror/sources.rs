//! Origins in this process, which generate bodies of any size and speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::Result;

const CHUNK: usize = 256 << 10;

/// A server that responds to every request with a body of the same length.
pub struct TestOrigin {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
}

impl TestOrigin {
    /// Starts the server. Each body takes `duration`, at a constant rate.
    pub async fn start(length: usize, duration: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // Ends when the client closes the connection.
                tokio::spawn(async move { drop(serve(stream, length, duration, &count).await) });
            }
        });
        Ok(Self { url, requests })
    }
}

async fn serve(
    mut stream: TcpStream,
    length: usize,
    duration: Duration,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        head.push(byte);
    }
    count.fetch_add(1, Ordering::SeqCst);
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"v1\"\r\n\
         Cache-Control: max-age=3600\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; CHUNK];
    let pause = duration.mul_f64(CHUNK as f64 / length as f64);
    for sent in (0..length).step_by(CHUNK) {
        stream.write_all(&chunk[..CHUNK.min(length - sent)]).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    stream.shutdown().await
}

/// Requests a path and reads up to the first byte of the body.
pub async fn send_request(port: u16, path: &str) -> Result<TcpStream> {
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

/// Reads the rest of the body. Returns the length of the whole body in bytes.
pub async fn read_rest(mut stream: TcpStream) -> Result<usize> {
    let (mut buffer, mut read) = (vec![0; CHUNK], 1);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(read),
            n => read += n,
        }
    }
}
