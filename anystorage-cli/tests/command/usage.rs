//! Sizes of directories with `du`.

use std::os::unix::fs::symlink;

use storage_testkit::http::{Peer, Response};

use crate::support::Sandbox;

/// The size of each object is the length of its key.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a/b/deep.txt", "a/x.txt", "a-b/c", "a.txt", "avatars/ada.png"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox
}

/// Returns size, number of objects and name of each line.
fn lines(printed: &str) -> Vec<[&str; 3]> {
    let words = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        words.try_into().unwrap()
    };
    printed.lines().map(words).collect()
}

fn du(sandbox: &Sandbox, arguments: &[&str]) -> String {
    sandbox.run(&[&["du"], arguments].concat()).done()
}

#[test]
fn du_prints_one_line_with_the_size_and_number_of_all_objects_below_a_directory() {
    let sandbox = sandbox();
    for (location, line) in [
        ("media:", ["44", "5", "media:"]),
        ("media:a", ["19", "2", "media:a/"]),
        ("media:a/", ["19", "2", "media:a/"]),
        ("./media/a", ["19", "2", "./media/a/"]),
        ("./media/a/", ["19", "2", "./media/a/"]),
    ] {
        assert_eq!(lines(&du(&sandbox, &[location])), [line], "{location}");
    }
}

#[test]
fn du_max_depth_prints_the_directories_of_so_many_levels() {
    let sandbox = sandbox();
    let one = [
        ["5", "1", "media:a-b/"],
        ["19", "2", "media:a/"],
        ["15", "1", "media:avatars/"],
        ["44", "5", "media:"],
    ];
    let one_below = [["12", "1", "media:a/b/"], ["19", "2", "media:a/"]];
    assert_eq!(lines(&du(&sandbox, &["--max-depth", "1", "media:"])), one);
    assert_eq!(lines(&du(&sandbox, &["-d", "1", "media:a"])), one_below);
    let printed = du(&sandbox, &["-d", "9", "media:"]);
    let all = lines(&printed);
    assert_eq!((&all[0], &all[1..3], &all[3..]), (&one[0], &one_below[..], &one[2..]));
    assert_eq!(lines(&du(&sandbox, &["-d", "0", "media:"])), [one[3]]);
    for wrong in ["-1", "x", ""] {
        assert_eq!(sandbox.run(&["du", "--max-depth", wrong, "media:"]).code, Some(2), "{wrong}");
    }
}

#[test]
fn du_json_prints_one_object_on_each_line_and_the_total_last() {
    let printed = du(&sandbox(), &["--json", "--max-depth", "1", "media:a"]);
    assert_eq!(
        printed,
        "{\"prefix\":\"a/b/\",\"objects\":1,\"bytes\":12}\n\
         {\"prefix\":\"a/\",\"objects\":2,\"bytes\":19}\n"
    );
    let sandbox = sandbox();
    assert_eq!(
        du(&sandbox, &["--json", "media:"]),
        "{\"prefix\":\"\",\"objects\":5,\"bytes\":44}\n"
    );
    assert_eq!(sandbox.run(&["du", "--json", "-H", "media:"]).code, Some(2));
}

#[test]
fn du_h_shows_sizes_for_people() {
    let sandbox = Sandbox::new();
    sandbox.put("media:large", &"x".repeat(1536));
    assert_eq!(du(&sandbox, &["-H", "media:"]), "       1.5 KiB           1  media:\n");
    assert_eq!(du(&sandbox, &["--human", "media:"]), "       1.5 KiB           1  media:\n");
}

#[test]
fn du_of_an_object_prints_its_size() {
    let sandbox = sandbox();
    assert_eq!(lines(&du(&sandbox, &["media:a.txt"])), [["5", "1", "media:a.txt"]]);
    assert_eq!(lines(&du(&sandbox, &["./media/a.txt"])), [["5", "1", "./media/a.txt"]]);
    assert_eq!(
        du(&sandbox, &["--json", "media:a.txt"]),
        "{\"prefix\":\"a.txt\",\"objects\":1,\"bytes\":5}\n"
    );
}

#[test]
fn du_of_a_prefix_without_objects_is_zero_and_of_a_missing_local_path_an_error() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    for location in ["media:none", "media:none/", "./empty", "./empty/", "backup:"] {
        let printed = du(&sandbox, &["-d", "3", location]);
        assert_eq!(lines(&printed)[0][..2], ["0", "0"], "{location}");
        assert_eq!(lines(&printed).len(), 1, "{location}");
    }
    let url = format!("file://{}", sandbox.path("none").display());
    for location in ["./none", "./none/", "./none/deeper", "./media/none", &url, &format!("{url}/")]
    {
        let error = sandbox.run(&["du", location]).failed(1);
        assert!(error.contains("none") && error.contains("NotFound"), "{error}");
    }
}

#[test]
fn du_sums_up_what_a_pattern_matches_with_what_is_below_matching_directories() {
    let sandbox = sandbox();
    for (pattern, line) in [
        ("media:*.txt", ["5", "1", "media:*.txt"]),
        ("media:**/*.txt", ["24", "3", "media:**/*.txt"]),
        ("media:a*", ["44", "5", "media:a*"]),
        ("./media/a/*", ["19", "2", "./media/a/*"]),
    ] {
        assert_eq!(lines(&du(&sandbox, &[pattern])), [line], "{pattern}");
    }
    assert_eq!(
        lines(&du(&sandbox, &["-d", "1", "media:{a,a-b}"])),
        [["5", "1", "media:a-b/"], ["19", "2", "media:a/"], ["24", "3", "media:{a,a-b}"]]
    );
    let error = sandbox.run(&["du", "media:a/*.gif"]).failed(1);
    assert!(error.contains("no object matches this pattern"), "{error}");
    assert_eq!(sandbox.run(&["du", "media:a/[b"]).code, Some(2));
}

#[test]
fn du_reports_an_invalid_name_and_counts_the_rest() {
    let sandbox = sandbox();
    sandbox.write("media/a/line\nbreak", "odd");
    let run = sandbox.run(&["du", "-d", "1", "media:a"]);
    assert_eq!(run.code, Some(1));
    let printed = String::from_utf8(run.out).unwrap();
    assert_eq!(lines(&printed), [["12", "1", "media:a/b/"], ["19", "2", "media:a/"]]);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.contains(r"media:a/line\nbreak: "), "{}", run.err);
}

#[test]
fn du_reports_an_unreadable_directory_and_counts_the_rest() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = sandbox();
    let close = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(sandbox.path("media/a/b"), permissions).unwrap();
    };
    sandbox.give_to_unprivileged();
    close(0o000);
    let run = sandbox.run_unprivileged(&["du", "media:"]);
    close(0o755);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.starts_with("anystorage: media:a/b/: "), "{}", run.err);
    assert_eq!(lines(&String::from_utf8(run.out).unwrap()), [["32", "4", "media:"]]);
}

#[test]
fn du_follows_the_symlink_that_it_is_given_and_no_other() {
    let sandbox = sandbox();
    sandbox.write("outside/file", "not counted");
    symlink("../outside", sandbox.path("media/link")).unwrap();
    assert_eq!(lines(&du(&sandbox, &["./media"])), [["44", "5", "./media/"]]);
    assert_eq!(lines(&du(&sandbox, &["./media/link"])), [["11", "1", "./media/link/"]]);
}

/// Returns a page of a listing. It is the last one if there is no token of the next one.
fn page(contents: &[(&str, u64)], next: Option<&str>) -> Response {
    let mut page = "<ListBucketResult>".to_owned();
    if let Some(next) = next {
        page += "<IsTruncated>true</IsTruncated>";
        page += &format!("<NextContinuationToken>{next}</NextContinuationToken>");
    }
    for (key, size) in contents {
        page += &format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>{size}</Size></Contents>"
        );
    }
    Response::ok(page + "</ListBucketResult>")
}

fn bucket(fake: &Peer) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = format!(
        "[storages.bucket]\ndriver = 's3'\nbucket = 'b'\nendpoint = 'http://{}'\nquirks = 'minio'\n\
         allow_http = true\nanonymous = true\nretries = 0\n",
        fake.address()
    );
    sandbox.write("storages.toml", config);
    sandbox
}

#[test]
fn du_counts_folder_markers_apart_and_sends_one_recursive_listing() {
    let fake = Peer::start(|request| match request.target.contains("continuation-token") {
        true => page(&[("a/b/2", 20), ("c/", 0), ("d", 3)], None),
        false => page(&[("a/", 0), ("a/1", 10)], Some("next")),
    });
    let run = bucket(&fake).run(&["du", "-d", "2", "bucket:"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(
        lines(&String::from_utf8(run.out).unwrap()),
        [["20", "1", "bucket:a/b/"], ["30", "2", "bucket:a/"], ["33", "3", "bucket:"]]
    );
    assert!(run.err.starts_with("anystorage: 2 folder markers skipped"), "{}", run.err);
    assert_eq!(fake.requests().len(), 2);
    assert!(fake.requests().iter().all(|request| !request.target.contains("delimiter")));
}

#[test]
fn du_prints_no_total_of_a_listing_that_ends_early() {
    let fake = Peer::start(|request| match request.target.contains("continuation-token") {
        true => Response::new("403 Forbidden"),
        false => page(&[("a/1", 10), ("b/2", 20)], Some("next")),
    });
    let run = bucket(&fake).run(&["du", "-d", "1", "bucket:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(lines(&String::from_utf8(run.out).unwrap()), [["10", "1", "bucket:a/"]]);
    assert!(run.err.starts_with("anystorage: bucket: "), "{}", run.err);
    assert!(fake.requests().len() > 1, "the second page was requested");
}

#[test]
fn du_of_a_missing_bucket_is_an_error() {
    let fake = Peer::start(|_| {
        Response::new("404 Not Found").body("<Error><Code>NoSuchBucket</Code></Error>")
    });
    for arguments in [&["du", "bucket:"][..], &["du", "bucket:a"], &["du", "bucket:a/*"]] {
        let run = bucket(&fake).run(arguments);
        assert!(run.code != Some(0) && run.out.is_empty(), "{arguments:?}: {run:?}");
        assert!(run.err.contains("NoSuchBucket"), "{arguments:?}: {}", run.err);
    }
}
