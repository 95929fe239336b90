//! Trees: files of other programs are objects, objects are plain files, and a listing is in byte
//! order of the whole key.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Scratch, items, level, names, read, refused, skip};
use storage_core::{Entry, ErrorKind, Prefix};
use storage_testkit::jobs;

#[tokio::test]
async fn a_file_that_another_program_wrote_is_an_object() {
    let scratch = Scratch::new();
    scratch.put("photos/2026/ada.png", b"not really a picture");
    let storage = scratch.storage();

    let meta = storage.stat("photos/2026/ada.png").await.unwrap();
    assert_eq!((meta.size, meta.content_type()), (20, Some("image/png")));
    assert_eq!(names(&storage, "").await.unwrap(), ["photos/2026/ada.png"]);
    assert_eq!(
        storage.open("photos/2026/ada.png").range(4..10).await.unwrap().text().await.unwrap(),
        "really"
    );
    storage.copy("photos/2026/ada.png", "copy.png").await.unwrap();
    assert_eq!(fs::read(scratch.file("copy.png")).unwrap(), b"not really a picture");
    storage.delete("photos/2026/ada.png").await.unwrap();
    assert_eq!(scratch.plain_tree(), ["copy.png"]);
}

#[tokio::test]
async fn a_foreign_file_without_an_extension_gets_a_content_type_from_its_bytes() {
    let scratch = Scratch::new();
    scratch.put("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    scratch.put("words", "nothing but text");
    let storage = scratch.storage();
    assert_eq!(storage.stat("picture").await.unwrap().content_type(), Some("image/png"));
    let of_words = storage.stat("words").await.unwrap();
    assert_ne!(of_words.content_type(), Some("image/png"));
    assert_eq!(storage.open("picture").await.unwrap().meta().content_type(), Some("image/png"));
}

#[tokio::test]
async fn an_object_is_a_plain_file_at_the_path_of_its_key() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("css/odd name#1%.css", "a {}").cache_control("no-cache").await.unwrap();
    assert_eq!(fs::read(scratch.root().join("css/odd name#1%.css")).unwrap(), b"a {}");
    assert_eq!(scratch.plain_tree(), ["css/", "css/odd name#1%.css"]);
}

#[tokio::test]
async fn dropping_the_driver_removes_an_empty_state_directory() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("a", "1").await.unwrap();
    drop(storage);
    assert_eq!(scratch.tree(), ["a"]);
}

/// A lock file that is removed and created again could be locked twice.
#[tokio::test]
async fn only_lock_files_of_replaced_or_deleted_objects_stay() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("a", "1").await.unwrap();
    storage.save("a", "2").await.unwrap();
    storage.save("b", "1").await.unwrap();
    storage.delete("b").await.unwrap();
    drop(storage);
    assert_eq!(scratch.locks().len(), 2);
    let left: Vec<_> =
        scratch.tree().into_iter().filter(|path| !common::is_lock_file(path)).collect();
    assert_eq!(left, [".anystorage/", ".anystorage/locks/", "a"]);
}

#[tokio::test]
async fn reading_does_not_change_the_root() {
    let scratch = Scratch::new();
    scratch.put("a/b", "1");
    let storage = scratch.storage();
    names(&storage, "").await.unwrap();
    read(&storage, "a/b").await.unwrap();
    storage.delete("missing").await.unwrap();
    assert_eq!(scratch.tree(), ["a/", "a/b"]);
}

#[tokio::test]
async fn a_listing_is_in_byte_order_of_the_whole_key() {
    let scratch = Scratch::new();
    let keys = [
        "a-b", "a.b", "a/b", "a/b-", "a/b.c/d", "a/c", "a0", "aa/a", "A/z", "b", "b-/x", "b./x",
        "b /x", "ab/c/d-e", "ab/c/d/e", "ab/c/d.e", "ab/c-/d", "ü/x", "ü-", "ü0", "a!/x", "a!0",
        "zz",
    ];
    for key in keys {
        if key != "b" {
            scratch.put(key, "");
        }
    }
    let mut expected: Vec<_> = keys.into_iter().filter(|key| *key != "b").collect();
    expected.sort_unstable();
    let storage = scratch.storage();
    assert_eq!(names(&storage, "").await.unwrap(), expected);
    for prefix in ["a", "a/", "a/b", "ab/c/d", "ü", "b", "nothing", "a/b.c/d", "ab/c/d/"] {
        let below: Vec<_> =
            expected.iter().copied().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(names(&storage, prefix).await.unwrap(), below, "{prefix}");
    }
}

/// Compares each start and each prefix with filtering and rolling up all keys.
#[tokio::test]
async fn start_after_and_delimiter_agree_with_filtering_all_keys() {
    let scratch = Scratch::new();
    let keys =
        ["a", "b-c", "b.c", "b/c", "b/c-/d", "b/d/e", "b/d/f", "b/e", "b0/a", "c/c/c/c", "c/c/c0"];
    for key in keys {
        scratch.put(key, "");
    }
    let storage = scratch.storage();
    let starts = [
        "", "a", "b", "b-", "b/", "b/c", "b/c-/", "b/c-/d", "b/d", "b/d/", "b/d/e", "b/d/z", "b/z",
        "c/c/c/", "z",
    ];
    for prefix in ["", "b", "b/", "b/d", "b/d/", "c/c"] {
        for start in starts {
            let after = |name: &str| start.is_empty() || name > start;
            let expected: Vec<_> =
                keys.into_iter().filter(|key| key.starts_with(prefix) && after(key)).collect();
            let listing =
                storage.list(prefix).start_after(start).entries().collect().await.unwrap();
            let found: Vec<_> = listing.iter().map(Entry::name).collect();
            assert_eq!(found, expected, "{prefix:?} after {start:?}");

            let mut rolled: Vec<_> =
                keys.into_iter().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>();
            for name in &mut rolled {
                if let Some(at) = name[prefix.len()..].find('/') {
                    *name = &name[..=prefix.len() + at];
                }
            }
            rolled.dedup();
            rolled.retain(|name| after(name));
            let listing = storage
                .list(prefix)
                .delimiter("/")
                .start_after(start)
                .entries()
                .collect()
                .await
                .unwrap();
            let found: Vec<_> = listing.iter().map(Entry::name).collect();
            assert_eq!(found, rolled, "level of {prefix:?} after {start:?}");
        }
    }
}

#[tokio::test]
async fn empty_directories_are_not_listed() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.file("empty/emptier/emptiest")).unwrap();
    fs::create_dir_all(scratch.file("full/empty")).unwrap();
    scratch.put("full/deep/down/file", "");
    let storage = scratch.storage();
    assert_eq!(names(&storage, "").await.unwrap(), ["full/deep/down/file"]);
    assert_eq!(level(&storage, "").await.unwrap(), ["full/"]);
    assert_eq!(level(&storage, "full/").await.unwrap(), ["full/deep/"]);
    assert!(level(&storage, "empty/").await.unwrap().is_empty());
}

#[tokio::test]
async fn each_invalid_name_is_one_error_and_the_listing_continues() {
    let scratch = Scratch::new();
    scratch.put("a", "");
    scratch.put("d/fine", "");
    scratch.put("z", "");
    fs::write(scratch.root().join(OsStr::from_bytes(b"b\xffd")), "").unwrap();
    fs::write(scratch.root().join("c\nd"), "").unwrap();
    fs::create_dir(scratch.root().join(OsStr::from_bytes(b"e\xff"))).unwrap();
    fs::write(scratch.root().join(OsStr::from_bytes(b"e\xff/x")), "").unwrap();

    let storage = scratch.storage();
    let found = items(&storage, "").await;
    let fine: Vec<_> = found.iter().filter_map(|item| item.as_ref().ok()).collect();
    assert_eq!(fine, ["a", "d/fine", "z"]);
    let odd: Vec<_> = found.into_iter().filter_map(Result::err).collect();
    assert_eq!(odd.len(), 3, "{odd:?}");
    assert!(
        odd.iter().all(|(kind, key)| *kind == ErrorKind::InvalidKey && !key.is_empty()),
        "{odd:?}"
    );
    assert!(odd.iter().any(|(_, key)| key == "c\nd"), "{odd:?}");
    assert!(
        items(&storage, "d/").await.iter().all(Result::is_ok),
        "an invalid name outside of the prefix is an error"
    );
}

/// Directories created one in another can have a path longer than any key.
#[tokio::test]
async fn a_path_longer_than_a_key_is_one_error_and_the_listing_continues() {
    let scratch = Scratch::new();
    let segment = "s".repeat(200);
    let mut directory = scratch.root();
    for _ in 0..5 {
        directory.push(&segment);
        fs::create_dir(&directory).unwrap();
    }
    fs::write(directory.join("t".repeat(100)), "").unwrap();
    fs::write(directory.join("ok"), "").unwrap();
    scratch.put("z", "");

    let found = items(&scratch.storage(), "").await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0].as_deref(), Ok(&*format!("{}ok", format!("{segment}/").repeat(5))));
    assert_eq!(found[1].as_ref().unwrap_err().0, ErrorKind::InvalidKey);
    assert_eq!(found[2].as_deref(), Ok("z"));
}

#[tokio::test]
async fn a_name_longer_than_the_file_system_holds_is_refused_on_saving_and_absent_on_reading() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for long in
        ["x".repeat(256), format!("{}/file", "y".repeat(256)), format!("a/{}", "ü".repeat(128))]
    {
        refused(storage.save(&long, "1").await, ErrorKind::InvalidKey);
        refused(storage.open(&long).await, ErrorKind::NotFound);
        assert!(!storage.exists(&long).await.unwrap());
        storage.delete(&long).await.unwrap();
        assert!(names(&storage, &long).await.unwrap().is_empty());
    }
    assert!(scratch.plain_tree().is_empty(), "{:?}", scratch.plain_tree());
    storage.save("z".repeat(255), "1").await.unwrap();
}

#[tokio::test]
async fn the_state_directory_is_not_listed_and_no_key_reaches_it() {
    let scratch = Scratch::new();
    scratch.put("app/.anystorage/meta/planted", "another root's");
    scratch.put("app/file", "");
    scratch.put(".anystorage/staging/planted", "ours");
    scratch.put(".anystorage/meta/planted", "ours");
    scratch.put("app/.anystorage-not", "a plain file");
    let storage = scratch.storage();

    assert_eq!(names(&storage, "").await.unwrap(), ["app/.anystorage-not", "app/file"]);
    assert_eq!(level(&storage, "").await.unwrap(), ["app/"]);
    assert_eq!(level(&storage, "app/").await.unwrap(), ["app/.anystorage-not", "app/file"]);
    for prefix in [
        ".anystorage",
        ".anystorage/",
        ".anystorage/s",
        ".anystorage/staging/",
        "app/.anystorage/meta/p",
    ] {
        assert_eq!(names(&storage, prefix).await.unwrap(), names_beginning(prefix), "{prefix}");
        assert_eq!(level(&storage, prefix).await.unwrap(), names_beginning(prefix), "{prefix}");
    }
    for key in [
        ".anystorage",
        ".anystorage/meta/planted",
        ".AnyStorage/staging/planted",
        "app/.anystorage/meta/planted",
    ] {
        refused(storage.open(key).await, ErrorKind::InvalidKey);
        refused(storage.stat(key).await, ErrorKind::InvalidKey);
        refused(storage.exists(key).await, ErrorKind::InvalidKey);
        refused(storage.delete(key).await, ErrorKind::InvalidKey);
        refused(storage.save(key, "x").await, ErrorKind::InvalidKey);
        refused(storage.copy(key, "b").await, ErrorKind::InvalidKey);
        refused(storage.copy("app/file", key).await, ErrorKind::InvalidKey);
        refused(storage.url(key).await, ErrorKind::InvalidKey);
    }
    assert_eq!(fs::read(scratch.file(".anystorage/staging/planted")).unwrap(), b"ours");
}

fn names_beginning(prefix: &str) -> Vec<&'static str> {
    ["app/.anystorage-not"].into_iter().filter(|name| name.starts_with(prefix)).collect()
}

#[tokio::test]
async fn a_root_with_only_the_state_directory_is_empty() {
    let scratch = Scratch::new();
    scratch.put("app/.anystorage/meta/planted", "another root's");
    assert!(level(&scratch.storage(), "").await.unwrap().is_empty());
}

#[tokio::test]
async fn deleting_the_last_object_removes_its_empty_parent_directories() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for key in ["a/b/c/one", "a/b/c/two", "a/other"] {
        storage.save(key, "").await.unwrap();
    }
    storage.delete("a/b/c/one").await.unwrap();
    assert_eq!(scratch.plain_tree(), ["a/", "a/b/", "a/b/c/", "a/b/c/two", "a/other"]);
    storage.delete("a/b/c/two").await.unwrap();
    assert_eq!(scratch.plain_tree(), ["a/", "a/other"]);
    storage.delete("a/other").await.unwrap();
    assert!(scratch.plain_tree().is_empty());
    assert!(scratch.root().is_dir(), "the root itself stays");
}

#[tokio::test]
async fn deleting_an_object_keeps_a_parent_directory_that_is_not_empty() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    storage.save("a/b/object", "").await.unwrap();
    std::os::unix::fs::symlink("nowhere", scratch.file("a/b/link")).unwrap();
    storage.delete("a/b/object").await.unwrap();
    assert_eq!(scratch.plain_tree(), ["a/", "a/b/", "a/b/link"]);
}

#[tokio::test]
async fn deleting_a_directory_or_special_file_changes_nothing() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.file("empty/inner")).unwrap();
    let storage = scratch.storage();
    for key in ["empty", "empty/inner", "empty/inner/missing", "missing/missing"] {
        storage.delete(key).await.unwrap();
    }
    assert_eq!(scratch.plain_tree(), ["empty/", "empty/inner/"]);
}

#[tokio::test]
async fn a_deep_tree_is_walked_in_order() {
    let scratch = Scratch::new();
    let mut expected = Vec::new();
    let mut directory = String::new();
    for depth in 0..200 {
        for name in ["0", "z"] {
            let key = format!("{directory}{name}");
            scratch.put(&key, depth.to_string());
            expected.push(key);
        }
        directory.push_str("d/");
    }
    expected.sort_unstable();
    let storage = scratch.storage();
    assert_eq!(names(&storage, "").await.unwrap(), expected);
    assert_eq!(read(&storage, &expected[399]).await.unwrap(), b"0");
}

/// Listings read the disk in batches. An object at a boundary must not be lost, repeated or end the
/// listing.
#[tokio::test]
async fn a_listing_of_any_length_is_complete() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    for count in 0..1_100 {
        scratch.put(&format!("{count:05}"), "");
        if [511, 512, 513, 1023, 1024, 1025].contains(&(count + 1)) {
            let found = names(&storage, "").await.unwrap();
            let expected: Vec<_> = (0..=count).map(|n| format!("{n:05}")).collect();
            assert_eq!(found, expected);
        }
    }
}

/// A replaced object must not be listed twice or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_during_overwrites_shows_each_object_once() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let keys: Vec<_> = (0..600).map(|n| format!("d/{n:04}")).collect();
    for key in &keys {
        scratch.put(key, "0");
    }
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (storage, keys) = (storage.clone(), keys.clone());
            tokio::spawn(async move {
                for round in 0..3 {
                    for key in keys.iter().skip(writer).step_by(2) {
                        storage.save(key, format!("{round}")).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut listings = 0;
    while listings == 0 || writers.iter().any(|writer| !writer.is_finished()) {
        assert_eq!(names(&storage, "").await.unwrap(), keys);
        listings += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Directories two levels below may not be searched. A listing of one level succeeds, and one of
/// all levels reports them.
#[test]
fn a_listing_of_one_level_does_not_walk_the_subtrees() {
    common::as_unprivileged_user(one_level_of_a_closed_tree);
}

fn one_level_of_a_closed_tree() {
    let scratch = Scratch::new();
    for directory in ["a", "b"] {
        scratch.put(&format!("{directory}/file"), "");
        scratch.put(&format!("{directory}/closed/file"), "");
        fs::set_permissions(
            scratch.file(&format!("{directory}/closed")),
            PermissionsExt::from_mode(0o000),
        )
        .unwrap();
    }
    let storage = scratch.storage();
    let runtime = common::poll::single_blocking_thread();
    runtime.block_on(async {
        assert_eq!(level(&storage, "").await.unwrap(), ["a/", "b/"]);
        // Control: a listing of all levels fails.
        refused(names(&storage, "").await, ErrorKind::PermissionDenied);
    });
    for directory in ["a/closed", "b/closed"] {
        fs::set_permissions(scratch.file(directory), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn an_unreadable_directory_is_one_error_and_its_siblings_follow() {
    common::as_unprivileged_user(listing_with_closed_directories);
}

fn listing_with_closed_directories() {
    let scratch = Scratch::new();
    for key in ["a", "closed/1", "closed-too/1", "d/closed/1", "d/x", "names/1", "names/sub/1", "z"]
    {
        scratch.put(key, "");
    }
    // The last directory may be read, but not searched.
    let closed = [("closed", 0o000), ("closed-too", 0o000), ("d/closed", 0o000), ("names", 0o444)];
    let close = |path: &str, mode| {
        fs::set_permissions(scratch.file(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    closed.iter().for_each(|(path, mode)| close(path, *mode));
    let storage = scratch.storage();
    let denied = |key: &str| Err((ErrorKind::PermissionDenied, key.to_owned()));
    let name = |key: &str| Ok(key.to_owned());
    common::poll::single_blocking_thread().block_on(async {
        let all = [
            name("a"),
            denied("closed-too/"),
            denied("closed/"),
            denied("d/closed/"),
            name("d/x"),
            denied("names/"),
            name("z"),
        ];
        assert_eq!(items(&storage, "").await, all);
        assert_eq!(items(&storage, "cl").await, all[1..3]);
        assert_eq!(items(&storage, "d/").await, all[3..5]);
        // A listing of the unreadable directory itself.
        assert_eq!(items(&storage, "closed/").await, all[2..3]);
        assert_eq!(
            level(&storage, "").await.unwrap(),
            ["a", "closed-too/", "closed/", "d/", "names/", "z"]
        );
        assert_eq!(level(&storage, "d/").await.unwrap(), ["d/closed/", "d/x"]);
        // Another delimiter requires reading all levels.
        let odd = storage.list("").delimiter("o").entries();
        let odd: Vec<_> = futures_util::StreamExt::collect::<Vec<_>>(odd).await;
        let errors = odd
            .iter()
            .filter_map(|entry| entry.as_ref().err())
            .map(|error| error.key().unwrap().to_owned());
        assert_eq!(errors.collect::<Vec<_>>(), ["closed-too/", "closed/", "d/closed/", "names/"]);
    });
    closed.iter().for_each(|(path, _)| close(path, 0o755));
}

#[test]
fn deleting_a_prefix_reports_an_unreadable_directory_and_deletes_the_rest() {
    common::as_unprivileged_user(deletion_with_a_closed_directory);
}

fn deletion_with_a_closed_directory() {
    let scratch = Scratch::new();
    for key in ["d/a", "d/closed/1", "d/z", "e"] {
        scratch.put(key, "");
    }
    fs::set_permissions(scratch.file("d/closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let storage = scratch.storage();
    let error = common::poll::single_blocking_thread()
        .block_on(storage.delete_prefix("d/").finish())
        .unwrap_err();
    fs::set_permissions(scratch.file("d/closed"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!((error.kind(), error.key()), (ErrorKind::PermissionDenied, Some("d/closed/")));
    let left = common::poll::single_blocking_thread().block_on(names(&storage, "")).unwrap();
    assert_eq!(left, ["d/closed/1", "e"]);
}

/// Memory contains the names of one directory at each level, not those of the tree.
#[test]
fn the_memory_of_a_listing_is_bounded_by_the_widest_directory() {
    let scratch = Scratch::new();
    for directory in 0..DIRECTORIES {
        let directory = scratch.file(&format!("{directory:03}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..FILES {
            fs::File::create(directory.join(long_name(file))).unwrap();
        }
    }
    let reports = jobs::finish(jobs::command("child", &[], "list", &scratch.root()));
    let [listed, growth] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(listed.parse::<usize>().unwrap(), DIRECTORIES * FILES);
    let growth: usize = growth.parse().unwrap();
    let all_names = DIRECTORIES * FILES * long_name(0).len() / 1024;
    assert!(
        growth < all_names / 3,
        "peak memory grew by {growth} KiB; all names have {all_names} KiB"
    );
}

const DIRECTORIES: usize = 100;
const FILES: usize = 300;

fn long_name(number: usize) -> String {
    format!("{}{number:05}", "n".repeat(240))
}

fn list_all(root: &Path) {
    let storage = storage_core::Storage::new(storage_fs::Fs::builder(root).build().unwrap());
    common::poll::single_blocking_thread().block_on(async {
        // List a small part first, so that the runtime has allocated its memory.
        names(&storage, "000/").await.unwrap();
        let before = peak_memory();
        let mut entries = storage.list(Prefix::empty()).entries();
        let mut listed = 0;
        while let Some(entry) = entries.next().await {
            entry.unwrap();
            listed += 1;
        }
        jobs::report(&listed.to_string());
        jobs::report(&(peak_memory() - before).to_string());
    });
}

/// Returns the peak memory in KiB.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[("list", list_all)]);
}

#[tokio::test]
async fn special_files_and_symlinks_are_not_listed() {
    let scratch = Scratch::new();
    scratch.put("file", "");
    common::fifo(&scratch.file("fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(scratch.file("socket")).unwrap();
    std::os::unix::fs::symlink("file", scratch.file("link")).unwrap();
    std::os::unix::fs::symlink(".", scratch.file("loop")).unwrap();
    if !common::device(&scratch.file("device")) {
        skip("devices cannot be made here");
    }
    let storage = scratch.storage();
    assert_eq!(names(&storage, "").await.unwrap(), ["file"]);
    assert_eq!(level(&storage, "").await.unwrap(), ["file"]);
}
