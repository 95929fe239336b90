//! `mv`.

use crate::support::{Sandbox, ignores_permissions, skipped};

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
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    if ignores_permissions(&sandbox.path("")) {
        return skipped("permissions do not bind this user");
    }
    sandbox.put("media:dir/a", "both");
    let mode = |mode| std::fs::set_permissions(sandbox.path("media/dir"), std::fs::Permissions::from_mode(mode));
    mode(0o555).unwrap();
    let said = sandbox.run(&["mv", "media:dir/a", "backup:a"]).failed(1);
    mode(0o755).unwrap();
    assert!(said.contains("PermissionDenied"), "{said}");
    assert_eq!(sandbox.cat("media:dir/a") + &sandbox.cat("backup:a"), "bothboth");
}

#[test]
fn an_object_moved_onto_itself_in_a_way_that_cannot_be_seen_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    // The same files again, as another file system shows them: no comparison of paths can tell.
    let mounted = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-ec"])
        .arg("mkdir other; mount --bind media other; exec \"$0\" mv ./other/a media:a")
        .arg(env!("CARGO_BIN_EXE_anystorage"))
        .current_dir(sandbox.path(""))
        .env("STORAGE_CONFIG", "storages.toml")
        .output();
    match mounted {
        Ok(run) if String::from_utf8_lossy(&run.stderr).contains("anystorage: ") => {
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(run.status.code(), Some(1), "{said}");
            assert!(said.contains("the source has changed since it was copied"), "{said}");
        }
        Ok(run) => skipped(&format!("no bind mount here: {}", String::from_utf8_lossy(&run.stderr))),
        Err(error) => skipped(&format!("no bind mount here: {error}")),
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
