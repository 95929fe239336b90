//! Checking storages with `config check`.

use std::process::Command;

use rustix::process::Signal;
use storage_testkit::http::{Peer, Response};

use crate::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};
use crate::support::{Sandbox, run, signal, wait_until};

fn lines(out: &[u8]) -> Vec<String> {
    String::from_utf8(out.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn check_lists_saves_reads_and_deletes_on_every_storage() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "a");
    let printed = sandbox.run(&["config", "check"]).done();
    for name in ["media", "backup", "linked"] {
        for step in ["configuration", "list", "save", "read", "delete"] {
            let line = format!("{name}: {step}: ok");
            assert!(
                printed.lines().any(|printed| printed == line),
                "{line} is missing in {printed}"
            );
        }
    }
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a.txt\n");
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "");
}

#[test]
fn check_only_reads_a_read_only_storage() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "a");
    let printed = sandbox.run(&["config", "check", "frozen"]).done();
    assert!(printed.contains("frozen: read: ok\n") && !printed.contains("save: ok"), "{printed}");
    assert!(printed.lines().all(|line| line.starts_with("frozen: ")), "{printed}");
}

#[test]
fn check_reports_a_failing_storage_and_tests_the_others() {
    let sandbox = Sandbox::new();
    sandbox.write("a-file", "");
    sandbox.write(
        "storages.toml",
        "[storages.good]\ndriver = 'fs'\nroot = 'media'\n[storages.unset]\ndriver = 'fs'\nroot = '${GONE}'\n\
         [storages.wrong]\ndriver = 'fs'\nrot = 'x'\n[storages.no-directory]\ndriver = 'fs'\nroot = 'a-file'",
    );
    let ran = sandbox.run(&["config", "check"]);
    assert_eq!(ran.code, Some(1));
    assert!(lines(&ran.out).contains(&"good: delete: ok".to_owned()), "{}", ran.err);
    for (name, why) in
        [("unset", "GONE is not set"), ("wrong", "unknown option rot"), ("no-directory", "")]
    {
        let printed =
            ran.err.lines().find(|line| line.starts_with(&format!("anystorage: {name}: ")));
        assert!(printed.is_some_and(|line| line.contains(why)), "{name}: {}", ran.err);
    }
    assert_eq!(sandbox.run(&["config", "check", "good"]).code, Some(0));
}

#[test]
fn check_rejects_an_unknown_storage_name() {
    let sandbox = Sandbox::new();
    let error = sandbox.run(&["config", "check", "nothing"]).failed(2);
    assert!(
        error.contains("\"nothing\"")
            && error.contains("known storages: backup, frozen, linked, media"),
        "{error}"
    );
    let error = run(sandbox.command(&["config", "check"]).env_remove("STORAGE_CONFIG")).failed(2);
    assert!(error.contains("STORAGE_CONFIG"), "{error}");
}

/// A bucket of the server in this process, which ignores the conditions of copies.
fn bucket(sandbox: &Sandbox, name: &str, options: &str) -> Command {
    let endpoint = Server::get().endpoint();
    let config = format!(
        "[storages.bucket]\ndriver = 's3'\nbucket = '{name}'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n\
         allow_http = true\nprefix = 'some/where'\n{options}"
    );
    sandbox.write("storages.toml", config);
    let mut command = sandbox.command(&["config", "check"]);
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    command.env("HOME", sandbox.path(""));
    command
}

#[test]
fn check_probes_a_bucket_at_an_unknown_host_and_prints_the_profile() {
    let (sandbox, served) = (Sandbox::new(), Server::get().bucket());
    let ran = run(&mut bucket(&sandbox, served.name(), ""));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let printed = lines(&ran.out);
    let ignored = "bucket: create_new of a copy: ignored: the existing object was overwritten";
    assert!(printed.iter().any(|line| line == ignored), "{printed:#?}");
    assert!(printed.last().unwrap().starts_with("bucket: set quirks = \""), "{printed:#?}");
    let below = served.requests().take();
    assert!(below.contains_key("CompleteMultipartUpload"), "{below:?}");
    let mut list = sandbox.command(&["ls", "-r", "bucket:"]);
    list.env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    assert_eq!(run(list.env("HOME", sandbox.path(""))).done(), "");
}

#[test]
fn check_fails_if_the_profile_includes_missing_features() {
    let (sandbox, served) = (Sandbox::new(), Server::get().bucket());
    let ran = run(&mut bucket(&sandbox, served.name(), "quirks = 'none'"));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.contains("relies on features that the service lacks: ") && ran.err.contains("copy"),
        "{}",
        ran.err
    );
    assert!(lines(&ran.out).last().unwrap().starts_with("bucket: set quirks = \""));
}

#[test]
fn check_confirms_a_profile_that_fits() {
    let (sandbox, served) = (Sandbox::new(), Server::get().bucket());
    let ran = run(&mut bucket(&sandbox, served.name(), "quirks = 'garage'"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(lines(&ran.out).last().unwrap(), "bucket: the profile in use fits");
}

#[test]
fn check_deletes_an_object_that_a_failed_save_stored() {
    let (sandbox, served) = (Sandbox::new(), Server::get().bucket());
    // The server stores the object and does not confirm its encryption.
    let ran = run(&mut bucket(&sandbox, served.name(), "quirks = 'none'\nsse = 'AES256'"));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("the object was stored") && ran.err.contains("sse"), "{}", ran.err);
    let mut list = sandbox.command(&["ls", "-r", "bucket:"]);
    list.env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    assert_eq!(run(list.env("HOME", sandbox.path(""))).done(), "");
}

#[test]
fn check_probes_a_bucket_with_an_empty_prefix() {
    let (sandbox, served) = (Sandbox::new(), Server::get().bucket());
    let mut check = bucket(&sandbox, served.name(), "quirks = 'garage'");
    let config = std::fs::read_to_string(sandbox.path("storages.toml")).unwrap();
    sandbox.write("storages.toml", config.replace("some/where", ""));
    let ran = run(&mut check);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(lines(&ran.out).contains(&"bucket: probe: ok".to_owned()), "{:?}", ran.out);
}

#[test]
fn check_makes_links_and_names_storages_without_them() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["config", "check", "linked", "media"]).done();
    for line in [
        "linked: public link: ok",
        "linked: signed link: ok",
        "media: public link: none (set public_url)",
        "media: signed link: none (not configured)",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing in {printed}");
    }
}

#[test]
fn check_downloads_by_links_if_asked_to() {
    let sandbox = Sandbox::new();
    // One server sends the test object, the other does not.
    let storage = |name: &str, url: &str| {
        format!(
            "[storages.{name}]\ndriver = 'fs'\nroot = 'media'\npublic_url = '{url}'\n\
             signing_key = '0123456789abcdef0123456789abcdef'\n"
        )
    };
    let good = Peer::start(|_| Response::ok("anystorage config check"));
    let bad = Peer::start(|_| Response::ok("another page"));
    let gone = Peer::start(|_| Response::new("403 Forbidden"));
    sandbox.write(
        "storages.toml",
        storage("good", good.url().as_str())
            + &storage("bad", bad.url().as_str())
            + &storage("gone", gone.url().as_str()),
    );
    let printed = sandbox.run(&["config", "check", "--fetch-links", "good"]).done();
    assert!(printed.contains("good: public link: ok\ngood: signed link: ok\n"), "{printed}");
    let ran = sandbox.run(&["config", "check", "--fetch-links", "bad", "gone"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("bad: signed link: the server of the link sent other"), "{}", ran.err);
    assert!(ran.err.contains("gone: public link: ") && ran.err.contains("403"), "{}", ran.err);
    assert!(!ran.err.contains('?'), "no message contains a signed link: {}", ran.err);
    assert_eq!(sandbox.run(&["ls", "-r", "bad:"]).done(), "", "the test object was deleted");
}

#[test]
fn an_interrupted_check_deletes_the_test_object() {
    let sandbox = Sandbox::new();
    // The check waits for this server while the test object exists.
    let peer = Peer::start(|_| Response::ok("anystorage config check").stall_after(3));
    sandbox.write(
        "storages.toml",
        format!("[storages.media]\ndriver = 'fs'\nroot = 'media'\npublic_url = '{}'\n", peer.url()),
    );
    let mut child = sandbox.command(&["config", "check", "--fetch-links"]).spawn().unwrap();
    wait_until(|| peer.count("GET") > 0);
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "");
}
