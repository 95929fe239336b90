//! All forms of locations.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.put("media:dir/a b.txt", "here");
    sandbox
}

#[test]
fn a_name_a_path_and_a_url_reach_the_same_object() {
    let sandbox = sandbox();
    let root = sandbox.path("").canonicalize().unwrap().display().to_string();
    for location in [
        "media:dir/a b.txt",
        "./media/dir/a b.txt",
        "../{root}/media/dir/a b.txt",
        "{root}/media/dir/a b.txt",
        "file://{root}/media/dir/a%20b.txt",
        "file:{root}/media/dir/a%20b.txt",
        "file://localhost{root}/media/dir/a%20b.txt",
        "file://{root}/media/dir/a%20b.txt?durable=false",
    ] {
        let up = "../".repeat(root.matches('/').count());
        let location =
            location.replace("../{root}", &format!("{up}{root}")).replace("{root}", &root);
        assert_eq!(sandbox.cat(&location), "here", "{location}");
    }
}

#[test]
fn the_query_of_a_url_contains_options() {
    let sandbox = sandbox();
    let root = sandbox.path("media").display().to_string();
    let link = sandbox
        .run(&["url", &format!("file://{root}/dir/x?public_url=https://example.com/d/")])
        .done();
    assert_eq!(link, "https://example.com/d/x\n");
    let error =
        sandbox.feed(&["put", "-", &format!("file://{root}/dir/x?read_only=true")], b"x").failed(1);
    assert!(error.contains("PermissionDenied"), "{error}");
    let listed = sandbox.run(&["ls", "-r", &format!("file://{root}/?prefix=dir")]).done();
    assert_eq!(listed, "a b.txt\n");
}

#[test]
fn memory_is_a_url_unless_a_storage_has_that_name() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["ls", "memory:"]).done(), "");
    sandbox.put("media:x", "x");
    let mut command = sandbox.command(&["cat", "memory:x"]);
    command.env("STORAGE_MEMORY_URL", format!("file://{}", sandbox.path("media").display()));
    assert_eq!(crate::support::run(&mut command).done(), "x");
}

#[test]
fn a_key_may_look_like_an_option_or_a_url() {
    let sandbox = Sandbox::new();
    for key in ["-rf", "http:x", "a:b:c", "%2e%2e", "*", "~", "$HOME", " ", "a\\b"] {
        sandbox.put(&format!("media:{key}"), key);
        assert_eq!(sandbox.cat(&format!("media:{key}")), key);
    }
    sandbox.put("./-", "a file called dash");
    assert_eq!(sandbox.read("-"), "a file called dash");
}

#[test]
fn a_location_cannot_leave_its_storage() {
    let sandbox = sandbox();
    sandbox.write("canary", "out of reach");
    for location in [
        "media:../canary",
        "media:dir/../../canary",
        "media:/canary",
        "media:..",
        "media:dir/..",
        "media:./x",
    ] {
        let error = sandbox.run(&["cat", location]).failed(2);
        assert!(error.contains("InvalidKey"), "{error}");
        assert_eq!(sandbox.feed(&["put", "-", location], b"x").code, Some(2), "{location}");
    }
    std::os::unix::fs::symlink(sandbox.path("canary"), sandbox.path("media/link")).unwrap();
    sandbox.run(&["cat", "media:link"]).failed(1);
    assert_eq!(sandbox.read("canary"), "out of reach");
}

#[test]
fn an_ambiguous_location_is_a_usage_error() {
    let sandbox = sandbox();
    for location in ["plain.txt", "dir/file", "", ":", ":x"] {
        for command in ["ls", "stat", "cat", "exists", "rm", "url"] {
            let run = sandbox.run(&[command, location]);
            assert_eq!(run.code, Some(2), "{command} {location:?}: {}", run.err);
        }
    }
    assert!(sandbox.run(&["ls", "plain.txt"]).err.contains("./plain.txt"));
    for command in ["ls", "stat", "cat", "exists", "rm", "url"] {
        assert_eq!(sandbox.run(&[command, "-"]).code, Some(2), "{command}");
    }
}

#[test]
fn hostile_arguments_are_refused_without_a_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = sandbox();
    let long = "k".repeat(100_000);
    for location in [
        "media:\u{1b}[31m\n",
        "media:a\u{202e}b",
        "file://",
        "file:///",
        "file:",
        "file:x",
        "file:///%00",
        "file:///a%2fb",
        "file:///%ff",
        "s3://",
        "://",
        "a://b",
        "memory:x",
        "media:%00",
        "\u{feff}media:x",
        "file:///x#y",
        "file://host/x",
        "./\u{1b}[2J",
        "/\n",
        &long,
        &format!("media:{long}"),
        &format!("./{long}"),
        &format!("file:///{long}"),
    ] {
        for command in ["stat", "exists", "cat"] {
            let run = sandbox.run(&[command, location]);
            assert!(matches!(run.code, Some(1 | 2)), "{command} {location:?}: {run:?}");
            assert!(!run.err.trim_end_matches('\n').contains(['\u{1b}', '\r']), "{:?}", run.err);
        }
    }
    let mut command = sandbox.command(&["stat"]);
    command.arg(OsStr::from_bytes(b"media:\xff"));
    assert_eq!(crate::support::run(&mut command).code, Some(2));
}
