//! Runs a test in its own process, where memory can be measured.

use std::process::{Command, Stdio};

/// Set in the child process.
const IN_OWN_PROCESS: &str = "STORAGE_TESTKIT_ALONE";

/// Whether this process runs a single test.
pub(crate) fn is_own_process() -> bool {
    std::env::var_os(IN_OWN_PROCESS).is_some()
}

/// Runs the body of a test in its own process, by starting this test binary again for this test.
/// `test` is the full path of the test, `concat!(module_path!(), "::name")`.
///
/// Tests in one process also share its memory, so that the growth of one cannot be measured.
///
/// # Panics
/// If the body panics, or if the binary contains no test of this path.
#[doc(hidden)]
pub fn in_own_process(test: &str, body: impl FnOnce()) {
    if is_own_process() {
        return body();
    }
    // The test harness names a test without its crate.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let binary = std::env::current_exe()
        .unwrap_or_else(|error| panic!("cannot find this test binary: {error}"));
    let mut command = Command::new(binary);
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(IN_OWN_PROCESS, "1")
        .stdin(Stdio::null());
    let output =
        command.output().unwrap_or_else(|error| panic!("cannot start this test binary: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{name}, in its own process:\n{stdout}\n{stderr}"
    );
}
