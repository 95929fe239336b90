//! Pipes whose other end goes away.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{Run, Sandbox};

/// Runs the command, reads a little of what it writes, and closes the pipe.
fn cut_short(mut command: Command) -> Run {
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut start = [0; 10];
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    Run::from(child.wait_with_output().unwrap())
}

#[test]
fn a_reader_that_has_enough_ends_the_command_quietly() {
    let sandbox = Sandbox::new();
    // More than pipe and buffers hold, so that the command meets the closed end.
    sandbox.write("media/large", vec![b'x'; 8 * 1024 * 1024]);
    for number in 0..1_000 {
        sandbox.write(&format!("media/{}/{number}", "long".repeat(40)), "");
    }
    for arguments in [
        &["cat", "media:large"][..],
        &["get", "media:large", "-"],
        &["cp", "media:large", "-"],
        &["ls", "-r", "media:"],
        &["ls", "-r", "--json", "media:"],
    ] {
        assert_eq!(cut_short(sandbox.command(arguments)).silent(), 0, "{arguments:?}");
    }
}

#[test]
fn a_reader_that_is_gone_from_the_start_is_no_failure() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    for arguments in [
        &["stat", "media:a"][..],
        &["cat", "media:a"],
        &["ls", "media:"],
        &["--help"],
        &["url", "linked:a"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(arguments).stdout(Stdio::from(writer)).output().unwrap();
        assert_eq!(Run::from(output).silent(), 0, "{arguments:?}");
    }
}

#[test]
fn head_is_served() {
    let sandbox = Sandbox::new();
    sandbox.write("media/large", "line\n".repeat(1_000_000));
    let script = format!("{} cat media:large | head -n 2", env!("CARGO_BIN_EXE_anystorage"));
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(sandbox.path(""))
        .env("STORAGE_CONFIG", "storages.toml")
        .output()
        .unwrap();
    assert_eq!(Run::from(output).done(), "line\nline\n");
}

#[test]
fn an_error_is_told_even_if_nobody_listens() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        sandbox.command(&["cat", "media:nothing"]).stderr(Stdio::from(writer)).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_command_that_failed_does_not_wait_for_its_input() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.command(&["put", "-", "frozen:a.txt"]).stdin(Stdio::piped()).spawn().unwrap();
    // Never written to and never closed before the command has ended. (The name tells the type, so
    // that nothing has to be read for it.)
    let stdin = child.stdin.take().unwrap();
    let status = child.wait().unwrap();
    drop(stdin);
    assert_eq!(status.code(), Some(1));
}

/// A pipe with a name, in the sandbox.
fn named_pipe(sandbox: &Sandbox) {
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
}

fn is_pipe(sandbox: &Sandbox) -> bool {
    use std::os::unix::fs::FileTypeExt;
    sandbox.path("pipe").symlink_metadata().unwrap().file_type().is_fifo()
}

#[test]
fn get_writes_to_a_pipe_with_a_name_and_does_not_replace_it() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "through the pipe");
    named_pipe(&sandbox);
    let writer = sandbox.command(&["get", "media:a", "pipe"]).spawn().unwrap();
    assert_eq!(sandbox.read("pipe"), "through the pipe");
    assert_eq!(Run::from(writer.wait_with_output().unwrap()).silent(), 0);
    assert!(is_pipe(&sandbox));
}

#[test]
fn a_reader_that_has_enough_of_a_pipe_with_a_name_ends_get_quietly() {
    let sandbox = Sandbox::new();
    sandbox.write("media/large", vec![b'x'; 8 * 1024 * 1024]);
    named_pipe(&sandbox);
    let writer = sandbox.command(&["get", "media:large", "pipe"]).spawn().unwrap();
    let mut reader = std::fs::File::open(sandbox.path("pipe")).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    assert_eq!(Run::from(writer.wait_with_output().unwrap()).silent(), 0);
    assert!(is_pipe(&sandbox));
}

#[cfg(target_os = "linux")]
#[test]
fn get_writes_to_standard_output_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "here");
    // What /dev/stdout is, but nobody else's.
    std::os::unix::fs::symlink("/proc/self/fd/1", sandbox.path("stdout")).unwrap();
    assert_eq!(sandbox.run(&["get", "media:a", "stdout"]).done(), "here");
    assert!(sandbox.path("stdout").is_symlink());
}

#[test]
fn get_through_a_symlink_keeps_it() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "new");
    sandbox.write("real/file", "old");
    std::os::unix::fs::symlink("real/file", sandbox.path("link")).unwrap();
    sandbox.run(&["get", "media:a", "link"]).done();
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.read("real/file"), "new");
}
