//! Memory of the mirror with many slow readers, and with many concurrent fetches.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::servers::Process;
use super::sources::{TestOrigin, read_rest, send_request};
use crate::peers::Result;

const READERS: usize = 1000;
const READING: Duration = Duration::from_secs(15);
const FILLS: usize = 64;

/// Measures with 1,000 readers of one object of 1 GiB. Each reads 16 KiB ten times a second.
pub async fn slow_readers(dir: &Path) -> Result<()> {
    let length = 1 << 30;
    let origin = TestOrigin::start(length, Duration::ZERO).await?;
    let server = Process::ours(dir, &origin.url)?;
    if read_rest(send_request(server.port, "/large").await?).await? != length {
        return Err("the object is incomplete".into());
    }
    let filled = server.peak_memory()?;
    let readers = (0..READERS).map(|_| {
        let port = server.port;
        tokio::spawn(async move {
            let Ok(mut stream) = send_request(port, "/large").await else { return 0 };
            let (mut buffer, mut read) = (vec![0; 16 << 10], 0);
            let end = tokio::time::Instant::now() + READING;
            while tokio::time::Instant::now() < end {
                match stream.read(&mut buffer).await {
                    Ok(n) if n > 0 => read += n,
                    _ => return 0,
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            read
        })
    });
    let mut served = 0;
    for reader in readers.collect::<Vec<_>>() {
        served += usize::from(reader.await? > 0);
    }
    if served != READERS {
        return Err(format!("{served} of {READERS} readers were served").into());
    }
    println!("\n### Cache tier: memory with slow readers of 1 GiB\n\n| | MiB at most |\n|-|-|");
    println!("| after the first request | {filled} |");
    println!("| {READERS} slow readers | {} |", server.peak_memory()?);
    Ok(())
}

/// Measures with 64 concurrent requests for objects of 256 MiB that are not cached.
pub async fn fills(dir: &Path) -> Result<()> {
    let length = 256 << 20;
    let origin = TestOrigin::start(length, Duration::ZERO).await?;
    let server = Process::ours(dir, &origin.url)?;
    let clients = (0..FILLS).map(|number| {
        let port = server.port;
        tokio::spawn(async move {
            let stream = send_request(port, &format!("/cold-{number}"))
                .await
                .map_err(|error| error.to_string())?;
            read_rest(stream).await.map_err(|error| error.to_string())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        if client.await?? != length {
            return Err("an object is incomplete".into());
        }
    }
    println!("\n### Cache tier: memory with {FILLS} fills of 256 MiB at once\n");
    println!("| | MiB at most |\n|-|-|\n| anystorage mirror | {} |", server.peak_memory()?);
    Ok(())
}
