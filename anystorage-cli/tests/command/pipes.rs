//! Closed pipes and named pipes.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::{Run, Sandbox};

/// Runs the command, reads a little of what it writes, and closes the pipe.
fn run_and_close_pipe(mut command: Command) -> Run {
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut start = [0; 10];
    stdout.read_exact(&mut start).unwrap();
    drop(stdout);
    Run::from(child.wait_with_output().unwrap())
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_command_quietly() {
    let sandbox = Sandbox::new();
    // More than the pipe and the buffers can hold, so that the command writes to the closed pipe.
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
        assert_eq!(run_and_close_pipe(sandbox.command(arguments)).silent(), 0, "{arguments:?}");
    }
}

#[test]
fn a_pipe_that_is_closed_from_the_start_is_not_a_failure() {
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
fn cat_to_head_succeeds() {
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
fn an_error_with_a_closed_standard_error_still_sets_the_exit_code() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        sandbox.command(&["cat", "media:nothing"]).stderr(Stdio::from(writer)).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_failed_command_does_not_wait_for_its_input() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.command(&["put", "-", "frozen:a.txt"]).stdin(Stdio::piped()).spawn().unwrap();
    // Stays open without input until the command has ended. (The type is guessed from the name, so
    // the command does not read the input for it.)
    let stdin = child.stdin.take().unwrap();
    let status = child.wait().unwrap();
    drop(stdin);
    assert_eq!(status.code(), Some(1));
}

/// Creates a named pipe in the sandbox.
fn create_named_pipe(sandbox: &Sandbox) {
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
}

fn is_pipe(sandbox: &Sandbox) -> bool {
    use std::os::unix::fs::FileTypeExt;
    sandbox.path("pipe").symlink_metadata().unwrap().file_type().is_fifo()
}

#[test]
fn get_writes_to_a_named_pipe_and_does_not_replace_it() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "through the pipe");
    create_named_pipe(&sandbox);
    let writer = sandbox.command(&["get", "media:a", "pipe"]).spawn().unwrap();
    assert_eq!(sandbox.read("pipe"), "through the pipe");
    assert_eq!(Run::from(writer.wait_with_output().unwrap()).silent(), 0);
    assert!(is_pipe(&sandbox));
}

/// Begins to copy a large object to a named pipe. Returns the command and the pipe, of which the
/// first bytes were read.
fn begin_to_get_large(sandbox: &Sandbox) -> (std::process::Child, std::fs::File) {
    sandbox.write("media/large", vec![b'x'; 8 * 1024 * 1024]);
    create_named_pipe(sandbox);
    let writer = sandbox.command(&["get", "media:large", "pipe"]).spawn().unwrap();
    let mut reader = std::fs::File::open(sandbox.path("pipe")).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    (writer, reader)
}

#[test]
fn get_of_a_file_that_changes_while_it_is_read_fails() {
    let sandbox = Sandbox::new();
    let (writer, mut reader) = begin_to_get_large(&sandbox);
    let mut file = std::fs::File::options().append(true).open(sandbox.path("media/large")).unwrap();
    file.write_all(b"more").unwrap();
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    let err = Run::from(writer.wait_with_output().unwrap()).failed(1);
    assert!(err.contains("the file changed while it was copied"), "{err}");
}

#[test]
fn a_reader_that_closes_a_named_pipe_ends_get_quietly() {
    let sandbox = Sandbox::new();
    let (writer, reader) = begin_to_get_large(&sandbox);
    drop(reader);
    assert_eq!(Run::from(writer.wait_with_output().unwrap()).silent(), 0);
    assert!(is_pipe(&sandbox));
}

#[cfg(target_os = "linux")]
#[test]
fn get_writes_to_standard_output_through_a_symlink() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "here");
    // The same link as /dev/stdout.
    std::os::unix::fs::symlink("/proc/self/fd/1", sandbox.path("stdout")).unwrap();
    assert_eq!(sandbox.run(&["get", "media:a", "stdout"]).done(), "here");
    assert!(sandbox.path("stdout").is_symlink());
}

#[test]
fn get_to_a_symlink_replaces_the_target() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "new");
    sandbox.write("real/file", "old");
    std::os::unix::fs::symlink("real/file", sandbox.path("link")).unwrap();
    sandbox.run(&["get", "media:a", "link"]).done();
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.read("real/file"), "new");
}

#[test]
fn a_summary_that_nothing_reads_does_not_hide_what_failed() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    std::os::unix::fs::symlink("nowhere", sandbox.path("media/link")).unwrap();
    for arguments in [
        &["check", "--json", "media:", "backup:"][..],
        &["sync", "--json", "media:", "backup:"],
        &["sync", "--json", "--job", "./state", "media:", "backup:"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(arguments).stdout(Stdio::from(writer)).output().unwrap();
        assert_eq!(Run::from(output).code, Some(1), "{arguments:?}");
    }
}
