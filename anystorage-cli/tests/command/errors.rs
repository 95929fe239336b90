//! Error messages, and the secrets that they must not contain.

use crate::support::{Run, Sandbox};

const CANARY: &str = "CANARY-6f1e-0123456789abcdef0123";

fn assert_hidden(what: &str, run: &Run) {
    assert!(
        !run.err.contains(CANARY) && !String::from_utf8_lossy(&run.out).contains(CANARY),
        "{what}: {run:?}"
    );
}

#[test]
fn an_error_is_one_line_with_place_kind_and_hint() {
    let error = Sandbox::new().run(&["stat", "media:a/b.txt"]).failed(1);
    assert_eq!(
        error,
        "anystorage: media:a/b.txt: no such object (NotFound, stat on fs); anystorage ls lists the objects that exist"
    );
}

#[test]
fn a_usage_error_contains_the_mistake_and_the_help_command() {
    let sandbox = Sandbox::new();
    for arguments in
        [&["nonsense"][..], &["ls"], &["cp", "media:a"], &["ls", "--nonsense", "media:"]]
    {
        let error = sandbox.run(arguments).failed(2);
        assert!(error.contains("; see anystorage ") && error.ends_with("--help"), "{error}");
    }
    for (arguments, line) in [
        (
            &["cp", "media:a"][..],
            "the following required arguments were not provided: <TO>; see anystorage cp --help",
        ),
        (
            &["mirror", "purge", "--url", "http://127.0.0.1/"],
            "the following required arguments were not provided: <KEY|--prefix <PREFIX>|--list <FILE>>; \
             see anystorage mirror purge --help",
        ),
        (
            &["lss"],
            "unrecognized subcommand 'lss'; tip: a similar subcommand exists: 'ls'; see anystorage --help",
        ),
        (
            &["cat", "--range", "x", "media:a"],
            "invalid value 'x' for '--range <A-B>': write A-B, A- or -N, with positions counted from 0 and A at most B; \
             see anystorage cat --help",
        ),
    ] {
        assert_eq!(sandbox.run(arguments).failed(2), format!("anystorage: {line}"));
    }
    let help = sandbox.run(&["--help"]).done();
    for command in ["ls", "du", "stat", "exists", "cat", "put", "get", "cp", "mv", "rm", "url"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}"
        );
    }
    assert!(sandbox.run(&["--version"]).done().starts_with("anystorage "));
}

#[test]
fn a_mistake_in_a_configuration_reveals_no_secret() {
    let sandbox = Sandbox::new();
    for lines in [
        "signing_key = '{}'\nunknown = 1",
        "signing_key = '{}'",
        "signing_key = ['{}']",
        "signing_key = '{}",
        "signing_key = {}",
        "signing_key = '{}'\nsigning_key = '{}'",
        "unknown = '{}'",
        "timeout = '{}'",
        "file_mode = '{}'",
        "public_url = 'https://ada:{}@example.com/'\nread_only = 'maybe'",
        "signing_key = '{}'\nprefix = '../x'",
    ] {
        let lines = lines.replace("{}", CANARY);
        sandbox.write(
            "storages.toml",
            format!("[storages.media]\ndriver = 'fs'\nroot = 'media'\n{lines}"),
        );
        let run = sandbox.run(&["ls", "media:"]);
        assert_eq!(run.code, Some(2), "{lines}: {run:?}");
        assert_hidden(&lines, &run);
    }
}

#[test]
fn a_mistake_in_a_location_reveals_no_secret() {
    let sandbox = Sandbox::new();
    for url in [
        "file://ada:{}@localhost/x",
        "s3://{}:x@bucket/key",
        "s3://ada:{}@bucket/key?x=y",
        "file://ROOT/x?signing_key={}",
        "file://ROOT/x?signing_key={}&public_url=https://example.com/&rot=1",
        "file://ROOT/nonesuch/dir/x?public_url=https://a/&signing_key={}",
        "file://ROOT/x?unknown={}",
        "file://ROOT/x#{}",
        "s3://ada:{}@buc ket/x",
        "memory:?prefix=a&token={}",
    ] {
        let url =
            url.replace("{}", CANARY).replace("ROOT", &sandbox.path("").display().to_string());
        for command in ["ls", "stat", "exists"] {
            let run = sandbox.run(&[command, &url]);
            assert_ne!(run.code, Some(0), "{command} {url}");
            assert_hidden(&url, &run);
        }
        let mut command = sandbox.command(&["ls", "leaky:"]);
        assert_hidden(&url, &crate::support::run(command.env("STORAGE_LEAKY_URL", &url)));
    }
}

#[test]
fn a_valid_secret_is_never_printed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "storages.toml",
        format!(
            "[storages.media]\ndriver='fs'\nroot='media'\npublic_url='https://example.com/'\nsigning_key='{CANARY}'"
        ),
    );
    for arguments in [
        &["url", "--expires", "1h", "media:a"][..],
        &["stat", "media:a"],
        &["cat", "media:../a"],
        &["put", "x", "media:"],
        &["cp", "-r", "media:", "media:a"],
    ] {
        assert_hidden("a signing key", &sandbox.run(arguments));
    }
}

#[test]
fn invalid_arguments_cannot_forge_a_line() {
    let sandbox = Sandbox::new();
    for text in ["a\nb", "a\n\nUsage: b", "\u{1b}[31m", "a\r\nb"] {
        for arguments in [
            &[text][..],
            &["ls", text],
            &["url", "--expires", text, "media:a"],
            &["ls", "media:", text],
        ] {
            let error = sandbox.run(arguments).failed(2);
            assert!(!error.contains(['\u{1b}', '\r']), "{error:?}");
        }
    }
}
