//! Patterns in keys.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["x/1.png", "x/2.png", "x/3.txt", "x/deep/4.png", "y/5.png", "top.png"] {
        sandbox.put(&format!("media:{key}"), key);
    }
    sandbox
}

fn keys(sandbox: &Sandbox, location: &str) -> String {
    sandbox.run(&["ls", "-r", location]).done()
}

#[test]
fn ls_lists_what_a_pattern_matches() {
    let sandbox = sandbox();
    for (pattern, listed) in [
        ("media:x/*.png", "x/1.png\nx/2.png\n"),
        ("media:x/**/*.png", "x/1.png\nx/2.png\nx/deep/4.png\n"),
        ("media:*/[45].png", "y/5.png\n"),
        ("media:x/{1,3}.*", "x/1.png\nx/3.txt\n"),
        ("media:?", "x/\ny/\n"),
        ("./media/x/*.png", "1.png\n2.png\n"),
        ("./med*/y/*", "media/y/5.png\n"),
    ] {
        assert_eq!(sandbox.run(&["ls", pattern]).done(), listed, "{pattern}");
    }
    assert_eq!(
        sandbox.run(&["ls", "-r", "media:x/d*"]).done(),
        "x/deep/4.png\n",
        "a recursive pattern lists what is below a matching directory"
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let sandbox = sandbox();
    for arguments in [
        &["ls", "media:x/*.gif"][..],
        &["cat", "media:x/*.gif"],
        &["get", "media:x/*.gif", "out"],
        &["cp", "media:x/*.gif", "backup:"],
        &["mv", "media:x/*.gif", "backup:"],
        &["rm", "media:x/1.png", "media:x/*.gif"],
        &["put", "x/*.gif", "media:"],
    ] {
        let run = sandbox.run(arguments);
        assert_eq!((run.code, run.out.len()), (Some(1), 0), "{arguments:?}: {}", run.err);
        assert!(run.err.contains("NotFound"), "{arguments:?}: {}", run.err);
    }
    assert_eq!(keys(&sandbox, "media:").lines().count(), 6, "nothing was deleted");
    assert!(!sandbox.exists("out"));
}

#[test]
fn an_object_whose_name_holds_the_character_wins_over_the_pattern() {
    let sandbox = sandbox();
    sandbox.put("media:x/*.png", "literal");
    assert_eq!(sandbox.run(&["ls", "media:x/*.png"]).done(), "x/*.png\n");
    assert_eq!(sandbox.cat("media:x/*.png"), "literal");
    sandbox.run(&["cp", "media:x/*.png", "backup:copy"]).done();
    assert_eq!(sandbox.cat("backup:copy"), "literal");
    sandbox.run(&["get", "media:x/*.png", "file"]).done();
    assert_eq!(sandbox.read("file"), "literal");
    sandbox.run(&["rm", "media:x/*.png"]).done();
    assert_eq!(sandbox.run(&["ls", "media:x/*.png"]).done(), "x/1.png\nx/2.png\n");
    // A directory wins with -r.
    sandbox.put("media:[x]/a", "a");
    sandbox.run(&["rm", "-r", "media:[x]"]).done();
    assert!(keys(&sandbox, "media:").contains("x/1.png"));
}

#[test]
fn cp_of_a_pattern_keeps_the_keys_below_its_directory() {
    let sandbox = sandbox();
    sandbox.run(&["cp", "media:x/**/*.png", "backup:to"]).done();
    assert_eq!(keys(&sandbox, "backup:"), "to/1.png\nto/2.png\nto/deep/4.png\n");
    sandbox.run(&["cp", "media:*.png", "./out"]).done();
    assert_eq!(sandbox.read("out/top.png"), "top.png");
    sandbox.run(&["cp", "-r", "media:[xy]", "./all"]).done();
    assert_eq!(keys(&sandbox, "./all").lines().count(), 5);
}

#[test]
fn a_copy_of_a_pattern_onto_itself_is_refused() {
    let sandbox = sandbox();
    let error = sandbox.run(&["cp", "media:x/*.png", "media:x"]).failed(1);
    assert!(error.contains("Conflict"), "{error}");
    let error = sandbox.run(&["cp", "media:x/**", "media:x/deep"]).failed(1);
    assert!(error.contains("Conflict"), "{error}");
    // The copies do not match the pattern.
    sandbox.run(&["cp", "media:x/*.png", "media:x/thumbs"]).done();
    assert_eq!(keys(&sandbox, "media:x/thumbs/"), "x/thumbs/1.png\nx/thumbs/2.png\n");
}

#[test]
fn mv_of_a_pattern_moves_what_matches() {
    let sandbox = sandbox();
    sandbox.run(&["mv", "media:x/*.png", "backup:in/"]).done();
    assert_eq!(keys(&sandbox, "backup:"), "in/1.png\nin/2.png\n");
    assert_eq!(keys(&sandbox, "media:x/"), "x/3.txt\nx/deep/4.png\n");
}

#[test]
fn cat_of_a_pattern_writes_all_objects_in_order() {
    assert_eq!(sandbox().cat("media:x/*"), "x/1.pngx/2.pngx/3.txt");
}

#[test]
fn rm_of_a_pattern_deletes_what_matches() {
    let sandbox = sandbox();
    sandbox.run(&["rm", "media:x/*.png", "media:top.png"]).done();
    assert_eq!(keys(&sandbox, "media:"), "x/3.txt\nx/deep/4.png\ny/5.png\n");
    sandbox.run(&["rm", "-r", "media:x*"]).done();
    assert_eq!(keys(&sandbox, "media:"), "y/5.png\n");
}

#[test]
fn a_pattern_that_matches_a_whole_storage_needs_everything() {
    let sandbox = sandbox();
    for arguments in
        [&["rm", "media:**"][..], &["rm", "-r", "media:*"], &["rm", "-r", "media:**/*"]]
    {
        let error = sandbox.run(arguments).failed(2);
        assert!(error.contains("--everything"), "{arguments:?}: {error}");
    }
    assert_eq!(keys(&sandbox, "media:").lines().count(), 6);
    sandbox.run(&["rm", "-r", "--everything", "media:*"]).done();
    assert_eq!(keys(&sandbox, "media:"), "");
}

#[test]
fn rm_of_a_pattern_reports_a_failure_and_continues() {
    let sandbox = sandbox();
    sandbox.write("media/x/line\nbreak.png", "odd");
    let run = sandbox.run(&["rm", "media:x/*.png"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains(r"media:x/line\nbreak.png: "), "{}", run.err);
    assert!(run.err.ends_with("anystorage: 1 not deleted, 2 deleted\n"), "{}", run.err);
    // An invalid name that does not match has no effect on the command.
    sandbox.run(&["rm", "media:x/*.txt"]).done();
}

#[test]
fn an_invalid_pattern_is_a_usage_error() {
    let sandbox = sandbox();
    for command in
        [&["ls", "media:x/[a"][..], &["rm", "media:x/[a"], &["cp", "media:{a", "backup:"]]
    {
        let error = sandbox.run(command).failed(2);
        assert!(error.contains("not a valid pattern"), "{error}");
    }
    let error = sandbox.run(&["rm", "media:*/"]).failed(2);
    assert!(error.contains("add -r"), "{error}");
}

#[test]
fn put_of_a_pattern_saves_local_files() {
    let sandbox = Sandbox::new();
    for name in ["in/a.css", "in/b.css", "in/c.txt", "in/deep/d.css"] {
        sandbox.write(name, name);
    }
    std::os::unix::fs::symlink("a.css", sandbox.path("in/link.css")).unwrap();
    std::os::unix::fs::symlink("a.css", sandbox.path("in/link.txt")).unwrap();
    let run = sandbox.run(&["put", "in/*.css", "media:css"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("in/link.css: a symlink, not saved"), "{}", run.err);
    assert!(!run.err.contains("link.txt"), "{}", run.err);
    assert_eq!(keys(&sandbox, "media:"), "css/a.css\ncss/b.css\n");
}
