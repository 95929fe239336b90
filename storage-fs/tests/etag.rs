//! ETags are strong validators, and metadata belongs to the version it was saved with, even if
//! other programs change files.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use common::{Scratch, read, refused, skip};
use rustix::fs::XattrFlags;
use storage_core::{ChecksumAlgorithm, ETag, ErrorKind, ObjectMeta, Storage};
use storage_fs::{Fs, MetadataStore};

const ATTRIBUTE: &str = "user.anystorage";

async fn etag(storage: &Storage, key: &str) -> ETag {
    storage.stat(key).await.unwrap().etag.unwrap()
}

#[tokio::test]
async fn ten_thousand_overwrites_of_one_size_have_ten_thousand_etags() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let mut seen = HashSet::new();
    for round in 0..10_000 {
        let meta = storage.save("same", format!("{round:08}")).await.unwrap();
        let etag = meta.etag.unwrap();
        assert!(!etag.is_weak());
        if round % 100 == 0 {
            assert_eq!(storage.stat("same").await.unwrap().etag.unwrap(), etag);
        }
        assert!(seen.insert(etag), "round {round}");
    }
}

#[tokio::test]
async fn open_stat_and_save_return_the_same_etag_for_every_store_and_size() {
    for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
        let scratch = Scratch::new();
        let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();
        for size in [0, 1, 4096, 65_536, 65_537, 200_000, 3_000_000] {
            let saved = storage.save("k", vec![b'x'; size]).await.unwrap();
            assert_eq!(storage.stat("k").await.unwrap(), saved, "{store:?} {size}");
            assert_eq!(*storage.open("k").await.unwrap().meta(), saved, "{store:?} {size}");
        }
    }
}

/// Changes the file right after the save, so often that many changes fall into the same tick of the
/// kernel's clock.
#[tokio::test]
async fn a_change_in_place_by_another_program_changes_the_etag() {
    for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
        let scratch = Scratch::new();
        let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();
        for round in 0..500 {
            let sum = ChecksumAlgorithm::Sha256;
            let saved = storage
                .save("css", "a {}")
                .content_type("text/css")
                .compute_checksum(sum)
                .await
                .unwrap();
            let file = File::options().write(true).open(scratch.file("css")).unwrap();
            file.write_all_at(b"b {}", 0).unwrap();
            let found = storage.stat("css").await.unwrap();
            assert_ne!(found.etag, saved.etag, "round {round} of {store:?}");
            assert!(found.checksums.is_empty(), "round {round} of {store:?}");
            refused(
                storage.open("css").if_match(saved.etag.clone().unwrap()).await,
                ErrorKind::PreconditionFailed,
            );
            refused(
                storage.save("css", "c {}").if_match(saved.etag.unwrap()).await,
                ErrorKind::PreconditionFailed,
            );
            assert_eq!(read(&storage, "css").await.unwrap(), b"b {}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_changed_in_place_keeps_its_headers() {
    let scratch = Scratch::new();
    if !common::keeps_attributes(scratch.path()) {
        return skip("this file system keeps no user attributes");
    }
    let storage = scratch.storage();
    storage
        .save("page", "<p>")
        .content_type("text/x-special")
        .user_metadata("a", "b")
        .await
        .unwrap();
    let change = || fs::write(scratch.file("page"), "<p>changed").unwrap();
    let found = while_young(&scratch, &storage, "page", change).await;
    assert_eq!((found.size, found.content_type()), (10, Some("text/x-special")));
    assert_eq!(found.metadata.user_metadata["a"], "b");
    assert!(found.etag.unwrap().is_weak());
}

#[tokio::test]
async fn a_new_file_on_a_reused_inode_has_no_metadata_of_the_old_one() {
    for store in [MetadataStore::Auto, MetadataStore::Sidecar] {
        let scratch = Scratch::new();
        let storage = scratch.builder().metadata(store).build().map(Storage::new).unwrap();
        let (mut seen, mut reused) = (HashSet::new(), 0);
        for round in 0..300 {
            let saved = storage.save("k.txt", "1234").content_type("text/x-ours").await.unwrap();
            let inode = fs::metadata(scratch.file("k.txt")).unwrap().ino();
            fs::remove_file(scratch.file("k.txt")).unwrap();
            fs::write(scratch.file("k.txt"), "5678").unwrap();
            reused += usize::from(fs::metadata(scratch.file("k.txt")).unwrap().ino() == inode);
            let found = storage.stat("k.txt").await.unwrap();
            assert_eq!(
                found.content_type(),
                Some("text/plain; charset=utf-8"),
                "round {round} of {store:?}"
            );
            assert!(seen.insert(saved.etag.unwrap()));
            assert!(seen.insert(found.etag.unwrap()), "round {round} of {store:?}");
        }
        if reused == 0 {
            skip("this file system did not use an inode again");
        }
    }
}

#[tokio::test]
async fn deleting_and_saving_again_never_repeats_an_etag() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let mut seen = HashSet::new();
    for _ in 0..500 {
        assert!(seen.insert(storage.save("k", "same").await.unwrap().etag.unwrap()));
        storage.delete("k").await.unwrap();
    }
}

/// `touch -r` and `rsync -t` set times back: the size and the time are the same, the bytes differ.
#[tokio::test]
async fn a_foreign_file_whose_time_was_set_back_has_another_etag() {
    let scratch = Scratch::new();
    scratch.put("k", "1234");
    let storage = scratch.storage();
    let before = etag(&storage, "k").await;
    let modified = fs::metadata(scratch.file("k")).unwrap().modified().unwrap();
    wait_for_the_next_tick(&scratch);
    fs::write(scratch.file("k"), "5678").unwrap();
    File::options().write(true).open(scratch.file("k")).unwrap().set_modified(modified).unwrap();
    assert_eq!(fs::metadata(scratch.file("k")).unwrap().modified().unwrap(), modified);
    assert!(!etag(&storage, "k").await.weak_eq(&before));
}

/// Changes a file, and returns what the driver finds within two seconds. If the machine took
/// longer, tries again.
async fn while_young(
    scratch: &Scratch,
    storage: &Storage,
    key: &str,
    change: impl Fn(),
) -> ObjectMeta {
    for _ in 0..100 {
        change();
        let found = storage.stat(key).await.unwrap();
        let changed = fs::metadata(scratch.file(key)).unwrap().modified().unwrap();
        if SystemTime::now() < changed + Duration::from_secs(2) {
            return found;
        }
    }
    panic!("each attempt took two seconds");
}

/// Waits until the clock of the file system advances.
fn wait_for_the_next_tick(scratch: &Scratch) {
    let now = || {
        fs::write(scratch.path().join("clock"), "").unwrap();
        fs::metadata(scratch.path().join("clock")).unwrap().modified().unwrap()
    };
    let (start, deadline) = (now(), Instant::now() + Duration::from_secs(120));
    while now() <= start {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_foreign_file_has_a_weak_etag_while_it_is_young_and_a_strong_one_later() {
    let scratch = Scratch::new();
    let storage = scratch.storage();
    let found = while_young(&scratch, &storage, "k", || scratch.put("k", "theirs")).await;
    let young = found.etag.unwrap();
    assert!(young.is_weak());
    refused(storage.save("k", "ours").if_match(young.clone()).await, ErrorKind::PreconditionFailed);

    let deadline = Instant::now() + Duration::from_secs(120);
    let old = loop {
        let etag = etag(&storage, "k").await;
        if !etag.is_weak() {
            break etag;
        }
        assert!(Instant::now() < deadline, "it stays weak");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(old.weak_eq(&young), "the same version");
    assert!(
        fs::metadata(scratch.file("k")).unwrap().modified().unwrap() + Duration::from_secs(2)
            < SystemTime::now()
    );
    storage.save("k", "ours").if_match(old).await.unwrap();
}

#[tokio::test]
async fn a_planted_attribute_that_is_garbage_is_ignored() {
    let scratch = Scratch::new();
    if !common::keeps_attributes(scratch.path()) {
        return skip("this file system keeps no user attributes");
    }
    let storage = scratch.storage();
    storage
        .save("real", "1234")
        .content_type("text/x-real")
        .user_metadata("name", "value")
        .await
        .unwrap();
    let real = attribute(&scratch.file("real"));
    assert!(real.windows(11).any(|part| part == b"text/x-real"), "or the test plants nothing");

    let mut planted = vec![
        Vec::new(),
        vec![0],
        vec![1],
        vec![1; 300],
        vec![255; 3000],
        b"content_type=x".to_vec(),
    ];
    planted.extend((0..real.len()).map(|len| real[..len].to_vec()));
    planted.push([&[2], &real[1..]].concat());
    planted.push([&real[..], b"more"].concat());
    // A value with a line break would split a header of a response.
    planted.push(replaced(&real, b"text/x-real", b"text/\r\nrea:"));
    planted.push(replaced(&real, b"name", b"a: b"));
    planted.push(replaced(&real, b"value", b"v\nlue"));
    for bytes in planted {
        let change = || {
            scratch.put("k.css", "1234");
            plant(&scratch.file("k.css"), &bytes);
        };
        let found = while_young(&scratch, &storage, "k.css", change).await;
        assert_eq!(found.content_type(), Some("text/css; charset=utf-8"), "{bytes:?}");
        assert!(found.metadata.user_metadata.is_empty(), "{bytes:?}");
        assert!(found.etag.unwrap().is_weak(), "{bytes:?}");
        assert_eq!(read(&storage, "k.css").await.unwrap(), b"1234");
        assert_eq!(common::names(&storage, "k").await.unwrap(), ["k.css"]);
    }
}

#[tokio::test]
async fn an_attribute_copied_from_another_object_does_not_copy_its_etag() {
    let scratch = Scratch::new();
    if !common::keeps_attributes(scratch.path()) {
        return skip("this file system keeps no user attributes");
    }
    let storage = scratch.storage();
    let saved = storage.save("a", "1234").await.unwrap();
    scratch.put("b", "5678");
    plant(&scratch.file("b"), &attribute(&scratch.file("a")));
    assert_ne!(storage.stat("b").await.unwrap().etag, saved.etag);
}

#[tokio::test]
async fn a_planted_sidecar_that_is_garbage_is_ignored() {
    let scratch = Scratch::new();
    let storage =
        scratch.builder().metadata(MetadataStore::Sidecar).build().map(Storage::new).unwrap();
    storage.save("k.css", "1234").content_type("text/x-ours").await.unwrap();
    let [name] = &scratch.sidecars()[..] else { panic!("{:?}", scratch.sidecars()) };
    let sidecar = scratch.file(".anystorage/meta").join(name);
    let real = fs::read(&sidecar).unwrap();
    let mut planted =
        vec![vec![1; 100_000], vec![255; 10], replaced(&real, b"text/x-ours", b"text/\r\nour:")];
    planted.extend((0..real.len()).map(|len| real[..len].to_vec()));
    for bytes in planted {
        fs::write(&sidecar, &bytes).unwrap();
        assert_eq!(
            storage.stat("k.css").await.unwrap().content_type(),
            Some("text/css; charset=utf-8"),
            "{bytes:?}"
        );
    }
    fs::write(&sidecar, &real).unwrap();
    assert_eq!(storage.stat("k.css").await.unwrap().content_type(), Some("text/x-ours"));
}

/// This happens when a backup is restored, or a tree is moved to another disk.
#[tokio::test]
async fn metadata_survives_a_copy_of_the_tree_that_keeps_attributes() {
    let scratch = Scratch::new();
    if !common::keeps_attributes(scratch.path()) {
        return skip("this file system keeps no user attributes");
    }
    let storage = scratch.storage();
    let saved = save_with_everything(&storage).await;
    let copy = scratch.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let copied = Storage::new(Fs::builder(&copy).build().unwrap());

    // With times, it is the same version.
    copy_file(&scratch.file("k"), &copy.join("k"), true, true);
    assert_eq!(copied.stat("k").await.unwrap(), saved);

    // Without times, the headers stay, but it may be another version.
    copy_file(&scratch.file("k"), &copy.join("k"), true, false);
    let found = copied.stat("k").await.unwrap();
    assert_eq!(found.metadata, saved.metadata);
    assert_ne!(found.etag, saved.etag);
    assert!(found.checksums.is_empty());

    // Without attributes, it is a file of another program.
    copy_file(&scratch.file("k"), &copy.join("k"), false, true);
    let found = copied.stat("k").await.unwrap();
    assert!(found.metadata.user_metadata.is_empty() && found.metadata.cache_control.is_none());
    assert_ne!(found.etag, saved.etag);
}

#[tokio::test]
async fn copied_sidecars_do_not_apply_to_other_files() {
    let scratch = Scratch::new();
    let storage =
        scratch.builder().metadata(MetadataStore::Sidecar).build().map(Storage::new).unwrap();
    let saved = save_with_everything(&storage).await;
    let copy = scratch.path().join("copy");
    fs::create_dir_all(copy.join(".anystorage/meta")).unwrap();
    for name in scratch.sidecars() {
        let sidecar = Path::new(".anystorage/meta").join(name);
        fs::copy(scratch.root().join(&sidecar), copy.join(sidecar)).unwrap();
    }
    copy_file(&scratch.file("k"), &copy.join("k"), false, true);
    let found = Storage::new(Fs::builder(&copy).build().unwrap()).stat("k").await.unwrap();
    assert!(found.metadata.user_metadata.is_empty());
    assert_ne!(found.etag, saved.etag);
}

#[tokio::test]
async fn metadata_is_found_after_the_configured_store_has_changed() {
    let scratch = Scratch::new();
    let saved = save_with_everything(&scratch.storage()).await;
    let storage =
        scratch.builder().metadata(MetadataStore::Sidecar).build().map(Storage::new).unwrap();
    assert_eq!(storage.stat("k").await.unwrap(), saved);
    let again = storage.save("k", "again").user_metadata("a", "2").await.unwrap();
    assert_eq!(scratch.storage().stat("k").await.unwrap(), again);
}

async fn save_with_everything(storage: &Storage) -> ObjectMeta {
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let save =
        storage.save("k", "content").content_type("text/x-special").content_encoding("identity");
    let save =
        save.content_disposition("attachment").content_language("de").cache_control("no-store");
    let save = save.expires(expires).user_metadata("a", "ä").user_metadata("b", "");
    let saved = save
        .compute_checksum(ChecksumAlgorithm::Md5)
        .compute_checksum(ChecksumAlgorithm::Crc64Nvme);
    let saved = saved.await.unwrap();
    assert_eq!(storage.stat("k").await.unwrap(), saved);
    saved
}

fn attribute(path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let len = rustix::fs::getxattr(path, ATTRIBUTE, &mut bytes[..]).unwrap();
    bytes.truncate(len);
    bytes
}

fn plant(path: &Path, bytes: &[u8]) {
    rustix::fs::setxattr(path, ATTRIBUTE, bytes, XattrFlags::empty()).unwrap();
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at = bytes.windows(old.len()).position(|part| part == old).unwrap();
    [&bytes[..at], new, &bytes[at + new.len()..]].concat()
}

fn copy_file(from: &Path, to: &Path, attributes: bool, times: bool) {
    let _ = fs::remove_file(to);
    fs::write(to, fs::read(from).unwrap()).unwrap();
    if attributes {
        plant(to, &attribute(from));
    }
    if times {
        let modified = fs::metadata(from).unwrap().modified().unwrap();
        File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
    }
}
