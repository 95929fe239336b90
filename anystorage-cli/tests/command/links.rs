//! Copying and deleting local directories with symlinks and special files.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Run, Sandbox};

/// A directory `dir` with a file and symlinks: to a file, to a directory, and a broken one.
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

/// Returns the sorted error lines of a run that failed for some objects.
fn error_lines(run: &Run) -> Vec<&str> {
    assert_eq!((run.code, run.out.len()), (Some(1), 0), "{}", run.err);
    let mut lines: Vec<_> = run.err.lines().collect();
    lines.sort_unstable();
    lines
}

fn listed(sandbox: &Sandbox) -> String {
    sandbox.run(&["ls", "-r", "media:"]).done()
}

#[test]
fn cp_r_reports_symlinks_and_copies_the_rest() {
    let sandbox = sandbox();
    let url = format!("file://{}", sandbox.path("dir").display());
    for from in ["./dir", "./dir/", &url] {
        let run = sandbox.run(&["cp", "-r", from, "media:x"]);
        let lines = error_lines(&run);
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
fn skip_links_skips_symlinks_without_an_error() {
    let sandbox = sandbox();
    sandbox.run(&["cp", "-r", "--skip-links", "./dir", "media:x"]).done();
    assert_eq!(listed(&sandbox), "x/a\n");
}

#[test]
fn follow_copies_the_targets_of_symlinks_with_their_metadata() {
    let sandbox = sandbox();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]);
    let lines = error_lines(&run);
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
fn follow_stops_at_a_loop_of_symlinks() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a/file", "x");
    sandbox.write("other/file", "y");
    // Links to their own directory, to a parent, to each other's directory, and to themselves.
    symlink(".", sandbox.path("dir/self")).unwrap();
    symlink("../..", sandbox.path("dir/a/up")).unwrap();
    symlink("../other", sandbox.path("dir/other")).unwrap();
    symlink("../dir", sandbox.path("other/back")).unwrap();
    symlink("eternal", sandbox.path("dir/eternal")).unwrap();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "media:x"]);
    let lines = error_lines(&run);
    let loops = lines.iter().filter(|line| line.contains("following it would not end")).count();
    assert_eq!((loops, lines.len()), (3, 5), "{lines:?}");
    assert!(run.err.contains("dir/eternal: a symlink that cannot be followed: "), "{}", run.err);
    assert_eq!(listed(&sandbox), "x/a/file\nx/other/file\n");
}

#[test]
fn follow_does_not_copy_the_destination_into_itself() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    sandbox.write("around/b", "b");
    symlink("../around", sandbox.path("dir/around")).unwrap();
    let run = sandbox.run(&["cp", "-r", "--follow", "./dir", "./around/copy"]);
    assert_eq!(error_lines(&run).len(), 2, "{}", run.err);
    assert!(run.err.contains("one directory is inside the other"), "{}", run.err);
    assert_eq!(sandbox.run(&["ls", "-r", "./around"]).done(), "b\ncopy/a\n");
}

#[test]
fn cp_r_reports_special_files() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    assert!(Command::new("mkfifo").arg(sandbox.path("dir/pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("dir/socket")).unwrap();
    symlink("pipe", sandbox.path("dir/to-pipe")).unwrap();
    let run = sandbox.run(&["cp", "-r", "./dir", "media:x"]);
    assert_eq!(error_lines(&run).len(), 4, "{}", run.err);
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
fn rm_r_reports_symlinks_and_does_not_follow_them() {
    let sandbox = sandbox();
    let run = sandbox.run(&["rm", "-r", "./dir"]);
    assert_eq!(error_lines(&run).len(), 4, "{}", run.err);
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
fn follow_and_skip_links_need_r_and_exclude_each_other() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "a");
    for wrong in [&["--follow"][..], &["--skip-links"], &["-r", "--follow", "--skip-links"]] {
        let arguments = [&["cp"], wrong, &["./a", "media:x"]].concat();
        assert_eq!(sandbox.run(&arguments).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn follow_handles_more_links_than_files_may_be_open() {
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

/// A directory in which a subdirectory is too deep to be searched by its path. Its listing, which
/// opens it within its parent, succeeds. Returns the path of the directory and the subdirectory.
#[cfg(target_os = "linux")]
fn partly_unsearchable(sandbox: &Sandbox) -> (String, String) {
    let parents = vec!["p".repeat(199); 19].join("/");
    let inner = "q".repeat(250);
    sandbox.write(&format!("new/{inner}/a"), "a");
    symlink("nowhere", sandbox.path(&format!("new/{inner}/link"))).unwrap();
    std::fs::create_dir_all(sandbox.path(&parents)).unwrap();
    let outer = format!("{parents}/{}", "r".repeat(100));
    std::fs::rename(sandbox.path("new"), sandbox.path(&outer)).unwrap();
    (format!("./{outer}"), inner)
}

#[cfg(target_os = "linux")]
#[test]
fn sync_deletes_nothing_below_a_directory_that_cannot_be_searched_for_symlinks() {
    let sandbox = Sandbox::new();
    let (outer, inner) = partly_unsearchable(&sandbox);
    for key in [format!("{inner}/link"), "extra".to_owned()] {
        sandbox.put(&format!("backup:{key}"), "x");
    }
    let run = sandbox.run(&["sync", "--delete", "--allow-empty-source", &outer, "backup:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains(&format!("/{inner}/: nothing here was copied")), "{}", run.err);
    assert!(run.err.contains("1 deleted") && run.err.contains("1 unknown"), "{}", run.err);
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), format!("{inner}/link\n"));
    let job = ["sync", "--delete", "--job", "./state", &outer, "backup:"];
    assert!(sandbox.run(&job).failed(1).contains("--exclude it"));
}

#[cfg(target_os = "linux")]
#[test]
fn sync_of_a_list_keeps_a_name_that_may_be_a_symlink() {
    let sandbox = Sandbox::new();
    let (outer, inner) = partly_unsearchable(&sandbox);
    sandbox.put(&format!("backup:{inner}/link"), "x");
    sandbox.write("list", format!("{inner}/link\n"));
    let run = sandbox.run(&["sync", "--delete", "--keys-from", "list", &outer, "backup:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), format!("{inner}/link\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn check_reports_a_directory_that_cannot_be_searched_for_symlinks_as_unknown() {
    let sandbox = Sandbox::new();
    let (outer, inner) = partly_unsearchable(&sandbox);
    sandbox.put(&format!("backup:{inner}/a"), "a");
    let run = sandbox.run(&["check", "--download", &outer, "backup:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("1 unknown"), "{}", run.err);
    sandbox.run(&["check", "-q", "--download", "--skip-links", &outer, "backup:"]).done();
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_searched_for_symlinks_is_a_failure_of_recursive_commands() {
    let sandbox = Sandbox::new();
    let (outer, inner) = partly_unsearchable(&sandbox);
    for arguments in [
        &["cp", "-r", &outer, "media:cp"][..],
        &["put", "-r", &outer, "media:put"],
        &["get", "-r", &outer, "got"],
        &["mv", "-r", &outer, "media:mv"],
        &["rm", "-r", &outer],
    ] {
        let run = sandbox.run(arguments);
        let line = format!("{inner}/: cannot be searched for symlinks");
        assert!(run.code == Some(1) && run.err.contains(&line), "{arguments:?} {}", run.err);
    }
    for copy in ["media/cp", "media/put", "got", "media/mv"] {
        assert_eq!(sandbox.read(&format!("{copy}/{inner}/a")), "a");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_pattern_of_one_level_needs_no_search_of_the_directories_below() {
    let sandbox = Sandbox::new();
    let (outer, _) = partly_unsearchable(&sandbox);
    sandbox.write(&format!("{outer}/b"), "b");
    sandbox.run(&["cp", &format!("{outer}/*"), "media:x"]).done();
    assert_eq!(listed(&sandbox), "x/b\n");
    let below = sandbox.run(&["cp", &format!("{outer}/**/a"), "media:y"]);
    assert!(error_lines(&below).iter().any(|line| line.contains("/: cannot be searched")));
}
