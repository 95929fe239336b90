//! Jobs: parts of tests that run in a separate process, because they are killed, have limited
//! resources, or mount file systems.
//!
//! A test binary with jobs has an ignored test, which calls [`run`] with the jobs. A job reports in
//! lines on standard output that begin with a mark, because the test harness writes there too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

const JOB: &str = "STORAGE_TESTKIT_JOB";
const PATH: &str = "STORAGE_TESTKIT_JOB_PATH";
const MARK: &str = "@ ";

/// A name, and the function to call with a path.
pub type Job<'a> = (&'a str, fn(&Path));

/// Runs the job that the environment names, for the ignored test. Does nothing unless [`command`]
/// started the process.
///
/// # Panics
/// If there is no such job.
pub fn run(jobs: &[Job<'_>]) {
    let (Some(wanted), Some(path)) = (std::env::var_os(JOB), std::env::var_os(PATH)) else {
        return;
    };
    let job = jobs.iter().find(|(name, _)| wanted == *name);
    let (_, job) = job.unwrap_or_else(|| panic!("there is no job called {}", wanted.display()));
    job(Path::new(&path));
}

/// Returns a command that runs a job of this test binary on a path. `test` is the full path of the
/// ignored test, `concat!(module_path!(), "::child")`. `wrapper` is a program to run it under, such
/// as `["unshare", "-m"]`, or empty.
///
/// # Panics
/// If the path of this test binary is unknown.
#[must_use]
pub fn command(test: &str, wrapper: &[&str], name: &str, path: &Path) -> Command {
    let exe = std::env::current_exe().expect("this test binary has a path");
    let mut command = match wrapper {
        [] => Command::new(exe),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(exe);
            command
        }
    };
    // The test harness names a test without its crate.
    let test = test.split_once("::").map_or(test, |(_, name)| name);
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(JOB, name).env(PATH, path);
    command
}

/// Returns the program under which a job can mount file systems. They end with the job. Returns
/// `None` if this machine forbids mounts.
pub fn mount_wrapper() -> Option<&'static [&'static str]> {
    static WRAPPER: OnceLock<Option<&[&str]>> = OnceLock::new();
    let mounts = |way: &&[&str]| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["mount", "-t", "tmpfs", "probe"]);
        let output = command.arg(std::env::temp_dir()).output();
        output.is_ok_and(|output| output.status.success())
    };
    *WRAPPER.get_or_init(|| {
        let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-r", "-m"]];
        ways.into_iter().find(mounts)
    })
}

/// Runs a job to its end and returns its reports.
///
/// # Panics
/// With the output of the job, if it fails.
#[track_caller]
pub fn finish(mut command: Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().expect("the job starts");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the job failed: {}\n{out}\n{err}", output.status);
    out.lines().filter_map(marked).map(str::to_owned).collect()
}

/// In a job: reports a line. It is one system call, so a killed job has reported a whole line or
/// none.
///
/// # Panics
/// If standard output is closed.
pub fn report(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("\n{MARK}{line}\n").as_bytes()).expect("standard output is open");
    stdout.flush().expect("standard output is open");
}

/// In a job: waits until the test calls [`Running::go`].
///
/// # Panics
/// If standard input or output is closed.
pub fn await_go() {
    report("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("standard input is open");
}

/// A running job. Dropping it kills the job, so that a failed test leaves no process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a job.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the job starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// Starts several jobs and continues them together when all are ready.
    ///
    /// # Panics
    /// If one ends before.
    pub fn start_together(commands: impl IntoIterator<Item = Command>) -> Vec<Self> {
        let mut all: Vec<_> = commands.into_iter().map(Self::start).collect();
        for running in &mut all {
            assert_eq!(running.next_report().as_deref(), Some("ready"));
        }
        all.iter_mut().for_each(Self::go);
        all
    }

    /// Continues a job that waits in [`await_go`].
    ///
    /// # Panics
    /// If it has ended.
    pub fn go(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("standard input is a pipe");
        stdin.write_all(b"go\n").expect("the job reads its standard input");
    }

    /// Returns the next line that the job reports, or `None` at its end.
    pub fn next_report(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| marked(&line).map(str::to_owned))
    }

    /// Kills the job (SIGKILL) and returns the reports that were not read yet.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("the job can be killed");
        let rest = std::iter::from_fn(|| self.next_report()).collect();
        self.child.wait().expect("the job ends");
        rest
    }

    /// Waits for the end of the job and returns the reports that were not read yet.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn finish(mut self) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.next_report()).collect();
        let status = self.child.wait().expect("the job ends");
        assert!(status.success(), "the job failed: {status}");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}
