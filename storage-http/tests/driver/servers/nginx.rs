//! nginx, with the module for PROPFIND if that is installed (Debian: `nginx-light`,
//! `libnginx-mod-http-dav-ext`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::Storage;
use storage_http::HttpBuilder;
use storage_testkit::servers::Running;
use tempfile::TempDir;
use url::Url;

use super::{builder, first_existing, skip};

const PROGRAMS: &[&str] = &["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
const DAV_EXT: &[&str] = &[
    "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so",
    "/usr/share/nginx/modules/ngx_http_dav_ext_module.so",
];

/// nginx with a directory of files at several URLs:
///
/// | URL | |
/// |---|---|
/// | `/plain/` | read-only |
/// | `/dav/` | writable, with WebDAV; nginx creates parents |
/// | `/put/` | writable, without WebDAV; nginx creates no parents |
pub(crate) struct Nginx {
    running: Running,
    directory: TempDir,
    storages: AtomicUsize,
}

impl Nginx {
    /// Starts the server. Returns `None` and prints a line if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let (Some(program), Some(module)) = (first_existing(PROGRAMS), first_existing(DAV_EXT))
        else {
            skip("nginx", "nginx-light or libnginx-mod-http-dav-ext is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        // nginx writes files as this user, who may not own the temporary directories.
        fs::create_dir(directory.path().join("files")).unwrap();
        fs::create_dir(directory.path().join("temporary")).unwrap();
        let running = Running::start(|[port]| {
            let config = directory.path().join("nginx.conf");
            fs::write(&config, configuration(directory.path(), module, port)).unwrap();
            let mut command = Command::new(program);
            command
                .arg("-c")
                .arg(config)
                .arg("-p")
                .arg(directory.path())
                .arg("-e")
                .arg("error.log");
            command
        });
        Some(Self { running, directory, storages: AtomicUsize::new(0) })
    }

    /// Returns the directory of the files.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// Returns a URL of the server.
    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.running.address(0)).parse().unwrap()
    }

    pub(crate) fn http(&self, path: &str) -> HttpBuilder {
        builder(self.url(path))
    }

    /// Creates a writable directory with WebDAV and returns its name and its storage.
    pub(crate) fn storage(&self) -> (String, Storage) {
        let name = format!("{:04}", self.storages.fetch_add(1, Ordering::SeqCst));
        fs::create_dir(self.files().join(&name)).unwrap();
        let http = self.http(&format!("/dav/{name}")).writable(true).build().unwrap();
        (name, Storage::new(http))
    }
}

fn configuration(directory: &Path, module: &str, port: u16) -> String {
    let files = directory.join("files");
    let (files, temporary) = (files.display(), directory.join("temporary").display().to_string());
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {temporary}/{kind};\n"))
        .collect();
    format!(
        "daemon off; master_process off; worker_rlimit_nofile 4096;
        pid {temporary}/pid; error_log {temporary}/error.log;
        load_module {module};
        events {{ worker_connections 1024; }}
        http {{
            access_log off; client_max_body_size 0; {paths}
            types {{ text/css css; image/png png; text/plain txt; }}
            default_type application/octet-stream;
            server {{
                listen 127.0.0.1:{port};
                location /plain/ {{ alias {files}/; }}
                location /dav/ {{
                    alias {files}/;
                    dav_methods PUT DELETE MKCOL; dav_ext_methods PROPFIND; create_full_put_path on;
                }}
                location /put/ {{ alias {files}/; dav_methods PUT DELETE MKCOL; }}
            }}
        }}"
    )
}
