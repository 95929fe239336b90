//! Ctrl-C and SIGTERM during a write.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};

use crate::support::Sandbox;

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Polls until a condition is true. Fails after a fixed number of attempts.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let found = (0..2_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        condition()
    });
    assert!(found, "the condition did not become true");
}

#[test]
fn an_interrupted_get_keeps_the_old_file_and_leaves_no_other() {
    let sandbox = Sandbox::new();
    // A sparse file of 4 GiB, so that the copy is in progress when the signal arrives.
    sandbox.write("media/large", "");
    std::fs::File::options()
        .write(true)
        .open(sandbox.path("media/large"))
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        sandbox.write("out/file", "old");
        let mut child = sandbox.command(&["get", "media:large", "out/file"]).spawn().unwrap();
        wait_until(|| names(&sandbox.path("out")).iter().any(|name| name.ends_with(".part")));
        signal(&child, name);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{name}");
        assert_eq!(names(&sandbox.path("out")), ["file"], "{name}");
        assert_eq!(sandbox.read("out/file"), "old");
    }
}

#[test]
fn an_interrupted_put_leaves_no_partial_file() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["put", "-", "./out/file.txt"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than the pipe holds, so that some of it has been read.
    stdin.write_all(&vec![b'x'; 1 << 20]).unwrap();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&sandbox.path("")), ["storages.toml"]);
}

#[test]
fn a_signal_ends_a_command_whose_reader_has_stopped_reading() {
    let sandbox = Sandbox::new();
    sandbox.write("media/large", vec![b'x'; 8 << 20]);
    let mut child = sandbox.command(&["cat", "media:large"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Now the command waits until the test reads more.
    stdout.read_exact(&mut [0; 10]).unwrap();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_check_ends_at_a_signal_although_nothing_reads_its_output() {
    let sandbox = Sandbox::new();
    for number in 0..3_000 {
        sandbox.write(&format!("media/{}{number}", "long".repeat(20)), "");
    }
    let mut command = sandbox.command(&["check", "media:", "backup:"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let written = format!("/proc/{}/io", child.id());
    wait_until(|| {
        let counters = std::fs::read_to_string(&written).unwrap();
        let written = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
        written.unwrap().parse::<u64>().unwrap() >= 60_000
    });
    signal(&child, "TERM");
    // The second one ends the command at once.
    wait_until(|| {
        signal(&child, "TERM");
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(75));
}
