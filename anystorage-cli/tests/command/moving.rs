//! `mv`.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_testkit::http::{Request, Response};

use crate::fake;
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

#[cfg(unix)]
#[test]
fn a_move_within_a_storage_renames_the_file() {
    use std::os::unix::fs::MetadataExt;

    let sandbox = Sandbox::new();
    sandbox.put("media:a", "moved");
    let inode = |name: &str| std::fs::metadata(sandbox.path(name)).unwrap().ino();
    let before = inode("media/a");
    sandbox.run(&["mv", "media:a", "media:b/c"]).done();
    assert_eq!(inode("media/b/c"), before);
    assert!(!sandbox.exists("media/a"));
}

#[test]
fn a_failed_move_keeps_the_source() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    sandbox.put("backup:b", "in the way");
    for to in ["backup:b/c", "frozen:b", "media:a/b"] {
        let error = sandbox.run(&["mv", "media:a", to]).failed(1);
        assert!(error.contains(&format!("media:a -> {to}: ")), "{error}");
        assert_eq!(sandbox.cat("media:a"), "kept");
    }
    sandbox.run(&["mv", "media:nothing", "backup:x"]).failed(1);
}

#[test]
fn a_move_out_of_a_read_only_storage_copies_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    let error = sandbox.run(&["mv", "frozen:a", "backup:a"]).failed(1);
    assert!(
        error.contains("frozen:a -> backup:a: ") && error.contains("PermissionDenied"),
        "{error}"
    );
    assert!(error.contains("anystorage cp"), "{error}");
    assert_eq!(sandbox.run(&["exists", "backup:a"]).silent(), 1);
    assert_eq!(sandbox.cat("media:a"), "kept");
}

#[test]
fn a_move_reports_a_source_that_cannot_be_deleted() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "both");
    // The capabilities of this storage do not show that it is read-only.
    let script = "mkdir frozen; mount --bind media frozen; mount -o remount,bind,ro frozen; \
                  exec \"$0\" mv ./frozen/a backup:a";
    if let Some(error) = with_mounts(&sandbox, script) {
        assert!(
            error.contains("./frozen/a -> backup:a: ") && error.contains("PermissionDenied"),
            "{error}"
        );
        assert_eq!(sandbox.cat("backup:a"), "both");
    }
    assert_eq!(sandbox.cat("media:a"), "both");
}

#[test]
fn a_move_onto_the_same_object_through_a_mount_keeps_it() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    // The same files at another mount point, which a comparison of paths cannot detect.
    let script = "mkdir other; mount --bind media other; exec \"$0\" mv ./other/a media:a";
    if let Some(error) = with_mounts(&sandbox, script) {
        assert!(error.contains("may be the same object; nothing was changed"), "{error}");
    }
    assert_eq!(sandbox.cat("media:a"), "kept");
}

#[test]
fn a_move_between_a_cache_and_its_origin_keeps_the_object() {
    for (from, to) in [("cache:k", "media:k"), ("media:k", "cache:k")] {
        let sandbox = Sandbox::new();
        sandbox.write(
            "storages.toml",
            "[storages.media]\ndriver = 'fs'\nroot = 'media'\n\
             [storages.cache]\ndriver = 'http-cache'\nmirror = 'http://127.0.0.1:1/'\norigin = 'media'\n",
        );
        sandbox.put("media:k", "kept");
        let error = sandbox.run(&["mv", from, to]).failed(1);
        assert!(error.contains("may be the same object"), "{error}");
        assert_eq!(sandbox.cat("media:k"), "kept");
    }
}

/// The response of a server that states when the file was modified.
fn seen(modified: &str) -> Response {
    Response::new("200 OK").header("Last-Modified", format!("{modified} 00:00:00 GMT"))
}

fn is_to_localhost(request: &Request) -> bool {
    request.header("host").is_some_and(|host| host.contains("localhost"))
}

#[test]
fn a_move_between_two_host_names_of_one_server_changes_nothing() {
    // The same ETag for both names, different ETags, and none.
    let etags: [fn(&Request) -> &'static str; 3] = [
        |_| "ETag: \"a\"\r\n",
        |request| if is_to_localhost(request) { "ETag: \"b\"\r\n" } else { "ETag: \"c\"\r\n" },
        |_| "",
    ];
    for etag in etags {
        let sandbox = Sandbox::new();
        let fake =
            fake::server_of_hello(move |request| seen("Tue, 01 Dec 2020").headers(etag(request)));
        sandbox.write(
            "storages.toml",
            fake::storage(&fake, "a", "127.0.0.1") + &fake::storage(&fake, "b", "localhost"),
        );
        let error = sandbox.run(&["mv", "a:k.txt", "b:k.txt"]).failed(1);
        assert!(error.contains("may be the same object; nothing was changed"), "{error}");
        assert!(fake::was_only_looked_at(&fake), "{:?}", fake.requests());
    }
}

/// A server may show one file at two paths, because of a link between its directories.
#[test]
fn a_move_between_two_paths_of_one_server_changes_nothing() {
    let sandbox = Sandbox::new();
    let fake = fake::server_of_hello(|_| seen("Tue, 01 Dec 2020").header("ETag", "\"a\""));
    sandbox.write("storages.toml", fake::storage(&fake, "a", "127.0.0.1"));
    let error = sandbox.run(&["mv", "a:here/k.txt", "a:there/k.txt"]).failed(1);
    assert!(error.contains("may be the same object; nothing was changed"), "{error}");
    assert!(fake::was_only_looked_at(&fake), "{:?}", fake.requests());
}

#[test]
fn a_move_keeps_the_source_if_the_destination_becomes_the_source_during_the_copy() {
    let sandbox = Sandbox::new();
    let requests = AtomicUsize::new(0);
    // The first request for the destination returns an older object, all others return the source.
    let fake = fake::server_of_hello(move |request| {
        let is_first = is_to_localhost(request) && requests.fetch_add(1, Ordering::SeqCst) == 0;
        let year = if is_first { "Mon, 02 Dec 2019" } else { "Tue, 01 Dec 2020" };
        seen(year).header("ETag", "\"a\"")
    });
    sandbox.write(
        "storages.toml",
        fake::storage(&fake, "a", "127.0.0.1") + &fake::storage(&fake, "b", "localhost"),
    );
    let error = sandbox.run(&["mv", "a:k.txt", "b:k.txt"]).failed(1);
    assert!(error.contains("the source was kept"), "{error}");
    assert!(fake.count("PUT") > 0 && fake.count("DELETE") == 0, "{:?}", fake.requests());
}

#[test]
fn a_move_of_a_source_without_a_time_over_an_object_of_its_size_is_refused() {
    let sandbox = Sandbox::new();
    let fake = fake::server_of_hello(|_| Response::new("200 OK"));
    sandbox.write(
        "storages.toml",
        fake::storage(&fake, "a", "127.0.0.1")
            + "[storages.media]\ndriver = 'fs'\nroot = 'media'\n",
    );
    sandbox.put("media:k", "HELLO");
    sandbox.run(&["mv", "a:k.txt", "media:k"]).failed(1);
    assert!(fake.count("DELETE") == 0);
    assert_eq!(sandbox.cat("media:k"), "HELLO");
}

#[test]
fn a_move_does_not_write_if_the_destination_cannot_be_checked() {
    let sandbox = Sandbox::new();
    let fake = fake::server_of_hello(|request| match &*request.method {
        "HEAD" => Response::new("403 Forbidden"),
        _ => Response::new("200 OK"),
    });
    sandbox.write(
        "storages.toml",
        fake::storage(&fake, "a", "127.0.0.1")
            + "[storages.media]\ndriver = 'fs'\nroot = 'media'\n",
    );
    sandbox.put("media:k", "kept");
    let error = sandbox.run(&["mv", "media:k", "a:k.txt"]).failed(1);
    assert!(
        error.contains("cannot check whether the destination is the source")
            && error.contains("PermissionDenied"),
        "{error}"
    );
    assert!(fake.count("PUT") == 0);
    assert_eq!(sandbox.cat("media:k"), "kept");
}

#[test]
fn an_object_replaces_another_one_of_the_same_size() {
    let sandbox = Sandbox::new();
    for to in ["backup:a", "media:b", "./media/B"] {
        sandbox.put("media:a", "1");
        sandbox.put(to, "2");
        assert_eq!(sandbox.run(&["mv", "media:a", to]).done(), "");
        assert_eq!(sandbox.cat(to), "1");
        assert_eq!(sandbox.run(&["exists", "media:a"]).silent(), 1);
    }
}

#[test]
fn a_move_between_two_hard_links_keeps_the_content() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "kept");
    std::fs::hard_link(sandbox.path("media/a"), sandbox.path("media/b")).unwrap();
    sandbox.run(&["mv", "media:a", "media:b"]).done();
    assert_eq!(sandbox.run(&["ls", "media:"]).done(), "b\n");
    assert_eq!(sandbox.cat("media:b"), "kept");
}

#[test]
fn mv_without_r_refuses_directories() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b", "b");
    assert_eq!(sandbox.run(&["mv", "media:a/", "backup:a/"]).code, Some(2));
    assert_eq!(sandbox.run(&["mv", "-", "backup:a"]).code, Some(2));
    assert_eq!(sandbox.cat("media:a/b"), "b");
}

/// Runs a shell script with its own mounts that ends with a failing command. Returns its error
/// line, or `None` if mounts are not possible.
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
        // The command must not succeed.
        Ok(run) if run.status.success() => panic!("{run:?}"),
        Ok(run) => String::from_utf8_lossy(&run.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    skipped(&format!("no bind mount here: {reason}"));
    None
}
