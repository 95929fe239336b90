//! Runs the binary: it is the command `anystorage` with the driver `generated`.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::process::Command;

#[test]
fn the_command_lists_generated_objects() {
    let output = Command::new(env!("CARGO_BIN_EXE_anystorage-generated"))
        .args(["ls", "objects:000/001/"])
        .env("STORAGE_OBJECTS_URL", "generated:?count=1002&size=4KiB")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> =
        printed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(output.status.success());
    assert_eq!(names, ["000/001/000001000.bin", "000/001/000001001.bin"], "{printed}");
}
