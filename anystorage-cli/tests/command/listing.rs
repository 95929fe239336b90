//! Listing with `ls`.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a/b/deep.txt", "a/x.txt", "a-b", "a.txt", "avatars/ada.png"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox
}

#[test]
fn ls_lists_one_level_with_directories_ending_in_a_slash() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "a-b\na.txt\na/\navatars/\n");
    assert_eq!(sandbox.run(&["ls", "media:a/"]).done(), "a/b/\na/x.txt\n");
}

#[test]
fn ls_r_lists_all_levels_in_byte_order() {
    let all = "a-b\na.txt\na/b/deep.txt\na/x.txt\navatars/ada.png\n";
    assert_eq!(sandbox().run(&["ls", "-r", "media:"]).done(), all);
    assert_eq!(sandbox().run(&["ls", "--recursive", "media:a/"]).done(), "a/b/deep.txt\na/x.txt\n");
}

#[test]
fn ls_uses_its_location_as_a_literal_prefix() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "media:a"]).done(), "a-b\na.txt\na/\navatars/\n");
    assert_eq!(sandbox.run(&["ls", "-r", "media:a/x"]).done(), "a/x.txt\n");
}

#[test]
fn ls_of_a_local_directory_lists_its_content() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "./media/a"]).done(), "b/\nx.txt\n");
    assert_eq!(sandbox.run(&["ls", "./media/a/"]).done(), "b/\nx.txt\n");
    assert_eq!(sandbox.run(&["ls", "./media/a/x"]).done(), "x.txt\n");
}

#[test]
fn ls_of_a_missing_local_path_is_an_error() {
    let sandbox = sandbox();
    let url = format!("file://{}", sandbox.path("none").display());
    for location in ["./none", "./none/", "./none/deeper", "./media/none", &url, &format!("{url}/")]
    {
        let error = sandbox.run(&["ls", location]).failed(1);
        assert!(error.contains("none") && error.contains("NotFound"), "{error}");
    }
    // An empty directory exists, and a prefix may have no keys.
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    for location in ["./empty", "media:none", "media:none/"] {
        assert_eq!(sandbox.run(&["ls", location]).done(), "");
    }
}

#[test]
fn ls_l_shows_size_and_time() {
    let listed = sandbox().run(&["ls", "-l", "media:a/"]).done();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["-", "-", "a/b/"]);
    let [size, time, key] = lines[1][..] else { panic!("{listed}") };
    assert_eq!((size, key), ("7", "a/x.txt"));
    assert!(time.len() == 20 && time.ends_with('Z') && time.starts_with("20"), "{time}");
    assert!(listed.lines().all(|line| line.find("a/") == Some(38)), "{listed}");
}

#[test]
fn ls_json_prints_one_object_on_each_line_with_the_names_of_the_library() {
    let listed = sandbox().run(&["ls", "--json", "media:a/"]).done();
    let lines: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({ "prefix": "a/b/" }));
    assert_eq!(lines[1]["key"], "a/x.txt");
    assert_eq!(lines[1]["size"], 7);
    assert!(lines[1]["last_modified"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines.len(), 2);
}

#[test]
fn ls_reports_an_invalid_name_and_continues() {
    let sandbox = sandbox();
    sandbox.write("media/line\nbreak", "odd");
    sandbox.write("media/z.txt", "z");
    let run = sandbox.run(&["ls", "media:"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(String::from_utf8(run.out).unwrap(), "a-b\na.txt\na/\navatars/\nz.txt\n");
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(
        run.err.contains(r"media:line\nbreak: ") && run.err.contains("InvalidKey"),
        "{}",
        run.err
    );
}

#[test]
fn ls_of_an_empty_storage_prints_nothing() {
    assert_eq!(Sandbox::new().run(&["ls", "-r", "media:"]).done(), "");
}

#[test]
fn a_time_before_1970_is_shown_correctly() {
    let sandbox = Sandbox::new();
    sandbox.put("media:old", "x");
    let old = std::time::UNIX_EPOCH - std::time::Duration::from_millis(315_619_200_500 - 1_000);
    std::fs::File::options()
        .write(true)
        .open(sandbox.path("media/old"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let listed = sandbox.run(&["ls", "-l", "media:"]).done();
    assert!(listed.contains("1960-01-01T00:00:00Z"), "{listed}");
    for arguments in
        [&["ls", "--json", "media:"][..], &["stat", "--json", "media:old"], &["stat", "media:old"]]
    {
        let shown = sandbox.run(arguments).done();
        assert!(shown.contains("1960-01-01T00:00:00.500Z"), "{shown}");
    }
}

#[test]
fn ls_h_shows_sizes_for_people() {
    let sandbox = Sandbox::new();
    sandbox.put("media:small", "x");
    sandbox.put("media:large", &"x".repeat(1536));
    let listed = sandbox.run(&["ls", "-H", "media:"]).done();
    let sizes: Vec<_> = listed.lines().map(|line| line[..14].trim()).collect();
    assert_eq!(sizes, ["1.5 KiB", "1 B"], "{listed}");
    assert_eq!(sandbox.run(&["ls", "-lH", "media:"]).done(), listed);
}

#[test]
fn ls_total_sums_up_what_is_listed() {
    let sandbox = sandbox();
    let last = |arguments: &[&str]| {
        let listed = sandbox.run(arguments).done();
        listed.lines().last().unwrap().to_owned()
    };
    assert_eq!(last(&["ls", "--total", "media:"]), "total: 2 directories, 2 objects, 8 bytes");
    assert_eq!(last(&["ls", "-r", "--summarize", "media:a/"]), "total: 2 objects, 19 bytes");
    assert_eq!(last(&["ls", "-rH", "--total", "media:a/*"]), "total: 2 objects, 19 B");
    assert_eq!(
        last(&["ls", "--json", "--total", "media:"]),
        r#"{"objects":2,"prefixes":2,"bytes":8}"#
    );
    assert_eq!(last(&["ls", "--total", "media:none/"]), "total: 0 objects, 0 bytes");
}
