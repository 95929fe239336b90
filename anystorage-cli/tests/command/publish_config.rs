//! The table `[publish]`: where it is read from, mistakes in it, and mirrors that are purged.

use storage_testkit::http::closed_port;

use crate::mirror::{FILES, Mirror, TOKEN, configured};
use crate::publish::{json, publish, sandbox, write_site};
use crate::support::{Sandbox, run};

fn configure(sandbox: &Sandbox, tables: &str) {
    let config = sandbox.read("storages.toml");
    let storages = config.split("\n[publish").next().unwrap().split("\n[[publish").next().unwrap();
    sandbox.write("storages.toml", format!("{storages}\n{tables}\n"));
}

#[test]
fn a_table_is_read_from_the_file_of_the_option_or_of_the_variable() {
    let sandbox = sandbox();
    let names =
        |language: &str| format!("[[publish.rules]]\nmatch = '*'\ncontent_language = '{language}'");
    configure(&sandbox, &names("en"));
    publish(&sandbox);
    let language = || sandbox.run(&["stat", "media:www/index.html"]).done();
    assert!(language().contains("content_language: en\n"));
    // The other commands read the storages of the same file.
    assert!(sandbox.run(&["ls", "media:www/"]).done().contains("index.html"));
    let config = sandbox.read("storages.toml").replace("'en'", "'de'");
    sandbox.write("other.toml", config);
    sandbox.run(&["--config", "other.toml", "publish", "dist", "media:www"]).done();
    assert!(language().contains("content_language: de\n"));
}

#[test]
fn a_file_may_have_the_table_and_no_storages() {
    let sandbox = sandbox();
    sandbox.write("site.toml", "[publish]\nexclude = ['robots.txt']");
    let destination = format!("file://{}/", sandbox.path("public").display());
    for arguments in [
        &["publish", "dist", "./public"][..],
        &["publish", "dist", &destination],
        &["rollback", "./public"],
        &["releases", "./public"],
    ] {
        let run = sandbox.run(&[&["--config", "site.toml"], arguments].concat());
        assert!(run.code == Some(0) || run.err.contains("no earlier release"), "{}", run.err);
    }
    assert!(sandbox.exists("public/index.html") && !sandbox.exists("public/robots.txt"));
    let error = sandbox.run(&["--config", "none.toml", "publish", "dist", "./public"]).failed(2);
    assert!(error.contains("none.toml: the file cannot be read"), "{error}");
}

#[test]
fn another_section_is_read_by_its_name() {
    let sandbox = sandbox();
    configure(&sandbox, "[publish]\nexclude = ['*']\n[publish-docs]\nkeep = 1\ngrace = '0s'");
    let section = ["--config-section", "publish-docs"];
    let publish = || {
        let run =
            sandbox.run(&[&["publish", "--json"], &section[..], &["dist", "media:www"]].concat());
        json(run)
    };
    let first = publish();
    assert_eq!(first["uploaded"], 4);
    write_site(&sandbox, "blue");
    assert!(publish()["deleted"].as_u64().unwrap() > 0, "keep and grace of the section apply");
    let error = sandbox.run(&["publish", "--config-section", "x", "dist", "media:www"]).failed(2);
    assert!(error.contains("storages.toml: [x]: there is no such table"), "{error}");
    let mut none = sandbox.command(&["rollback", "--config-section", "x", "./media/www"]);
    let error = run(none.env_remove("STORAGE_CONFIG")).failed(2);
    assert!(error.contains("there is no configuration file"), "{error}");
}

#[test]
fn a_rollback_uses_keep_and_grace_of_the_table() {
    let sandbox = sandbox();
    configure(&sandbox, "[publish]\nkeep = 5");
    for color in ["blue", "green"] {
        publish(&sandbox);
        write_site(&sandbox, color);
    }
    let last = publish(&sandbox);
    configure(&sandbox, "[publish]\nkeep = 1\ngrace = '0s'");
    let done = json(sandbox.run(&["rollback", "--json", "media:www"]));
    assert!(done["deleted"].as_u64().unwrap() > 0, "{done}");
    let found = json(sandbox.run(&["releases", "--json", "media:www"]));
    assert_eq!(found["previous"], serde_json::json!([]), "{last} is gone");
}

#[test]
fn mistakes_in_the_table_are_usage_errors_that_name_it() {
    let sandbox = sandbox();
    for (table, texts) in [
        ("[publish]\nkep = 5", &["storages.toml: [publish]", "`kep`", "`keep`", "`rules`"][..]),
        ("[publish]\ngrace = 'soon'", &["[publish]", "15m"]),
        ("[publish]\nkeep = 0", &["[publish]", "`keep`"]),
        ("[publish]\nencodings = ['deflate']", &["deflate", "`gzip`"]),
        ("[[publish.rules]]\nmatch = '*'\ncache = 'x'", &["`cache`", "`cache_control`"]),
        ("[[publish.rules]]\nmatch = '['\nexpires = '1h'", &["rules[0]", "invalid"]),
        ("[publish]\npurge = ['nothing']", &["purge", "nothing", "media"]),
        ("[publish]\npurge = ['media']", &["purge", "media", "http-cache"]),
        ("[publish]\npurge = ['http://example.com/']", &["without encryption"]),
        ("[publish\n", &["storages.toml", "line"]),
    ] {
        configure(&sandbox, table);
        let error = sandbox.run(&["publish", "dist", "./public"]).failed(2);
        for text in texts {
            assert!(error.contains(text), "{table}: {text} is missing in {error}");
        }
        assert!(!sandbox.exists("public"), "{table}");
    }
}

/// A mirror that has cached the page of the first release for an hour.
fn mirror_with_cached_page(sandbox: &Sandbox) -> Mirror {
    sandbox.write("mirror.toml", configured(FILES, ""));
    let rule = "[[publish.rules]]\nmatch = '*.html'\ncache_control = 'public, max-age=3600'";
    configure(sandbox, rule);
    publish(sandbox);
    let mirror = Mirror::start(sandbox);
    mirror.request("GET /www/index.html");
    mirror.until_cached();
    write_site(sandbox, "blue");
    mirror
}

#[test]
fn mirrors_are_purged_by_their_url_and_by_a_storage_that_names_them() {
    for by_url in [true, false] {
        let sandbox = sandbox();
        let mirror = mirror_with_cached_page(&sandbox);
        let url = format!("http://{}/", mirror.address);
        let purge = if by_url { url.clone() } else { "front".to_owned() };
        let front = format!(
            "[storages.front]\ndriver = 'http-cache'\norigin = 'media'\nmirror = '{url}'\ntoken = '${{THE_TOKEN}}'"
        );
        let tables =
            sandbox.read("storages.toml").replace("[[publish", &format!("{front}\n[[publish"));
        let tables = tables.replace(
            "[[publish.rules",
            &format!("[publish]\npurge = ['{purge}']\n[[publish.rules"),
        );
        sandbox.write("storages.toml", tables);
        let before = mirror.request("GET /www/index.html");
        let mut command = sandbox.command(&["publish", "dist", "media:www"]);
        command.env("THE_TOKEN", TOKEN).env("ANYSTORAGE_MIRROR_TOKEN", TOKEN);
        run(&mut command).done();
        let after = mirror.request("GET /www/index.html");
        let body = |response: &str| response.split("\r\n\r\n").nth(1).unwrap().to_owned();
        assert_eq!(body(&after), sandbox.cat("media:www/index.html"));
        assert_ne!(body(&after), body(&before));
    }
}

#[test]
fn a_failed_purge_does_not_undo_the_release_and_is_repeated_by_the_next_publish() {
    let sandbox = sandbox();
    let mirror = mirror_with_cached_page(&sandbox);
    let with = |url: &str| {
        let config = sandbox.read("storages.toml");
        let storages =
            config.split("\n[publish").next().unwrap().split("\n[[publish").next().unwrap();
        let rule = "[[publish.rules]]\nmatch = '*.html'\ncache_control = 'public, max-age=3600'";
        sandbox
            .write("storages.toml", format!("{storages}\n[publish]\npurge = ['{url}']\n{rule}\n"));
        let mut command = sandbox.command(&["publish", "dist", "media:www"]);
        run(command.env("ANYSTORAGE_MIRROR_TOKEN", TOKEN))
    };
    let failed = with(closed_port().as_str());
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    let printed = String::from_utf8_lossy(&failed.out);
    assert!(printed.contains(" is current: "), "{printed}");
    for text in ["the mirrors were not purged", "the release is current", "after 0 of 3 keys"] {
        assert!(failed.err.contains(text), "{}", failed.err);
    }
    assert!(!failed.err.contains(TOKEN));
    let page = sandbox.cat("media:www/index.html");
    assert!(!mirror.request("GET /www/index.html").ends_with(&page));
    let again = with(&format!("http://{}/", mirror.address)).done();
    assert!(again.contains("is current already"), "{again}");
    assert!(mirror.request("GET /www/index.html").ends_with(&page));
}
