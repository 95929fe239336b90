//! Programs that copy files, as separate processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::process::Command;

use super::{Files, PART, PARTS, Server};
use crate::peers::Result;

/// Returns the programs in the directory. Reports those that are missing.
pub fn programs(server: &Server, tools: Option<&Path>) -> Vec<Arc<dyn Files>> {
    let mut found: Vec<Arc<dyn Files>> = Vec::new();
    for name in ["s5cmd", "rclone"] {
        let path = tools.map(|tools| tools.join(name)).filter(|path| path.is_file());
        match path {
            Some(path) if name == "s5cmd" => {
                found.push(Arc::new(S5cmd { path, server: server.clone() }))
            }
            Some(path) => found.push(Arc::new(Rclone { path, server: server.clone() })),
            None => eprintln!("SKIPPED: {name}, which is not in the directory of --tools"),
        }
    }
    found
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

struct S5cmd {
    path: PathBuf,
    server: Server,
}

impl S5cmd {
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let mut command = Command::new(&self.path);
        command.args(["--log", "error", "--endpoint-url", &self.server.endpoint, "cp"]);
        command.args([
            "--concurrency",
            &PARTS.to_string(),
            "--part-size",
            &(PART >> 20).to_string(),
            from,
            to,
        ]);
        command.env("AWS_ACCESS_KEY_ID", &self.server.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &self.server.secret_access_key);
        command.env("AWS_REGION", &self.server.region);
        run(&mut command).await
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.server.bucket)
    }
}

#[async_trait]
impl Files for S5cmd {
    fn name(&self) -> &'static str {
        "s5cmd"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.copy(&file.to_string_lossy(), &self.url(key)).await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        self.copy(&self.url(key), &file.to_string_lossy()).await
    }
}

struct Rclone {
    path: PathBuf,
    server: Server,
}

impl Rclone {
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let mut command = Command::new(&self.path);
        // An empty name means no configuration file.
        command.args(["--config", "", "--s3-no-check-bucket", "copyto"]);
        command.args([
            "--s3-upload-concurrency",
            &PARTS.to_string(),
            "--s3-chunk-size",
            &format!("{PART}B"),
        ]);
        command.args(["--multi-thread-streams", &PARTS.to_string(), from, to]);
        command
            .env("RCLONE_S3_PROVIDER", if self.server.quirks == "ceph" { "Ceph" } else { "Other" });
        command.env("RCLONE_S3_ENDPOINT", &self.server.endpoint);
        command.env("RCLONE_S3_REGION", &self.server.region);
        command.env("RCLONE_S3_ACCESS_KEY_ID", &self.server.access_key_id);
        command.env("RCLONE_S3_SECRET_ACCESS_KEY", &self.server.secret_access_key);
        run(&mut command).await
    }

    fn url(&self, key: &str) -> String {
        format!(":s3:{}/{key}", self.server.bucket)
    }
}

#[async_trait]
impl Files for Rclone {
    fn name(&self) -> &'static str {
        "rclone"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.copy(&file.to_string_lossy(), &self.url(key)).await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        self.copy(&self.url(key), &file.to_string_lossy()).await
    }
}
