//! Jobs: parts of tests that need their own process, because they are killed, limited or mount file
//! systems.
//!
//! A test binary with jobs has an ignored test `child`, which runs the job that the environment
//! names. It reports in lines on standard output that begin with [`MARK`], because the test harness
//! writes there too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const JOB: &str = "STORAGE_FS_JOB";
const ROOT: &str = "STORAGE_FS_JOB_ROOT";
const MARK: &str = "@ ";

/// A name, and the function to call with a root.
pub(crate) type Job<'a> = (&'a str, fn(&Path));

/// Runs the job that the environment names, for the ignored test `child`. Does nothing unless
/// [`job`] started the process.
pub(crate) fn run(jobs: &[Job<'_>]) {
    let Ok(wanted) = std::env::var(JOB) else { return };
    let root = std::env::var_os(ROOT).unwrap();
    let (_, job) =
        jobs.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("no job {wanted}"));
    job(Path::new(&root));
}

/// Returns a command that runs a job of this test binary on a root.
pub(crate) fn job(name: &str, root: &Path) -> Command {
    job_under(&[], name, root)
}

/// As [`job`], under another program: `["unshare", "-m"]`.
pub(crate) fn job_under(wrapper: &[&str], name: &str, root: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(exe),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(exe);
            command
        }
    };
    command.args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(JOB, name).env(ROOT, root);
    command
}

/// Runs a job to its end and returns its reports. Panics with its output if it fails.
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the job failed: {}\n{out}\n{err}", output.status);
    out.lines().filter_map(marked).map(str::to_owned).collect()
}

/// In a job: reports a line. It is one system call, so a killed job has reported a whole line or
/// none.
pub(crate) fn report(line: &str) {
    let line = format!("\n{MARK}{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// In a job: waits until the test continues it.
pub(crate) fn await_go() {
    report("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A running job.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Starts several jobs and continues them together when all are ready.
    pub(crate) fn start_together(commands: impl IntoIterator<Item = Command>) -> Vec<Self> {
        let mut all: Vec<_> = commands.into_iter().map(Self::start).collect();
        for running in &mut all {
            assert_eq!(running.next().as_deref(), Some("ready"));
        }
        all.iter_mut().for_each(Self::go);
        all
    }

    pub(crate) fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// Returns the next line that the job reports, or `None` at its end.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| marked(&line).map(str::to_owned))
    }

    /// Kills the job (SIGKILL) and returns its remaining reports.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next()).collect();
        self.child.wait().unwrap();
        rest
    }

    /// Waits for the end of the job and returns its remaining reports.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.next()).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the job failed: {status}");
        rest
    }
}

impl Drop for Running {
    /// A failed test leaves no process.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}
