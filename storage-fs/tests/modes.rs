//! Permission bits, roots, and options from configurations and URLs.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::{Scratch, read, refused};
use rustix::fs::Mode;
use storage_core::config::{Options, StorageConfig, Value};
use storage_core::{ErrorKind, Payload, Registry, Result, Storage};
use storage_fs::{Fs, MetadataStore};
use storage_testkit::jobs;

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    storage_fs::register(&mut registry);
    registry
}

fn open(options: Options) -> Result<Storage> {
    registry().open_config(&StorageConfig::new("fs", options)?)
}

fn options(scratch: &Scratch) -> Options {
    Options::new().with("root", scratch.root().to_str().unwrap())
}

/// Saves in every way, in a process whose umask would change each mode.
fn save_under_umask(root: &Path) {
    for umask in [0o000, 0o077, 0o177] {
        rustix::process::umask(Mode::from_raw_mode(umask));
        for (name, store) in [("auto", MetadataStore::Auto), ("sidecar", MetadataStore::Sidecar)] {
            let base = root.join(format!("{umask:o}-{name}/made/on the way"));
            let builder =
                Fs::builder(&base).file_mode(0o640).dir_mode(0o750).metadata(store).durable(false);
            let storage = Storage::new(builder.build().unwrap());
            common::poll::single_blocking_thread().block_on(async {
                save_in_every_way(&storage).await;
                storage.save("a/new", "2").await.unwrap();
            });
            // Replacing an object uses each directory.
            assert_eq!(mode(base.join(".anystorage")), 0o700);
            assert_eq!(mode(base.join(".anystorage/staging")), 0o700);
            assert_eq!(mode(base.join(".anystorage/locks")), 0o700);
            for lock in fs::read_dir(base.join(".anystorage/locks")).unwrap() {
                assert_eq!(mode(lock.unwrap().path()), 0o600);
            }
        }
    }
    jobs::report("saved");
}

async fn save_in_every_way(storage: &Storage) {
    storage.save("a/b/memory", "1").await.unwrap();
    storage
        .save("a/stream", common::payloads::streaming(vec![b'x'; 3_000_000], 65_536))
        .await
        .unwrap();
    storage.save("a/new", "1").create_new().await.unwrap();
    storage.save("a/new", "1").unique_name().await.unwrap();
    storage.copy("a/new", "c/d/copy").await.unwrap();
}

/// Saves in every way with `respect_umask`.
fn save_with_the_umask(root: &Path) {
    for umask in [0o002, 0o027, 0o077] {
        rustix::process::umask(Mode::from_raw_mode(umask));
        for (name, store) in [("auto", MetadataStore::Auto), ("sidecar", MetadataStore::Sidecar)] {
            let base = root.join(format!("{umask:o}-{name}/made/on the way"));
            let builder = Fs::builder(&base).respect_umask(true).metadata(store).durable(false);
            let storage = Storage::new(builder.build().unwrap());
            common::poll::single_blocking_thread().block_on(async {
                save_in_every_way(&storage).await;
                for path in ["", "a", "a/b", "c/d"] {
                    assert_eq!(mode(base.join(path)), 0o777 & !umask, "{path:?}");
                }
                for path in ["a/b/memory", "a/stream", "a/new", "c/d/copy"] {
                    assert_eq!(mode(base.join(path)), 0o666 & !umask, "{path}");
                }
                // A replaced object keeps its mode.
                for bits in [0o600, 0o664] {
                    for path in ["a/b/memory", "a/stream", "a/new"] {
                        fs::set_permissions(base.join(path), fs::Permissions::from_mode(bits))
                            .unwrap();
                    }
                    storage.save("a/b/memory", "2").await.unwrap();
                    let etag = storage.stat("a/stream").await.unwrap().etag.unwrap();
                    storage.save("a/stream", "2").if_match(etag).await.unwrap();
                    storage.copy("c/d/copy", "a/new").await.unwrap();
                    for path in ["a/b/memory", "a/stream", "a/new"] {
                        assert_eq!(mode(base.join(path)), bits, "{path}");
                    }
                }
            });
            assert_eq!(mode(base.join(".anystorage")), 0o700);
        }
    }
    jobs::report("saved");
}

#[test]
fn with_respect_umask_new_files_follow_the_umask_and_replaced_ones_keep_their_mode() {
    let scratch = Scratch::new();
    assert_eq!(
        jobs::finish(jobs::command("child", &[], "save with the umask", &scratch.root())),
        ["saved"]
    );
}

#[test]
fn respect_umask_excludes_explicit_modes() {
    let scratch = Scratch::new();
    assert!(open(options(&scratch).with("respect_umask", true)).is_ok());
    for option in ["file_mode", "dir_mode"] {
        let error =
            open(options(&scratch).with("respect_umask", true).with(option, "0700")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("respect_umask"), "{error}");
    }
}

#[test]
fn configured_modes_apply_regardless_of_the_umask() {
    let scratch = Scratch::bare();
    assert_eq!(
        jobs::finish(jobs::command("child", &[], "save under umask", &scratch.root())),
        ["saved"]
    );
    let mut seen = 0;
    for path in scratch.tree() {
        if path.contains(".anystorage") {
            continue;
        }
        seen += 1;
        let expected = if path.ends_with('/') { 0o750 } else { 0o640 };
        assert_eq!(mode(scratch.root().join(&path)), expected, "{path}");
    }
    assert!(seen >= 6 * 10, "{seen}");
    assert_eq!(mode(scratch.root()), 0o750, "the root's own parents are made with it");
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("save under umask", save_under_umask),
        ("save with the umask", save_with_the_umask),
    ]);
}

#[tokio::test]
async fn the_default_modes_let_a_web_server_read() {
    let scratch = Scratch::bare();
    scratch.storage().save("a/b", "1").await.unwrap();
    assert_eq!(
        (mode(scratch.root()), mode(scratch.file("a")), mode(scratch.file("a/b"))),
        (0o755, 0o755, 0o644)
    );
}

#[tokio::test]
async fn a_staged_upload_is_closed_to_other_users() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let (feed, payload) = common::payloads::fed();
    let upload = tokio::spawn(async move { storage.save("upload", payload).await });
    feed.send_at_least(2 * 1024 * 1024).await;
    // It is unnamed, or in a directory that is closed to others.
    assert_eq!(scratch.staged().len(), usize::from(!common::has_unnamed_files(&scratch.root())));
    if !scratch.staged().is_empty() {
        assert_eq!(mode(scratch.file(".anystorage")), 0o700);
        assert_eq!(mode(scratch.file(".anystorage/staging")), 0o700);
    }
    assert!(scratch.plain_tree().is_empty());
    drop(feed);
    upload.await.unwrap().unwrap();
    assert_eq!(mode(scratch.file("upload")), 0o644);
}

#[tokio::test]
async fn existing_directories_keep_their_mode() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.file("theirs")).unwrap();
    fs::set_permissions(scratch.file("theirs"), PermissionsExt::from_mode(0o711)).unwrap();
    scratch.storage().save("theirs/ours/x", "1").await.unwrap();
    assert_eq!((mode(scratch.file("theirs")), mode(scratch.file("theirs/ours"))), (0o711, 0o755));
}

/// The mode is that of the configuration, not that of the replaced file.
#[tokio::test]
async fn an_overwrite_sets_the_configured_mode() {
    let scratch = Scratch::new();
    scratch.put("k", "theirs");
    fs::set_permissions(scratch.file("k"), PermissionsExt::from_mode(0o600)).unwrap();
    scratch.storage().save("k", "ours").await.unwrap();
    assert_eq!(mode(scratch.file("k")), 0o644);
}

/// A read-only mode must not prevent the driver from writing the bytes and the metadata.
#[test]
fn objects_can_be_saved_with_a_read_only_mode() {
    common::as_unprivileged_user(|| {
        let scratch = Scratch::new();
        common::poll::single_blocking_thread().block_on(async {
            for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
                let storage = Storage::new(
                    scratch.builder().file_mode(0o444).metadata(store).build().unwrap(),
                );
                let stream = common::payloads::streaming(vec![b'x'; 3_000_000], 65_536);
                storage.save("k", stream).user_metadata("a", "b").await.unwrap();
                storage.copy("k", "copy").await.unwrap();
                let saved = storage.save("k", "again").user_metadata("a", "c").await.unwrap();
                assert_eq!(storage.stat("k").await.unwrap(), saved);
                assert_eq!((mode(scratch.file("k")), mode(scratch.file("copy"))), (0o444, 0o444));
            }
        });
    });
}

#[tokio::test]
async fn a_configuration_sets_modes_in_octal() {
    for given in [Value::from("0640"), Value::from("640"), Value::from("0o640")] {
        let scratch = Scratch::bare();
        let storage =
            open(options(&scratch).with("file_mode", given).with("dir_mode", "0750")).unwrap();
        storage.save("a/b", "1").await.unwrap();
        assert_eq!((mode(scratch.file("a")), mode(scratch.file("a/b"))), (0o750, 0o640));
    }
}

#[test]
fn an_invalid_option_is_refused_by_name() {
    let scratch = Scratch::bare();
    let wrong: [(&str, Value); 17] = [
        // A decimal number, which is 01200 in octal.
        ("file_mode", Value::from(640)),
        // TOML parses it as 416.
        ("file_mode", Value::from(0o640)),
        ("file_mode", Value::from(-1)),
        ("file_mode", Value::from("")),
        ("file_mode", Value::from("rw-r--r--")),
        ("file_mode", Value::from("0648")),
        ("file_mode", Value::from("1777")),
        ("dir_mode", Value::from(755)),
        ("dir_mode", Value::from(true)),
        ("durable", Value::from("perhaps")),
        ("create_root", Value::from(2)),
        ("metadata", Value::from("nowhere")),
        ("metadata", Value::from(true)),
        ("root", Value::from(true)),
        ("signing_key", Value::from("a key without public_url, which is of no use")),
        ("rot", Value::from("/srv")),
        ("fsync", Value::from(true)),
    ];
    for (name, value) in wrong {
        let error = refused(open(options(&scratch).with(name, value)), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    let error = refused(open(options(&scratch).with("rot", "/srv")), ErrorKind::InvalidConfig);
    for known in [
        "root",
        "create_root",
        "durable",
        "file_mode",
        "dir_mode",
        "signing_key",
        "metadata",
        "public_url",
    ] {
        assert!(error.message().contains(known), "{error}");
    }
    let error = refused(open(Options::new()), ErrorKind::InvalidConfig);
    assert!(error.message().contains("root"), "{error}");
    refused(open(Options::new().with("root", "")), ErrorKind::InvalidConfig);
    assert!(!scratch.root().exists(), "a wrong option makes no root");
}

#[test]
fn a_missing_root_is_created_or_refused_as_configured() {
    let scratch = Scratch::bare();
    let error =
        refused(open(options(&scratch).with("create_root", false)), ErrorKind::InvalidConfig);
    assert!(error.message().contains("create_root"), "{error}");
    assert!(error.message().contains(scratch.root().to_str().unwrap()), "{error}");
    assert!(!scratch.root().exists());
    open(options(&scratch)).unwrap();
    assert!(scratch.root().is_dir());
    open(options(&scratch).with("create_root", false)).unwrap();
}

#[test]
fn a_root_that_is_not_a_directory_is_refused() {
    let scratch = Scratch::bare();
    fs::write(scratch.root(), "a file").unwrap();
    refused(open(options(&scratch)), ErrorKind::InvalidConfig);
    refused(open(options(&scratch).with("create_root", false)), ErrorKind::InvalidConfig);
    let below = scratch.root().join("below a file");
    refused(open(Options::new().with("root", below.to_str().unwrap())), ErrorKind::InvalidConfig);
    fs::remove_file(scratch.root()).unwrap();
    symlink(scratch.path().join("nowhere"), scratch.root()).unwrap();
    refused(open(options(&scratch)), ErrorKind::InvalidConfig);
}

/// The root comes from the configuration, not from a key.
#[tokio::test]
async fn a_root_may_be_a_symlink_and_is_resolved_once() {
    let scratch = Scratch::bare();
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    symlink(&first, scratch.root()).unwrap();
    let storage = scratch.storage();
    storage.save("a", "1").await.unwrap();
    fs::remove_file(scratch.root()).unwrap();
    symlink(&second, scratch.root()).unwrap();
    storage.save("b", "2").await.unwrap();
    drop(storage);
    assert_eq!(common::tree(&first), ["a", "b"]);
    assert!(common::tree(&second).is_empty());
}

#[tokio::test]
async fn a_file_url_names_the_root_and_its_query_the_options() {
    let scratch = Scratch::bare();
    let root = scratch.path().join("a root/ü#%?&");
    fs::create_dir_all(&root).unwrap();
    let encoded = format!("{}/a%20root/%C3%BC%23%25%3F%26", scratch.path().display());
    for url in [
        format!("file://{encoded}?durable=false&file_mode=0600&dir_mode=0700&create_root=false"),
        format!(
            "file://localhost{encoded}?durable=false&file_mode=600&dir_mode=700&metadata=sidecar"
        ),
    ] {
        let storage = registry().open_url(&url).unwrap();
        storage.save("d/k", "1").await.unwrap();
        assert_eq!((mode(root.join("d")), mode(root.join("d/k"))), (0o700, 0o600), "{url}");
        storage.delete("d/k").await.unwrap();
    }
    let storage = registry()
        .open_url(&format!("file://{encoded}?prefix=p&public_url=https://example.com/"))
        .unwrap();
    storage.save("k", "1").await.unwrap();
    assert!(root.join("p/k").is_file());
    assert_eq!(storage.url("k").await.unwrap().as_str(), "https://example.com/p/k");
    let read_only = registry().open_url(&format!("file://{encoded}?read_only=true")).unwrap();
    refused(read_only.save("k", "1").await, ErrorKind::PermissionDenied);
}

#[test]
fn a_url_without_an_absolute_path_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.root();
    let path = path.to_str().unwrap();
    for url in [
        "file:relative/path".to_owned(),
        "file:media".to_owned(),
        "file:".to_owned(),
        "file://host/path".to_owned(),
        format!("file://example.com{path}"),
        format!("file://127.0.0.1{path}"),
        format!("file://user@localhost{path}"),
        format!("file://{path}#fragment"),
        format!("file://{path}?unknown=1"),
        format!("file://{path}?durable=maybe"),
        format!("file://{path}?root=/elsewhere"),
        format!("file://{path}?durable=true&durable=false"),
        format!("file://{path}/%FF"),
        format!("file://{path}/%00"),
    ] {
        let error = refused(registry().open_url(&url), ErrorKind::InvalidConfig);
        assert!(!error.message().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn links_require_a_public_url_and_a_signing_key() {
    let scratch = Scratch::new();
    let bare = open(options(&scratch)).unwrap();
    refused(bare.url("k").await, ErrorKind::Unsupported);
    let public = open(options(&scratch).with("public_url", "https://example.com/media")).unwrap();
    assert_eq!(
        public.url("a b/ü").await.unwrap().as_str(),
        "https://example.com/media/a%20b/%C3%BC"
    );
    let hour = std::time::Duration::from_secs(3600);
    refused(public.url("k").expires_in(hour).await, ErrorKind::Unsupported);
    let secret = "0123456789abcdef0123456789abcdef";
    let signing = options(&scratch)
        .with("public_url", "https://example.com/media")
        .with("signing_key", secret);
    let link = open(signing).unwrap().url("k").expires_in(hour).await.unwrap();
    assert!(link.as_str().starts_with("https://example.com/media/k?"), "{link}");
    assert!(!format!("{link:?} {link}").contains(secret));
}

#[tokio::test]
async fn errors_and_debug_output_contain_no_secret() {
    let scratch = Scratch::new();
    let secret = "0123456789abcdef0123456789abcdef";
    let wrong = options(&scratch).with("signing_key", secret).with("durable", "perhaps");
    let error = refused(open(wrong), ErrorKind::InvalidConfig);
    assert!(!format!("{error} {error:?}").contains(secret));
    let signing =
        options(&scratch).with("public_url", "https://example.com/").with("signing_key", secret);
    let storage = open(signing).unwrap();
    assert!(!format!("{storage:?} {:?}", storage.driver()).contains(secret));
}

/// A file is copied, never linked, so a later change of the source does not change the object.
#[tokio::test]
async fn a_file_that_was_saved_is_independent_of_its_source() {
    let scratch = Scratch::new();
    let source = scratch.path().join("source.txt");
    fs::write(&source, "before").unwrap();
    let storage = scratch.storage();
    storage.save("k.txt", Payload::from_file(&source).await.unwrap()).await.unwrap();
    fs::write(&source, "after!").unwrap();
    assert_eq!(read(&storage, "k.txt").await.unwrap(), b"before");
    storage.copy("k.txt", "copy.txt").await.unwrap();
    fs::write(scratch.file("k.txt"), "after!").unwrap();
    assert_eq!(read(&storage, "copy.txt").await.unwrap(), b"before");
}
