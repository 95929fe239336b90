//! `create_new` never replaces an object, and succeeds for one of several concurrent callers.

use bytes::Bytes;
use storage_core::{ErrorKind, ObjectMeta, Payload, Result};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::{failing, streaming};
use crate::support::race::race;

const RACERS: usize = 32;

pub(crate) async fn create_new_saves_under_a_free_key(kit: &Kit) -> Checked {
    let meta = kit.storage.save("a/b.bin", "first").create_new().await?;
    assert_eq!(meta.key, "a/b.bin");
    assert_eq!(kit.read("a/b.bin").await?, "first");
    kit.storage.save("a/c.bin", streaming(pattern(1, 100_000), 999)).create_new().await?;
    assert_same(&kit.read("a/c.bin").await?, &pattern(1, 100_000));
    Ok(())
}

pub(crate) async fn create_new_refuses_a_taken_key_and_changes_nothing(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", "first").await?;
    let before = kit.storage.stat("a/b.bin").await?;
    let other = kit.storage.save("a/b.bin", "second").content_type("text/css").create_new().await;
    refused(other, ErrorKind::AlreadyExists);
    let other =
        kit.storage.save("a/b.bin", streaming(pattern(1, 3_000_000), 99_999)).create_new().await;
    refused(other, ErrorKind::AlreadyExists);
    let same = kit.storage.save("a/b.bin", "first").create_new().await;
    refused(same, ErrorKind::AlreadyExists);
    assert_eq!(kit.read("a/b.bin").await?, "first");
    assert_eq!(kit.storage.stat("a/b.bin").await?, before);
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn create_new_refuses_the_key_of_an_empty_object(kit: &Kit) -> Checked {
    kit.storage.save("empty.bin", "").create_new().await?;
    refused(kit.storage.save("empty.bin", "x").create_new().await, ErrorKind::AlreadyExists);
    assert!(kit.read("empty.bin").await?.is_empty());
    Ok(())
}

pub(crate) async fn create_new_succeeds_after_a_delete(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", "first").create_new().await?;
    kit.storage.delete("a/b.bin").await?;
    kit.storage.save("a/b.bin", "second").create_new().await?;
    assert_eq!(kit.read("a/b.bin").await?, "second");
    Ok(())
}

pub(crate) async fn a_failed_stream_leaves_the_key_free(kit: &Kit) -> Checked {
    for chunks in [vec![], vec![pattern(1, 100)], vec![pattern(1, 3_000_000)]] {
        refused(
            kit.storage.save("a/b.bin", failing(chunks)).create_new().await,
            ErrorKind::Unexpected,
        );
    }
    kit.storage.save("a/b.bin", "first").create_new().await?;
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn one_of_32_concurrent_saves_succeeds(kit: &Kit) -> Checked {
    run_race(kit, "a/in-memory.bin", Payload::from_bytes).await
}

pub(crate) async fn one_of_32_concurrent_saves_of_streams_succeeds(kit: &Kit) -> Checked {
    run_race(kit, "a/streamed.bin", |bytes| streaming(bytes, 700)).await
}

/// Repeats the race, because a fault may show only sometimes.
async fn run_race(kit: &Kit, key: &'static str, payload: impl Fn(Bytes) -> Payload) -> Checked {
    for _ in 0..5 {
        let racers = race(RACERS, |racer| {
            let save = kit.storage.save(key, payload(body_of(racer)));
            async move { save.content_type(type_of(racer)).create_new().await }
        });
        check_one_winner(kit, key, racers.await).await?;
        kit.holds_only(&[key]).await?;
        kit.storage.delete(key).await?;
    }
    Ok(())
}

async fn check_one_winner(kit: &Kit, key: &str, racers: Vec<Result<ObjectMeta>>) -> Checked {
    let mut winners = Vec::new();
    for (racer, ended) in racers.into_iter().enumerate() {
        match ended {
            Ok(_) => winners.push(racer),
            lost => drop(refused(lost, ErrorKind::AlreadyExists)),
        }
    }
    assert_eq!(winners.len(), 1, "these racers all won: {winners:?}");
    let object = kit.storage.open(key).await?;
    if kit.storage.info().capabilities.metadata {
        assert_eq!(
            object.meta().content_type(),
            Some(&*type_of(winners[0])),
            "the winner's metadata"
        );
    }
    assert_same(&object.bytes().await?, &body_of(winners[0]));
    Ok(())
}

fn body_of(racer: usize) -> Bytes {
    pattern(racer as u8, 2000 + racer * 100)
}

fn type_of(racer: usize) -> String {
    format!("application/x-racer-{racer}")
}
