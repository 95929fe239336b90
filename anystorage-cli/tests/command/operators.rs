//! `mirror purge`, `prefetch`, `status` and `top` with a running mirror.

use std::process::Command;

use storage_testkit::http::{Peer, Response};

use crate::mirror::{FILES, Mirror, TOKEN, configured};
use crate::support::{Sandbox, run};

/// Returns a sandbox with four objects, and a mirror of them.
fn mirror() -> (Sandbox, Mirror) {
    let sandbox = Sandbox::new();
    for key in ["a/1", "a/2 ü?", "b", "large"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox.write("media/large", vec![b'x'; 2 << 20]);
    sandbox.write("mirror.toml", configured(FILES, "max_object_size = \"1MiB\""));
    let mirror = Mirror::start(&sandbox);
    (sandbox, mirror)
}

/// Returns `mirror COMMAND --url ... ARGUMENTS`, with the token in the environment.
fn operate(sandbox: &Sandbox, mirror: &Mirror, command: &str, arguments: &[&str]) -> Command {
    let url = format!("http://{}/", mirror.address);
    let mut command = sandbox.command(&[&["mirror", command, "--url", &url], arguments].concat());
    command.env("ANYSTORAGE_MIRROR_TOKEN", TOKEN);
    command
}

fn objects(mirror: &Mirror) -> String {
    let metrics = mirror.request("GET /metrics");
    let line = metrics.lines().find(|line| line.starts_with("anystorage_mirror_objects "));
    line.unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn prefetch_waits_until_objects_are_cached() {
    let (sandbox, mirror) = mirror();
    let printed = run(&mut operate(&sandbox, &mirror, "prefetch", &["a/1", "a/2 ü?"])).done();
    assert_eq!((printed.as_str(), objects(&mirror).as_str()), ("2 available\n", "2"));
}

#[test]
fn prefetch_takes_a_prefix_or_a_list() {
    let (sandbox, mirror) = mirror();
    let printed = run(&mut operate(&sandbox, &mirror, "prefetch", &["--prefix", "a/"])).done();
    assert_eq!((printed.as_str(), objects(&mirror).as_str()), ("2 available\n", "2"));
    sandbox.write("keys", "b\r\n\na/1\n");
    let mut command = operate(&sandbox, &mirror, "prefetch", &["--json", "--list", "keys"]);
    assert_eq!(run(&mut command).done(), "{\"available\":2,\"failed\":0}\n");
    assert_eq!(objects(&mirror), "3");
}

#[test]
fn prefetch_reports_objects_that_cannot_be_cached() {
    let (sandbox, mirror) = mirror();
    let run = run(&mut operate(&sandbox, &mirror, "prefetch", &["none", "large", "b"]));
    assert_eq!((run.code, run.out.as_slice()), (Some(1), &b"1 available\n"[..]), "{}", run.err);
    assert!(run.err.contains("none: not cached: origin has no such object"), "{}", run.err);
    assert!(run.err.contains("large: not cached: "), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 2 not available\n"), "{}", run.err);
}

#[test]
fn purge_removes_keys_or_a_prefix() {
    let (sandbox, mirror) = mirror();
    let operate = |command: &str, arguments: &[&str]| {
        run(&mut operate(&sandbox, &mirror, command, arguments)).done()
    };
    operate("prefetch", &["a/1", "a/2 ü?", "b"]);
    assert_eq!(operate("purge", &["b", "none"]), "1 purged\n");
    assert_eq!(operate("purge", &["--json", "--prefix", "a/"]), "{\"purged\":2}\n");
    assert_eq!(objects(&mirror), "0");
}

#[test]
fn status_and_top_show_the_state() {
    let (sandbox, mirror) = mirror();
    mirror.request("GET /a/1");
    mirror.until_cached();
    mirror.request("GET /a/1");
    let status = run(&mut operate(&sandbox, &mirror, "status", &[])).done();
    let columns = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = status.lines().map(columns).collect();
    assert!(lines.contains(&"hit rate: 50.0 %".to_owned()), "{status}");
    assert!(lines.contains(&"objects: 1".to_owned()), "{status}");
    let json = run(&mut operate(&sandbox, &mirror, "status", &["--json"])).done();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["objects"], 1);
    let top = run(&mut operate(&sandbox, &mirror, "top", &["-n", "1"])).done();
    assert!(top.starts_with("       2  ") && top.ends_with("  a/1\n"), "{top}");
}

#[test]
fn the_configuration_file_of_the_mirror_names_address_and_token() {
    let (sandbox, mirror) = mirror();
    // An unset variable of origin does not matter to an operator.
    let config = configured(FILES, "")
        .replace("127.0.0.1:0", &mirror.address)
        .replace("root = \"media\"", "root = \"${GONE}\"");
    sandbox.write("mirror.toml", config);
    let status = sandbox.run(&["mirror", "status", "--config", "mirror.toml"]).done();
    assert!(status.contains("objects:"), "{status}");
    let without = configured(FILES, "").replace("admin_token", "# admin_token");
    sandbox.write("mirror.toml", without);
    let error = sandbox.run(&["mirror", "status", "--config", "mirror.toml"]).failed(2);
    assert!(error.contains("mirror.toml: ") && error.contains("admin_token"), "{error}");
    sandbox.write("mirror.toml", configured(FILES, ""));
    let error = sandbox.run(&["mirror", "status", "--config", "mirror.toml"]).failed(2);
    assert!(error.contains("--url"), "{error}");
}

#[test]
fn the_token_is_in_no_message() {
    let (sandbox, mirror) = mirror();
    let mut wrong = operate(&sandbox, &mirror, "status", &["-vv"]);
    let error = run(wrong.env("ANYSTORAGE_MIRROR_TOKEN", "canary-of-a-wrong-token"));
    assert!(error.code == Some(1) && error.err.contains("does not accept the token"));
    assert!(!error.err.contains("canary"), "{}", error.err);
    let url = format!("http://{}/", mirror.address);
    let error = sandbox.run(&["mirror", "status", "--url", &url]).failed(2);
    assert!(error.contains("ANYSTORAGE_MIRROR_TOKEN"), "{error}");
    for url in ["http://user:canary@127.0.0.1/", "http://127.0.0.1/?token=canary"] {
        let mut command = sandbox.command(&["mirror", "status", "--url", url]);
        let error = run(command.env("ANYSTORAGE_MIRROR_TOKEN", TOKEN)).failed(2);
        assert!(error.contains("no secret") && !error.contains("canary"), "{error}");
    }
    let mut command = sandbox.command(&["mirror", "status", "--url", "http://example.com/"]);
    let error = run(command.env("ANYSTORAGE_MIRROR_TOKEN", TOKEN)).failed(2);
    assert!(error.contains("without encryption"), "{error}");
}

#[test]
fn a_server_that_is_no_mirror_is_an_error() {
    let sandbox = Sandbox::new();
    for (response, text) in [
        (Response::new("404 Not Found"), "no such route"),
        (Response::ok("<html>"), "not JSON"),
        (Response::new("500 Oops"), "500"),
    ] {
        let peer = Peer::start(move |_| response.clone());
        let mut command = sandbox.command(&["mirror", "status", "--url", peer.url().as_str()]);
        let error = run(command.env("ANYSTORAGE_MIRROR_TOKEN", TOKEN)).failed(1);
        assert!(error.contains(text), "{error}");
    }
    for wrong in [&["mirror", "status"][..], &["mirror", "purge", "--config", "a"], &["mirror"]] {
        assert_eq!(sandbox.run(wrong).code, Some(2), "{wrong:?}");
    }
}
