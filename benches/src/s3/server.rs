//! The S3 server of the measurements, and the data that is sent to it.

use std::path::Path;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use storage_core::{Storage, Url};
use storage_s3::{Quirks, S3Builder};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::peers::aws;
use crate::peers::Result;

/// The address and credentials of the server, which `storage-s3/servers/radosgw up` prints.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// The URL of the server.
    #[arg(long, env = "STORAGE_S3_TEST_ENDPOINT")]
    pub endpoint: String,
    /// The bucket, which is created if it does not exist. The listed objects stay for the next run.
    #[arg(long, default_value = "bench")]
    pub bucket: String,
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub access_key_id: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_access_key: String,
    /// The option `quirks` of anystorage.
    #[arg(long, env = "STORAGE_S3_TEST_QUIRKS", default_value = "none")]
    pub quirks: String,
    /// A shell command that makes the server free deleted objects. It runs after each large delete
    /// and is not measured.
    #[arg(long, default_value = "true")]
    pub collect: String,
}

impl Server {
    /// Returns the same server at another address.
    pub fn at(&self, endpoint: String) -> Self {
        Self { endpoint, ..self.clone() }
    }

    /// Returns the driver to measure.
    pub fn storage(&self) -> Result<Storage> {
        let quirks = match self.quirks.as_str() {
            "none" => Quirks::None,
            "ceph" => Quirks::Ceph,
            "minio" => Quirks::Minio,
            "garage" => Quirks::Garage,
            _ => Quirks::Auto,
        };
        let s3 = S3Builder::new(&self.bucket)
            .endpoint(Url::parse(&self.endpoint)?)
            .region(&self.region)
            .access_key_id(&self.access_key_id)
            .secret_access_key(&self.secret_access_key)
            .quirks(quirks)
            .allow_http(true)
            .build()?;
        Ok(Storage::new(s3))
    }

    /// Returns this program as a child process, with a command for the same server.
    pub fn child(&self, dir: &Path, command: &str) -> std::io::Result<Command> {
        let mut child = Command::new(std::env::current_exe()?);
        child.arg("--dir").arg(dir).arg(command);
        child.args([
            "--endpoint",
            &self.endpoint,
            "--bucket",
            &self.bucket,
            "--region",
            &self.region,
        ]);
        child.args(["--quirks", &self.quirks, "--collect", &self.collect]);
        child.env("AWS_ACCESS_KEY_ID", &self.access_key_id);
        child.env("AWS_SECRET_ACCESS_KEY", &self.secret_access_key);
        Ok(child)
    }

    /// Creates the bucket if it does not exist.
    pub async fn prepare(&self) -> Result<()> {
        let client = aws::client(self);
        if client.head_bucket().bucket(&self.bucket).send().await.is_err() {
            client.create_bucket().bucket(&self.bucket).send().await?;
        }
        Ok(())
    }

    /// Deletes objects and makes the server free them.
    pub async fn delete(&self, keys: &[String]) -> Result<()> {
        let storage = self.storage()?;
        for key in keys {
            storage.delete(key.as_str()).await?;
        }
        let mut collect = Command::new("sh");
        collect
            .arg("-c")
            .arg(&self.collect)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = collect.status().await?;
        if status.success() { Ok(()) } else { Err(format!("{}: {status}", self.collect).into()) }
    }
}

/// The size of a chunk of a stream in bytes, as read from a socket or a file.
const CHUNK: usize = 64 * 1024;

/// Runs a child process. Returns its standard output.
pub async fn output_of(mut child: Command) -> Result<String> {
    let output = child.stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

pub type Chunks = BoxStream<'static, std::io::Result<Bytes>>;

/// Returns a stream whose chunks have their own memory, like chunks from a socket.
pub fn chunks(size: u64) -> Chunks {
    let chunk = move |start| Ok(Bytes::from(vec![7; CHUNK.min((size - start) as usize)]));
    stream::iter((0..size).step_by(CHUNK)).map(chunk).boxed()
}

/// Returns a file as a stream, for peers that cannot send files.
pub async fn chunks_of_file(path: &Path) -> std::io::Result<Chunks> {
    const STEP: usize = 1 << 20;
    let file = File::open(path).await?;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(STEP);
        let read = file.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (chunk.freeze(), file)))
    });
    Ok(chunks.boxed())
}

/// Creates a file of this size in bytes.
pub fn make_file(path: &Path, size: u64) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let chunk = vec![7; 1 << 20];
    let mut left = size;
    while left > 0 {
        let len = left.min(chunk.len() as u64) as usize;
        file.write_all(&chunk[..len])?;
        left -= len as u64;
    }
    Ok(())
}
