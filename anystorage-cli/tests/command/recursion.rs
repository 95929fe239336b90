//! `put -r`, `get -r` and `mv -r`.

use std::os::unix::fs::symlink;

use crate::support::Sandbox;

fn keys(sandbox: &Sandbox, location: &str) -> String {
    sandbox.run(&["ls", "-r", location]).done()
}

#[test]
fn put_r_saves_the_files_of_a_directory_with_the_given_metadata() {
    let sandbox = Sandbox::new();
    for name in ["site/index.html", "site/css/a.css", "site/.hidden"] {
        sandbox.write(name, name);
    }
    sandbox.run(&["put", "-r", "--cache-control", "no-cache", "site", "media:www"]).done();
    assert_eq!(keys(&sandbox, "media:"), "www/.hidden\nwww/css/a.css\nwww/index.html\n");
    let shown = sandbox.run(&["stat", "media:www/css/a.css"]).done();
    assert!(shown.contains("content_type: text/css") && shown.contains("cache_control: no-cache"));
    for from in ["./site", "./site/", "site/"] {
        sandbox.run(&["put", "-r", from, "backup:"]).done();
        assert_eq!(keys(&sandbox, "backup:"), ".hidden\ncss/a.css\nindex.html\n");
    }
}

#[test]
fn put_r_with_create_new_reports_existing_objects_and_saves_the_rest() {
    let sandbox = Sandbox::new();
    sandbox.write("in/a", "new");
    sandbox.write("in/b", "new");
    sandbox.put("media:a", "old");
    let run = sandbox.run(&["put", "-r", "--create-new", "in", "media:"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("media:a: ") && run.err.contains("AlreadyExists"), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 1 not saved, 1 saved\n"), "{}", run.err);
    assert_eq!((sandbox.cat("media:a"), sandbox.cat("media:b")), ("old".into(), "new".into()));
}

#[test]
fn put_r_reports_symlinks_and_follows_them_with_an_option() {
    let sandbox = Sandbox::new();
    sandbox.write("in/a", "a");
    sandbox.write("elsewhere/b", "b");
    symlink("../elsewhere", sandbox.path("in/link")).unwrap();
    let run = sandbox.run(&["put", "-r", "in", "media:"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("in/link: a symlink, not saved: --follow"), "{}", run.err);
    sandbox.run(&["put", "-r", "--skip-links", "in", "backup:"]).done();
    sandbox.run(&["put", "-r", "--follow", "in", "media:"]).done();
    assert_eq!(
        (keys(&sandbox, "media:"), keys(&sandbox, "backup:")),
        ("a\nlink/b\n".into(), "a\n".into())
    );
}

#[test]
fn put_r_refuses_what_is_no_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "x");
    assert_eq!(sandbox.feed(&["put", "-r", "-", "media:"], b"x").code, Some(2));
    let error = sandbox.run(&["put", "-r", "file", "media:"]).failed(1);
    assert!(error.contains("file is an object: name it without -r"), "{error}");
    sandbox.run(&["put", "-r", "nothing", "media:"]).failed(1);
    assert_eq!(sandbox.run(&["put", "-r", "--if-match", "\"a\"", ".", "media:"]).code, Some(2));
    assert_eq!(keys(&sandbox, "media:"), "");
}

#[test]
fn get_writes_to_the_current_directory_by_default() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/a.txt", "a");
    sandbox.put("media:d/e/b.txt", "b");
    sandbox.run(&["get", "media:d/a.txt"]).done();
    assert_eq!(sandbox.read("a.txt"), "a");
    sandbox.run(&["get", "-r", "media:d"]).done();
    assert_eq!(sandbox.read("e/b.txt"), "b");
}

#[test]
fn get_r_writes_plain_files_without_files_of_the_driver() {
    let sandbox = Sandbox::new();
    // A type that does not follow from the name, and one that follows from the bytes.
    sandbox
        .feed(&["put", "--content-type", "text/x-odd", "--meta", "k=v", "-", "media:d/odd"], b"1")
        .done();
    sandbox.feed(&["put", "-", "media:d/e/png"], b"\x89PNG\r\n\x1a\n").done();
    for destination in ["out", "new/dir/", "./out"] {
        sandbox.run(&["get", "-r", "media:d", destination]).done();
        let mut names: Vec<_> = std::fs::read_dir(sandbox.path(destination))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["e", "odd"], "{destination}");
        assert_eq!(sandbox.read(&format!("{destination}/odd")), "1");
        let attributes = std::process::Command::new("getfattr")
            .arg(sandbox.path(destination).join("odd"))
            .output();
        if let Ok(attributes) = attributes {
            assert_eq!(String::from_utf8_lossy(&attributes.stdout), "");
        }
    }
}

#[test]
fn get_r_never_writes_through_a_symlink_below_its_destination() {
    let sandbox = Sandbox::new();
    for key in ["d/dir/a", "d/file", "d/ok"] {
        sandbox.put(&format!("media:{key}"), "new");
    }
    sandbox.write("outside/dir/kept", "kept");
    sandbox.write("outside/file", "kept");
    std::fs::create_dir(sandbox.path("out")).unwrap();
    symlink("../outside/dir", sandbox.path("out/dir")).unwrap();
    symlink("../outside/file", sandbox.path("out/file")).unwrap();
    for arguments in [&["get", "-r", "media:d", "out"][..], &["get", "media:d/**", "out"]] {
        let run = sandbox.run(arguments);
        assert_eq!(run.code, Some(1), "{}", run.err);
        assert!(!sandbox.exists("outside/dir/a"), "{}", run.err);
        assert_eq!(sandbox.read("outside/file"), "kept", "{}", run.err);
        assert_eq!(sandbox.read("out/ok"), "new");
    }
    // The destination itself may be a symlink, because the user names it.
    symlink("outside", sandbox.path("link")).unwrap();
    sandbox.run(&["get", "-r", "media:d", "link"]).done();
    assert_eq!(sandbox.read("outside/ok"), "new");
}

#[test]
fn get_r_reports_what_cannot_be_written_and_writes_the_rest() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/a", "a");
    sandbox.put("media:d/b/c", "c");
    sandbox.write("out/b", "a file");
    let run = sandbox.run(&["get", "-r", "media:d", "out"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("media:d/b/c -> out/b/c: "), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 1 not saved, 1 saved\n"), "{}", run.err);
    assert_eq!(sandbox.read("out/a"), "a");
    assert_eq!(sandbox.run(&["get", "-r", "media:d", "-"]).code, Some(2));
}

#[test]
fn mv_r_moves_a_directory_with_metadata() {
    let sandbox = Sandbox::new();
    for key in ["a/1", "a/b/2", "ab/3"] {
        sandbox
            .feed(&["put", "--meta", "k=v", "-", &format!("media:{key}")], key.as_bytes())
            .done();
    }
    for (from, to, listed) in [
        ("media:a", "media:c", "c/1\nc/b/2\n"),
        ("media:c/", "backup:d", "d/1\nd/b/2\n"),
        ("backup:d", "./out", "1\nb/2\n"),
        ("./out", "media:a/", "a/1\na/b/2\n"),
    ] {
        sandbox.run(&["mv", "-r", from, to]).done();
        let to = format!("{}/", to.trim_end_matches('/'));
        assert_eq!(keys(&sandbox, &to), listed, "{from} -> {to}");
    }
    assert_eq!(keys(&sandbox, "media:"), "a/1\na/b/2\nab/3\n");
    assert_eq!(keys(&sandbox, "backup:"), "");
    assert!(sandbox.run(&["stat", "media:a/b/2"]).done().contains("user_metadata.k: v"));
    assert!(!sandbox.exists("out/b"), "the directory is empty");
}

#[test]
fn mv_r_into_itself_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/1", "kept");
    for (from, to) in [("media:a", "media:a/b"), ("media:a", "media:a"), ("./media", "media:x")] {
        let error = sandbox.run(&["mv", "-r", from, to]).failed(1);
        assert!(error.contains("Conflict"), "{error}");
    }
    assert_eq!(keys(&sandbox, "media:"), "a/1\n");
}

#[test]
fn a_directory_is_copied_to_one_that_contains_it_and_not_into_itself() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/1", "1");
    sandbox.put("media:a/a/2", "2");
    sandbox.put("media:a/b/a/3", "3");
    let run = sandbox.run(&["cp", "-r", "media:a", "media:"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("media:a/a/2 -> media:a/2: ") && run.err.contains("Conflict"));
    assert_eq!(keys(&sandbox, "media:"), "1\na/1\na/a/2\na/b/a/3\nb/a/3\n");
}

#[test]
fn mv_r_keeps_what_it_cannot_move() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/1", "1");
    sandbox.put("media:a/2/x", "2");
    sandbox.put("backup:a/2", "in the way");
    let run = sandbox.run(&["mv", "-r", "media:a", "backup:a"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.ends_with("anystorage: 1 not moved, 1 moved\n"), "{}", run.err);
    assert_eq!(keys(&sandbox, "media:"), "a/2/x\n");
    let error = sandbox.run(&["mv", "-r", "frozen:a", "backup:b"]).failed(1);
    assert!(error.contains("read-only"), "{error}");
    // A symlink stays where it is.
    symlink("1", sandbox.path("media/a/link")).unwrap();
    let run = sandbox.run(&["mv", "-r", "./media/a", "backup:c"]);
    assert!(run.err.contains("a symlink, not moved"), "{}", run.err);
    assert_eq!(run.code, Some(1));
    assert!(sandbox.exists("media/a/link"));
    sandbox.put("media:a/1", "1");
    sandbox.run(&["mv", "-r", "--skip-links", "./media/a", "backup:d"]).done();
}

#[test]
fn a_dry_run_prints_what_would_happen_and_changes_nothing() {
    let sandbox = Sandbox::new();
    for key in ["a/1", "a/2", "b"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox.write("local/f", "f");
    for (arguments, planned) in [
        (&["rm", "-n", "media:b"][..], "media:b\n"),
        (&["rm", "-rn", "media:a"], "media:a/1\nmedia:a/2\n"),
        (&["rm", "-n", "media:a/*"], "media:a/1\nmedia:a/2\n"),
        (
            &["mv", "-rn", "media:a", "backup:c"],
            "media:a/1 -> backup:c/1\nmedia:a/2 -> backup:c/2\n",
        ),
        (&["mv", "--dry-run", "media:b", "backup:"], "media:b -> backup:b\n"),
        (&["cp", "-rn", "media:a", "./new"], "media:a/1 -> ./new/1\nmedia:a/2 -> ./new/2\n"),
        (&["get", "-rn", "media:a", "new"], "media:a/1 -> ./new/1\nmedia:a/2 -> ./new/2\n"),
        (&["put", "-rn", "local", "media:l"], "local/f -> media:l/f\n"),
        (&["put", "-n", "local/f", "media:"], "local/f -> media:f\n"),
        (&["cp", "-n", "-", "media:b"], "- -> media:b\n"),
        (&["cp", "-n", "media:b", "-"], "media:b -> -\n"),
        (&["get", "-n", "media:b", "-"], "media:b -> -\n"),
    ] {
        assert_eq!(sandbox.run(arguments).done(), planned, "{arguments:?}");
    }
    assert_eq!(keys(&sandbox, "media:"), "a/1\na/2\nb\n");
    assert_eq!(keys(&sandbox, "backup:"), "");
    assert!(!sandbox.exists("new"));
    assert_eq!(sandbox.cat("media:b"), "b");
}
