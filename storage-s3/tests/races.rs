//! Conditional saves raced by many writers, on the server that the environment names: its promise, not ours, and the
//! reason that applications can do without locks.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::sync::Arc;

use common::external::{Corner, External};
use storage_core::{ErrorKind, ObjectMeta, Result, Save, Storage};
use tokio::sync::Barrier;

const WRITERS: usize = 16;
const ROUNDS: usize = 40;

/// Has all writers save at once, each a body of its own, and tells what became of them.
async fn race(save: impl Fn(String) -> Save) -> Vec<Result<ObjectMeta>> {
    let start = Arc::new(Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (start, save) = (Arc::clone(&start), save(body_of(writer)));
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

fn body_of(writer: usize) -> String {
    format!("writer {writer}")
}

/// Asserts that one writer won, that the others were told so in this way, and that the winner's bytes are there.
async fn one_won(storage: &Storage, key: &str, ended: Vec<Result<ObjectMeta>>, told: ErrorKind) {
    let mut winners = Vec::new();
    for (writer, ended) in ended.into_iter().enumerate() {
        match ended {
            Ok(_) => winners.push(writer),
            Err(error) => assert_eq!(error.kind(), told, "{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "{key}: these writers all won: {winners:?}");
    assert_eq!(storage.open(key).await.unwrap().text().await.unwrap(), body_of(winners[0]));
}

fn corner() -> Option<Corner> {
    Some(Corner::of(&Storage::new(External::get()?.builder().build().unwrap())))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_16_writers_exactly_one_creates_the_object_in_each_of_40_rounds() {
    let Some(corner) = corner() else { return };
    let storage = corner.storage();
    for round in 0..ROUNDS {
        let key = format!("{round}.txt");
        let ended = race(|body| storage.save(&*key, body).create_new()).await;
        one_won(&storage, &key, ended, ErrorKind::AlreadyExists).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_16_writers_exactly_one_replaces_the_version_in_each_of_40_rounds() {
    let Some(corner) = corner() else { return };
    let storage = corner.storage();
    for round in 0..ROUNDS {
        let key = format!("{round}.txt");
        let version = storage.save(&*key, "the version that all mean").await.unwrap().etag.unwrap();
        let ended = race(|body| storage.save(&*key, body).if_match(version.clone())).await;
        one_won(&storage, &key, ended, ErrorKind::PreconditionFailed).await;
    }
}
