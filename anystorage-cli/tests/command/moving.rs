//! `mv`.

use std::process::Command;

use crate::support::{Run, Sandbox, skipped};

#[test]
fn an_object_is_moved_with_its_metadata() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["put", "--meta", "k=v", "-", "media:a/1"], b"moved").done();
    for (from, to, now) in [
        ("media:a/1", "media:b/2", "media:b/2"),
        ("media:b/2", "backup:", "backup:2"),
        ("backup:2", "./out/", "./out/2"),
        ("./out/2", "./elsewhere/3", "./elsewhere/3"),
    ] {
        assert_eq!(sandbox.run(&["mv", from, to]).done(), "");
        assert_eq!(sandbox.run(&["exists", from]).silent(), 1, "{from}");
        assert_eq!(sandbox.cat(now), "moved");
        assert!(sandbox.run(&["stat", now]).done().contains("user_metadata.k: v"));
    }
}

#[test]
fn a_move_that_fails_keeps_the_source() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    sandbox.put("backup:b", "in the way");
    for to in ["backup:b/c", "frozen:b", "media:a/b"] {
        let said = sandbox.run(&["mv", "media:a", to]).failed(1);
        assert!(said.contains(&format!("media:a -> {to}: ")), "{said}");
        assert_eq!(sandbox.cat("media:a"), "kept");
    }
    sandbox.run(&["mv", "media:nothing", "backup:x"]).failed(1);
}

#[test]
fn nothing_is_copied_out_of_a_storage_that_is_read_only() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    let said = sandbox.run(&["mv", "frozen:a", "backup:a"]).failed(1);
    assert!(said.contains("frozen:a -> backup:a: ") && said.contains("PermissionDenied"), "{said}");
    assert!(said.contains("anystorage cp"), "{said}");
    assert_eq!(sandbox.run(&["exists", "backup:a"]).silent(), 1);
    assert_eq!(sandbox.cat("media:a"), "kept");
}

#[test]
fn a_source_that_cannot_be_deleted_is_told_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "both");
    // Nothing about this storage tells beforehand that it cannot be written to.
    let script = "mkdir frozen; mount --bind media frozen; mount -o remount,bind,ro frozen; \
                  exec \"$0\" mv ./frozen/a backup:a";
    if let Some(said) = with_mounts(&sandbox, script) {
        assert!(said.contains("./frozen/a -> backup:a: ") && said.contains("PermissionDenied"), "{said}");
        assert_eq!(sandbox.cat("backup:a"), "both");
    }
    assert_eq!(sandbox.cat("media:a"), "both");
}

#[test]
fn an_object_moved_onto_itself_in_a_way_that_cannot_be_seen_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    // The same files again, as another file system shows them: no comparison of paths can tell.
    let script = "mkdir other; mount --bind media other; exec \"$0\" mv ./other/a media:a";
    if let Some(said) = with_mounts(&sandbox, script) {
        assert!(said.contains("the source has changed since it was copied"), "{said}");
    }
    assert_eq!(sandbox.cat("media:a"), "kept");
}

#[test]
fn directories_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "b");
    assert_eq!(sandbox.run(&["mv", "media:a/", "backup:a/"]).code, Some(2));
    assert_eq!(sandbox.run(&["mv", "-r", "media:a/", "backup:a/"]).code, Some(2));
    assert_eq!(sandbox.run(&["mv", "-", "backup:a"]).code, Some(2));
    assert_eq!(sandbox.cat("media:a/b"), "b");
}

/// What the command says that ends a shell script with mounts of its own, and fails. `None` where nobody may mount.
fn with_mounts(sandbox: &Sandbox, script: &str) -> Option<String> {
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-ec", script, env!("CARGO_BIN_EXE_anystorage")])
        .current_dir(sandbox.path(""))
        .env("STORAGE_CONFIG", "storages.toml")
        .output();
    let reason = match run {
        Ok(run) if String::from_utf8_lossy(&run.stderr).contains("anystorage: ") => {
            return Some(Run::from(run).failed(1));
        }
        // It went well, and so said nothing, where it should not have.
        Ok(run) if run.status.success() => panic!("{run:?}"),
        Ok(run) => String::from_utf8_lossy(&run.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    skipped(&format!("no bind mount here: {reason}"));
    None
}
