//! `put` and `rm`.

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
fn put_makes_the_directories_of_a_local_path() {
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
fn nothing_of_the_driver_stays_in_a_local_directory() {
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

/// The permission bits of a local file or directory.
fn mode(sandbox: &Sandbox, name: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    sandbox.path(name).metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_written_to_a_local_path_has_the_permissions_of_any_new_file() {
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
    // Over a private file, whatever the umask; and in a storage, as its configuration has it.
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
    let said = sandbox.feed(&["put", "-", "media:dir/"], b"x").failed(2);
    assert!(said.contains("media:dir/"), "{said}");
    assert!(sandbox.feed(&["put", "-", "media:"], b"x").failed(2).contains("media:KEY"));
}

#[test]
fn create_new_does_not_replace() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["put", "--create-new", "-", "media:a"], b"one").done();
    let said = sandbox.feed(&["put", "--create-new", "-", "media:a"], b"two").failed(1);
    assert!(
        said.contains("media:a: ")
            && said.contains("AlreadyExists")
            && said.contains("--create-new"),
        "{said}"
    );
    assert_eq!(sandbox.cat("media:a"), "one");
}

#[test]
fn if_match_replaces_one_version_only() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "one");
    let meta: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["stat", "--json", "media:a"]).done()).unwrap();
    let etag = meta["etag"].as_str().unwrap();
    sandbox.feed(&["put", "--if-match", etag, "-", "media:a"], b"two").done();
    let said = sandbox.feed(&["put", "--if-match", etag, "-", "media:a"], b"three").failed(1);
    assert!(said.contains("PreconditionFailed") && said.contains("anystorage stat"), "{said}");
    assert_eq!(sandbox.cat("media:a"), "two");
}

#[test]
fn arguments_that_are_wrong_are_usage() {
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
fn a_source_that_is_no_file_is_told() {
    let sandbox = Sandbox::new();
    let said = sandbox.run(&["put", "nothing.txt", "media:"]).failed(1);
    assert!(said.starts_with("anystorage: nothing.txt: "), "{said}");
    assert!(sandbox.run(&["put", ".", "media:a"]).failed(1).contains("not a regular file"));
    assert!(sandbox.run(&["put", "backup:a", "media:a"]).failed(2).contains("anystorage cp"));
}

#[test]
fn a_directory_where_an_object_is_meant_is_refused_with_the_command_that_takes_one() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a.txt", "a");
    sandbox.put("media:dir/b", "b");
    for directory in ["dir", "./dir", "./dir/"] {
        let said = sandbox.run(&["put", directory, "media:x"]).failed(1);
        assert!(said.contains("anystorage cp -r ./dir"), "{said}");
    }
    for from in ["./dir", "media:dir/", "media:"] {
        let said = sandbox.run(&["cp", from, "backup:x"]).failed(2);
        assert!(
            said.contains(&format!("{from}: a directory")) || said.contains("./dir/: a directory"),
            "{said}"
        );
        assert!(said.contains("anystorage cp -r"), "{said}");
    }
    for (directory, shown) in
        [("media:dir/", "media:dir/"), ("./dir", "./dir/"), ("./dir/", "./dir/")]
    {
        let said = sandbox.run(&["rm", directory]).failed(2);
        assert!(
            said.contains(&format!("{shown}: a directory: anystorage rm -r {shown} ")),
            "{said}"
        );
    }
}

#[test]
fn a_put_that_cannot_be_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    let said = sandbox.feed(&["put", "-", "media:a/b"], b"x").failed(1);
    assert!(said.contains("media:a/b: ") && said.contains("Conflict"), "{said}");
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a\n");
    assert!(sandbox.feed(&["put", "-", "frozen:b"], b"x").failed(1).contains("PermissionDenied"));
}

#[test]
fn rm_deletes_and_does_not_mind_what_is_not_there() {
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
fn rm_of_a_pattern_or_a_directory_says_what_is_there_and_deletes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:x/1", "1");
    sandbox.put("media:y", "y");
    for pattern in ["media:x/*", "media:?", "media:[a-z]", "./media/x/*"] {
        let said = sandbox.run(&["rm", "media:y", pattern]).failed(1);
        assert!(
            said.contains(&format!("{pattern}: no such object: patterns are not expanded")),
            "{said}"
        );
    }
    let said = sandbox.run(&["rm", "media:y", "media:x"]).failed(1);
    assert!(
        said.contains("media:x: no such object, but it is a directory: anystorage rm -r media:x/ "),
        "{said}"
    );
    // What is below cannot be deleted by a key either.
    sandbox.write("media/odd/line\nbreak", "odd");
    let said = sandbox.run(&["rm", "media:y", "media:odd"]).failed(1);
    assert!(said.contains("media:odd: no such object, but it is a directory"), "{said}");
    std::fs::remove_dir_all(sandbox.path("media/odd")).unwrap();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "x/1\ny\n");
}

#[test]
fn rm_takes_the_name_of_an_object_literally() {
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
fn rm_goes_on_when_one_cannot_be_deleted() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    sandbox.put("media:b", "b");
    let said = sandbox.run(&["rm", "frozen:a", "media:b"]).failed(1);
    assert!(said.contains("frozen:a: "), "{said}");
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "a\n");
}

#[test]
fn rm_finds_a_mistake_before_it_deletes_anything() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    for mistake in ["nonesuch:x", "media:b/", "media:", "plain", "-"] {
        assert_eq!(sandbox.run(&["rm", "media:a", mistake]).code, Some(2), "{mistake}");
        assert_eq!(sandbox.cat("media:a"), "a");
    }
    assert_eq!(sandbox.run(&["rm"]).code, Some(2));
}

#[test]
fn rm_of_a_symlink_touches_neither_it_nor_what_it_leads_to() {
    let sandbox = Sandbox::new();
    sandbox.write("target", "kept");
    std::os::unix::fs::symlink("target", sandbox.path("link")).unwrap();
    assert!(sandbox.run(&["rm", "./link"]).failed(2).contains("symlink"));
    assert_eq!(sandbox.read("link"), "kept");
}

#[test]
fn rm_r_deletes_what_is_below_a_directory_and_nothing_else() {
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
        assert!(!sandbox.is_there("media/a"), "{gone}");
    }
    // Several at once, and what is not there is fine.
    sandbox
        .run(&["rm", "-r", "media:ab", "media:nothing", "./no/such/directory", "./media/none"])
        .done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a.png\nz\n");
}

#[test]
fn rm_r_of_a_whole_storage_asks_for_everything() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "x");
    for whole in ["media:", ".", "./"] {
        let said = sandbox.run(&["rm", "-r", "media:a", whole]).failed(2);
        assert!(said.contains("--everything"), "{whole}: {said}");
    }
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a/b\n");
    sandbox.run(&["rm", "-r", "--everything", "media:"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "");
    assert_eq!(sandbox.run(&["rm", "--everything", "media:"]).code, Some(2));
}

#[test]
fn rm_r_of_an_object_says_how_to_delete_it() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    for object in ["media:a", "./media/a"] {
        let said = sandbox.run(&["rm", "-r", object]).failed(1);
        assert!(said.contains("delete it without -r"), "{said}");
    }
    assert_eq!(sandbox.cat("media:a"), "x");
}

#[test]
fn rm_r_names_what_it_cannot_delete_and_goes_on() {
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
fn rm_r_of_a_symlink_touches_neither_it_nor_what_it_leads_to() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/1", "x");
    std::os::unix::fs::symlink("media/d", sandbox.path("link")).unwrap();
    assert!(sandbox.run(&["rm", "-r", "./link"]).failed(2).contains("symlink"));
    assert!(sandbox.is_there("link") && sandbox.is_there("media/d/1"));
}
