//! Tracing system calls and injecting faults with strace, in one thread or in a whole job.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::poll::blocking_thread;

/// A thread of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Thread {
    /// The calling thread.
    This,
    /// The single blocking thread of the runtime.
    Blocking,
}

impl Thread {
    async fn id(self) -> u32 {
        match self {
            Self::This => rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(),
            Self::Blocking => blocking_thread().await,
        }
    }

    /// Makes the thread call [`MARKER_CALL`].
    async fn call_marker(self) {
        match self {
            Self::This => drop(rustix::process::getppid()),
            Self::Blocking => drop(tokio::task::spawn_blocking(rustix::process::getppid).await),
        }
    }
}

/// A system call that no other code makes.
const MARKER_CALL: &str = "getppid";

/// Returns whether strace is installed and may trace this process.
pub(crate) async fn is_possible() -> bool {
    let trace = Trace::start(Thread::This, "getpid", None).await;
    trace.is_ok_and(|trace| {
        trace.stop();
        true
    })
}

/// Returns a wrapper under which a job cannot link unnamed files, so that staged files are named
/// from the start, as on file systems without `O_TMPFILE`. Returns `None` if strace cannot run a
/// program.
pub(crate) fn without_unnamed_files() -> Option<&'static [&'static str]> {
    runs(&WITHOUT_LINKS).then_some(&WITHOUT_LINKS)
}

/// Returns a wrapper that runs a job as on a kernel without `openat2`.
pub(crate) fn without_openat2() -> Option<&'static [&'static str]> {
    runs(&WITHOUT_OPENAT2).then_some(&WITHOUT_OPENAT2)
}

// With -D, the child of this process is the job and not strace, so a kill hits the job.
macro_rules! under_strace {
    ($call:literal, $error:literal) => {
        [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            concat!("trace=", $call),
            "-e",
            concat!("inject=", $call, ":error=", $error),
        ]
    };
}

const WITHOUT_LINKS: [&str; 11] = under_strace!("linkat", "EPERM");
const WITHOUT_OPENAT2: [&str; 11] = under_strace!("openat2", "ENOSYS");

fn runs(wrapper: &[&str]) -> bool {
    let run = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    run.is_ok_and(|output| output.status.success())
}

/// A strace process that is attached to a thread of this process.
pub(crate) struct Trace {
    strace: Child,
    output: PathBuf,
    _dir: TempDir,
}

impl Trace {
    /// Traces calls of a thread and injects faults: `"fsync:error=EIO:when=1"`.
    pub(crate) async fn start(
        thread: Thread,
        calls: &str,
        inject: Option<&str>,
    ) -> std::io::Result<Self> {
        allow_tracing();
        let id = thread.id().await.to_string();
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("trace");
        let mut command = Command::new("strace");
        command
            .args(["-qq", "-y", "-p", &id, "-e", &format!("trace={MARKER_CALL},{calls}"), "-o"])
            .arg(&output);
        if let Some(inject) = inject {
            command.arg("-e").arg(format!("inject={inject}"));
        }
        let strace = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut trace = Self { strace, output, _dir: dir };
        trace.attached(thread).await?;
        Ok(trace)
    }

    /// Waits until strace traces the thread.
    async fn attached(&mut self, thread: Thread) -> std::io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            thread.call_marker().await;
            if std::fs::read_to_string(&self.output).is_ok_and(|seen| seen.contains(MARKER_CALL)) {
                return Ok(());
            }
            if self.strace.try_wait()?.is_some() {
                return Err(std::io::Error::other("strace ended"));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Err(std::io::Error::other("strace did not attach"))
    }

    /// Detaches and returns the lines of the trace.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        self.strace.wait().unwrap();
        std::fs::read_to_string(&self.output).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Allows any process to trace this one. Some systems allow only ancestors, and strace is a child.
fn allow_tracing() {
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
}
