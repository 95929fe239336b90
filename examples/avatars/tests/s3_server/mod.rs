//! An S3 server in this process: s3s-fs, which keeps objects as files.

use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// Starts a server with one access key and one bucket, on a loopback address. Returns its endpoint.
/// It runs until the runtime of the test ends.
pub(crate) async fn start(directory: &Path, bucket: &str, key_id: &str, secret: &str) -> String {
    std::fs::create_dir_all(directory.join(bucket)).unwrap();
    let mut service = S3ServiceBuilder::new(FileSystem::new(directory).unwrap());
    service.set_auth(SimpleAuth::from_single(key_id, secret));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let connection = http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(socket), service.clone()));
        }
    });
    endpoint
}
