//! An S3 server in this process, so that the quickstart has one to show: s3s-fs, which keeps
//! objects as files.

use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::Result;

/// Starts a server that knows one key and one bucket, on a port of this machine that nobody else
/// can reach from outside, and answers its endpoint. It ends with the program.
pub(crate) async fn start(
    directory: &Path,
    bucket: &str,
    key_id: &str,
    secret: &str,
) -> Result<String> {
    std::fs::create_dir_all(directory.join(bucket))?;
    let files = FileSystem::new(directory)
        .map_err(|error| format!("the S3 server does not start: {error:?}"))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(key_id, secret));
    let service = service.build();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Or small answers would wait for one another.
            let _ = socket.set_nodelay(true);
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()),
            );
        }
    });
    Ok(endpoint)
}
