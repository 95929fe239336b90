//! Runs the program as its users do.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program with no storage in its environment but these.
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
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    said.into_owned()
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
fn it_runs_against_every_storage_of_its_configuration() {
    let said = succeeds(&[]);
    for expected in ["memory at memory:", "disk at ", "160 x 100 pixels", "1.4 seconds"] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    let storages = if cfg!(feature = "server") { 4 } else { 2 };
    assert_eq!(said.matches("4 objects            0 left").count(), storages, "{said}");
    assert_eq!(said.matches(" 19699 bytes, each as it was saved").count(), storages, "{said}");
    assert!(
        said.ends_with(&format!("{storages} storages, one application, no surprises.\n")),
        "{said}"
    );
}

#[cfg(feature = "server")]
#[test]
fn it_brings_a_server_for_s3() {
    // Whatever whoever runs this has set up for AWS is none of its business.
    let said = succeeds(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ACCESS_KEY_ID", "x")]);
    let (_, s3) = said.split_once("\ns3 at ").unwrap();
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
fn it_runs_against_the_storage_of_the_environment_and_touches_nothing_of_others() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("quickstart")).unwrap();
    let theirs = dir.path().join("quickstart/theirs.txt");
    std::fs::write(&theirs, "theirs").unwrap();
    let said = succeeds(&[("STORAGE_DEFAULT_URL", &format!("file://{}", dir.path().display()))]);
    assert!(said.starts_with("default at ") && !said.contains("memory"), "{said}");
    // Lock files of the driver stay, so that two processes cannot hold different files of one name.
    let locks = dir.path().join(".anystorage/locks");
    let mut others = files_below(dir.path());
    others.retain(|file| !file.starts_with(&locks));
    assert_eq!(others, [theirs]);
}

#[test]
fn it_runs_against_the_storages_of_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("storages.toml");
    let text = "[storages.here]\ndriver = 'memory'\n[storages.there]\ndriver = 'memory'\nread_only = true\n";
    std::fs::write(&config, text).unwrap();
    let said = succeeds(&[("STORAGE_CONFIG", config.to_str().unwrap())]);
    assert!(
        said.contains("here at memory:") && said.contains("there at memory:\n  skipped"),
        "{said}"
    );
    assert!(said.ends_with("1 storage, no surprises.\n"), "{said}");
}

#[test]
fn it_fails_where_there_is_nothing_to_write_to() {
    let complaint = fails(&[("STORAGE_DEFAULT_URL", "memory:?read_only=true")]);
    assert_eq!(complaint, "quickstart: every storage is read-only, so nothing was shown\n");
}

#[test]
fn it_fails_with_a_reason_where_the_configuration_is_wrong() {
    let complaint = fails(&[("STORAGE_DEFAULT_URL", "memory:?colour=red")]);
    assert!(complaint.contains("unknown option colour"), "{complaint}");
}

#[test]
fn it_fails_with_a_reason_where_the_storage_does_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the program's directory would be.
    std::fs::write(dir.path().join("quickstart"), "in the way").unwrap();
    let complaint = fails(&[("STORAGE_DEFAULT_URL", &format!("file://{}", dir.path().display()))]);
    assert!(complaint.contains("Conflict"), "{complaint}");
    assert_eq!(files_below(dir.path()), [dir.path().join("quickstart")]);
}
