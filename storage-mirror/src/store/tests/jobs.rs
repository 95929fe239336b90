//! Jobs: parts of tests that run in child processes, because they are killed or mount a file
//! system.
//!
//! The ignored test [`child`] runs the job that the environment names. A job reports lines that
//! begin with [`MARK`] on standard output, where the test harness writes too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const JOB: &str = "STORAGE_HTTP_CACHE_JOB";
const PATH: &str = "STORAGE_HTTP_CACHE_JOB_PATH";
const MARK: &str = "@ ";

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    let Ok(wanted) = std::env::var(JOB) else { return };
    let path = std::env::var_os(PATH).unwrap();
    let job = match &*wanted {
        "fill" => super::crash::fill_for_ever,
        "churn" => super::crash::churn_for_ever,
        "full disk" => super::full_disk::full_disk,
        "no inodes" => super::full_disk::no_inodes,
        "footprint" => super::footprint::report_growth,
        _ => panic!("no job {wanted}"),
    };
    job(Path::new(&path));
}

/// Returns a command that runs a job on a directory, through `wrapper` if it is not empty, such as
/// `["unshare", "-m"]`.
pub(super) fn job(wrapper: &[&str], name: &str, path: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(exe),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(exe);
            command
        }
    };
    let (_crate, module) = module_path!().split_once("::").unwrap();
    command.args([
        &format!("{module}::child"),
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(JOB, name).env(PATH, path);
    command
}

/// Runs a job to its end and returns its reports. Panics with its output if it failed.
#[track_caller]
pub(super) fn finish(mut command: Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the job failed: {}\n{out}\n{err}", output.status);
    out.lines().filter_map(marked).map(str::to_owned).collect()
}

/// Reports a line from a job, in one system call, so that a killed job leaves no partial line.
pub(super) fn report(line: &str) {
    let line = format!("\n{MARK}{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// A running job.
pub(super) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Returns the next report, and `None` when the job has ended.
    pub(super) fn next(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| marked(&line).map(str::to_owned))
    }

    /// Kills the job (SIGKILL) and returns the reports that were not read yet.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next()).collect();
        self.child.wait().unwrap();
        rest
    }
}

impl Drop for Running {
    /// Kills the job, so that a failed test leaves no process.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}
