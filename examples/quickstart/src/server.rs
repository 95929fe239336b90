//! An S3 server in this process for the storage `s3`: s3s-fs, which keeps objects as files.

use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::error::Result;

/// Starts a server with one access key and one bucket, on a loopback address. Returns its endpoint.
/// It runs until the program ends.
pub(crate) async fn start(
    directory: &Path,
    bucket: &str,
    key_id: &str,
    secret: &str,
) -> Result<String> {
    std::fs::create_dir_all(directory.join(bucket))?;
    let files = FileSystem::new(directory)
        .map_err(|error| format!("the S3 server cannot start: {error:?}"))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(key_id, secret));
    let service = service.build();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Sends small responses without delay (TCP_NODELAY).
            let _ = socket.set_nodelay(true);
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()),
            );
        }
    });
    Ok(endpoint)
}
