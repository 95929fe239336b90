//! Ctrl-C and SIGTERM while something is written.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};

use crate::support::Sandbox;

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// Looks until something is so. Bounded by tries, not by a guess at how long it takes.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let found = (0..2_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        is_so()
    });
    assert!(found, "it never came to it");
}

#[test]
fn an_interrupted_get_leaves_the_old_file_and_no_other() {
    let sandbox = Sandbox::new();
    // Large, but a hole: what takes long is the writing, and that never gets far.
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
fn an_interrupted_put_leaves_nothing_half() {
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
fn a_reader_that_stopped_reading_does_not_hold_up_the_end() {
    let sandbox = Sandbox::new();
    sandbox.write("media/large", vec![b'x'; 8 << 20]);
    let mut child = sandbox.command(&["cat", "media:large"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // From here on the command waits for us to read on.
    stdout.read_exact(&mut [0; 10]).unwrap();
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdout);
}
