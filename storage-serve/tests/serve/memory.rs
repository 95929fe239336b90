//! Memory stays bounded for any size and any speed of the client.

use std::fs::File;

use storage_core::{Storage, UrlMethod};
use storage_fs::Fs;
use storage_serve::Serve;
use storage_testkit::in_own_process;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::common::server::Server;
use crate::common::{link, signing_key, skip};

const SIZE: u64 = 300 * 1024 * 1024;
const BOUND: u64 = 32 * 1024 * 1024;

/// Returns the peak memory of this process in bytes, if the system reports it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Runs a test and asserts that the peak memory grew by less than the bound.
fn grown(test: impl Future<Output = ()>) {
    let Some(before) = peak() else {
        return skip("storage-http/tests/serve/memory.rs", "this system does not report the peak");
    };
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    let grown = peak().unwrap() - before;
    assert!(grown < BOUND, "{grown} bytes more at the peak");
}

/// Starts a server of a directory with a sparse file, which takes no space.
async fn server() -> (TempDir, Server) {
    let root = TempDir::new().unwrap();
    File::create(root.path().join("large")).unwrap().set_len(SIZE).unwrap();
    let storage = Storage::new(Fs::builder(root.path()).durable(false).build().unwrap());
    let server = Server::start(Serve::new(storage).signing_key(signing_key())).await;
    (root, server)
}

async fn receive(mut socket: TcpStream) -> u64 {
    let mut buffer = vec![0; 16 * 1024];
    let mut received = 0;
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => return received,
            read => received += read as u64,
        }
    }
}

#[test]
fn a_large_download_by_a_slow_client_takes_bounded_memory() {
    in_own_process(
        concat!(module_path!(), "::a_large_download_by_a_slow_client_takes_bounded_memory"),
        || {
            grown(async {
                let (_root, server) = server().await;
                let mut socket = TcpStream::connect(server.address).await.unwrap();
                let path = link("large", |_| {});
                let sent =
                    format!("GET {path} HTTP/1.1\r\nhost: files\r\nconnection: close\r\n\r\n");
                socket.write_all(sent.as_bytes()).await.unwrap();
                let received = receive(socket).await;
                assert!((SIZE..SIZE + 1_000).contains(&received), "{received}");
            });
        },
    );
}

#[test]
fn a_large_upload_takes_bounded_memory() {
    in_own_process(concat!(module_path!(), "::a_large_upload_takes_bounded_memory"), || {
        grown(async {
            let (root, server) = server().await;
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            let path = link("new", |options| options.method = UrlMethod::Put);
            let head = format!(
                "PUT {path} HTTP/1.1\r\nhost: files\r\ncontent-length: {SIZE}\r\n\
                 connection: close\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            let chunk = vec![0; 64 * 1024];
            for _ in 0..SIZE / chunk.len() as u64 {
                socket.write_all(&chunk).await.unwrap();
            }
            receive(socket).await;
            assert_eq!(std::fs::metadata(root.path().join("new")).unwrap().len(), SIZE);
        });
    });
}
