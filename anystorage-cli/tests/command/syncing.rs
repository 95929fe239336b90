//! `sync`.

use std::io::{BufRead, Write};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use storage_testkit::http::{Gate, Peer, Response};

use crate::support::{Run, Sandbox, signal, suspend, wait_until};

/// A sandbox whose storage `media` has these keys. The content of each is its key.
fn sandbox(keys: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for key in keys {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox
}

fn sync(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.run(&[&["sync"], arguments, &["media:", "backup:"]].concat())
}

/// Asserts the exit code, and returns what was printed to standard error.
fn ended(run: &Run, code: i32) -> &str {
    assert_eq!(run.code, Some(code), "{} {}", run.err, String::from_utf8_lossy(&run.out));
    &run.err
}

fn out(run: &Run) -> String {
    String::from_utf8(run.out.clone()).unwrap()
}

fn backup(sandbox: &Sandbox) -> String {
    sandbox.run(&["ls", "-r", "backup:"]).done()
}

/// Sets the time of a local file to some seconds before or after now.
fn set_time(sandbox: &Sandbox, name: &str, seconds: i64) {
    let offset = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if seconds < 0 { now - offset } else { now + offset };
    let file = std::fs::File::options().write(true).open(sandbox.path(name)).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn sync_copies_what_is_missing_or_different_and_deletes_nothing() {
    let sandbox = sandbox(&["a", "b/c"]);
    sandbox.put("backup:extra", "x");
    let run = sync(&sandbox, &[]);
    let summary =
        "anystorage: 2 copied (2 new, 0 changed, 4 B), 1 only in the destination, 0 same\n";
    assert_eq!(ended(&run, 0), summary);
    assert!(run.out.is_empty());
    assert_eq!(backup(&sandbox), "a\nb/c\nextra\n");
    sandbox.put("media:a", "longer");
    let run = sync(&sandbox, &[]);
    assert!(
        ended(&run, 0).contains("1 copied (0 new, 1 changed, 6 B)")
            && run.err.contains(
                "1 same (1 by size and time: a change that kept the size is missed at the \
                 destination, and at the source if a clock is wrong)"
            ),
        "{}",
        run.err
    );
    assert_eq!(sandbox.cat("backup:a"), "longer");
}

#[test]
fn a_second_sync_copies_nothing() {
    let sandbox = sandbox(&["a", "b/c"]);
    ended(&sync(&sandbox, &[]), 0);
    assert!(ended(&sync(&sandbox, &[]), 0).starts_with("anystorage: 0 copied, 2 same ("));
}

#[test]
fn quiet_prints_no_summary() {
    let sandbox = sandbox(&["a"]);
    sync(&sandbox, &["-q"]).done();
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn directories_are_synchronised_with_or_without_a_slash_and_local_ones_too() {
    let sandbox = sandbox(&["x/a", "xy/b"]);
    for target in ["backup:1", "backup:2/"] {
        sandbox.run(&["sync", "-q", "media:x", target]).done();
    }
    sandbox.run(&["sync", "-q", "media:x/", "./new/local"]).done();
    sandbox.run(&["sync", "-q", "./new", "backup:3"]).done();
    assert_eq!(backup(&sandbox), "1/a\n2/a\n3/local/a\n");
    assert_eq!(sandbox.read("new/local/a"), "x/a");
}

#[test]
fn a_dry_run_prints_copies_and_then_deletions_and_changes_nothing() {
    let sandbox = sandbox(&["a", "b", "c"]);
    sandbox.put("backup:b", "other");
    sandbox.put("backup:aa", "extra");
    let run = sync(&sandbox, &["-n", "--delete"]);
    let err = ended(&run, 0);
    assert!(
        err.contains("3 would be copied (2 new, 1 changed, ") && err.contains("1 would be deleted"),
        "{err}"
    );
    assert_eq!(out(&run), "+ a\n* b\n+ c\n- aa\n");
    assert_eq!(backup(&sandbox), "aa\nb\n");
    let run = sync(&sandbox, &["-n"]);
    assert_eq!(out(&run), "+ a\n* b\n+ c\n");
}

#[test]
fn a_dry_run_lists_no_deletion_that_a_guard_would_refuse() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:b", "extra");
    sandbox.put("backup:c", "extra");
    let run = sync(&sandbox, &["-n", "--delete", "--max-delete", "1"]);
    let err = ended(&run, 1);
    assert!(err.contains("0 would be deleted") && err.contains("2 extra but kept"), "{err}");
    assert!(err.contains("more than --max-delete allows"), "{err}");
    assert_eq!(out(&run), "+ a\n");
}

#[test]
fn an_object_or_a_pattern_as_source_is_an_error_that_names_the_way_out() {
    let sandbox = sandbox(&["a/b.png", "c"]);
    for command in ["sync", "check"] {
        let err = sandbox.run(&[command, "media:c", "backup:"]).failed(2);
        assert!(err.contains("media:c: this is an object, not a directory"), "{err}");
        let err = sandbox.run(&[command, "media:a/*.png", "backup:"]).failed(2);
        assert!(err.contains("reads no patterns") && err.contains("--include"), "{err}");
    }
    assert_eq!(backup(&sandbox), "");
}

#[test]
fn a_record_is_not_written_to_a_file_whose_name_means_standard_output() {
    let sandbox = sandbox(&["a"]);
    for option in ["--report", "--failed"] {
        let err = sandbox.run(&["sync", option, "-", "media:", "backup:"]).failed(2);
        assert!(err.contains("name a file; ./- is the file of this name"), "{err}");
    }
    assert!(!sandbox.exists("-"));
}

#[test]
fn objects_that_an_option_leaves_are_not_counted_as_the_same() {
    let sandbox = sandbox(&["a", "b"]);
    sandbox.put("backup:a", "another");
    let run = sync(&sandbox, &["--ignore-existing"]);
    let err = ended(&run, 0);
    assert!(err.contains("0 same, 1 left as they are, not compared"), "{err}");
    let run = sync(&sandbox, &["--ignore-existing", "--json"]);
    assert!(out(&run).contains("\"same\":0,\"left\":2,"), "{}", out(&run));
}

#[test]
fn a_dry_run_whose_reader_stops_reading_ends_quietly() {
    use std::io::Read;
    let sandbox = Sandbox::new();
    // More than a pipe holds.
    for number in 0..1000 {
        sandbox.write(&format!("media/{number}-{}", "x".repeat(200)), "");
    }
    let mut child = sandbox.command(&["sync", "-n", "media:", "backup:"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_eq!(Run::from(child.wait_with_output().unwrap()).silent(), 0);
}

#[test]
fn delete_removes_what_the_source_lacks() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:b", "x");
    assert!(ended(&sync(&sandbox, &["--delete"]), 0).contains(", 1 deleted, "));
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn max_delete_refuses_before_the_first_deletion_and_is_exact() {
    let sandbox = sandbox(&["a"]);
    for key in ["b", "c", "d"] {
        sandbox.put(&format!("backup:{key}"), "x");
    }
    for limit in ["2", "50%"] {
        let run = sync(&sandbox, &["--delete", "--max-delete", limit]);
        assert!(ended(&run, 1).contains("3 objects would be deleted"), "{}", run.err);
        assert_eq!(backup(&sandbox), "a\nb\nc\nd\n");
    }
    ended(&sync(&sandbox, &["--delete", "--max-delete", "75%"]), 0);
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn an_empty_source_deletes_nothing_unless_that_is_allowed() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("media")).unwrap();
    sandbox.put("backup:a", "x");
    let run = sync(&sandbox, &["--delete"]);
    assert!(ended(&run, 1).contains("--allow-empty-source"), "{}", run.err);
    assert_eq!(backup(&sandbox), "a\n");
    ended(&sync(&sandbox, &["--delete", "--allow-empty-source"]), 0);
    assert_eq!(backup(&sandbox), "");
}

#[test]
fn a_missing_local_source_is_an_error_and_not_an_empty_directory() {
    let sandbox = sandbox(&[]);
    sandbox.put("backup:a", "x");
    sandbox.write("file", "x");
    for (source, part) in
        [("./gone", "no such directory"), ("./gone/", "no such directory"), ("./file", "not a dir")]
    {
        let run = sandbox.run(&["sync", "--delete", "--allow-empty-source", source, "backup:"]);
        assert!(run.failed(1).contains(part), "{source}");
    }
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn backup_keeps_what_is_replaced_and_deleted_and_is_not_compared() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:a", "old a");
    sandbox.put("backup:b", "old b");
    ended(&sync(&sandbox, &["--delete", "--backup", "old"]), 0);
    assert_eq!(backup(&sandbox), "a\nold/a\nold/b\n");
    assert_eq!(sandbox.cat("backup:old/a") + &sandbox.cat("backup:old/b"), "old aold b");
    let run = sync(&sandbox, &["--delete", "--backup", "old/"]);
    assert!(ended(&run, 0).contains("0 copied, 0 deleted, 1 same"), "{}", run.err);
}

#[test]
fn filters_are_one_list_in_the_order_of_the_command_line() {
    let sandbox = sandbox(&["a.png", "b.txt", "tmp/c.png", "tmp/keep.png"]);
    let copied = |arguments: &[&str]| {
        let run = sync(&sandbox, &[&["-n"], arguments].concat());
        ended(&run, 0);
        out(&run)
    };
    assert_eq!(copied(&["--include", "*.png"]), "+ a.png\n+ tmp/c.png\n+ tmp/keep.png\n");
    assert_eq!(copied(&["--include", "*.png", "--exclude", "tmp/"]), "+ a.png\n");
    assert_eq!(
        copied(&["--include=*.png", "--exclude=tmp/", "--include=keep.*"]),
        "+ a.png\n+ tmp/keep.png\n"
    );
    sandbox.write("rules", "# pictures\ntmp/\n!keep.png\n");
    assert_eq!(copied(&["--filter-from", "rules"]), "+ a.png\n+ b.txt\n+ tmp/keep.png\n");
    assert_eq!(
        copied(&["--filter-from", "rules", "--exclude", "*.txt", "--exclude", "keep.png"]),
        "+ a.png\n"
    );
    assert_eq!(
        copied(&["--exclude", "keep.png", "--filter-from", "rules"]),
        "+ a.png\n+ b.txt\n+ tmp/keep.png\n"
    );
}

#[test]
fn excluded_keys_of_the_destination_stay() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:keep/b", "x");
    ended(&sync(&sandbox, &["--delete", "--exclude", "keep/"]), 0);
    assert_eq!(backup(&sandbox), "a\nkeep/b\n");
}

#[test]
fn an_invalid_filter_is_a_usage_error_that_names_it() {
    let sandbox = sandbox(&["a"]);
    sandbox.write("rules", "ok\n[a\n");
    assert!(sync(&sandbox, &["--exclude", "[a"]).failed(2).contains("[a"));
    assert!(sync(&sandbox, &["--filter-from", "rules"]).failed(2).contains("rules"));
    assert!(sync(&sandbox, &["--filter-from", "gone"]).failed(2).contains("gone"));
}

#[test]
fn keys_from_limits_a_sync_to_a_list_in_any_order() {
    let sandbox = sandbox(&["a", "b", "c"]);
    sandbox.put("backup:b", "old");
    sandbox.put("backup:d", "x");
    sandbox.write("list", "c\nb\nc\n");
    let run = sync(&sandbox, &["--delete", "--keys-from", "list"]);
    assert!(ended(&run, 0).contains("2 copied (1 new, 1 changed, 2 B), 0 deleted"), "{}", run.err);
    assert_eq!(backup(&sandbox), "b\nc\nd\n");
    let run = sandbox.feed(&["sync", "--keys-from", "-", "media:", "backup:"], b"a\0b\0");
    assert!(ended(&run, 0).contains("1 copied (1 new, "), "{}", run.err);
}

#[test]
fn keys_of_a_list_that_are_invalid_or_without_an_object_fail() {
    let sandbox = sandbox(&["a"]);
    sandbox.write("list", "a\n/b\ngone\n");
    let run = sync(&sandbox, &["--keys-from", "list", "--failed", "failed"]);
    let err = ended(&run, 1);
    assert!(err.contains("list, line 2") && err.contains("neither side has this key"), "{err}");
    assert!(err.contains("1 failed") && err.contains("1 without an object"), "{err}");
    let failed = sandbox.read("failed");
    assert!(failed.contains("\"key\":\"/b\"") && failed.contains("\"key\":\"gone\""), "{failed}");
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn a_missing_list_of_keys_is_a_usage_error() {
    let sandbox = sandbox(&["a"]);
    assert!(sync(&sandbox, &["--keys-from", "gone"]).failed(2).contains("gone"));
}

#[test]
fn each_comparison_sees_what_it_promises() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:a", "b");
    set_time(&sandbox, "media/a", -3600);
    let changed = |how: &str| {
        let run = sync(&sandbox, &["-n", "--compare", how]);
        ended(&run, 0);
        out(&run)
    };
    for how in ["listing", "size", "mtime"] {
        assert_eq!(changed(how), "", "{how}");
    }
    assert_eq!(changed("checksum"), "* a\n");
    set_time(&sandbox, "media/a", 3600);
    for (how, expected) in [("listing", "* a\n"), ("size", ""), ("mtime", "* a\n")] {
        assert_eq!(changed(how), expected, "{how}");
    }
    let run = sync(&sandbox, &["--compare", "size"]);
    assert!(ended(&run, 0).contains("1 by size alone: a change that kept the size is missed"));
    assert!(sync(&sandbox, &["--compare", "etag"]).failed(2).contains("checksum"));
}

#[test]
fn options_decide_about_objects_that_both_sides_have() {
    let sandbox = sandbox(&["a", "b"]);
    sandbox.put("backup:a", "newer");
    set_time(&sandbox, "media/a", -3600);
    ended(&sync(&sandbox, &["--ignore-existing"]), 0);
    assert_eq!(sandbox.cat("backup:a") + &sandbox.cat("backup:b"), "newerb");
    ended(&sync(&sandbox, &["--update"]), 0);
    assert_eq!(sandbox.cat("backup:a"), "newer");
    let run = sync(&sandbox, &["--immutable"]);
    assert!(ended(&run, 1).contains("media:a -> backup:a: the objects differ"), "{}", run.err);
    assert_eq!(sandbox.cat("backup:a"), "newer");
    ended(&sync(&sandbox, &[]), 0);
    assert_eq!(sandbox.cat("backup:a"), "a");
}

#[test]
fn options_that_exclude_each_other_or_need_another_are_usage_errors() {
    let sandbox = sandbox(&["a"]);
    for wrong in [
        &["--update", "--immutable"][..],
        &["--ignore-existing", "--update"],
        &["--max-delete", "1"],
        &["--delete", "--max-delete", "101%"],
        &["--compare", "odd"],
        &["--bandwidth", "0"],
        &["--requests", "0"],
        &["--concurrency", "0"],
        &["--set-header", "*"],
        &["--metadata", "odd"],
        &["--report", "x", "--failed", "x"],
        &["--report", "no/such/directory"],
        &["--backup", "../up"],
        &["--follow"],
    ] {
        assert_eq!(sync(&sandbox, wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(sandbox.run(&["sync", "-", "backup:"]).code, Some(2));
    assert_eq!(sandbox.run(&["sync", "media:"]).code, Some(2));
    assert_eq!(backup(&sandbox), "");
}

#[test]
fn an_option_that_another_one_would_disable_is_refused() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:b", "x");
    sandbox.write("list", "a\n");
    for (options, parts) in [
        (&["--dry-run", "--job", "./state"][..], ["--dry-run", "--job"]),
        (&["--keys-from", "list", "--job", "./state"], ["--keys-from", "--job"]),
        (&["--unsorted", "source", "--job", "./state"], ["--unsorted", "--job"]),
        (&["--inventory", "media:m", "--job", "./state"], ["--inventory", "--job"]),
        (&["--inventory", "media:m", "--delete"], ["--inventory", "--delete"]),
        (&["--inventory", "media:m", "--keys-from", "list"], ["--inventory", "--keys-from"]),
        (&["--lease", "90s"], ["not provided", "--job"]),
        (&["--max-delete", "1"], ["not provided", "--delete"]),
        (&["--allow-empty-source"], ["not provided", "--delete"]),
        (&["--ignore-existing", "--compare", "checksum"], ["--ignore-existing", "--compare"]),
        (&["--ignore-existing", "--update"], ["--ignore-existing", "--update"]),
        (&["--ignore-existing", "--immutable"], ["--ignore-existing", "--immutable"]),
        (&["--update", "--immutable"], ["--update", "--immutable"]),
        (&["--report", "x", "--failed", "x"], ["x: ", "--report"]),
        (&["--keys-from", "list", "--report", "list"], ["list: ", "--keys-from"]),
        (&["--filter-from", "list", "--failed", "./list"], ["list: ", "--filter-from"]),
    ] {
        let err = sync(&sandbox, options).failed(2);
        assert!(parts.iter().all(|part| err.contains(part)), "{options:?}: {err}");
    }
    for options in [["--checksum", "--download"], ["--filter-from=list", "--report=list"]] {
        sandbox.run(&[&["check"], &options[..], &["media:", "backup:"]].concat()).failed(2);
    }
    assert_eq!((sandbox.read("list"), backup(&sandbox)), ("a\n".to_owned(), "b\n".to_owned()));
    assert!(!sandbox.exists("state") && !sandbox.exists("x"));
}

#[test]
fn no_option_disables_a_dry_run_or_the_deletion_of_extras() {
    let sandbox = sandbox(&["a", "new"]);
    sandbox.write("list", "a\nextra\nnew\n");
    sandbox.write("rules", "other\n");
    for options in [
        &[][..],
        &["--ignore-existing"],
        &["--update"],
        &["--immutable"],
        &["--compare=size"],
        &["--compare=mtime"],
        &["--compare=checksum"],
        &["--set-header=*:Cache-Control=no-cache", "--metadata=drop"],
        &["--backup=old"],
        &["--max-delete=1", "--allow-empty-source"],
        &["--filter-from=rules", "--exclude=other"],
        &["--keys-from=list"],
        &["--unsorted=source", "--unsorted=destination"],
        &["--bandwidth=1MiB", "--requests=1000", "--concurrency=1"],
        &["--report=report", "--failed=failed", "--json"],
        &["--skip-links"],
    ] {
        std::fs::remove_dir_all(sandbox.path("backup")).unwrap_or_default();
        for key in ["a", "extra"] {
            sandbox.write(&format!("backup/{key}"), key);
        }
        ended(&sync(&sandbox, &[&["-n", "--delete"], options].concat()), 0);
        let is_unchanged = sandbox.exists("backup/extra") && !sandbox.exists("backup/new");
        assert!(is_unchanged, "{options:?}");
        ended(&sync(&sandbox, &[&["--delete"], options].concat()), 0);
        assert!(!sandbox.exists("backup/extra") && sandbox.exists("backup/new"), "{options:?}");
        assert_eq!(sandbox.read("backup/a"), "a", "{options:?}");
    }
    sandbox.write("backup/extra", "x");
    ended(&sync(&sandbox, &["--delete", "--job", "./state"]), 0);
    assert!(!sandbox.exists("backup/extra"));
}

#[test]
fn a_backup_needs_no_deletions() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:a", "old a");
    sandbox.put("backup:extra", "x");
    ended(&sync(&sandbox, &["--backup", "old", "--immutable"]), 1);
    assert_eq!(backup(&sandbox), "a\nextra\n");
    ended(&sync(&sandbox, &["--backup", "old"]), 0);
    assert_eq!(backup(&sandbox), "a\nextra\nold/a\n");
    assert_eq!(sandbox.cat("backup:old/a"), "old a");
}

#[test]
fn filters_limit_a_list_of_keys() {
    let sandbox = sandbox(&["a", "b.tmp"]);
    sandbox.write("list", "a\nb.tmp\ngone.tmp\n");
    for command in [&["sync"][..], &["check", "--checksum"]] {
        let options = ["-q", "--keys-from=list", "--exclude=*.tmp", "media:", "backup:"];
        sandbox.run(&[command, &options].concat()).done();
    }
    assert_eq!(backup(&sandbox), "a\n");
}

#[test]
fn a_symlink_in_a_list_of_keys_fails_and_what_the_destination_has_there_is_kept() {
    let sandbox = sandbox(&["a"]);
    symlink("elsewhere", sandbox.path("media/photos")).unwrap();
    for key in ["photos/1", "photos/2"] {
        sandbox.put(&format!("backup:{key}"), "x");
    }
    sandbox.write("list", "a\nphotos/1\nphotos\n");
    for options in [&[][..], &["--delete"]] {
        let options = [&["--keys-from=list", "--failed=failed"], options].concat();
        let run = sync(&sandbox, &options);
        assert!(ended(&run, 1).contains("2 failed"), "{}", run.err);
        assert!(run.err.contains("media:photos/1: a symlink, not copied"), "{}", run.err);
        assert_eq!(sandbox.read("failed").lines().count(), 2);
    }
    let checked = ["check", "-q", "--checksum", "--keys-from=list", "media:", "backup:"];
    let run = sandbox.run(&checked);
    assert!(ended(&run, 1).contains("media:photos: a symlink, not compared"), "{}", run.err);
    ended(&sync(&sandbox, &["--keys-from=list", "--delete", "--skip-links"]), 0);
    assert_eq!(backup(&sandbox), "a\nphotos/1\nphotos/2\n");
}

#[test]
fn each_of_many_failures_is_counted_and_recorded() {
    let sandbox = Sandbox::new();
    for number in 0..100 {
        sandbox.write(&format!("media/{number}"), "x");
        if number % 2 == 0 {
            // A directory where the object has to be.
            sandbox.write(&format!("backup/{number}/x"), "x");
        }
    }
    let run = sync(&sandbox, &["--failed", "failed"]);
    let err = ended(&run, 1);
    assert!(err.contains("50 copied (50 new, ") && err.contains(", 50 failed"), "{err}");
    assert_eq!(err.lines().filter(|line| line.contains("media:")).count(), 50, "{err}");
    assert_eq!(sandbox.read("failed").lines().count(), 50);
}

#[test]
fn set_header_changes_the_copies_of_matching_keys() {
    let sandbox = sandbox(&["a.css", "x/b.css", "c.txt"]);
    ended(
        &sync(
            &sandbox,
            &[
                "--set-header",
                "*.css:Cache-Control=max-age=60",
                "--set-header",
                "/a.css:x-amz-meta-k=v:w",
            ],
        ),
        0,
    );
    let stat = |key: &str| sandbox.run(&["stat", &format!("backup:{key}")]).done();
    assert!(stat("a.css").contains("user_metadata.k: v:w\n"));
    assert!(stat("x/b.css").contains("max-age=60") && !stat("x/b.css").contains("v:w"));
    assert!(!stat("c.txt").contains("max-age"));
}

#[test]
fn limits_do_not_change_the_result() {
    let sandbox = sandbox(&["a", "b", "c"]);
    ended(&sync(&sandbox, &["--bandwidth", "1MiB", "--requests", "1000", "--concurrency", "1"]), 0);
    assert_eq!(backup(&sandbox), "a\nb\nc\n");
}

/// Makes the copy of the key `b` fail: on a file system `b` cannot be a file if `b/x` is one.
fn with_failing_key() -> Sandbox {
    let sandbox = sandbox(&["a", "b", "c"]);
    sandbox.put("backup:b/x", "in the way");
    sandbox
}

#[test]
fn a_report_contains_each_key_and_the_failed_ones_can_be_fed_back() {
    let sandbox = with_failing_key();
    let run = sync(&sandbox, &["--report", "report", "--failed", "failed"]);
    let err = ended(&run, 1);
    assert!(
        err.contains("anystorage: media:b -> backup:b: ") && err.contains(", 1 failed"),
        "{err}"
    );
    assert!(err.contains("--keys-from"), "{err}");
    let report = sandbox.read("report");
    let mut lines: Vec<_> = report.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{report}");
    assert!(lines[0].starts_with(r#"{"symbol":"!","key":"b","size":1,"error":""#), "{report}");
    assert_eq!(
        lines[1..],
        [
            r#"{"symbol":"+","key":"a","size":1}"#,
            r#"{"symbol":"+","key":"c","size":1}"#,
            r#"{"symbol":"-","key":"b/x","size":10}"#
        ]
    );
    assert_eq!(sandbox.read("failed").lines().count(), 1);
    sandbox.run(&["rm", "backup:b/x"]).done();
    let run = sync(&sandbox, &["--keys-from", "failed", "--failed", "again"]);
    assert!(ended(&run, 0).starts_with("anystorage: 1 copied (1 new, 0 changed, 1 B), 0 same"));
    assert_eq!((sandbox.read("again"), backup(&sandbox)), (String::new(), "a\nb\nc\n".to_owned()));
}

#[test]
fn the_report_of_a_dry_run_is_that_of_the_run_also_with_a_summary_in_json() {
    let sandbox = sandbox(&["a", "b", "c"]);
    for (key, text) in [("b", "other"), ("c", "c"), ("d", "extra")] {
        sandbox.put(&format!("backup:{key}"), text);
    }
    let reported = |options: &[&str]| {
        let common = ["--delete", "--json", "--report", "report"];
        let run = sync(&sandbox, &[&common, options].concat());
        ended(&run, 0);
        assert_eq!(out(&run).lines().count(), 1, "{}", out(&run));
        let mut lines: Vec<_> = sandbox.read("report").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let predicted = reported(&["--dry-run"]);
    assert_eq!(backup(&sandbox), "b\nc\nd\n");
    assert_eq!(predicted.len(), 4, "{predicted:?}");
    assert_eq!(reported(&[]), predicted);
    assert_eq!(backup(&sandbox), "a\nb\nc\n");
}

#[test]
fn a_list_of_keys_is_not_overwritten_by_the_failed_ones() {
    let sandbox = sandbox(&["a"]);
    sandbox.write("list", "a\n");
    symlink("list", sandbox.path("link")).unwrap();
    for name in ["list", "./list", "link"] {
        let run = sync(&sandbox, &["--keys-from", "list", "--failed", name]);
        assert!(run.failed(2).contains("name another one"));
    }
    assert_eq!(sandbox.read("list"), "a\n");
}

#[test]
fn a_list_of_keys_is_not_overwritten_through_standard_input_or_a_hard_link() {
    let sandbox = sandbox(&["a"]);
    sandbox.write("list", "a\n");
    std::fs::hard_link(sandbox.path("list"), sandbox.path("other")).unwrap();
    for (keys, failed) in [("list", "other"), ("-", "list"), ("-", "other"), ("/dev/stdin", "list")]
    {
        let mut command = sandbox.command(&["sync", "--keys-from", keys, "--failed", failed]);
        let input = std::fs::File::open(sandbox.path("list")).unwrap();
        let run = crate::support::run(command.args(["media:", "backup:"]).stdin(input));
        assert!(run.failed(2).contains("name another one"), "{keys} {failed}");
        assert_eq!(sandbox.read("list"), "a\n");
    }
    // The file with this name is not standard input.
    let mut command = sandbox.command(&["sync", "--keys-from", "-", "--failed", "./-"]);
    let input = std::fs::File::open(sandbox.path("list")).unwrap();
    ended(&crate::support::run(command.args(["media:", "backup:"]).stdin(input)), 0);
}

#[test]
fn a_report_below_a_local_side_is_refused_unless_a_filter_excludes_it() {
    let sandbox = sandbox(&["a", "dir/b"]);
    let outside = sandbox.path("backup/new/f").display().to_string();
    for (option, file, name) in [
        ("--report", "media/report", "report"),
        ("--failed", "backup/failed[1]", "failed\\[1\\]"),
        ("--failed", outside.as_str(), "new/f"),
    ] {
        std::fs::create_dir_all(sandbox.path("backup/new")).unwrap();
        for command in [&["sync", "--delete"][..], &["sync", "--job", "./state"], &["check"]] {
            let sides = ["media:", "backup:"];
            let run = sandbox.run(&[command, &[option, file], &sides].concat());
            let err = run.failed(2);
            assert!(err.contains(&format!("--exclude '/{name}'")), "{command:?} {err}");
            assert!(!sandbox.exists(file), "{command:?} {file}");
        }
        let excluded = format!("--exclude=/{name}");
        ended(&sync(&sandbox, &["--delete", &excluded, option, file]), 0);
        assert!(sandbox.exists(file), "{file}");
        std::fs::remove_file(sandbox.path(file)).unwrap();
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let sandbox = sandbox(&["a"]);
    if !std::path::Path::new("/dev/full").exists() {
        return crate::support::skipped("there is no /dev/full");
    }
    for option in ["--report", "--failed"] {
        sandbox.write("list", "gone\n");
        let run = sync(&sandbox, &["--keys-from", "list", option, "/dev/full"]);
        assert!(ended(&run, 1).contains("/dev/full: the file is incomplete"), "{}", run.err);
    }
}

#[test]
fn json_is_one_object_with_the_counts_and_the_exit_code() {
    let sandbox = with_failing_key();
    let run = sync(&sandbox, &["--json", "--delete", "--max-delete", "0"]);
    ended(&run, 1);
    let text = out(&run);
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        r#""source":"media:","destination":"backup:","dry_run":false,"compare":"listing","#,
        r#""ended":"complete","refused":"max-delete","exit":1"#,
        r#""new":2"#,
        r#""failed":1"#,
        r#""extra":1"#,
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn symlinks_and_special_files_fail_and_the_rest_is_copied() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    symlink("nowhere", sandbox.path("dir/dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("dir/socket")).unwrap();
    let run = sandbox.run(&["sync", "--failed", "failed", "./dir", "backup:"]);
    let err = ended(&run, 1);
    assert!(err.contains("dir/dangling: a symlink, not copied: --skip-links skips it"), "{err}");
    assert!(err.contains("dir/socket: a socket, not copied") && err.contains("2 failed"), "{err}");
    assert_eq!(sandbox.read("failed").lines().count(), 2);
    assert_eq!(backup(&sandbox), "a\n");
    sandbox.run(&["sync", "-q", "--skip-links", "./dir", "backup:"]).done();
    sandbox
        .run(&["sync", "-q", "--exclude=dangling", "--exclude=socket", "./dir", "backup:"])
        .done();
}

#[test]
fn what_the_destination_has_under_the_name_of_a_symlink_is_not_deleted() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    symlink("elsewhere", sandbox.path("dir/photos")).unwrap();
    sandbox.put("backup:photos/1", "x");
    sandbox.put("backup:photos2", "x");
    ended(&sandbox.run(&["sync", "--delete", "./dir", "backup:"]), 1);
    assert_eq!(backup(&sandbox), "a\nphotos/1\n");
    ended(&sandbox.run(&["sync", "--delete", "--skip-links", "./dir", "backup:"]), 0);
    assert_eq!(backup(&sandbox), "a\nphotos/1\n");
}

#[test]
fn more_than_1000_symlinks_delete_nothing_until_a_filter_excludes_them() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a", "a");
    sandbox.write("dir/modules/b", "b");
    for number in 0..=1000 {
        symlink("nowhere", sandbox.path(&format!("dir/modules/{number}"))).unwrap();
    }
    sandbox.put("backup:extra", "x");
    let run = sandbox.run(&["sync", "--delete", "--skip-links", "./dir", "backup:"]);
    let err = ended(&run, 1);
    assert!(err.contains("more than 1000 symlinks") && err.contains("--exclude them"), "{err}");
    assert_eq!(backup(&sandbox), "a\nextra\nmodules/b\n");
    let exclude = ["sync", "--delete", "--exclude", "modules/", "./dir", "backup:"];
    ended(&sandbox.run(&exclude), 0);
    assert_eq!(backup(&sandbox), "a\nmodules/b\n");
}

#[test]
fn objects_below_the_name_of_a_symlink_stay_although_a_filter_admits_them_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("site/a.png", "a");
    sandbox.write("elsewhere/1.png", "x");
    symlink("../elsewhere", sandbox.path("site/photos")).unwrap();
    symlink("nowhere", sandbox.path("site/unmounted")).unwrap();
    symlink("a.png", sandbox.path("site/file")).unwrap();
    let kept = ["photos/1.png", "unmounted/2.png"];
    for key in kept {
        sandbox.put(&format!("backup:{key}"), "x");
    }
    for filter in [&["--include=*.png"][..], &["--exclude=*", "--include=**/*.png"]] {
        sandbox.put("backup:old.png", "x");
        let arguments = [&["sync", "--delete"], filter, &["./site", "backup:"]].concat();
        let run = sandbox.run(&arguments);
        let err = ended(&run, 1);
        assert!(err.contains("site/photos: a symlink") && !err.contains("site/file"), "{err}");
        assert_eq!(backup(&sandbox), "a.png\nphotos/1.png\nunmounted/2.png\n");
        let job = [&["sync", "--delete", "--job=./state"], filter, &["./site", "backup:"]].concat();
        assert!(sandbox.run(&job).failed(2).contains("a symlink or special file"));
    }
    sandbox.run(&[
        "sync",
        "-q",
        "--delete",
        "--exclude=/photos",
        "--include=*.jpg",
        "./site",
        "backup:",
    ]);
    assert_eq!(backup(&sandbox), "a.png\nphotos/1.png\nunmounted/2.png\n");
}

#[test]
fn rules_that_come_through_a_pipe_hold_also_for_the_extras() {
    let sandbox = Sandbox::new();
    sandbox.write("site/a", "a");
    sandbox.write("site/private/mine", "x");
    symlink("nowhere", sandbox.path("site/link")).unwrap();
    sandbox.put("backup:private/theirs", "x");
    let arguments =
        ["sync", "--delete", "--skip-links", "--filter-from=/dev/stdin", "./site", "backup:"];
    let mut child = sandbox.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"/private/\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(backup(&sandbox), "a\nprivate/theirs\n");
}

#[test]
fn symlinks_of_a_named_local_storage_fail_and_keep_what_the_destination_has() {
    let sandbox = sandbox(&["a"]);
    symlink("elsewhere", sandbox.path("media/photos")).unwrap();
    sandbox.put("backup:photos/1", "x");
    let run = sandbox.run(&["sync", "--delete", "media:", "backup:"]);
    assert!(ended(&run, 1).contains("media:photos: a symlink, not copied"), "{}", run.err);
    assert_eq!(backup(&sandbox), "a\nphotos/1\n");
}

#[test]
fn a_backup_directory_that_is_the_source_is_refused_although_it_has_another_name() {
    let sandbox = sandbox(&["old/f", "f"]);
    let source = sandbox.path("media/old");
    let run = sandbox.run(&[
        "sync",
        "--exclude=/old/",
        "--backup=old",
        source.to_str().unwrap(),
        "media:",
    ]);
    assert!(ended(&run, 1).contains("the backup directory and the source"), "{}", run.err);
}

#[test]
fn a_name_that_looks_like_json_is_a_key_in_a_list_of_names() {
    let sandbox = sandbox(&["{\"key\":\"victim\"}", "other"]);
    sandbox.put("backup:victim", "x");
    sandbox.write("names", "{\"key\":\"victim\"}\0other\0");
    ended(&sandbox.run(&["sync", "--delete", "--keys-from=names", "media:", "backup:"]), 0);
    assert_eq!(backup(&sandbox), "other\nvictim\n{\"key\":\"victim\"}\n");
    sandbox.write("names", "{\"key\":\"victim\"}\nother\n");
    let run = sandbox.run(&["sync", "--delete", "--keys-from=names", "media:", "backup:"]);
    assert_ne!(run.code, Some(0), "{}", run.err);
    assert!(backup(&sandbox).contains("victim\n"));
}

#[test]
fn an_unreadable_file_and_directory_fail_and_nothing_there_is_deleted() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = sandbox(&["a", "closed/b", "file", "z"]);
    sandbox.put("backup:closed/old", "x");
    let set_modes = |file: u32, directory: u32| {
        for (name, mode) in [("media/file", file), ("media/closed", directory)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(sandbox.path(name), mode).unwrap();
        }
    };
    sandbox.give_to_unprivileged();
    set_modes(0o000, 0o000);
    let run = sandbox.run_unprivileged(&["sync", "--delete", "media:", "backup:"]);
    set_modes(0o644, 0o755);
    let err = ended(&run, 1);
    assert!(err.contains("media:file -> backup:file: "), "{err}");
    assert!(err.contains("closed/") && err.contains("1 unknown"), "{err}");
    assert_eq!(backup(&sandbox), "a\nclosed/old\nz\n");
}

#[test]
fn overlapping_directories_are_refused_unless_a_filter_separates_them() {
    let sandbox = sandbox(&["a", "in/b"]);
    symlink("media", sandbox.path("link")).unwrap();
    for (source, target) in [
        ("media:", "media:"),
        ("media:", "media:in"),
        ("media:in/", "media:"),
        ("media:", "linked:in"),
        ("./media", "media:in"),
        ("./link", "media:in"),
    ] {
        let run = sandbox.run(&["sync", "--delete", source, target]);
        assert!(run.failed(1).contains("nothing was changed"), "{source} {target}");
    }
    sandbox.run(&["sync", "-q", "--exclude", "/in/", "media:", "media:in"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a\nin/a\nin/b\n");
}

#[test]
fn a_read_only_destination_is_an_error() {
    let sandbox = sandbox(&["a"]);
    // It is inside of the source, too.
    let run = sandbox.run(&["sync", "./media", "frozen:x"]);
    assert!(run.failed(1).contains("nothing was changed"));
    let run = sandbox.run(&["sync", "backup:", "frozen:"]);
    assert!(run.failed(1).contains("read-only"));
}

/// Asserts the exit codes of `sync`, `sync --job`, `check` and `transfer plan`.
fn assert_codes(sandbox: &Sandbox, (source, target): (&str, &str), expected: [i32; 4]) {
    let commands = [
        &["sync"][..],
        &["sync", "--job", "./of-sync"],
        &["check"],
        &["transfer", "plan", "--job", "./of-plan"],
    ];
    let codes = commands.map(|command| {
        let run = sandbox.run(&[command, &[source, target]].concat());
        run.code.unwrap()
    });
    assert_eq!(codes, expected, "{source} {target}");
}

#[test]
fn a_wrong_source_or_destination_has_the_exit_codes_of_the_manual() {
    for (sides, expected) in [
        (("./gone", "backup:"), [1, 1, 1, 1]),
        (("media:gone", "backup:"), [0, 0, 0, 0]),
        (("media:", "media:in"), [1, 1, 1, 1]),
        (("backup:", "frozen:"), [1, 1, 1, 0]),
    ] {
        assert_codes(&sandbox(&["a"]), sides, expected);
    }
    for (sides, expected) in
        [(("bucket:", "media:"), [1, 2, 1, 2]), (("media:", "bucket:"), [1, 1, 1, 0])]
    {
        let (sandbox, peer) = with_bucket(404);
        let body = "<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>";
        peer.set_script(move |_| Response::new(404).body(body));
        assert_codes(&sandbox, sides, expected);
    }
}

#[test]
fn the_log_contains_each_copied_and_deleted_key() {
    let sandbox = sandbox(&["a"]);
    sandbox.put("backup:b", "x");
    let run = sync(&sandbox, &["-v", "--delete"]);
    let err = ended(&run, 0);
    assert!(err.contains("copied a\n") && err.contains("deleted b\n"), "{err}");
}

/// A configuration with a bucket on a server that responds with this status.
fn with_bucket(status: u16) -> (Sandbox, Peer) {
    let sandbox = sandbox(&["a"]);
    let peer = Peer::start(move |_| Response::new(status));
    let config = format!(
        "[storages.media]\ndriver = 'fs'\nroot = 'media'\n[storages.bucket]\ndriver = 's3'\n\
         bucket = 'x'\nendpoint = 'http://{}'\nregion = 'us-east-1'\nretries = 0\nallow_http = true\n\
         access_key_id = 'a'\nsecret_access_key = 'b'\n",
        peer.address()
    );
    sandbox.write("storages.toml", config);
    (sandbox, peer)
}

#[test]
fn a_service_that_is_unavailable_has_an_exit_code_of_its_own() {
    let (sandbox, peer) = with_bucket(503);
    for (source, target) in [("media:", "bucket:"), ("bucket:", "media:")] {
        let run = sandbox.run(&["sync", "--delete", source, target]);
        assert!(ended(&run, 75).contains("nothing was deleted"), "{}", run.err);
        ended(&sandbox.run(&["check", source, target]), 75);
    }
    for arguments in [&["transfer", "plan"][..], &["sync"]] {
        let job = [arguments, &["--job", "./state", "bucket:", "media:"]].concat();
        ended(&sandbox.run(&job), 75);
    }
    assert!(!peer.requests().is_empty());
    assert_eq!(sandbox.read("media/a"), "a");
}

#[test]
fn a_destination_that_is_unavailable_after_its_listing_has_the_same_exit_code() {
    let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    for (keys, line) in [(2, "2 failed"), (10, "the rest was not handled")] {
        let (sandbox, peer) = with_bucket(503);
        peer.set_script(move |request| match request.method.as_str() {
            "GET" => Response::new(200).body(empty),
            _ => Response::new(503),
        });
        for number in 1..keys {
            sandbox.write(&format!("media/b{number:02}"), "b");
        }
        let run = sandbox.run(&["sync", "media:", "bucket:"]);
        assert!(ended(&run, 75).contains(line), "{}", run.err);
    }
}

#[test]
fn a_bucket_that_does_not_exist_is_not_an_empty_source() {
    let (sandbox, peer) = with_bucket(404);
    let run = sandbox.run(&["sync", "--delete", "--allow-empty-source", "bucket:", "media:"]);
    assert!(ended(&run, 1).contains("nothing was deleted"), "{}", run.err);
    assert!(!peer.requests().is_empty());
    assert_eq!(sandbox.read("media/a"), "a");
}

#[test]
fn a_signal_lets_what_is_under_way_finish_and_the_next_run_goes_on() {
    for sent in [Signal::INT, Signal::TERM] {
        let sandbox = Sandbox::new();
        for number in 0..59 {
            sandbox.write(&format!("media/{number:02}"), vec![b'x'; 1000]);
        }
        // Each copy takes a quarter of a second, and the last one more than an hour.
        sandbox.write("media/59", vec![b'x'; 16 << 20]);
        let slow = ["sync", "--bandwidth", "4000", "--concurrency", "1", "media:", "backup:"];
        let child = sandbox.command(&slow).spawn().unwrap();
        wait_until(|| sandbox.exists("backup/01"));
        signal(&child, sent);
        let run = Run::from(child.wait_with_output().unwrap());
        let err = ended(&run, 75);
        assert!(err.contains(" copied (") && err.contains("interrupted; run again"), "{err}");
        let copied = backup(&sandbox).lines().count();
        assert!((2..60).contains(&copied), "{copied}");
        let run = sync(&sandbox, &[]);
        let rest = format!("anystorage: {} copied", 60 - copied);
        assert!(ended(&run, 0).starts_with(&rest), "{rest} {}", run.err);
    }
}

/// Starts two copies that take minutes, and waits until one of them has begun.
fn held_sync(sandbox: &Sandbox) -> std::process::Child {
    for name in ["1-large", "2-large"] {
        sandbox.write(&format!("media/{name}"), vec![b'x'; 16 << 20]);
        sandbox.write(&format!("backup/{name}"), "old");
    }
    let mut child = sandbox
        .command(&["sync", "-vv", "--bandwidth", "64KiB", "--concurrency=2", "media:", "backup:"])
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !(line.contains("\"open\"") && line.contains("large")) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
    }
    child.stderr = Some(log.into_inner());
    child
}

#[test]
fn a_signal_ends_a_copy_that_takes_too_long_and_keeps_the_old_object() {
    let sandbox = Sandbox::new();
    let child = held_sync(&sandbox);
    signal(&child, Signal::TERM);
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(ended(&run, 75).contains("interrupted; run again"), "{}", run.err);
    assert_eq!(sandbox.read("backup/1-large") + &sandbox.read("backup/2-large"), "oldold");
    assert_eq!(backup(&sandbox), "1-large\n2-large\n");
}

#[test]
fn a_second_signal_ends_a_sync_at_once() {
    let sandbox = Sandbox::new();
    let child = held_sync(&sandbox);
    // The process gets both at once when it continues.
    suspend(&child);
    for sent in [Signal::INT, Signal::TERM, Signal::CONT] {
        signal(&child, sent);
    }
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(!ended(&run, 75).contains("interrupted"), "{}", run.err);
    assert_eq!(sandbox.read("backup/1-large"), "old");
}

/// Sends a signal to a command. Returns its messages, which say whether it was cut off.
fn interrupt(child: std::process::Child) -> String {
    signal(&child, Signal::TERM);
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(75), "{}", run.err);
    run.err
}

#[test]
fn a_signal_ends_the_plan_of_a_job_and_the_reading_of_an_inventory() {
    for arguments in [
        &["transfer", "plan", "--job", "./state", "bucket:", "media:"][..],
        &["sync", "--job", "./state", "bucket:", "media:"],
        &["sync", "--inventory", "bucket:manifest.json", "bucket:", "media:"],
    ] {
        let (sandbox, peer) = with_bucket(503);
        peer.set_script(|_| Response::never());
        let child = sandbox.command(arguments).spawn().unwrap();
        wait_until(|| !peer.requests().is_empty());
        let err = interrupt(child);
        assert_eq!(err, "anystorage: interrupted; run again\n", "{arguments:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_the_writer_of_a_list_of_keys() {
    let sandbox = sandbox(&["a"]);
    let pipe = std::process::Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap();
    assert!(pipe.success());
    let arguments = ["sync", "--keys-from=pipe", "--failed=failed", "media:", "backup:"];
    let child = sandbox.command(&arguments).spawn().unwrap();
    wait_until(|| sandbox.exists("failed"));
    assert!(interrupt(child).contains("interrupted; run again"));
    assert_eq!(backup(&sandbox), "");
}

#[test]
fn a_signal_ends_the_wait_for_a_list_of_keys() {
    let sandbox = sandbox(&["a"]);
    let mut command = sandbox.command(&["sync", "--keys-from", "-", "media:", "backup:"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than the pipe holds, so that some of it has been read.
    std::io::Write::write_all(&mut stdin, &b"a\n".repeat(100_000)).unwrap();
    signal(&child, Signal::INT);
    let run = Run::from(child.wait_with_output().unwrap());
    ended(&run, 75);
    assert_eq!(backup(&sandbox), "");
    drop(stdin);
}

/// Saves the file `new/f` to a bucket, and changes it before the bucket responds.
fn put_while_the_file_changes(arguments: &[&str]) -> (Run, Peer) {
    let (sandbox, peer) = with_bucket(503);
    sandbox.write("new/f", "old");
    let gate = Gate::new();
    let closed = gate.clone();
    peer.set_script(move |_| Response::new(200).header("ETag", "\"1\"").delay(&closed));
    let child = sandbox.command(arguments).spawn().unwrap();
    wait_until(|| peer.count("PUT /x/f") > 0);
    sandbox.write("new/f", "newer");
    gate.open();
    (Run::from(child.wait_with_output().unwrap()), peer)
}

#[test]
fn put_of_a_file_that_changes_while_it_is_read_fails() {
    let (run, _) = put_while_the_file_changes(&["put", "./new/f", "bucket:f"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("the file changed while it was copied"), "{}", run.err);
}

#[test]
fn put_of_a_directory_saves_a_file_that_changes_meanwhile_again() {
    let (run, peer) = put_while_the_file_changes(&["put", "-r", "./new", "bucket:"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let sent = peer.requests();
    let saves = sent.iter().filter(|sent| sent.method == "PUT");
    let bodies: Vec<_> = saves.map(|sent| sent.body.as_ref()).collect();
    assert_eq!(bodies, [&b"old"[..], b"newer"]);
}
