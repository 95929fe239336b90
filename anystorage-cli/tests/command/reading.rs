//! Reading with `stat`, `exists`, `cat`, `get` and `url`.

use std::process::Stdio;

use crate::support::{Run, Sandbox};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/text.txt", "0123456789");
    sandbox
}

#[test]
fn stat_shows_all_metadata() {
    let sandbox = sandbox();
    sandbox
        .feed(
            &[
                "put",
                "--content-type",
                "text/x-odd",
                "--cache-control",
                "no-store",
                "--content-encoding",
                "identity",
                "--content-disposition",
                "inline",
                "--expires",
                "Fri, 01 Jan 2027 00:00:00 GMT",
                "--meta",
                "Author=Ada",
                "--meta",
                "year=1843",
                "-",
                "media:full",
            ],
            b"12345",
        )
        .done();
    let shown = sandbox.run(&["stat", "media:full"]).done();
    for line in [
        "key: full",
        "size: 5",
        "content_type: text/x-odd",
        "cache_control: no-store",
        "content_encoding: identity",
        "content_disposition: inline",
        "expires: 2027-01-01T00:00:00Z",
        "user_metadata.author: Ada",
        "user_metadata.year: 1843",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing in {shown}");
    }
    assert!(shown.starts_with("key: full\nsize: 5\netag: \""), "{shown}");
}

#[test]
fn invisible_characters_are_escaped_and_json_stays_valid() {
    let sandbox = Sandbox::new();
    let key = "a\u{202e}gpj\u{2028}\u{200b}.exe";
    sandbox.put(&format!("media:{key}"), "x");
    let lines = sandbox.run(&["ls", "media:"]).done();
    assert_eq!(lines, "a\\u{202e}gpj\\u{2028}\\u{200b}.exe\n");
    for arguments in [&["ls", "--json", "media:"][..], &["stat", "--json", &format!("media:{key}")]]
    {
        let json = sandbox.run(arguments).done();
        assert!(json.is_ascii(), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["key"], key);
    }
    let error = sandbox.run(&["cat", &format!("media:b{key}")]).failed(1);
    assert!(error.contains("ba\\u{202e}gpj") && !error.contains('\u{202e}'), "{error}");
}

#[test]
fn stat_json_is_one_line_with_the_names_of_the_library() {
    let shown = sandbox().run(&["stat", "--json", "media:a/text.txt"]).done();
    assert_eq!(shown.lines().count(), 1);
    let meta: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(meta["key"], "a/text.txt");
    assert_eq!(meta["size"], 10);
    assert_eq!(meta["content_type"], "text/plain; charset=utf-8");
    assert!(meta["etag"].as_str().unwrap().starts_with('"'));
    assert!(meta["last_modified"].as_str().unwrap().ends_with('Z'));
    assert!(shown.starts_with(r#"{"key":"#), "{shown}");
}

#[test]
fn exists_returns_its_result_as_exit_code() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["exists", "media:a/text.txt"]).silent(), 0);
    assert_eq!(sandbox.run(&["exists", "./media/a/text.txt"]).silent(), 0);
    assert_eq!(sandbox.run(&["exists", "media:nothing"]).silent(), 1);
    assert_eq!(sandbox.run(&["exists", "media:a"]).silent(), 1, "a directory is not an object");
    assert_eq!(sandbox.run(&["exists", "./no/such/directory/x"]).silent(), 1);
    assert_eq!(sandbox.run(&["exists", "./media/a/text.txt/x"]).silent(), 1);
}

#[test]
fn exists_has_another_exit_code_for_errors() {
    let sandbox = sandbox();
    for location in ["nonesuch:a", "media:../a", "media:", "media:a/", "-", "file.txt", "ftp://x/y"]
    {
        let code = sandbox.run(&["exists", location]).code;
        assert!(code >= Some(2), "{location}: {code:?}");
    }
    std::os::unix::fs::symlink("text.txt", sandbox.path("media/a/link")).unwrap();
    assert!(sandbox.run(&["exists", "./media/a/link"]).failed(2).contains("symlink"));
}

#[test]
fn cat_writes_the_object() {
    let sandbox = sandbox();
    assert_eq!(sandbox.cat("media:a/text.txt"), "0123456789");
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    sandbox.feed(&["put", "-", "media:bytes"], &bytes).done();
    let run = sandbox.run(&["cat", "media:bytes"]);
    assert!(run.code == Some(0) && run.out == bytes);
}

#[test]
fn cat_writes_a_range() {
    let sandbox = sandbox();
    let range = |range: &str| sandbox.run(&["cat", "--range", range, "media:a/text.txt"]);
    assert_eq!(range("0-3").done(), "0123");
    assert_eq!(range("8-").done(), "89");
    assert_eq!(range("-2").done(), "89");
    assert_eq!(range("4-999").done(), "456789");
    assert!(range("10-").failed(1).contains("RangeNotSatisfiable"));
    for bad in ["3-1", "x", "-0"] {
        assert_eq!(range(bad).code, Some(2), "{bad}");
    }
}

#[test]
fn get_writes_a_file() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["get", "media:a/text.txt", "copy.txt"]).done(), "");
    assert_eq!(sandbox.read("copy.txt"), "0123456789");
    sandbox.run(&["get", "media:a/text.txt", "new/deep/copy.txt"]).done();
    assert_eq!(sandbox.read("new/deep/copy.txt"), "0123456789");
}

#[test]
fn get_to_a_directory_keeps_the_name() {
    let sandbox = sandbox();
    for directory in ["media", "made/", "."] {
        sandbox.run(&["get", "media:a/text.txt", directory]).done();
        assert_eq!(sandbox.read(&format!("{directory}/text.txt")), "0123456789");
    }
}

#[test]
fn get_to_a_dash_writes_to_standard_output() {
    assert_eq!(sandbox().run(&["get", "media:a/text.txt", "-"]).done(), "0123456789");
}

#[test]
fn a_failed_get_keeps_the_old_file() {
    let sandbox = sandbox();
    sandbox.write("old.txt", "old");
    let error = sandbox.run(&["get", "media:nothing", "old.txt"]).failed(1);
    assert!(error.contains("media:nothing: ") && error.contains("NotFound"), "{error}");
    assert_eq!(sandbox.read("old.txt"), "old");
    let left: Vec<_> = std::fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("part")), "{left:?}");
}

#[test]
fn url_prints_a_public_link() {
    let link = sandbox().run(&["url", "linked:a b/ü?.txt"]).done();
    assert_eq!(link, "https://media.example.com/files/a%20b/%C3%BC%3F.txt\n");
}

#[test]
fn url_prints_a_signed_link_for_a_time_and_a_method() {
    let sandbox = sandbox();
    let get = sandbox.run(&["url", "--expires", "15m", "linked:a/text.txt"]).done();
    let put =
        sandbox.run(&["url", "--expires", "15m", "--method", "put", "linked:a/text.txt"]).done();
    for link in [&get, &put] {
        assert!(
            link.starts_with("https://media.example.com/files/a/text.txt?")
                && link.lines().count() == 1,
            "{link}"
        );
    }
    assert_ne!(get, put);
    let error = sandbox.run(&["url", "--method", "PUT", "linked:a"]).failed(2);
    assert!(
        error.starts_with("anystorage: linked:a: ") && error.contains("--expires 15m"),
        "{error}"
    );
    assert!(!error.contains("expires_in"), "{error}");
    assert_eq!(sandbox.run(&["url", "--expires", "soon", "linked:a"]).code, Some(2));
    assert_eq!(sandbox.run(&["url", "--method", "POST", "linked:a"]).code, Some(2));
}

#[test]
fn url_names_the_option_to_configure() {
    let error = sandbox().run(&["url", "media:a/text.txt"]).failed(1);
    assert!(error.contains("Unsupported") && error.contains("public_url"), "{error}");
}

#[test]
fn a_failed_write_to_standard_output_is_a_failure() {
    let sandbox = sandbox();
    for arguments in
        [&["cat", "media:a/text.txt"][..], &["ls", "media:"], &["stat", "media:a/text.txt"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = sandbox.command(arguments).stdout(Stdio::from(full)).output().unwrap();
        let error = Run::from(output).failed(1);
        assert!(error.starts_with("anystorage: standard output: "), "{error}");
    }
}
