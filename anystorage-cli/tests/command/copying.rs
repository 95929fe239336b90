//! Copying with `cp`.

use crate::support::{Sandbox, ignores_permissions};

#[test]
fn an_object_is_copied_with_its_metadata() {
    let sandbox = Sandbox::new();
    sandbox
        .feed(
            &[
                "put",
                "--content-type",
                "text/x-odd",
                "--cache-control",
                "no-store",
                "--meta",
                "k=v",
                "-",
                "media:a",
            ],
            b"1",
        )
        .done();
    // Within a storage, to another storage, to a file, and from a file.
    for (from, to) in [
        ("media:a", "media:b"),
        ("media:a", "backup:a"),
        ("backup:a", "./out/a"),
        ("./out/a", "media:c"),
    ] {
        assert_eq!(sandbox.run(&["cp", from, to]).done(), "");
        let shown = sandbox.run(&["stat", to]).done();
        for line in
            ["size: 1", "content_type: text/x-odd", "cache_control: no-store", "user_metadata.k: v"]
        {
            assert!(shown.lines().any(|shown| shown == line), "{to}: {line} is missing in {shown}");
        }
    }
    assert_eq!(sandbox.cat("media:a"), "1");
}

#[test]
fn cp_adds_the_name_to_a_directory() {
    let sandbox = Sandbox::new();
    sandbox.put("media:deep/a.txt", "a");
    std::fs::create_dir(sandbox.path("there")).unwrap();
    for to in ["backup:", "backup:below/", "./there", "./made/"] {
        sandbox.run(&["cp", "media:deep/a.txt", to]).done();
    }
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "a.txt\nbelow/a.txt\n");
    assert_eq!(sandbox.read("there/a.txt") + &sandbox.read("made/a.txt"), "aa");
}

#[test]
fn a_dash_is_standard_input_or_output() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["cp", "-", "media:a"], b"piped").done();
    assert_eq!(sandbox.run(&["cp", "media:a", "-"]).done(), "piped");
    for wrong in [
        &["cp", "-", "-"][..],
        &["cp", "-r", "-", "media:"],
        &["cp", "-r", "media:", "-"],
        &["cp", "-", "media:"],
    ] {
        assert_eq!(sandbox.run(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_copy_of_a_missing_source_creates_nothing() {
    let sandbox = Sandbox::new();
    let error = sandbox.run(&["cp", "media:nothing", "./new/dir/a"]).failed(1);
    assert!(
        error.contains("media:nothing -> ./new/dir/a: ") && error.contains("NotFound"),
        "{error}"
    );
    assert!(!sandbox.exists("new"));
    sandbox.run(&["cp", "./nothing", "./new/dir/a"]).failed(1);
    sandbox.run(&["cp", "./no/such/directory", "./new/dir/a"]).failed(1);
    assert!(!sandbox.exists("new"));
}

#[test]
fn a_copy_onto_itself_is_refused_and_loses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "kept");
    let absolute = sandbox.path("media/a/b").display().to_string();
    for (from, to) in [
        ("media:a/b", "media:a/b"),
        ("media:a/b", "media:a/"),
        ("media:a/b", "./media/a/b"),
        ("./media/a/b", "media:a/b"),
        ("./media/a/b", &absolute),
        ("frozen:a/b", "media:a/b"),
        ("./media/a/b", "./media/a"),
    ] {
        for command in ["cp", "mv"] {
            let error = sandbox.run(&[command, from, to]).failed(1);
            assert!(error.contains("the same object"), "{error}");
            assert_eq!(sandbox.cat("media:a/b"), "kept");
        }
    }
}

#[test]
fn cp_r_copies_a_directory() {
    let sandbox = Sandbox::new();
    for key in ["a/1.txt", "a/b/2.txt", "ab/3.txt", "c"] {
        sandbox
            .feed(&["put", "--meta", "k=v", "-", &format!("media:{key}")], key.as_bytes())
            .done();
    }
    assert_eq!(sandbox.run(&["cp", "-r", "media:a", "backup:x"]).done(), "");
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "x/1.txt\nx/b/2.txt\n");
    assert!(sandbox.run(&["stat", "backup:x/b/2.txt"]).done().contains("user_metadata.k: v"));
    assert_eq!(sandbox.cat("backup:x/b/2.txt"), "a/b/2.txt");

    sandbox.run(&["cp", "-r", "--concurrency", "1", "media:", "./out"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "./out"]).done(), "a/1.txt\na/b/2.txt\nab/3.txt\nc\n");
    sandbox.run(&["cp", "--recursive", "./out/a/", "media:again/"]).done();
    assert_eq!(sandbox.run(&["ls", "-r", "media:again"]).done(), "again/1.txt\nagain/b/2.txt\n");
    sandbox.run(&["cp", "-r", "media:a", "media:within"]).done();
    assert_eq!(sandbox.cat("media:within/b/2.txt"), "a/b/2.txt");
}

#[test]
fn cp_r_does_not_copy_siblings_of_a_directory() {
    let sandbox = Sandbox::new();
    for key in ["a/1", "a.txt", "a-b/2", "ab/3"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    for to in ["backup:x", "backup:y/", "backup:"] {
        sandbox.run(&["cp", "-r", "media:a", to]).done();
    }
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "1\nx/1\ny/1\n");
}

#[test]
fn cp_r_copies_more_objects_than_its_concurrency() {
    let sandbox = Sandbox::new();
    for number in 0..200 {
        sandbox.write(&format!("media/{number:03}"), number.to_string());
    }
    sandbox.run(&["cp", "-r", "--concurrency", "7", "media:", "backup:"]).done();
    let keys = sandbox.run(&["ls", "backup:"]).done();
    assert_eq!(keys.lines().count(), 200);
    assert_eq!(sandbox.cat("backup:123"), "123");
    for wrong in ["0", "many", "-1"] {
        assert_eq!(
            sandbox.run(&["cp", "-r", "--concurrency", wrong, "media:", "backup:"]).code,
            Some(2)
        );
    }
}

#[test]
fn cp_r_reports_a_failed_object_and_copies_the_others() {
    let sandbox = Sandbox::new();
    for key in ["a", "b/c", "d"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    // `b` is a directory in one storage and an object in the other.
    sandbox.put("backup:b", "in the way");
    let run = sandbox.run(&["cp", "-r", "media:", "backup:"]);
    assert_eq!((run.code, run.out.len()), (Some(1), 0));
    let lines: Vec<_> = run.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("anystorage: media:b/c -> backup:b/c: ")
            && lines[0].contains("Conflict"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "anystorage: 1 not copied, 2 copied");
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "a\nb\nd\n");
    assert_eq!(sandbox.cat("backup:b"), "in the way");
}

#[test]
fn cp_r_reports_an_unreadable_object() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "a");
    sandbox.put("media:z", "z");
    // Root can read every file, so the test uses an invalid name instead.
    if ignores_permissions(&sandbox.path("")) {
        sandbox.write("media/odd\nname", "odd");
    } else {
        sandbox.put("media:odd", "odd");
        std::fs::set_permissions(sandbox.path("media/odd"), std::fs::Permissions::from_mode(0o000))
            .unwrap();
    }
    let run = sandbox.run(&["cp", "-r", "media:", "backup:"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("media:odd") && run.err.ends_with("anystorage: 1 not copied, 2 copied\n"),
        "{}",
        run.err
    );
    assert_eq!(sandbox.run(&["ls", "backup:"]).done(), "a\nz\n");
}

#[test]
fn cp_r_refuses_to_copy_a_directory_into_itself() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b/c", "c");
    let root = sandbox.path("media").display().to_string();
    for (from, to) in [
        ("media:", "media:a/"),
        ("media:a", "media:a"),
        ("media:a", "media:a/b"),
        ("media:", "./media/new/deep"),
        ("./media", "media:a"),
        ("./media", &root),
    ] {
        let error = sandbox.run(&["cp", "-r", from, to]).failed(1);
        assert!(error.contains("inside the other"), "{from} {to}: {error}");
    }
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a/b/c\n");
    assert!(!sandbox.exists("media/new"));
    sandbox.run(&["cp", "-r", "media:a/", "media:ab/"]).done();
}

#[test]
fn cp_r_reports_a_missing_directory() {
    let sandbox = Sandbox::new();
    sandbox.put("media:file", "x");
    for from in ["media:nothing", "media:file", "./nothing", "./no/such/"] {
        let error = sandbox.run(&["cp", "-r", from, "backup:"]).failed(1);
        assert!(error.contains("NotFound"), "{from}: {error}");
    }
    let error = sandbox.run(&["cp", "-r", "media:file", "backup:"]).failed(1);
    assert!(error.contains("media:file is an object: name it without -r"), "{error}");
    for beginning in ["media:fi", "./media/fi"] {
        let error = sandbox.run(&["cp", "-r", beginning, "backup:"]).failed(1);
        assert!(error.contains(&format!("anystorage ls -r {beginning} shows")), "{error}");
    }
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "");
    // A whole storage may be empty.
    sandbox.run(&["cp", "-r", "backup:", "media:x/"]).done();
}

#[test]
fn cp_without_r_refuses_a_directory() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "b");
    for from in ["media:a/", "media:", "./media/a"] {
        assert_eq!(sandbox.run(&["cp", from, "backup:x"]).code, Some(2), "{from}");
    }
}

#[test]
fn an_unreadable_directory_is_reported_and_the_rest_is_copied_listed_and_deleted() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    for key in ["media:a", "media:closed/b", "media:d/e", "media:z"] {
        sandbox.put(key, "x");
    }
    let close = |mode| {
        std::fs::set_permissions(
            sandbox.path("media/closed"),
            std::fs::Permissions::from_mode(mode),
        )
        .unwrap();
    };
    sandbox.give_to_unprivileged();
    close(0o000);
    let copied = sandbox.run_unprivileged(&["cp", "-r", "media:", "backup:"]);
    let listed = sandbox.run_unprivileged(&["ls", "-r", "media:"]);
    let level = sandbox.run_unprivileged(&["ls", "media:"]).done();
    let deleted = sandbox.run_unprivileged(&["rm", "-r", "--everything", "media:"]);
    close(0o755);
    assert_eq!((copied.code, listed.code, deleted.code), (Some(1), Some(1), Some(1)), "{copied:?}");
    assert!(copied.err.starts_with("anystorage: media:closed/: "), "{}", copied.err);
    assert!(copied.err.ends_with("anystorage: 1 not copied, 3 copied\n"), "{}", copied.err);
    assert!(listed.err.starts_with("anystorage: media:closed/: "), "{}", listed.err);
    assert_eq!(String::from_utf8(listed.out).unwrap(), "a\nd/e\nz\n");
    assert_eq!(level, "a\nclosed/\nd/\nz\n");
    assert!(deleted.err.starts_with("anystorage: media:closed/: "), "{}", deleted.err);
    assert!(deleted.err.ends_with("anystorage: 1 not deleted, 3 deleted\n"), "{}", deleted.err);
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "a\nd/e\nz\n");
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "closed/b\n");
}
