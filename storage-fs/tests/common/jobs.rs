//! Jobs: parts of tests that need a process of their own, because they are killed, limited or
//! mounted around.
//!
//! A test binary with jobs has an ignored test `child`, which runs the job that the environment
//! names. It answers in lines on standard output that begin with [`MARK`], since the test harness
//! writes there too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const JOB: &str = "STORAGE_FS_JOB";
const ROOT: &str = "STORAGE_FS_JOB_ROOT";
const MARK: &str = "@ ";

/// A name, and what to do on a root.
pub(crate) type Job<'a> = (&'a str, fn(&Path));

/// What the ignored test `child` calls. Does nothing unless it was started by [`job`].
pub(crate) fn run(jobs: &[Job<'_>]) {
    let Ok(wanted) = std::env::var(JOB) else { return };
    let root = std::env::var_os(ROOT).unwrap();
    let (_, job) =
        jobs.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("no job {wanted}"));
    job(Path::new(&root));
}

/// A command that runs a job of this test binary on a root.
pub(crate) fn job(name: &str, root: &Path) -> Command {
    job_under(&[], name, root)
}

/// The same under another program: `["unshare", "-m"]`.
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

/// Runs a job to its end and answers what it told. Panics with its output if it failed.
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the job failed: {}\n{out}\n{err}", output.status);
    out.lines().filter_map(marked).map(str::to_owned).collect()
}

/// In a job: answers a line. One system call, so a job that is killed has told a whole line or
/// none.
pub(crate) fn tell(line: &str) {
    let line = format!("\n{MARK}{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// In a job: waits until the test lets it go on.
pub(crate) fn await_go() {
    tell("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A job under way.
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

    /// Starts some and lets them go at once, when all are ready.
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

    /// The next line it tells; `None` when it has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| marked(&line).map(str::to_owned))
    }

    /// Kills it at once (SIGKILL) and answers what it told before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next()).collect();
        self.child.wait().unwrap();
        rest
    }

    /// Waits for its end and answers the rest of what it told.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.next()).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the job failed: {status}");
        rest
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}
