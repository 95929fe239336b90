//! Copying and moving objects with invalid metadata.

use storage_testkit::http::{Peer, Response};

use crate::fake;
use crate::support::Sandbox;

/// A sandbox with the storage `web`, whose only object `a.jpg` has two invalid headers and a valid
/// one.
fn sandbox() -> (Sandbox, Peer) {
    let sandbox = Sandbox::new();
    let fake = fake::server_of_hello(|_| {
        Response::new("200 OK").headers("Content-Type: jpg\r\nContent-Disposition: attachment; filename=\"é.jpg\"\r\n\
         Cache-Control: no-store\r\nLast-Modified: Tue, 01 Dec 2020 00:00:00 GMT\r\nETag: \"a\"\r\n")
    });
    let storages = sandbox.read("storages.toml") + &fake::storage(&fake, "web", "127.0.0.1");
    sandbox.write("storages.toml", storages);
    (sandbox, fake)
}

#[test]
fn invalid_metadata_is_an_error_that_names_the_options() {
    let (sandbox, fake) = sandbox();
    for command in ["cp", "mv"] {
        for how in [
            &[command, "web:a.jpg", "media:a.jpg"][..],
            &[command, "--metadata", "keep", "web:a.jpg", "media:"],
        ] {
            let error = sandbox.run(how).failed(1);
            assert!(
                error.contains("web:a.jpg -> media:a.jpg: ") && error.contains("content_type: "),
                "{error}"
            );
            assert!(
                error.contains("--content-type") && error.contains("--metadata drop-invalid"),
                "{error}"
            );
        }
    }
    let error =
        sandbox.run(&["cp", "--content-type", "image/jpeg", "web:a.jpg", "media:"]).failed(1);
    assert!(
        error.contains("content_disposition: ") && error.contains("--metadata drop-invalid"),
        "{error}"
    );
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "");
    assert!(fake.count("DELETE") == 0);
}

#[test]
fn drop_invalid_reports_dropped_fields_and_keeps_the_rest() {
    let (sandbox, _fake) = sandbox();
    let run = sandbox.run(&["cp", "--metadata", "drop-invalid", "web:a.jpg", "media:"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let lines: Vec<_> = run.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("anystorage: a.jpg: dropped from the metadata: content_type: "),
        "{lines:?}"
    );
    assert!(lines[1].contains("content_disposition: "), "{lines:?}");
    let shown = sandbox.run(&["stat", "media:a.jpg"]).done();
    assert!(
        shown.contains("cache_control: no-store\n") && !shown.contains("content_disposition"),
        "{shown}"
    );
    assert!(shown.contains("content_type: image/jpeg\n"), "{shown}");
}

#[test]
fn the_option_content_type_replaces_an_invalid_type() {
    let (sandbox, fake) = sandbox();
    let run = sandbox.run(&[
        "mv",
        "--content-type",
        "image/png",
        "--metadata",
        "drop-invalid",
        "web:a.jpg",
        "media:b",
    ]);
    assert_eq!((run.code, run.err.lines().count()), (Some(0), 1), "{}", run.err);
    assert!(sandbox.run(&["stat", "media:b"]).done().contains("content_type: image/png\n"));
    assert!(fake.count("DELETE") > 0);
}

#[test]
fn the_option_content_type_applies_to_copies_within_a_storage_and_to_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["cp", "--content-type", "text/css", "-", "media:a"], b"x").done();
    assert!(sandbox.run(&["stat", "media:a"]).done().contains("content_type: text/css\n"));
    sandbox.run(&["cp", "--content-type", "text/x-odd", "media:a", "media:b"]).done();
    assert!(sandbox.run(&["stat", "media:b"]).done().contains("content_type: text/x-odd\n"));
    for wrong in [&["--content-type", "jpg"][..], &["--metadata", "maybe"]] {
        let arguments = [&["cp"], wrong, &["media:a", "media:c"]].concat();
        assert_eq!(sandbox.run(&arguments).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_sync_fails_for_invalid_metadata_or_drops_it() {
    let (sandbox, _fake) = sandbox();
    let sync = |how: &[&str]| {
        let arguments = [&["sync", "--keys-from", "-"], how, &["web:", "media:"]].concat();
        sandbox.feed(&arguments, b"a.jpg")
    };
    let run = sync(&[]);
    assert!(
        run.code == Some(1) && run.err.contains("web:a.jpg -> media:a.jpg: content_type: "),
        "{run:?}"
    );
    assert!(run.err.contains("; --metadata drop leaves this field out\n"), "{}", run.err);
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "");
    let run = sync(&["--metadata", "drop"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("a.jpg: not kept: content_type: "), "{}", run.err);
    assert!(run.err.contains("1 copied without a part of the metadata"), "{}", run.err);
    let shown = sandbox.run(&["stat", "media:a.jpg"]).done();
    assert!(shown.contains("cache_control: no-store\n"), "{shown}");
    // The names of cp are accepted, too.
    for how in ["keep", "fail", "drop-invalid"] {
        assert_eq!(sync(&["--ignore-existing", "--metadata", how]).code, Some(0), "{how}");
    }
}
