//! `meta set`, and `stat` of several objects.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["d/a.txt", "d/e/b.txt", "c.txt"] {
        sandbox
            .feed(
                &[
                    "put",
                    "--cache-control",
                    "no-store",
                    "--meta",
                    "k=v",
                    "-",
                    &format!("media:{key}"),
                ],
                key.as_bytes(),
            )
            .done();
    }
    sandbox
}

fn has(sandbox: &Sandbox, location: &str, line: &str) -> bool {
    sandbox.run(&["stat", location]).done().lines().any(|shown| shown == line)
}

#[test]
fn meta_set_changes_the_named_fields_and_keeps_the_others_and_the_bytes() {
    let sandbox = sandbox();
    let set =
        ["meta", "set", "--cache-control", "no-cache", "--content-language", "de", "--meta", "n=m"];
    sandbox.run(&[&set[..], &["media:c.txt"]].concat()).done();
    for line in [
        "cache_control: no-cache",
        "content_language: de",
        "content_type: text/plain; charset=utf-8",
        "user_metadata.k: v",
        "user_metadata.n: m",
    ] {
        assert!(has(&sandbox, "media:c.txt", line), "{line}");
    }
    assert_eq!(sandbox.cat("media:c.txt"), "c.txt");
    let unset = ["--unset", "cache-control", "--unset", "meta.K", "--unset", "content-language"];
    sandbox.run(&[&["meta", "set"], &unset[..], &["media:c.txt"]].concat()).done();
    let shown = sandbox.run(&["stat", "media:c.txt"]).done();
    assert!(!shown.contains("cache_control") && !shown.contains("user_metadata.k:"), "{shown}");
    assert!(shown.contains("user_metadata.n: m"), "{shown}");
}

#[test]
fn meta_set_changes_directories_and_what_patterns_match() {
    let sandbox = sandbox();
    sandbox.run(&["meta", "set", "-r", "--cache-control", "no-cache", "media:d"]).done();
    assert!(has(&sandbox, "media:d/e/b.txt", "cache_control: no-cache"));
    assert!(has(&sandbox, "media:c.txt", "cache_control: no-store"));
    sandbox.run(&["meta", "set", "--content-type", "text/x-odd", "media:d/*.txt"]).done();
    assert!(has(&sandbox, "media:d/a.txt", "content_type: text/x-odd"));
    assert!(has(&sandbox, "media:d/e/b.txt", "content_type: text/plain; charset=utf-8"));
}

#[test]
fn meta_set_leaves_an_object_that_has_the_metadata_already() {
    let sandbox = sandbox();
    let stat = || sandbox.run(&["stat", "media:c.txt"]).done();
    let before = stat();
    sandbox.run(&["meta", "set", "--cache-control", "no-store", "media:c.txt"]).done();
    assert_eq!(stat(), before);
}

#[test]
fn a_dry_run_of_meta_set_prints_what_would_change() {
    let sandbox = sandbox();
    sandbox.run(&["meta", "set", "--cache-control", "no-cache", "media:d/a.txt"]).done();
    let planned =
        sandbox.run(&["meta", "set", "-rn", "--cache-control", "no-cache", "media:"]).done();
    assert_eq!(planned, "media:c.txt\nmedia:d/e/b.txt\n");
    assert!(has(&sandbox, "media:c.txt", "cache_control: no-store"));
}

#[test]
fn meta_set_reports_failures_and_changes_the_rest() {
    let sandbox = sandbox();
    let run =
        sandbox.run(&["meta", "set", "--meta", "a=b", "media:none", "frozen:c.txt", "media:c.txt"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("media:none: ") && run.err.contains("frozen:c.txt: "), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 2 failed, 1 succeeded\n"), "{}", run.err);
    assert!(has(&sandbox, "media:c.txt", "user_metadata.a: b"));
    for wrong in [
        &["media:c.txt"][..],
        &["--unset", "size", "media:c.txt"],
        &["--content-type", "png", "media:c.txt"],
        &["--meta", "a=b", "media:d/"],
        &["--meta", "a=b", "nonesuch:a"],
    ] {
        let run = sandbox.run(&[&["meta", "set"], wrong].concat());
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.err);
    }
    sandbox.run(&["meta", "set", "-r", "--meta", "a=b", "media:none"]).failed(1);
}

#[test]
fn stat_shows_several_objects() {
    let sandbox = sandbox();
    let shown = sandbox.run(&["stat", "-r", "media:d"]).done();
    assert!(
        shown.starts_with("key: d/a.txt\n") && shown.contains("\n\nkey: d/e/b.txt\n"),
        "{shown}"
    );
    let shown = sandbox.run(&["stat", "--json", "media:**/*.txt", "media:c.txt"]).done();
    let keys: Vec<_> = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].to_string())
        .collect();
    assert_eq!(keys, ["\"c.txt\"", "\"d/a.txt\"", "\"d/e/b.txt\"", "\"c.txt\""]);
    let run = sandbox.run(&["stat", "media:none", "media:c.txt"]);
    assert_eq!(run.code, Some(1));
    assert!(String::from_utf8(run.out).unwrap().contains("key: c.txt"));
    sandbox.run(&["stat", "media:none*"]).failed(1);
}
