//! `cp -r` of a local directory with symlinks and special files in it.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Run, Sandbox};

/// A directory `dir` with a file, and a symlink to each of: a file, a directory, nothing.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    sandbox.write("outside/deep/b", "b");
    sandbox.feed(&["put", "--meta", "k=v", "-", "./outside/c"], b"c").done();
    symlink("../outside/c", sandbox.path("dir/to-file")).unwrap();
    symlink("../../outside", sandbox.path("dir/below-to-directory")).unwrap();
    std::fs::create_dir(sandbox.path("dir/below")).unwrap();
    symlink("../../outside", sandbox.path("dir/below/to-directory")).unwrap();
    std::fs::remove_file(sandbox.path("dir/below-to-directory")).unwrap();
    symlink("nowhere", sandbox.path("dir/broken")).unwrap();
    sandbox
}

/// The lines of a run that failed for some objects.
fn named(run: &Run) -> Vec<&str> {
    assert_eq!((run.code, run.out.len()), (Some(1), 0), "{}", run.err);
    let mut lines: Vec<_> = run.err.lines().collect();
    lines.sort_unstable();
    lines
}

fn listed(sandbox: &Sandbox) -> String {
    sandbox.run(&["ls", "-r", "media:"]).done()
}

#[test]
fn symlinks_are_named_and_the_rest_is_copied() {
    let sandbox = sandbox();
    let url = format!("file://{}", sandbox.path("dir").display());
    for from in ["./dir", "./dir/", &url] {
        let run = sandbox.run(&["cp", "-r", from, "media:x"]);
        let lines = named(&run);
        assert_eq!(lines.len(), 4, "{lines:?}");
        for name in ["below/to-directory", "broken", "to-file"] {
            let line =
                lines.iter().find(|line| line.contains(&format!("dir/{name}: a symlink"))).unwrap();
            assert!(line.contains("--follow") && line.contains("--skip-links"), "{line}");
        }
        assert!(run.err.ends_with("anystorage: 3 not copied, 1 copied\n"), "{}", run.err);
        assert_eq!(listed(&sandbox), "x/a\n");
    }
}

#[test]
fn symlinks_are_left_out_without_an_error_on_request() {
    let sandbox = sandbox();
    sandbox.run(&["cp", "-r", "--skip-links", "./dir", "media:x"]).done();
    assert_eq!(listed(&sandbox), "x/a\n");
}

#[test]
fn what_symlinks_lead_to_is_copied_on_request_with_its_metadata() {
    let sandbox = sandbox();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]);
    let lines = named(&run);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(run.err.contains("dir/broken: a symlink that cannot be followed: "), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 1 not copied, 4 copied\n"), "{}", run.err);
    assert_eq!(
        listed(&sandbox),
        "x/a\nx/below/to-directory/c\nx/below/to-directory/deep/b\nx/to-file\n"
    );
    assert_eq!(sandbox.cat("media:x/below/to-directory/deep/b"), "b");
    assert!(sandbox.run(&["stat", "media:x/to-file"]).done().contains("user_metadata.k: v\n"));
    std::fs::remove_file(sandbox.path("dir/broken")).unwrap();
    sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]).done();
}

#[test]
fn following_ends_where_links_lead_back() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a/file", "x");
    sandbox.write("other/file", "y");
    // To itself, to a directory around it, to each other's directories, and to themselves.
    symlink(".", sandbox.path("dir/self")).unwrap();
    symlink("../..", sandbox.path("dir/a/up")).unwrap();
    symlink("../other", sandbox.path("dir/other")).unwrap();
    symlink("../dir", sandbox.path("other/back")).unwrap();
    symlink("eternal", sandbox.path("dir/eternal")).unwrap();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]);
    let lines = named(&run);
    let loops = lines.iter().filter(|line| line.contains("following it would not end")).count();
    assert_eq!((loops, lines.len()), (3, 5), "{lines:?}");
    assert!(run.err.contains("dir/eternal: a symlink that cannot be followed: "), "{}", run.err);
    assert_eq!(listed(&sandbox), "x/a/file\nx/other/file\n");
}

#[test]
fn following_does_not_copy_the_destination_into_itself() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    sandbox.write("around/b", "b");
    symlink("../around", sandbox.path("dir/around")).unwrap();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "./around/copy"]);
    assert_eq!(named(&run).len(), 2, "{}", run.err);
    assert!(run.err.contains("one lies inside the other"), "{}", run.err);
    assert_eq!(sandbox.run(&["ls", "-r", "./around"]).done(), "b\ncopy/a\n");
}

#[test]
fn special_files_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    assert!(Command::new("mkfifo").arg(sandbox.path("dir/pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("dir/socket")).unwrap();
    symlink("pipe", sandbox.path("dir/to-pipe")).unwrap();
    let run = sandbox.run(&["cp", "-r", "./dir", "media:x"]);
    assert_eq!(named(&run).len(), 4, "{}", run.err);
    for line in [
        "dir/pipe: a FIFO, not copied",
        "dir/socket: a socket, not copied",
        "dir/to-pipe: a symlink",
    ] {
        assert!(run.err.contains(line), "{}", run.err);
    }
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]);
    assert!(run.err.contains("dir/to-pipe: a symlink to a FIFO, not copied"), "{}", run.err);
    sandbox.run(&["cp", "-r", "--skip-links", "./dir", "media:x"]).done();
    assert_eq!(listed(&sandbox), "x/a\n");
}

#[test]
fn symlinks_that_stay_when_a_local_directory_is_deleted_are_named_and_not_followed() {
    let sandbox = sandbox();
    let run = sandbox.run(&["rm", "-r", "./dir"]);
    assert_eq!(named(&run).len(), 4, "{}", run.err);
    for name in ["below/to-directory", "broken", "to-file"] {
        assert!(
            run.err.contains(&format!("dir/{name}: a symlink or special file, not deleted")),
            "{}",
            run.err
        );
    }
    assert!(run.err.ends_with("anystorage: 3 not deleted, 1 deleted\n"), "{}", run.err);
    assert_eq!(sandbox.read("outside/c") + &sandbox.read("outside/deep/b"), "cb");
}

#[test]
fn the_options_about_links_are_for_directories_and_exclude_each_other() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "a");
    for wrong in [&["--follow"][..], &["--skip-links"], &["-r", "--follow", "--skip-links"]] {
        let arguments = [&["cp"], wrong, &["./a", "media:x"]].concat();
        assert_eq!(sandbox.run(&arguments).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn more_links_than_files_may_be_open_are_all_followed() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("dir")).unwrap();
    for number in 0..300 {
        sandbox.write(&format!("targets/{number}/file"), "x");
        symlink(format!("../targets/{number}"), sandbox.path(&format!("dir/{number}"))).unwrap();
    }
    let script = "ulimit -n 64; exec \"$0\" cp -r --follow ./dir media:x";
    let output = Command::new("sh")
        .args(["-ec", script, env!("CARGO_BIN_EXE_anystorage")])
        .current_dir(sandbox.path(""))
        .env("STORAGE_CONFIG", "storages.toml")
        .output()
        .unwrap();
    Run::from(output).done();
    assert_eq!(listed(&sandbox).lines().count(), 300);
}
