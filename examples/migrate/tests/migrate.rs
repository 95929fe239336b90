//! Tests of the script with two directories.
#![allow(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use std::path::Path;
use std::process::{Command, Output};

use anystorage::{Checksum, ChecksumAlgorithm, Payload, Storage};
use tempfile::TempDir;

struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let table = |name: &str| {
            format!("[storages.{name}]\ndriver = 'fs'\nroot = '{}/{name}'\n", dir.path().display())
        };
        std::fs::write(dir.path().join("storages.toml"), table("old") + &table("new")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn storage(&self, name: &str) -> Storage {
        anystorage::open(&format!("file://{}", self.path(name).display())).unwrap()
    }

    /// Runs the script with the storages of the file and no others in its environment.
    fn migrate(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STORAGE_"))
        {
            command.env_remove(name);
        }
        Run::of(command.args(arguments).env("STORAGE_CONFIG", self.path("storages.toml")))
    }
}

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    fn assert_result(&self, code: i32, stdout: &str) {
        assert_eq!((self.code, &*self.stdout), (Some(code), stdout), "{}", self.stderr);
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn all_objects_are_copied_with_metadata_and_a_second_run_copies_only_changes() {
    let sandbox = Sandbox::new();
    let (old, new) = (sandbox.storage("old"), sandbox.storage("new"));
    let picture = vec![7; 3_000_000];
    old.save("images/a.png", picture.clone())
        .cache_control("no-cache")
        .user_metadata("author", "ada")
        .compute_checksum(ChecksumAlgorithm::Sha256)
        .await
        .unwrap();
    for n in 0..100 {
        old.save(format!("notes/{n}.txt"), Payload::from(format!("note {n}"))).await.unwrap();
    }

    sandbox
        .migrate(&["old", "new"])
        .assert_result(0, "101 copied (3000690 bytes), 0 skipped, 0 failed\n");
    assert_eq!(read(&sandbox.path("new/images/a.png")), picture);
    let (before, after) =
        (old.stat("images/a.png").await.unwrap(), new.stat("images/a.png").await.unwrap());
    assert_eq!((&after.metadata, &after.checksums), (&before.metadata, &before.checksums));
    let sum = Checksum::of(ChecksumAlgorithm::Sha256, &picture);
    assert_eq!(after.checksums.get(ChecksumAlgorithm::Sha256), Some(&sum));

    old.save("notes/7.txt", "a longer note").await.unwrap();
    sandbox
        .migrate(&["old", "new"])
        .assert_result(0, "1 copied (13 bytes), 100 skipped, 0 failed\n");
    assert_eq!(read(&sandbox.path("new/notes/7.txt")), b"a longer note");
}

#[tokio::test]
async fn a_failed_object_is_reported_and_the_others_are_copied() {
    let sandbox = Sandbox::new();
    let (old, new) = (sandbox.storage("old"), sandbox.storage("new"));
    for key in ["a", "b", "c"] {
        old.save(key, "1").await.unwrap();
    }
    // On a file system, `b` cannot be a file if `b/x` is one.
    new.save("b/x", "in the way").await.unwrap();
    let run = sandbox.migrate(&["old", "new"]);
    run.assert_result(1, "2 copied (2 bytes), 0 skipped, 1 failed\n");
    assert!(run.stderr.contains("failed: b: "), "{}", run.stderr);
    assert_eq!(
        (read(&sandbox.path("new/a")), read(&sandbox.path("new/c"))),
        (b"1".to_vec(), b"1".to_vec())
    );
    assert_eq!(read(&sandbox.path("new/b/x")), b"in the way");
}

#[test]
fn an_unknown_storage_name_is_an_error_that_lists_the_known_ones() {
    let run = Sandbox::new().migrate(&["old", "nwe"]);
    run.assert_result(2, "");
    assert!(run.stderr.contains("nwe") && run.stderr.contains("new, old"), "{}", run.stderr);
}

#[test]
fn wrong_arguments_print_the_usage() {
    let run = Sandbox::new().migrate(&["old"]);
    run.assert_result(2, "");
    assert!(run.stderr.starts_with("usage: migrate FROM TO"), "{}", run.stderr);
}
