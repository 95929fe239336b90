//! Runs the script between two directories.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::Path;
use std::process::{Command, Output};

use anystorage::{Checksum, ChecksumAlgorithm, Payload, Storage};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

impl Place {
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

    /// Runs the script with no storage in its environment but those of the file.
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
    said: String,
    complained: String,
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), said: text(stdout), complained: text(stderr) }
    }

    #[track_caller]
    fn is(&self, code: i32, said: &str) {
        assert_eq!((self.code, &*self.said), (Some(code), said), "{}", self.complained);
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn everything_arrives_with_its_metadata_and_a_second_run_copies_nothing() {
    let place = Place::new();
    let (old, new) = (place.storage("old"), place.storage("new"));
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

    place.migrate(&["old", "new"]).is(0, "101 copied (3000690 bytes), 0 there already, 0 failed\n");
    assert_eq!(read(&place.path("new/images/a.png")), picture);
    let (before, after) =
        (old.stat("images/a.png").await.unwrap(), new.stat("images/a.png").await.unwrap());
    assert_eq!((&after.metadata, &after.checksums), (&before.metadata, &before.checksums));
    let sum = Checksum::of(ChecksumAlgorithm::Sha256, &picture);
    assert_eq!(after.checksums.get(ChecksumAlgorithm::Sha256), Some(&sum));

    old.save("notes/7.txt", "a longer note").await.unwrap();
    place.migrate(&["old", "new"]).is(0, "1 copied (13 bytes), 100 there already, 0 failed\n");
    assert_eq!(read(&place.path("new/notes/7.txt")), b"a longer note");
}

#[tokio::test]
async fn a_failed_object_is_named_and_the_others_arrive() {
    let place = Place::new();
    let (old, new) = (place.storage("old"), place.storage("new"));
    for key in ["a", "b", "c"] {
        old.save(key, "1").await.unwrap();
    }
    // On a file system `b` cannot be a file where `b/x` is one.
    new.save("b/x", "in the way").await.unwrap();
    let run = place.migrate(&["old", "new"]);
    run.is(1, "2 copied (2 bytes), 0 there already, 1 failed\n");
    assert!(
        run.complained.contains("failed: ") && run.complained.contains("\"b\""),
        "{}",
        run.complained
    );
    assert_eq!(
        (read(&place.path("new/a")), read(&place.path("new/c"))),
        (b"1".to_vec(), b"1".to_vec())
    );
    assert_eq!(read(&place.path("new/b/x")), b"in the way");
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let run = Place::new().migrate(&["old", "nwe"]);
    run.is(2, "");
    assert!(
        run.complained.contains("nwe") && run.complained.contains("new, old"),
        "{}",
        run.complained
    );
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    let run = Place::new().migrate(&["old"]);
    run.is(2, "");
    assert!(run.complained.starts_with("usage: migrate FROM TO"), "{}", run.complained);
}
