//! A loopback proxy that counts the requests that pass through it, by method.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::server::Server;
use crate::peers::Result;

/// Requests by their method.
pub type Counts = BTreeMap<String, usize>;

pub struct PassThrough {
    address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl PassThrough {
    /// Starts the proxy, which runs until the runtime ends.
    pub async fn start(server: &Server) -> Result<Self> {
        let behind = server
            .endpoint
            .strip_prefix("http://")
            .ok_or("the endpoint of the server does not begin with http://")?
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Mutex::new(Counts::new()));
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (behind, counted) = (behind.clone(), Arc::clone(&counted));
                tokio::spawn(async move { pass(client, &behind, &counted).await });
            }
        });
        Ok(Self { address, counts })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the counts since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn pass(client: TcpStream, behind: &str, counts: &Mutex<Counts>) -> std::io::Result<()> {
    let server = TcpStream::connect(behind).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    requests(from_client, to_server, counts).await
}

/// Forwards and counts requests. Reads the length of each body from its headers.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: &Mutex<Counts>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
        let method = text.split(' ').next().unwrap_or_default().to_owned();
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(method).or_default() += 1;
        let mut left = head + body_len(&text)?;
        while left > 0 {
            if buffer.is_empty() && from.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let len = buffer.len().min(left);
            to.write_all(&buffer[..len]).await?;
            buffer.drain(..len);
            left -= len;
        }
    }
}

fn body_len(head: &str) -> std::io::Result<usize> {
    let header = |wanted: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        return Err(std::io::Error::other("chunked requests are not supported"));
    }
    match header("content-length") {
        Some(len) => len.parse().map_err(std::io::Error::other),
        None => Ok(0),
    }
}
