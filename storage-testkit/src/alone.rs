//! Running a test in a process of its own, where memory can be measured.

use std::process::{Command, Stdio};

/// Set in the process of its own.
const ALONE: &str = "STORAGE_TESTKIT_ALONE";

/// Whether this process runs one test alone.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs the body of a test in a process of its own, by starting this test binary once more for this
/// one test. The first argument is the test's full path, as `module_path!()` begins it.
///
/// Tests share a process otherwise, and what others allocate meanwhile cannot be told from what
/// this one does.
///
/// # Panics
/// If the body panics, or the test is not found under that path.
#[doc(hidden)]
pub fn alone(test: &str, body: impl FnOnce()) {
    if is_alone() {
        return body();
    }
    // The name of the crate is not part of what the test harness calls a test.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let binary = std::env::current_exe()
        .unwrap_or_else(|error| panic!("this test binary is not to be found: {error}"));
    let mut command = Command::new(binary);
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdin(Stdio::null());
    let output =
        command.output().unwrap_or_else(|error| panic!("this test binary does not start: {error}"));
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{name}, alone:\n{told}\n{errors}"
    );
}
