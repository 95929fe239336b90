//! `check`.

use std::os::unix::fs::symlink;

use crate::support::{Run, Sandbox};

fn check(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.run(&[&["check"], arguments, &["media:", "backup:"]].concat())
}

/// Asserts the exit code, and returns the sorted lines of standard output.
fn lines(run: &Run, code: i32) -> Vec<String> {
    assert_eq!(run.code, Some(code), "{}", run.err);
    let mut lines: Vec<_> =
        std::str::from_utf8(&run.out).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A sandbox with one key for each verdict.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (key, source, target) in
        [("different", "a", "bc"), ("same", "x", "x"), ("subtle", "x", "y")]
    {
        sandbox.put(&format!("media:{key}"), source);
        sandbox.put(&format!("backup:{key}"), target);
    }
    sandbox.put("media:missing", "x");
    sandbox.put("backup:extra", "x");
    sandbox
}

#[test]
fn check_prints_a_verdict_for_each_key_that_is_not_the_same() {
    let sandbox = sandbox();
    let run = check(&sandbox, &[]);
    // Without stored checksums, metadata alone proves nothing about objects of one size.
    assert_eq!(lines(&run, 1), ["* different", "+ missing", "- extra", "? same", "? subtle"]);
    assert!(
        run.err.contains(
            "0 same by metadata, 1 different, 1 missing from the destination, 1 only in the \
             destination, 2 unknown"
        ),
        "{}",
        run.err
    );
    assert!(run.err.contains("--checksum"), "{}", run.err);
}

#[test]
fn check_by_checksum_or_content_leaves_nothing_unknown() {
    let sandbox = sandbox();
    for (option, by) in [("--checksum", "1 same by checksum"), ("--download", "1 same by content")]
    {
        let run = check(&sandbox, &[option]);
        assert_eq!(lines(&run, 1), ["* different", "* subtle", "+ missing", "- extra"]);
        assert!(run.err.contains(by), "{}", run.err);
    }
}

#[test]
fn check_succeeds_only_if_all_keys_are_the_same() {
    let sandbox = sandbox();
    sandbox.run(&["sync", "-q", "--delete", "--compare=checksum", "media:", "backup:"]).done();
    check(&sandbox, &["-q", "--checksum"]).done();
    assert_eq!(lines(&check(&sandbox, &[]), 1).len(), 4);
    let filtered = ["-q", "--checksum", "--exclude", "subtle"];
    sandbox.put("backup:subtle", "z");
    check(&sandbox, &filtered).done();
    assert_eq!(lines(&check(&sandbox, &["--checksum", "--concurrency", "1"]), 1), ["* subtle"]);
}

#[test]
fn the_failed_keys_of_a_check_are_those_that_a_sync_repairs() {
    let sandbox = sandbox();
    let run = check(&sandbox, &["--checksum", "--failed", "failed", "--report", "report"]);
    lines(&run, 1);
    assert_eq!(sandbox.read("failed").lines().count(), 4);
    let report = sandbox.read("report");
    assert!(report.contains("{\"symbol\":\"=\",\"key\":\"same\"}\n"), "{report}");
    assert_eq!(report.lines().count(), 5);
    let sync = ["sync", "-q", "--delete", "--compare=checksum", "--keys-from", "failed"];
    sandbox.run(&[&sync[..], &["media:", "backup:"]].concat()).done();
    check(&sandbox, &["-q", "--checksum"]).done();
}

#[test]
fn json_is_one_object_without_a_line_for_each_key() {
    let sandbox = sandbox();
    let run = check(&sandbox, &["--json", "--checksum"]);
    let printed = lines(&run, 1);
    assert_eq!(
        printed,
        [
            r#"{"source":"media:","destination":"backup:","compare":"checksum","ended":"complete","exit":1,"same":1,"different":2,"missing":1,"extra":1,"unknown":0}"#
        ]
    );
}

#[test]
fn a_symlink_of_a_local_source_is_unknown() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    sandbox.put("backup:a", "a");
    symlink("a", sandbox.path("dir/link")).unwrap();
    let run = sandbox.run(&["check", "--checksum", "./dir", "backup:"]);
    assert_eq!(lines(&run, 1), [""; 0]);
    assert!(run.err.contains("dir/link: a symlink, not compared"), "{}", run.err);
    assert!(run.err.contains("1 unknown"), "{}", run.err);
    sandbox.run(&["check", "-q", "--checksum", "--skip-links", "./dir", "backup:"]).done();
}

#[test]
fn a_missing_local_directory_is_an_error() {
    let sandbox = sandbox();
    for (source, target) in [("./gone", "backup:"), ("media:", "./gone")] {
        assert!(sandbox.run(&["check", source, target]).failed(1).contains("no such directory"));
    }
}

#[test]
fn options_that_exclude_each_other_are_usage_errors() {
    let sandbox = sandbox();
    for wrong in [&["--checksum", "--download"][..], &["--concurrency", "0"], &["--delete"]] {
        assert_eq!(check(&sandbox, wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_check_whose_reader_stops_reading_does_not_succeed() {
    use std::io::Read;
    let sandbox = Sandbox::new();
    // More than a pipe holds.
    for number in 0..1000 {
        sandbox.write(&format!("media/{number}-{}", "x".repeat(200)), "");
    }
    let mut child = sandbox.command(&["check", "media:", "backup:"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert!([Some(1), Some(75)].contains(&child.wait_with_output().unwrap().status.code()));
}
