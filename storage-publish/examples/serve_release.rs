//! Serves the current release of a destination over HTTP/1.1 on loopback, for the proofs:
//!
//! ```console
//! $ anystorage publish dist /srv/site
//! $ cargo run -p storage-publish --example serve_release -- file:///srv/site 127.0.0.1:8080
//! listening on http://127.0.0.1:8080
//! ```
//!
//! The options of S3 are those of the URL and of the environment, as in
//! `s3://bucket/site?allow_http=true`.
#![allow(clippy::print_stdout, reason = "the program prints its address")]

use std::error::Error;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use storage_core::Registry;
use storage_publish::ServedRelease;
use storage_serve::website::Website;
use tokio::net::TcpListener;
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: serve_release URL [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut registry = Registry::new();
    storage_fs::register(&mut registry);
    storage_s3::register(&mut registry);
    let destination = registry.open_url(&url)?;
    let release = ServedRelease::load(&destination).await?;
    let website = Website::new(destination, release);
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let website = website.clone();
        let service = service_fn(move |request| website.clone().call(request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
    }
}
