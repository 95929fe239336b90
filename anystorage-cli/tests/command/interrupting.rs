//! Ctrl-C and SIGTERM during a write.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::Signal;
use storage_testkit::http::{Peer, Response};

use crate::support::{Sandbox, signal, wait_until};

fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns whether a temporary file has bytes.
fn has_partial_file(directory: &Path) -> bool {
    let mut parts = names(directory).into_iter().filter(|name| name.ends_with(".part"));
    parts.any(|name| directory.join(name).metadata().is_ok_and(|found| found.len() > 0))
}

#[test]
fn an_interrupted_get_keeps_the_old_file_and_leaves_no_other() {
    // The body never ends, so that the copy is in progress when the signal arrives.
    let peer = Peer::start(|request| {
        let response = Response::ok(vec![b'x'; 4 << 20]);
        if request.method == "GET" { response.stall_after(3 << 20) } else { response }
    });
    let sandbox = Sandbox::new();
    let config = format!("[storages.web]\ndriver = 'http'\nbase_url = '{}'\n", peer.url());
    sandbox.write("storages.toml", config);
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        sandbox.write("out/file", "old");
        let mut child = sandbox.command(&["get", "web:large", "out/file"]).spawn().unwrap();
        wait_until(|| has_partial_file(&sandbox.path("out")));
        signal(&child, sent);
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{sent:?}");
        assert_eq!(names(&sandbox.path("out")), ["file"], "{sent:?}");
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
    signal(&child, Signal::INT);
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
    signal(&child, Signal::INT);
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
    signal(&child, Signal::TERM);
    // The second one ends the command at once.
    wait_until(|| {
        signal(&child, Signal::TERM);
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(75));
}
