//! Saving and deleting with `put` and `rm`.

use crate::support::Sandbox;

#[test]
fn put_saves_a_file_and_guesses_its_type() {
    let sandbox = Sandbox::new();
    sandbox.write("style.css", "body {}");
    assert_eq!(sandbox.run(&["put", "style.css", "media:css/style.css"]).done(), "");
    assert_eq!(sandbox.read("media/css/style.css"), "body {}");
    assert!(
        sandbox
            .run(&["stat", "media:css/style.css"])
            .done()
            .contains("content_type: text/css; charset=utf-8\n")
    );
}

#[test]
fn put_adds_the_files_name_to_a_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a.txt", "a");
    sandbox.run(&["put", "dir/a.txt", "media:"]).done();
    sandbox.run(&["put", "./dir/a.txt", "media:below/"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a.txt\nbelow/a.txt\n");
    std::fs::create_dir(sandbox.path("local")).unwrap();
    sandbox.run(&["put", "dir/a.txt", "./local"]).done();
    assert_eq!(sandbox.read("local/a.txt"), "a");
}

#[test]
fn put_creates_the_directories_of_a_local_path() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", "a");
    sandbox.run(&["put", "a.png", "./new/dir/b.png"]).done();
    assert_eq!(sandbox.read("new/dir/b.png"), "a");
    sandbox.run(&["put", "a.png", "./new/other/"]).done();
    assert_eq!(sandbox.read("new/other/a.png"), "a");
    let url = format!("file://{}/by/url/", sandbox.path("").display());
    sandbox.run(&["put", "a.png", &url]).done();
    assert_eq!(sandbox.read("by/url/a.png"), "a");
}

#[test]
fn commands_leave_no_driver_files_in_a_local_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("local", "local");
    std::fs::create_dir(sandbox.path("dir")).unwrap();
    sandbox.run(&["put", "local", "./dir/a"]).done();
    sandbox.run(&["put", "local", "./dir/a"]).done();
    sandbox.run(&["cp", "./dir/a", "./dir/b"]).done();
    sandbox.run(&["mv", "./dir/a", "./dir/b"]).done();
    sandbox.run(&["rm", "./dir/b"]).done();
    assert_eq!(std::fs::read_dir(sandbox.path("dir")).unwrap().count(), 0);
}

/// Returns the permission bits of a local file or directory.
fn mode(sandbox: &Sandbox, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    sandbox.path(name).metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn files_at_a_local_path_get_permissions_from_the_umask() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    let under = |umask: &str, arguments: &[&str]| {
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_anystorage")]).args(arguments);
        command.current_dir(sandbox.path("")).env("STORAGE_CONFIG", "storages.toml");
        crate::support::run(&mut command).done();
    };
    sandbox.write("local", "local");
    for (umask, file, directory) in [("077", 0o600, 0o700), ("002", 0o664, 0o775)] {
        under(umask, &["cp", "media:a", &format!("./{umask}/dir/cp")]);
        under(umask, &["put", "local", &format!("./{umask}/dir/put")]);
        under(umask, &["cp", "-r", "media:", &format!("./{umask}/dir/tree")]);
        under(umask, &["get", "media:a", &format!("./{umask}/dir/get")]);
        under(
            umask,
            &["put", "local", &format!("file://{}/{umask}/dir/url", sandbox.path("").display())],
        );
        for name in ["cp", "put", "tree/a", "get", "url"] {
            assert_eq!(mode(&sandbox, &format!("{umask}/dir/{name}")), file, "{umask} {name}");
        }
        for name in ["", "/dir", "/dir/tree"] {
            assert_eq!(mode(&sandbox, &format!("{umask}{name}")), directory, "{umask} {name}");
        }
    }
    // A replaced file keeps its mode, and a configured storage sets its own.
    under("002", &["put", "local", "./077/dir/put"]);
    under("002", &["cp", "media:a", "./077/dir/cp"]);
    assert_eq!((mode(&sandbox, "077/dir/put"), mode(&sandbox, "077/dir/cp")), (0o600, 0o600));
    under("077", &["put", "local", "media:b"]);
    assert_eq!(mode(&sandbox, "media/b"), 0o644);
    under(
        "077",
        &[
            "put",
            "local",
            &format!("file://{}/002/dir/query?file_mode=0640", sandbox.path("").display()),
        ],
    );
    assert_eq!(mode(&sandbox, "002/dir/query"), 0o640);
}

#[test]
fn put_reads_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["put", "-", "media:in"], b"from a pipe").done();
    assert_eq!(sandbox.cat("media:in"), "from a pipe");
    sandbox.feed(&["put", "-", "media:empty"], b"").done();
    assert_eq!(sandbox.cat("media:empty"), "");
    let error = sandbox.feed(&["put", "-", "media:dir/"], b"x").failed(2);
    assert!(error.contains("media:dir/"), "{error}");
    assert!(sandbox.feed(&["put", "-", "media:"], b"x").failed(2).contains("media:KEY"));
}

#[test]
fn create_new_does_not_replace_an_object() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["put", "--create-new", "-", "media:a"], b"one").done();
    let error = sandbox.feed(&["put", "--create-new", "-", "media:a"], b"two").failed(1);
    assert!(
        error.contains("media:a: ")
            && error.contains("AlreadyExists")
            && error.contains("--create-new"),
        "{error}"
    );
    assert_eq!(sandbox.cat("media:a"), "one");
}

#[test]
fn if_match_replaces_only_that_version() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "one");
    let meta: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["stat", "--json", "media:a"]).done()).unwrap();
    let etag = meta["etag"].as_str().unwrap();
    sandbox.feed(&["put", "--if-match", etag, "-", "media:a"], b"two").done();
    let error = sandbox.feed(&["put", "--if-match", etag, "-", "media:a"], b"three").failed(1);
    assert!(error.contains("PreconditionFailed") && error.contains("anystorage stat"), "{error}");
    assert_eq!(sandbox.cat("media:a"), "two");
}

#[test]
fn if_match_with_a_pattern_is_a_usage_error_and_replaces_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "old");
    sandbox.write("a.txt", "new");
    let error = sandbox.run(&["put", "--if-match", "x", "./a*.txt", "media:"]).failed(2);
    assert!(error.contains("--if-match replaces one object"), "{error}");
    assert_eq!(sandbox.cat("media:a.txt"), "old");
}

#[test]
fn invalid_metadata_arguments_are_usage_errors() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "a");
    for wrong in [
        &["--content-type", "png"][..],
        &["--cache-control", "a\nb"],
        &["--expires", "tomorrow"],
        &["--expires", "1492-10-12T00:00:00Z"],
        &["--meta", "novalue"],
        &["--meta", "a b=c"],
        &["--if-match", "a b"],
        &["--create-new", "--if-match", "x"],
        &["--unknown"],
    ] {
        let arguments = [&["put"], wrong, &["a.txt", "media:a"]].concat();
        let run = sandbox.run(&arguments);
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.err);
        assert!(!run.err.is_empty());
    }
    assert_eq!(sandbox.run(&["exists", "media:a"]).silent(), 1, "nothing was saved");
}

#[test]
fn put_reports_a_source_that_is_not_a_file() {
    let sandbox = Sandbox::new();
    let error = sandbox.run(&["put", "nothing.txt", "media:"]).failed(1);
    assert!(error.starts_with("anystorage: nothing.txt: "), "{error}");
    assert!(sandbox.run(&["put", ".", "media:a"]).failed(1).contains("not a regular file"));
    assert!(sandbox.run(&["put", "backup:a", "media:a"]).failed(2).contains("anystorage cp"));
}

#[test]
fn a_directory_is_refused_with_the_command_that_accepts_one() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a.txt", "a");
    sandbox.put("media:dir/b", "b");
    for directory in ["dir", "./dir", "./dir/"] {
        let error = sandbox.run(&["put", directory, "media:x"]).failed(1);
        assert!(error.contains("anystorage put -r ./dir"), "{error}");
    }
    for from in ["./dir", "media:dir/", "media:"] {
        let error = sandbox.run(&["cp", from, "backup:x"]).failed(2);
        assert!(
            error.contains(&format!("{from}: a directory"))
                || error.contains("./dir/: a directory"),
            "{error}"
        );
        assert!(error.contains("anystorage cp -r"), "{error}");
    }
    for (directory, shown) in
        [("media:dir/", "media:dir/"), ("./dir", "./dir/"), ("./dir/", "./dir/")]
    {
        let error = sandbox.run(&["rm", directory]).failed(2);
        assert!(
            error.contains(&format!("{shown}: a directory: anystorage rm -r {shown} ")),
            "{error}"
        );
    }
}

#[test]
fn a_failed_put_leaves_no_object() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    let error = sandbox.feed(&["put", "-", "media:a/b"], b"x").failed(1);
    assert!(error.contains("media:a/b: ") && error.contains("Conflict"), "{error}");
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a\n");
    assert!(sandbox.feed(&["put", "-", "frozen:b"], b"x").failed(1).contains("PermissionDenied"));
}

#[test]
fn rm_deletes_objects_and_ignores_missing_ones() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    sandbox.put("media:b/c", "c");
    sandbox.put("backup:d", "d");
    let gone = ["rm", "media:a", "media:nothing", "./media/b/c", "backup:d", "./no/such/directory"];
    assert_eq!(sandbox.run(&gone).silent(), 0);
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "");
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "");
}

#[test]
fn rm_of_a_directory_or_a_pattern_without_matches_deletes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:x/1", "1");
    sandbox.put("media:y", "y");
    for pattern in ["media:y/*", "media:??", "media:[a-x]", "./media/none/*"] {
        let error = sandbox.run(&["rm", "media:y", pattern]).failed(1);
        assert!(error.contains(&format!("{pattern}: no object matches this pattern")), "{error}");
    }
    let error = sandbox.run(&["rm", "media:y", "media:x"]).failed(1);
    assert!(
        error
            .contains("media:x: no such object, but it is a directory: anystorage rm -r media:x/ "),
        "{error}"
    );
    // A directory that contains only an invalid name.
    sandbox.write("media/odd/line\nbreak", "odd");
    let error = sandbox.run(&["rm", "media:y", "media:odd"]).failed(1);
    assert!(error.contains("media:odd: no such object, but it is a directory"), "{error}");
    std::fs::remove_dir_all(sandbox.path("media/odd")).unwrap();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "x/1\ny\n");
}

#[test]
fn rm_deletes_an_object_whose_name_is_a_pattern_and_no_other() {
    let sandbox = Sandbox::new();
    for key in ["*", "a?", "[b]"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    assert_eq!(sandbox.run(&["rm", "media:*"]).silent(), 0);
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "[b]\na?\n");
    assert_eq!(sandbox.run(&["rm", "media:a?", "media:[b]"]).silent(), 0);
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "");
}

#[test]
fn rm_continues_after_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    sandbox.put("media:b", "b");
    let error = sandbox.run(&["rm", "frozen:a", "media:b"]).failed(1);
    assert!(error.contains("frozen:a: "), "{error}");
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "a\n");
}

#[test]
fn rm_with_an_invalid_location_deletes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    for mistake in ["nonesuch:x", "media:b/", "media:", "plain", "-"] {
        assert_eq!(sandbox.run(&["rm", "media:a", mistake]).code, Some(2), "{mistake}");
        assert_eq!(sandbox.cat("media:a"), "a");
    }
    assert_eq!(sandbox.run(&["rm"]).code, Some(2));
}

#[test]
fn rm_of_a_symlink_keeps_the_link_and_its_target() {
    let sandbox = Sandbox::new();
    sandbox.write("target", "kept");
    std::os::unix::fs::symlink("target", sandbox.path("link")).unwrap();
    assert!(sandbox.run(&["rm", "./link"]).failed(2).contains("symlink"));
    assert_eq!(sandbox.read("link"), "kept");
}

#[test]
fn rm_r_deletes_everything_below_a_directory_and_nothing_else() {
    let sandbox = Sandbox::new();
    for (gone, kept) in [
        ("media:a", "media:"),
        ("media:a/", "media:"),
        ("./media/a", "media:"),
        ("./media/a/", "media:"),
    ] {
        for key in ["a/1", "a/b/2", "a.png", "ab/3", "z"] {
            sandbox.put(&format!("media:{key}"), "x");
        }
        sandbox.run(&["rm", "-r", gone]).done();
        assert_eq!(sandbox.run(&["ls", "-r", kept]).done(), "a.png\nab/3\nz\n", "{gone}");
        assert!(!sandbox.exists("media/a"), "{gone}");
    }
    // Several locations, some of them missing.
    sandbox
        .run(&["rm", "-r", "media:ab", "media:nothing", "./no/such/directory", "./media/none"])
        .done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a.png\nz\n");
}

#[test]
fn rm_r_of_a_whole_storage_needs_everything() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "x");
    for whole in ["media:", ".", "./"] {
        let error = sandbox.run(&["rm", "-r", "media:a", whole]).failed(2);
        assert!(error.contains("--everything"), "{whole}: {error}");
    }
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a/b\n");
    sandbox.run(&["rm", "-r", "--everything", "media:"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "");
    assert_eq!(sandbox.run(&["rm", "--everything", "media:"]).code, Some(2));
}

#[test]
fn rm_r_of_an_object_fails_and_names_the_command() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    for object in ["media:a", "./media/a"] {
        let error = sandbox.run(&["rm", "-r", object]).failed(1);
        assert!(error.contains("delete it without -r"), "{error}");
    }
    assert_eq!(sandbox.cat("media:a"), "x");
}

#[test]
fn rm_r_reports_a_failure_and_continues() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/1", "x");
    sandbox.put("media:d/2", "x");
    sandbox.write("media/d/line\nbreak", "odd");
    let run = sandbox.run(&["rm", "-r", "media:d", "frozen:d"]);
    assert_eq!(run.code, Some(1));
    let lines: Vec<_> = run.err.lines().collect();
    assert!(
        lines[0].starts_with(r"anystorage: media:d/line\nbreak: ")
            && lines[0].contains("InvalidKey"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "anystorage: 1 not deleted, 2 deleted");
    assert_eq!(sandbox.run(&["ls", "media:d/"]).code, Some(1));
}

#[test]
fn rm_r_of_a_symlink_keeps_the_link_and_its_target() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/1", "x");
    std::os::unix::fs::symlink("media/d", sandbox.path("link")).unwrap();
    assert!(sandbox.run(&["rm", "-r", "./link"]).failed(2).contains("symlink"));
    assert!(sandbox.exists("link") && sandbox.exists("media/d/1"));
}

#[test]
fn a_file_that_is_copied_onto_itself_is_unchanged() {
    let sandbox = Sandbox::new();
    sandbox.write("media/a", "text");
    sandbox.run(&["put", "media/a", "media:a"]).done();
    sandbox.run(&["get", "media:a", "media/a"]).done();
    sandbox.run(&["get", "./media/a", "media"]).done();
    assert_eq!(sandbox.read("media/a"), "text");
}
