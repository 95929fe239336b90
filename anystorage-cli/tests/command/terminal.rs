//! The progress bar on a terminal.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use crate::support::{Sandbox, skipped};

/// Returns a command that runs a shell script on its own terminal. `None` if that is not possible.
fn on_terminal(sandbox: &Sandbox, script: &str) -> Option<Command> {
    let runs =
        Command::new("script").args(["-qec", "true", "/dev/null"]).stdin(Stdio::null()).output();
    if !runs.is_ok_and(|output| output.status.success()) {
        skipped("the program `script`, which provides a terminal, is not available");
        return None;
    }
    let mut command = Command::new("script");
    command.args(["-qec", script, "/dev/null"]).current_dir(sandbox.path(""));
    command
        .env("ANYSTORAGE", env!("CARGO_BIN_EXE_anystorage"))
        .env("STORAGE_CONFIG", "storages.toml");
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Some(command)
}

/// Returns all that a shell script prints on its own terminal. `None` if that is not possible.
fn shown_on_terminal(sandbox: &Sandbox, script: &str) -> Option<String> {
    let output = on_terminal(sandbox, script)?.output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_slow_command_shows_a_bar_and_removes_it() {
    let sandbox = Sandbox::new();
    // Sends text until the bar appears, at most for two minutes.
    let script = r#"stty cols 80 rows 24
        for i in $(seq 2400); do test -e seen && break; echo some text; sleep 0.05; done |
        "$ANYSTORAGE" put - media:slow.txt && echo finished"#;
    let Some(mut command) = on_terminal(&sandbox, script) else { return };
    let mut child = command.spawn().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    let mut seen_at = None;
    loop {
        match screen.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => shown.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
        if seen_at.is_none() && String::from_utf8_lossy(&shown).contains("B/s") {
            seen_at = Some(shown.len());
            sandbox.write("seen", "");
        }
    }
    let text = String::from_utf8_lossy(&shown).into_owned();
    assert!(child.wait().unwrap().success(), "{text:?}");
    assert!(seen_at.is_some(), "{text:?}");
    // The line is cleared before anything else is written.
    let (_, after) = text.rsplit_once("B/s").unwrap();
    assert!(after.contains("\u{1b}[2K") && after.ends_with("finished\r\n"), "{text:?}");
    assert!(sandbox.read("media/slow.txt").starts_with("some text\n"));
}

#[test]
fn a_fast_command_shows_no_bar() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "a");
    let script =
        r#""$ANYSTORAGE" put a.txt media: && "$ANYSTORAGE" get media:a.txt b.txt && echo finished"#;
    let Some(text) = shown_on_terminal(&sandbox, script) else { return };
    assert_eq!(text, "finished\r\n");
    assert_eq!(sandbox.read("b.txt"), "a");
}

#[test]
fn a_slow_sync_shows_how_many_objects_are_done_and_when_it_ends_and_removes_the_bar() {
    let sandbox = Sandbox::new();
    for number in 0..10 {
        sandbox.write(&format!("media/{number}"), [b'x'; 1000]);
    }
    let script = r#"stty cols 80 rows 24
        "$ANYSTORAGE" sync --bandwidth 2000 --concurrency 1 media: backup:"#;
    let Some(text) = shown_on_terminal(&sandbox, script) else { return };
    assert!(text.contains(", ETA "), "{text:?}");
    let (_, after) = text.rsplit_once(" objects ").unwrap();
    let summary = "anystorage: 10 copied (10 new, 0 changed, 9.8 KiB), 0 same\r\n";
    assert!(after.contains("\u{1b}[2K") && after.ends_with(summary), "{text:?}");
}

#[test]
fn a_slow_sync_shows_the_key_that_has_been_under_way_longest_although_others_are_done() {
    let sandbox = Sandbox::new();
    sandbox.write("media/a-large.bin", vec![b'x'; 3_000_000]);
    for number in 0..10 {
        sandbox.write(&format!("media/small-{number}"), vec![b'x'; 100_000]);
    }
    let script = r#"stty cols 80 rows 24
        "$ANYSTORAGE" sync --bandwidth 2000000 --concurrency 2 media: backup:"#;
    let Some(text) = shown_on_terminal(&sandbox, script) else { return };
    assert!(text.contains(" a-large.bin and 1 more"), "{text:?}");
    assert!(text.ends_with("anystorage: 11 copied (11 new, 0 changed, 3.8 MiB), 0 same\r\n"));
}
