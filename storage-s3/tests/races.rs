//! Concurrent conditional saves on the server that the environment names. The server makes this
//! guarantee, and applications rely on it in place of locks.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::external::{External, TestPrefix, supports_conditions};
use common::skip;
use storage_core::{ErrorKind, ObjectMeta, Result, Save, Storage};
use tokio::sync::Barrier;

const WRITERS: usize = 16;
const ROUNDS: usize = 40;
/// For objects of several parts. Each round is 80 MiB.
const LARGE_ROUNDS: usize = 5;
/// The smallest part that S3 accepts.
const PART: usize = 5 * 1024 * 1024;

/// Returns the bytes of a writer.
fn body_of(writer: usize, len: usize) -> Bytes {
    format!("writer {writer:04} ").into_bytes().into_iter().cycle().take(len).collect()
}

/// Saves with all writers concurrently, each with its own body. Returns their results.
async fn race(len: usize, save: impl Fn(Bytes) -> Save) -> Vec<Result<ObjectMeta>> {
    let start = Arc::new(Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (start, save) = (Arc::clone(&start), save(body_of(writer, len)));
            tokio::spawn(async move {
                start.wait().await;
                save.await
            })
        })
        .collect();
    let mut ended = Vec::new();
    for writer in writers {
        ended.push(writer.await.unwrap());
    }
    ended
}

/// Asserts that one writer succeeded, that the others failed with this kind, and that the object is
/// that of the one.
async fn assert_one_winner(
    storage: &Storage,
    key: &str,
    len: usize,
    ended: Vec<Result<ObjectMeta>>,
    expected_kind: ErrorKind,
) {
    let mut winners = Vec::new();
    for (writer, ended) in ended.into_iter().enumerate() {
        match ended {
            Ok(saved) => winners.push((writer, saved)),
            Err(error) => assert_eq!(error.kind(), expected_kind, "{error}"),
        }
    }
    let [(winner, saved)] = &winners[..] else {
        panic!("{key}: not exactly one writer succeeded: {winners:?}")
    };
    let object = storage.open(key).await.unwrap();
    assert_eq!(
        object.meta().etag,
        saved.etag,
        "{key}: the save that succeeded returned the ETag of another version"
    );
    assert!(
        object.bytes().await.unwrap() == body_of(*winner, len),
        "{key}: the object does not have the bytes of the save that succeeded"
    );
}

/// Returns a prefix for one test, or `None` if no server is named or its profile lacks conditions.
fn test_prefix() -> Option<TestPrefix> {
    let storage = Storage::new(External::get()?.builder().part_size(PART as u64).build().unwrap());
    supports_conditions(&storage).then(|| TestPrefix::of(&storage))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_16_concurrent_writers_creates_the_object_in_each_of_40_rounds() {
    let Some(test_prefix) = test_prefix() else { return };
    let storage = test_prefix.storage();
    for round in 0..ROUNDS {
        let key = format!("{round}.txt");
        let ended = race(100, |body| storage.save(&*key, body).create_new()).await;
        assert_one_winner(&storage, &key, 100, ended, ErrorKind::AlreadyExists).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_16_concurrent_writers_replaces_the_version_in_each_of_40_rounds() {
    let Some(test_prefix) = test_prefix() else { return };
    let storage = test_prefix.storage();
    for round in 0..ROUNDS {
        let key = format!("{round}.txt");
        let version = storage.save(&*key, "the version that all mean").await.unwrap().etag.unwrap();
        let ended = race(100, |body| storage.save(&*key, body).if_match(version.clone())).await;
        assert_one_winner(&storage, &key, 100, ended, ErrorKind::PreconditionFailed).await;
    }
}

/// Whether the service supports conditional saves of several parts. If it does not, the driver
/// refuses them at once.
async fn supports_large_conditional_saves(storage: &Storage) -> bool {
    match storage.save("probe", body_of(0, PART + 1)).create_new().await {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            skip("races of objects larger than a part", error.message());
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_16_concurrent_uploads_in_parts_creates_the_object() {
    let Some(test_prefix) = test_prefix() else { return };
    let storage = test_prefix.storage();
    if !supports_large_conditional_saves(&storage).await {
        return;
    }
    for round in 0..LARGE_ROUNDS {
        let key = format!("{round}.bin");
        let ended = race(PART + 1, |body| storage.save(&*key, body).create_new()).await;
        assert_one_winner(&storage, &key, PART + 1, ended, ErrorKind::AlreadyExists).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_16_concurrent_uploads_in_parts_replaces_the_version() {
    let Some(test_prefix) = test_prefix() else { return };
    let storage = test_prefix.storage();
    if !supports_large_conditional_saves(&storage).await {
        return;
    }
    for round in 0..LARGE_ROUNDS {
        let key = format!("{round}.bin");
        let version = storage.save(&*key, "the version that all mean").await.unwrap().etag.unwrap();
        let ended =
            race(PART + 1, |body| storage.save(&*key, body).if_match(version.clone())).await;
        assert_one_winner(&storage, &key, PART + 1, ended, ErrorKind::PreconditionFailed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_16_writers_with_unique_name_creates_an_object() {
    let Some(test_prefix) = test_prefix() else { return };
    let storage = test_prefix.storage();
    for round in 0..5 {
        let key = format!("{round}.txt");
        let mut names = Vec::new();
        for (writer, saved) in
            race(100, |body| storage.save(&*key, body).unique_name()).await.into_iter().enumerate()
        {
            let saved = saved.unwrap();
            assert!(
                storage.open(saved.key.clone()).await.unwrap().bytes().await.unwrap()
                    == body_of(writer, 100)
            );
            names.push(saved.key);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), WRITERS);
    }
}
