//! `publish`, `releases` and `rollback` on a local directory.

use serde_json::Value;

use crate::support::{Run, Sandbox};

const POINTER: &str = ".anystorage-publish/current.json";

/// Writes a site of a page, a style, an image and `robots.txt`.
pub(crate) fn write_site(sandbox: &Sandbox, color: &str) {
    let page = "<link rel=stylesheet href=css/app.css><img src=logo.png>";
    sandbox.write("dist/index.html", page);
    sandbox.write("dist/css/app.css", format!("body{{color:{color};background:url(../logo.png)}}"));
    sandbox.write("dist/logo.png", "an image");
    sandbox.write("dist/robots.txt", "User-agent: *\n");
}

/// A sandbox with a site.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write_site(&sandbox, "red");
    sandbox
}

pub(crate) fn json(run: Run) -> Value {
    serde_json::from_str(&run.done()).unwrap()
}

/// Publishes with `--json`, and returns the id of the release.
pub(crate) fn publish(sandbox: &Sandbox) -> String {
    let published = json(sandbox.run(&["publish", "--json", "dist", "media:www"]));
    published["release"].as_str().unwrap().to_owned()
}

/// Returns the name in the published page that begins and ends with these texts.
fn name(sandbox: &Sandbox, begin: &str, end: &str) -> String {
    let page = sandbox.cat("media:www/index.html");
    let mut words = page.split(['=', '>', ' ']);
    words.find(|word| word.starts_with(begin) && word.ends_with(end)).unwrap().to_owned()
}

fn releases(sandbox: &Sandbox) -> Value {
    json(sandbox.run(&["releases", "--json", "media:www"]))
}

#[test]
fn publish_stores_hashed_names_with_headers_and_prints_a_summary() {
    let sandbox = sandbox();
    let printed = sandbox.run(&["publish", "dist", "media:www"]).done();
    assert!(printed.starts_with("release 20") && printed.contains(" is current: 4 uploaded ("));
    assert!(
        printed.ends_with(" 0 with new headers, 2 pages, 0 unchanged, 0 deleted\n"),
        "{printed}"
    );
    let style = name(&sandbox, "css/app.", ".css");
    assert_eq!(style.len(), "css/app..css".len() + 16, "{style}");
    let image = name(&sandbox, "logo.", ".png");
    assert!(sandbox.cat(&format!("media:www/{style}")).contains(&format!("url(../{image})")));
    let stat = |name: &str| sandbox.run(&["stat", &format!("media:www/{name}")]).done();
    assert!(stat(&style).contains("cache_control: public, max-age=31536000, immutable\n"));
    assert!(stat("index.html").contains("cache_control: no-cache\n"));
    assert!(stat("robots.txt").contains("content_type: text/plain"));
    let again = sandbox.run(&["publish", "dist", "media:www"]).done();
    assert!(
        again.contains(" is current already: 0 uploaded (0 B), ") && again.contains(" 4 unchanged")
    );
}

#[test]
fn publish_json_has_the_documented_fields() {
    let sandbox = sandbox();
    let published = json(sandbox.run(&["publish", "--json", "dist", "media:www"]));
    let fields: Vec<_> = published.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["release", "new", "uploaded", "bytes", "headers", "pages", "unchanged", "deleted"];
    assert_eq!(fields, expected);
    assert_eq!((&published["new"], &published["uploaded"]), (&Value::Bool(true), &4.into()));
    let again = json(sandbox.run(&["publish", "--json", "dist", "media:www"]));
    assert_eq!(again["release"], published["release"]);
    assert_eq!((&again["new"], &again["unchanged"]), (&Value::Bool(false), &4.into()));
}

#[test]
fn a_dry_run_prints_every_change_with_a_symbol_and_changes_nothing() {
    let sandbox = sandbox();
    sandbox.write("dist/css/app.css", "a{color:red}".repeat(100));
    let config = sandbox.read("storages.toml");
    sandbox.write("storages.toml", format!("{config}\n[publish]\nencodings = ['gzip']\n"));
    let run = sandbox.run(&["publish", "-n", "dist", "media:www"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let printed = String::from_utf8(run.out).unwrap();
    let symbols: Vec<_> = printed.lines().map(|line| line.get(..6).unwrap_or(line)).collect();
    let encoded =
        printed.lines().filter(|line| line.starts_with("+ css/") && line.ends_with(".gz"));
    assert_eq!(encoded.count(), 1, "{printed}");
    for line in ["+ css/", "+ logo", "+ inde", "+ robo", "> inde", "> robo"] {
        assert!(symbols.contains(&line), "{line} is missing in {printed}");
    }
    assert!(run.err.contains(" would be uploaded (") && run.err.contains("2 pages"), "{}", run.err);
    assert!(!sandbox.exists("media/www"), "nothing is written");

    let first = publish(&sandbox);
    write_site(&sandbox, "blue");
    std::fs::remove_file(sandbox.path("dist/robots.txt")).unwrap();
    let options = ["publish", "-n", "--json", "--keep", "1", "--grace", "0s", "dist", "media:www"];
    let plan = json(sandbox.run(&options));
    let fields: Vec<_> = plan.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["new", "uploads", "bytes", "encodings", "headers", "pages", "deletions", "unchanged"];
    assert_eq!(fields, expected);
    assert_eq!(
        (&plan["new"], &plan["pages"]),
        (&Value::Bool(true), &serde_json::json!(["index.html"]))
    );
    let deletions: Vec<_> = plan["deletions"].as_array().unwrap().iter().collect();
    let manifest = format!(".anystorage-publish/releases/{first}/manifest.json");
    for key in ["robots.txt", &manifest] {
        assert!(deletions.contains(&&Value::from(key)), "{key} is missing in {plan}");
    }
    assert_eq!(releases(&sandbox)["current"]["release"], first.as_str());
    let done = json(sandbox.run(&[
        "publish",
        "--json",
        "--keep",
        "1",
        "--grace",
        "0s",
        "dist",
        "media:www",
    ]));
    assert_eq!(done["deleted"], deletions.len());
    assert!(!sandbox.exists("media/www/robots.txt"));
}

#[test]
fn releases_and_rollback_show_and_restore_earlier_releases() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(&["releases", "media:www"]).done(), "");
    let empty = releases(&sandbox);
    assert_eq!(
        empty,
        serde_json::json!({"current": null, "previous": [], "switching": null, "claim": null})
    );
    let first = publish(&sandbox);
    let red = sandbox.cat("media:www/index.html");
    write_site(&sandbox, "blue");
    let second = publish(&sandbox);
    let lines = sandbox.run(&["releases", "media:www"]).done();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].starts_with(&format!("{second}  current since 20")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{first}  until 20")), "{lines:?}");

    let printed = sandbox.run(&["rollback", "media:www"]).done();
    assert_eq!(printed, format!("release {first} is current: 2 pages written, 0 deleted\n"));
    assert_eq!(sandbox.cat("media:www/index.html"), red);
    let back = json(sandbox.run(&["rollback", "--json", "media:www", &second]));
    assert_eq!(back, serde_json::json!({"release": second, "pages": 2, "deleted": 0}));
    assert_ne!(sandbox.cat("media:www/index.html"), red);
    assert_eq!(releases(&sandbox)["previous"][0]["release"], first.as_str());
}

#[test]
fn a_rollback_to_a_release_that_is_unknown_or_incomplete_changes_nothing() {
    let sandbox = sandbox();
    assert!(sandbox.run(&["rollback", "media:www"]).failed(1).contains("no earlier release"));
    let first = publish(&sandbox);
    let style = name(&sandbox, "css/app.", ".css");
    write_site(&sandbox, "blue");
    let second = publish(&sandbox);
    let error = sandbox.run(&["rollback", "media:www", "20200101T000000Z-x"]).failed(1);
    assert!(error.contains("anystorage releases"), "{error}");
    assert!(sandbox.run(&["rollback", "media:www", "../x"]).failed(2).contains("not the id"));
    std::fs::remove_file(sandbox.path(&format!("media/www/{style}"))).unwrap();
    let error = sandbox.run(&["rollback", "media:www", &first]).failed(1);
    assert!(error.contains(&style) && error.contains("nothing was changed"), "{error}");
    assert_eq!(releases(&sandbox)["current"]["release"], second.as_str());
}

#[test]
fn references_that_name_no_file_are_errors_with_file_and_line() {
    let sandbox = sandbox();
    sandbox.write(
        "dist/css/app.css",
        "a{color:red}\nb{background:url(gone.png)}\nc{background:url(x.png)}",
    );
    let run = sandbox.run(&["publish", "dist/", "media:www"]);
    let lines: Vec<_> = run.err.lines().collect();
    assert_eq!((run.code, lines.len()), (Some(1), 3), "{}", run.err);
    assert!(
        lines[0].starts_with("anystorage: dist/css/app.css:2:") && lines[0].contains("gone.png")
    );
    assert!(lines[1].starts_with("anystorage: dist/css/app.css:3:") && lines[1].contains("x.png"));
    assert!(
        lines[2].contains("2 problems") && lines[2].contains("ignore_references"),
        "{}",
        run.err
    );
    assert!(!sandbox.exists("media/www"), "nothing is written");
    let config = sandbox.read("storages.toml");
    let ignored = "[publish]\nignore_references = ['/css/gone.png', 'x.png']\n";
    sandbox.write("storages.toml", format!("{config}\n{ignored}"));
    publish(&sandbox);
    assert!(sandbox.run(&["publish", "nothing", "media:www"]).failed(1).contains("nothing"));
}

#[test]
fn a_second_publisher_and_a_rollback_are_refused_until_the_claim_expires() {
    let sandbox = sandbox();
    let release = publish(&sandbox);
    let pointer = format!("media:www/{POINTER}");
    let claimed = |expires: &str| {
        let mut document: Value = serde_json::from_str(&sandbox.cat(&pointer)).unwrap();
        document["claim"] = serde_json::json!({
            "publisher": "ada@laptop", "token": "0123456789abcdef", "expires": expires
        });
        sandbox.put(&pointer, &document.to_string());
    };
    claimed("2999-01-01T00:00:00Z");
    write_site(&sandbox, "blue");
    for arguments in [&["publish", "dist", "media:www"][..], &["rollback", "media:www", &release]] {
        let error = sandbox.run(arguments).failed(75);
        assert!(
            error.contains("the publisher ada@laptop") && error.contains("2999-01-01"),
            "{error}"
        );
    }
    let shown = sandbox.run(&["releases", "media:www"]).done();
    assert!(shown.ends_with("claimed by ada@laptop until 2999-01-01T00:00:00Z\n"), "{shown}");
    // A dry run reads only.
    assert_eq!(sandbox.run(&["publish", "-n", "dist", "media:www"]).code, Some(0));
    claimed("2020-01-01T00:00:00Z");
    assert_ne!(publish(&sandbox), release);
}

#[test]
fn a_bundled_name_with_other_bytes_is_refused_and_nothing_is_changed() {
    let sandbox = sandbox();
    sandbox.write("dist/assets/index-BPx7kQ9z.js", "first()");
    let release = publish(&sandbox);
    let pointer = sandbox.read(&format!("media/www/{POINTER}"));
    sandbox.write("dist/assets/index-BPx7kQ9z.js", "second()");
    for options in [&[][..], &["-n"]] {
        let error =
            sandbox.run(&[&["publish"], options, &["dist", "media:www"]].concat()).failed(1);
        for text in ["assets/index-BPx7kQ9z.js", &release, "nothing was changed", "bundled_names"] {
            assert!(error.contains(text), "{error}");
        }
    }
    assert_eq!(sandbox.read(&format!("media/www/{POINTER}")), pointer);
    let config = sandbox.read("storages.toml");
    let own = "[publish]\nbundled_names = ['!/assets/index-BPx7kQ9z.js']\n";
    sandbox.write("storages.toml", format!("{config}\n{own}"));
    assert_ne!(publish(&sandbox), release);
    assert_eq!(sandbox.read("media/www/assets/index-BPx7kQ9z.js"), "first()");
}

#[test]
fn a_destination_without_conditional_saves_is_refused() {
    let sandbox = sandbox();
    for destination in ["frozen:www", "http://127.0.0.1:9/www"] {
        let error = sandbox.run(&["publish", "dist", destination]).failed(1);
        assert!(error.contains("conditional saves") && error.contains("fs or s3"), "{error}");
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    let sandbox = sandbox();
    for wrong in [&["--keep", "0"][..], &["--keep", "x"], &["--grace", "soon"]] {
        let run = sandbox.run(&[&["publish"], wrong, &["dist", "media:www"]].concat());
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.err);
    }
    assert!(sandbox.run(&["publish", "dist", "-"]).failed(2).contains("standard input"));
}

#[test]
fn files_of_other_programs_stay_in_the_destination() {
    let sandbox = sandbox();
    sandbox.put("media:www/app.0123456789abcdef.js", "foreign");
    sandbox.put("media:www/index.php", "foreign");
    for color in ["blue", "green", "white"] {
        write_site(&sandbox, color);
        sandbox.run(&["publish", "--keep", "1", "--grace", "0s", "dist", "media:www"]).done();
    }
    for key in ["app.0123456789abcdef.js", "index.php"] {
        assert_eq!(sandbox.cat(&format!("media:www/{key}")), "foreign");
    }
}

#[test]
fn a_publish_into_its_own_files_is_refused() {
    let sandbox = sandbox();
    let page = sandbox.read("dist/index.html");
    for (directory, destination) in
        [("dist", "./dist"), ("dist", "./dist/public"), ("dist/css", "./dist"), (".", "media:www")]
    {
        let err = sandbox.run(&["publish", directory, destination]).failed(2);
        assert!(err.contains("contain each other"), "{err}");
    }
    assert_eq!(sandbox.read("dist/index.html"), page);
    sandbox.run(&["publish", "dist", "./dist2"]).done();
}

#[test]
fn a_destination_below_the_records_of_releases_is_refused() {
    let sandbox = sandbox();
    for destination in
        ["media:.anystorage-publish/x", "media:a/.anystorage-publish", "./.anystorage-publish"]
    {
        let run = sandbox.run(&["publish", "dist", destination]);
        assert_eq!(run.code, Some(2), "{destination}: {}", run.err);
        assert!(run.err.contains("where releases are recorded"), "{}", run.err);
    }
}

#[test]
fn an_error_names_the_file_and_an_empty_site_is_noted() {
    let sandbox = sandbox();
    std::os::unix::fs::symlink("index.html", sandbox.path("dist/link.html")).unwrap();
    let run = sandbox.run(&["publish", "dist", "media:www"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("dist/link.html: this is a symbolic link"), "{}", run.err);

    std::fs::create_dir(sandbox.path("empty")).unwrap();
    let run = sandbox.run(&["publish", "empty", "media:www"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("there are no files to publish"), "{}", run.err);
}
