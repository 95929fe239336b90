//! Tests of the built program, run as its users run it.
#![allow(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the program with these storages and no others in its environment.
fn quickstart(environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STORAGE_"))
    {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

fn succeeds(environment: &[(&str, &str)]) -> String {
    let output = quickstart(environment);
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

fn fails(environment: &[(&str, &str)]) -> String {
    let output = quickstart(environment);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn quickstart_runs_on_every_storage_of_its_configuration() {
    let stdout = succeeds(&[]);
    for expected in ["memory at memory:", "disk at ", "160 x 100 pixels", "1.4 seconds"] {
        assert!(stdout.contains(expected), "{expected:?} is not in:\n{stdout}");
    }
    let storages = if cfg!(feature = "server") { 4 } else { 2 };
    assert_eq!(stdout.matches("4 objects            0 left").count(), storages, "{stdout}");
    assert_eq!(stdout.matches(" 19699 bytes, the same as saved").count(), storages, "{stdout}");
    assert!(
        stdout.ends_with(&format!("{storages} storages, one application, the same results.\n")),
        "{stdout}"
    );
}

#[cfg(feature = "server")]
#[test]
fn quickstart_starts_its_own_s3_server() {
    // The quickstart must not use the AWS settings of the user.
    let stdout =
        succeeds(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ACCESS_KEY_ID", "x")]);
    let (_, s3) = stdout.split_once("\ns3 at ").unwrap();
    for expected in [
        "image/png",
        "already",
        "signed               http://127.0.0.1:",
        "upload form          http://127.0.0.1:",
    ] {
        assert!(s3.contains(expected), "{expected:?} is not in:\n{s3}");
    }
}

#[test]
fn quickstart_runs_on_the_storage_of_the_environment_and_keeps_other_objects() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("quickstart")).unwrap();
    let other = dir.path().join("quickstart/other.txt");
    std::fs::write(&other, "other").unwrap();
    let stdout = succeeds(&[("STORAGE_DEFAULT_URL", &format!("file://{}", dir.path().display()))]);
    assert!(stdout.starts_with("default at ") && !stdout.contains("memory"), "{stdout}");
    // The lock files of the driver stay.
    let locks = dir.path().join(".anystorage/locks");
    let mut others = files_below(dir.path());
    others.retain(|file| !file.starts_with(&locks));
    assert_eq!(others, [other]);
}

#[test]
fn quickstart_runs_on_the_storages_of_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("storages.toml");
    let text = "[storages.here]\ndriver = 'memory'\n\
                [storages.there]\ndriver = 'memory'\nread_only = true\n";
    std::fs::write(&config, text).unwrap();
    let stdout = succeeds(&[("STORAGE_CONFIG", config.to_str().unwrap())]);
    assert!(
        stdout.contains("here at memory:") && stdout.contains("there at memory:\n  skipped"),
        "{stdout}"
    );
    assert!(stdout.ends_with("1 storage, the expected results.\n"), "{stdout}");
}

#[test]
fn quickstart_fails_if_all_storages_are_read_only() {
    let error = fails(&[("STORAGE_DEFAULT_URL", "memory:?read_only=true")]);
    assert_eq!(error, "quickstart: all storages are read-only, so there is nothing to show\n");
}

#[test]
fn quickstart_reports_a_wrong_configuration() {
    let error = fails(&[("STORAGE_DEFAULT_URL", "memory:?colour=red")]);
    assert!(error.contains("unknown option colour"), "{error}");
}

#[test]
fn quickstart_reports_a_failing_storage_and_leaves_no_objects() {
    let dir = tempfile::tempdir().unwrap();
    // A file with the name of the program's directory.
    std::fs::write(dir.path().join("quickstart"), "in the way").unwrap();
    let error = fails(&[("STORAGE_DEFAULT_URL", &format!("file://{}", dir.path().display()))]);
    assert!(error.contains("Conflict"), "{error}");
    assert_eq!(files_below(dir.path()), [dir.path().join("quickstart")]);
}
