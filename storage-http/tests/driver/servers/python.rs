//! Python's `http.server`: no ranges, no conditions but `If-Modified-Since`, no ETags, HTTP/1.0.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use storage_core::Storage;
use storage_testkit::servers::Running;
use tempfile::TempDir;

use super::{builder, skip};

pub(crate) struct Python {
    running: Running,
    directory: TempDir,
}

impl Python {
    /// Starts the server. Returns `None` and prints a line if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let version = Command::new("python3")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !version.is_ok_and(|status| status.success()) {
            skip("http.server", "python3 is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let running = Running::start(|[port]| {
            let mut command = Command::new("python3");
            command.args([
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                &port.to_string(),
                "--directory",
            ]);
            command.arg(directory.path());
            command
        });
        Some(Self { running, directory })
    }

    /// Writes a file.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let path: PathBuf = self.directory.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn storage(&self) -> Storage {
        let base = format!("http://{}", self.running.address(0)).parse().unwrap();
        Storage::new(builder(base).build().unwrap())
    }
}
