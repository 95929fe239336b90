//! `-v`, `-q`, help, completions and manual pages.

use crate::support::Sandbox;

#[test]
fn v_logs_each_object_to_standard_error() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/1", "x");
    for arguments in
        [&["-v", "cp", "-r", "media:a", "backup:"][..], &["cp", "-rv", "media:a", "backup:"]]
    {
        let run = sandbox.run(arguments);
        assert_eq!((run.code, run.out.len()), (Some(0), 0));
        assert!(run.err.contains("copied media:a/1 -> backup:1"), "{}", run.err);
        assert!(run.err.contains("1 copied"), "{}", run.err);
    }
    let run = sandbox.run(&["-vv", "rm", "media:a/1"]);
    assert!(run.err.contains("deleted media:a/1"), "{}", run.err);
    assert!(run.err.contains("DEBUG"), "{}", run.err);
}

#[test]
fn a_log_line_cannot_control_a_terminal() {
    let sandbox = Sandbox::new();
    // Direction marks are valid in keys.
    sandbox.put("media:a\u{202e}gpj", "x");
    let run = sandbox.run(&["-vv", "rm", "media:a\u{202e}gpj"]);
    assert!(run.err.contains(r"deleted media:a\u{202e}gpj"), "{:?}", run.err);
    assert!(!run.err.contains('\u{202e}'), "{:?}", run.err);
}

#[test]
fn q_prints_errors_only() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    sandbox.run(&["-q", "cp", "media:a", "media:b"]).done();
    sandbox.run(&["cp", "-q", "--no-progress", "media:nothing", "media:b"]).failed(1);
    assert_eq!(sandbox.run(&["-q", "-v", "ls", "media:"]).code, Some(2));
}

#[test]
fn the_command_alone_prints_its_help() {
    let sandbox = Sandbox::new();
    for arguments in [&[][..], &["config"]] {
        let run = sandbox.run(arguments);
        assert_eq!((run.code, run.out.len()), (Some(2), 0), "{arguments:?}");
        assert!(run.err.contains("Usage: anystorage"), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn every_command_has_examples_in_its_help() {
    let sandbox = Sandbox::new();
    for command in [
        "cat",
        "completions",
        "config check",
        "cp",
        "drivers",
        "exists",
        "get",
        "ls",
        "meta set",
        "mirror",
        "mirror prefetch",
        "mirror purge",
        "mirror status",
        "mirror top",
        "mv",
        "put",
        "rm",
        "serve",
        "stat",
        "url",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = sandbox.run(&arguments).done();
        assert!(help.contains("Examples:\n"), "{command}: {help}");
        assert!(!help.contains('\\'), "an escape is printed as it is: {command}: {help}");
        let is_narrow = |line: &str| line.chars().count() <= 100 || line.starts_with("Usage: ");
        assert!(help.lines().all(is_narrow), "{command}: {help}");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = sandbox.run(&["completions", shell]).done();
        assert!(script.contains("anystorage") && script.contains("dry-run"), "{shell}");
    }
    assert_eq!(sandbox.run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn the_completions_of_bash_complete_a_command() {
    let sandbox = Sandbox::new();
    let script = sandbox.run(&["completions", "bash"]).done();
    sandbox.write("completions", script);
    let line = "source ./completions; COMP_WORDS=(anystorage compl); COMP_CWORD=1; \
                _anystorage anystorage compl anystorage; echo \"${COMPREPLY[@]}\"";
    let run = std::process::Command::new("bash")
        .args(["-c", line])
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "completions", "{run:?}");
}

#[test]
fn manual_writes_a_page_for_each_command() {
    let sandbox = Sandbox::new();
    sandbox.run(&["manual", "pages"]).done();
    assert!(sandbox.read("pages/anystorage.1").contains("anystorage"));
    assert!(sandbox.read("pages/anystorage-cp.1").contains("dry\\-run"));
    assert!(!sandbox.exists("pages/anystorage-manual.1"), "the command is hidden");
}
