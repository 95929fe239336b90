//! Tests beyond the conformance suite: options, the database file, and what is left in it.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::config::Options;
use storage_core::{ErrorKind, Key, Payload, Registry, Storage};
use storage_redb::{Redb, RedbOptions};

fn open(path: &Path) -> Storage {
    Storage::new(Redb::open(&RedbOptions::new(path)).unwrap())
}

/// Reads configurations in which `redb` is a driver like the others.
fn loader() -> anystorage::Loader {
    let mut registry = anystorage::registry();
    storage_redb::register(&mut registry);
    anystorage::Loader::new().with_registry(registry)
}

fn megabytes(count: usize) -> Payload {
    Payload::from_stream(stream::iter(
        (0..count).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n as u8; 1 << 20]))),
    ))
}

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn objects_exist_after_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.redb");
    let saved = {
        let storage = open(&path);
        storage.save("a/b.css", "body {}").user_metadata("author", "ada").await.unwrap()
    };
    let storage = open(&path);
    assert_eq!(storage.stat("a/b.css").await.unwrap(), saved);
    assert_eq!(storage.open("a/b.css").await.unwrap().text().await.unwrap(), "body {}");
}

#[tokio::test]
async fn a_range_may_begin_and_end_in_any_piece() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("files.redb"));
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    storage.save("big", body.clone()).await.unwrap();
    for range in
        [0..1, 999_999..1_000_001, 1_000_000..2_000_000, 500_000..2_999_999, 2_999_999..3_000_000]
    {
        let bytes = storage.open("big").range(range.clone()).await.unwrap().bytes().await.unwrap();
        assert!(bytes == body[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[tokio::test]
async fn a_copy_outlives_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("files.redb"));
    storage.save("from", megabytes(3)).await.unwrap();
    storage.copy("from", "to").await.unwrap();
    storage.delete("from").await.unwrap();
    assert_eq!(storage.open("to").await.unwrap().bytes().await.unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn the_space_of_overwritten_deleted_and_failed_objects_is_reused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.redb");
    let storage = open(&path);
    let round = async || {
        storage.save("a", megabytes(8)).await.unwrap();
        storage.save("a", megabytes(8)).await.unwrap();
        storage.delete("a").await.unwrap();
        let broken = stream::iter((0..8).map(|_| Ok(Bytes::from(vec![0; 1 << 20]))))
            .chain(stream::iter([Err(std::io::Error::other("the source broke off"))]));
        storage.save("b", Payload::from_stream(broken)).await.unwrap_err();
    };
    round().await;
    round().await;
    let after_two = size_of(&path);
    for _ in 0..4 {
        round().await;
    }
    let after_all = size_of(&path);
    assert!(
        after_all < after_two + (16 << 20),
        "the file grew from {after_two} to {after_all} bytes"
    );
}

#[test]
fn opening_removes_the_uploads_of_a_killed_process() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.redb"), dir.path().join("after.redb"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = open(&before);
        let (sent, staged) = tokio::sync::oneshot::channel::<()>();
        let pieces =
            stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![1; 1 << 20]))));
        let then = stream::once(async move {
            drop(sent);
            std::future::pending().await
        });
        let save =
            tokio::spawn(storage.save("a", Payload::from_stream(pieces.chain(then))).into_future());
        // The save polls its stream again after it has staged the pieces. The next save then makes
        // them durable.
        staged.await.unwrap_err();
        storage.save("b", "kept").await.unwrap();
        std::fs::copy(&before, &after).unwrap();
        save.abort();
    });
    drop(runtime);

    let tables = |path: &Path| {
        use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
        let pieces: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("pieces");
        let database = redb::Database::create(path).unwrap();
        database.begin_read().unwrap().open_table(pieces).unwrap().len().unwrap()
    };
    assert!(tables(&after) > 1, "the staged pieces are in the copy of the file");
    drop(open(&after));
    assert_eq!(tables(&after), 1);
}

#[test]
fn a_second_storage_cannot_open_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.redb");
    let _first = open(&path);
    let error = Redb::open(&RedbOptions::new(&path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("open already"), "{error}");
}

#[test]
fn an_unknown_option_is_refused_with_the_known_ones() {
    let mut registry = Registry::new();
    storage_redb::register(&mut registry);
    let error = registry.open_url("redb:///tmp/x.redb?cache_mb=8").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(
        error.message().contains("cache_mb") && error.message().contains("path, cache_mib"),
        "{error}"
    );
    let error = registry.open_url("redb:").unwrap_err();
    assert!(error.message().contains("redb:///"), "{error}");
    let error = Options::new().read::<RedbOptions>("redb").unwrap_err();
    assert!(error.message().contains("path"), "{error}");
}

#[tokio::test]
async fn opening_in_a_missing_directory_fails_with_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let error = Redb::open(&RedbOptions::new(dir.path().join("absent/files.redb"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_url_may_contain_encoded_characters() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::new();
    storage_redb::register(&mut registry);
    let storage =
        registry.open_url(&format!("redb://{}/my%20files.redb", dir.path().display())).unwrap();
    storage.save(Key::new("a").unwrap(), "x").await.unwrap();
    drop(storage);
    assert!(dir.path().join("my files.redb").is_file());
}

#[tokio::test]
async fn a_configuration_selects_the_driver_with_all_common_options() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[storages.default]\ndriver = 'redb'\npath = '{}/files.redb'\nprefix = 'media'\npublic_url = 'https://example.com/'",
        dir.path().display()
    );
    let storage =
        loader().toml_str(&config).unwrap().open_all().unwrap().default_storage().unwrap();
    storage.save("a.txt", "hello").await.unwrap();
    assert_eq!(storage.open("a.txt").await.unwrap().text().await.unwrap(), "hello");
    assert_eq!(storage.url("a.txt").await.unwrap().as_str(), "https://example.com/media/a.txt");
}
