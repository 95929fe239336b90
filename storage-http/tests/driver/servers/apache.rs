//! Apache with mod_dav (Debian: `apache2-bin`), which follows RFC 4918.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::Storage;
use storage_testkit::servers::Running;
use tempfile::TempDir;

use super::{builder, first_existing, skip};

const PROGRAMS: &[&str] = &["/usr/sbin/apache2", "/usr/sbin/httpd"];
const MODULES: &str = "/usr/lib/apache2/modules";

/// Apache with a directory of files. Without ETags, which are weak for one second and then strong.
pub(crate) struct Apache {
    running: Running,
    directory: TempDir,
    storages: AtomicUsize,
}

impl Apache {
    /// Starts the server. Returns `None` and prints a line if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let (Some(program), Some(_)) =
            (first_existing(PROGRAMS), first_existing(&["/usr/lib/apache2/modules/mod_dav_fs.so"]))
        else {
            skip("Apache", "apache2-bin is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("files")).unwrap();
        // Apache changes its user if this one is root.
        for path in [directory.path(), &directory.path().join("files")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let root = directory.path().display();
        let modules = ["mpm_event", "authz_core", "dav", "dav_fs", "dir", "mime"]
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .concat();
        let running = Running::start(|[port]| {
            let config = format!(
                "ServerRoot {root}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {root}/pid\n\
                 ErrorLog {root}/error.log\nDefaultRuntimeDir {root}\n{modules}User www-data\nGroup www-data\n\
                 DavLockDB {root}/locks\nDocumentRoot {root}/files\n<Directory {root}/files>\nDav On\nFileETag None\n\
                 DirectoryIndex disabled\n</Directory>\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
                 ServerLimit 1\nThreadLimit 200\nThreadsPerChild 200\nMaxRequestWorkers 200\nTypesConfig /dev/null\nAddType text/css .css\n\n"
            );
            let path = directory.path().join("apache.conf");
            fs::write(&path, config).unwrap();
            let mut command = Command::new(program);
            // One process, which the test can end.
            command.arg("-X").arg("-f").arg(path);
            command
        });
        Some(Self { running, directory, storages: AtomicUsize::new(0) })
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// Creates a directory and returns its name and its storage.
    pub(crate) fn storage(&self) -> (String, Storage) {
        let name = format!("{:04}", self.storages.fetch_add(1, Ordering::SeqCst));
        let path = self.files().join(&name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let base = format!("http://{}/{name}", self.running.address(0)).parse().unwrap();
        (name, Storage::new(builder(base).writable(true).build().unwrap()))
    }
}
