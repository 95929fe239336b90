//! Listing drivers and their options with `drivers`.

use crate::support::Sandbox;

#[test]
fn drivers_are_listed_with_their_url_forms() {
    let printed = Sandbox::new().run(&["drivers"]).done();
    let lines: Vec<_> = printed.lines().collect();
    for line in ["fs          file:///abs/path", "memory      memory:"] {
        assert!(lines.contains(&line), "{printed}");
    }
    let line = "http        http://host/dir/  https://host/dir/";
    assert!(lines.contains(&line), "{printed}");
    assert!(lines.contains(&"http-cache  (configuration file only)"), "{printed}");
    assert!(lines.is_sorted(), "{printed}");
}

#[test]
fn options_of_a_driver_are_listed_with_type_default_and_purpose() {
    let printed = Sandbox::new().run(&["drivers", "fs"]).done();
    assert!(printed.starts_with("fs  file:///abs/path\n\nOptions:\n"), "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    let columns =
        |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let at = lines.iter().position(|line| columns(line) == "root path required").unwrap();
    assert_eq!(lines[at + 1], "      The directory of the objects.");
    for option in ["durable boolean true", "file_mode text \"0644\"", "signing_key secret"] {
        assert!(lines.iter().any(|line| columns(line) == option), "{option}: {printed}");
    }
    // The options of every driver come after its own, in the same columns.
    let of_all = lines.iter().position(|line| *line == "Options of every driver:").unwrap();
    assert!(at < of_all && columns(lines[of_all + 1]) == "prefix text", "{printed}");
    let column_of = |line: &str, text: &str| line.find(text).unwrap();
    assert_eq!(column_of(lines[at], "path "), column_of(lines[of_all + 1], "text"));
}

#[test]
fn the_option_of_memory_comes_before_the_options_of_every_driver() {
    let printed = Sandbox::new().run(&["drivers", "memory"]).done();
    let (own, common) = printed.split_once("\nOptions of every driver:\n").unwrap();
    assert!(own.starts_with("memory  memory:\n\nOptions:\n"), "{printed}");
    assert!(own.contains("signing_key") && !common.contains("signing_key"), "{printed}");
}

#[test]
fn an_unknown_driver_is_a_usage_error_that_names_the_known_ones() {
    let error = Sandbox::new().run(&["drivers", "tape"]).failed(2);
    assert!(
        error.contains("no driver is called \"tape\"; known drivers: cache, fs, http, "),
        "{error}"
    );
}
