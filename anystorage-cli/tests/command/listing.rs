//! `ls`.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a/b/deep.txt", "a/x.txt", "a-b", "a.txt", "avatars/ada.png"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox
}

#[test]
fn one_level_is_listed_with_directories_ending_in_a_slash() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "a-b\na.txt\na/\navatars/\n");
    assert_eq!(sandbox.run(&["ls", "media:a/"]).done(), "a/b/\na/x.txt\n");
}

#[test]
fn all_levels_are_listed_in_byte_order() {
    let all = "a-b\na.txt\na/b/deep.txt\na/x.txt\navatars/ada.png\n";
    assert_eq!(sandbox().run(&["ls", "-r", "media:"]).done(), all);
    assert_eq!(sandbox().run(&["ls", "--recursive", "media:a/"]).done(), "a/b/deep.txt\na/x.txt\n");
}

#[test]
fn a_key_is_a_literal_beginning() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "media:a"]).done(), "a-b\na.txt\na/\navatars/\n");
    assert_eq!(sandbox.run(&["ls", "-r", "media:a/x"]).done(), "a/x.txt\n");
    assert_eq!(sandbox.run(&["ls", "-r", "media:*"]).done(), "");
}

#[test]
fn a_local_directory_lists_what_is_inside() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["ls", "./media/a"]).done(), "b/\nx.txt\n");
    assert_eq!(sandbox.run(&["ls", "./media/a/"]).done(), "b/\nx.txt\n");
    assert_eq!(sandbox.run(&["ls", "./media/a/x"]).done(), "x.txt\n");
}

#[test]
fn a_local_path_that_leads_to_nothing_is_an_error() {
    let sandbox = sandbox();
    let url = format!("file://{}", sandbox.path("none").display());
    for location in ["./none", "./none/", "./none/deeper", "./media/none", &url, &format!("{url}/")]
    {
        let said = sandbox.run(&["ls", location]).failed(1);
        assert!(said.contains("none") && said.contains("NotFound"), "{said}");
    }
    // A directory that is empty is there, and what begins with a key may be nothing.
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    for location in ["./empty", "media:none", "media:none/"] {
        assert_eq!(sandbox.run(&["ls", location]).done(), "");
    }
}

#[test]
fn the_long_form_shows_size_and_time() {
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
fn json_has_an_object_a_line_with_the_names_of_the_library() {
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
fn an_odd_name_is_told_and_the_listing_goes_on() {
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
fn an_empty_storage_lists_nothing() {
    assert_eq!(Sandbox::new().run(&["ls", "-r", "media:"]).done(), "");
}

#[test]
fn a_time_before_1970_is_shown_as_it_is() {
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
        assert!(shown.contains("1960-01-01T00:00:00.5Z"), "{shown}");
    }
}
