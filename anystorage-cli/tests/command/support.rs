//! A temporary directory with a configuration of two storages, in which tests run the command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

const CONFIG: &str = r#"
[storages.media]
driver = "fs"
root = "media"

[storages.backup]
driver = "fs"
root = "backup"

[storages.frozen]
driver = "fs"
root = "media"
read_only = true

[storages.linked]
driver = "fs"
root = "media"
public_url = "https://media.example.com/files"
signing_key = "0123456789abcdef0123456789abcdef"
"#;

/// The usual number of the user without privileges, who owns no files.
const UNPRIVILEGED: u32 = 65534;

pub(crate) struct Sandbox {
    directory: TempDir,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { directory: tempfile::tempdir().unwrap() };
        sandbox.write("storages.toml", CONFIG);
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a local file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Reads a local file.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Reads all files below a local directory.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        let (mut texts, mut left) = (Vec::new(), vec![self.path(directory)]);
        while let Some(path) = left.pop() {
            match path.is_dir() {
                true => {
                    left.extend(
                        std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()),
                    );
                }
                false => {
                    texts
                        .push(String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
                }
            }
        }
        texts
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Returns the command in this directory, with its configuration and an empty environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anystorage"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("STORAGE_CONFIG", "storages.toml");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    /// Gives all files to an unprivileged user. Has no effect unless the test runs as root.
    pub(crate) fn give_to_unprivileged(&self) {
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(path) = left.pop() {
            if std::os::unix::fs::lchown(&path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).is_err() {
                return;
            }
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    /// Runs the command as the unprivileged user, or as the current user unless that is root.
    pub(crate) fn run_unprivileged(&self, arguments: &[&str]) -> Run {
        use std::os::unix::fs::MetadataExt;
        use std::os::unix::process::CommandExt;
        let mut command = self.command(arguments);
        if std::fs::metadata(self.directory.path()).unwrap().uid() == UNPRIVILEGED {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        run(&mut command)
    }

    /// Runs the command with this standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // The command may end before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run::from(child.wait_with_output().unwrap())
    }

    /// Saves text at a location with the command.
    pub(crate) fn put(&self, location: &str, text: &str) {
        self.feed(&["put", "-", location], text.as_bytes()).done();
    }

    /// Reads a location with the command.
    pub(crate) fn cat(&self, location: &str) -> String {
        self.run(&["cat", location]).done()
    }
}

pub(crate) fn run(command: &mut Command) -> Run {
    Run::from(command.output().unwrap())
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        Self { code: output.status.code(), out: output.stdout, err }
    }
}

impl Run {
    /// Returns standard output of a run that succeeded without a message.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""));
        String::from_utf8(self.out).unwrap()
    }

    /// Returns the error line of a run that failed with this code and printed nothing else.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(
            (self.code, String::from_utf8_lossy(&self.out).as_ref()),
            (Some(code), ""),
            "{}",
            self.err
        );
        let line = self.err.strip_suffix('\n').unwrap_or(&self.err);
        assert!(
            !line.is_empty() && !line.contains('\n') && line.starts_with("anystorage: "),
            "{:?}",
            self.err
        );
        line.to_owned()
    }

    /// Returns the exit code of a run that printed nothing.
    pub(crate) fn silent(self) -> i32 {
        assert_eq!((String::from_utf8_lossy(&self.out).as_ref(), self.err.as_str()), ("", ""));
        self.code.unwrap()
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Stops a process and waits until it stands still. Signals that it receives afterwards arrive
/// together when it continues.
pub(crate) fn suspend(child: &Child) {
    signal(child, Signal::STOP);
    waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::STOPPED).unwrap();
}

/// How long [`wait_until`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition is true.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not become true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process ignores permissions, as root does.
pub(crate) fn ignores_permissions(scratch: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let path = scratch.join("probe");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::read(&path).is_ok()
}

#[allow(clippy::print_stderr, reason = "a skipped test prints the reason")]
pub(crate) fn skipped(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}
