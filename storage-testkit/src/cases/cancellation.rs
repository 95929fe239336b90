//! Dropped futures take effect completely or not at all, and leave no debris.

use bytes::Bytes;
use futures_util::stream;
use storage_core::{ErrorKind, Metadata, ObjectMeta, Result, Save};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::{stalling, streaming};
use crate::support::polls::at_most;

/// Drops a save that waits for its payload, and asserts that it had no effect.
async fn drop_while_it_waits(save: impl FnOnce(storage_core::Payload) -> Save, chunks: Vec<Bytes>) {
    let (payload, waiting) = stalling(chunks);
    let save = until_stalled(save(payload), &waiting).await;
    save.abort();
    let ended = save.await;
    assert!(
        ended.is_err_and(|join| join.is_cancelled()),
        "the save ended though its payload did not"
    );
}

/// Starts a save on its own task, and waits until it waits for its payload.
async fn until_stalled(save: Save, waiting: &Notify) -> JoinHandle<Result<ObjectMeta>> {
    let mut save = tokio::spawn(save.into_future());
    tokio::select! {
        () = waiting.notified() => save,
        ended = &mut save => panic!("the save ended though its payload did not: {ended:?}"),
    }
}

/// Returns payloads that stall at the start, after a few bytes, and after more than a buffer holds.
fn stall_points() -> [Vec<Bytes>; 4] {
    [vec![], vec![pattern(2, 1)], vec![pattern(2, 100_000); 3], vec![pattern(2, 4_000_000); 3]]
}

pub(crate) async fn a_dropped_save_leaves_the_old_object(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", "old").cache_control("no-store").await?;
    let before = kit.storage.stat("a/b.bin").await?;
    for chunks in stall_points() {
        drop_while_it_waits(|payload| kit.storage.save("a/b.bin", payload), chunks).await;
        assert_eq!(kit.read("a/b.bin").await?, "old");
        assert_eq!(kit.storage.stat("a/b.bin").await?, before);
        kit.holds_only(&["a/b.bin"]).await?;
    }
    kit.storage.save("a/b.bin", "new").await?;
    assert_eq!(kit.read("a/b.bin").await?, "new");
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_dropped_save_creates_no_object(kit: &Kit) -> Checked {
    for chunks in stall_points() {
        drop_while_it_waits(|payload| kit.storage.save("a/b/c.bin", payload), chunks).await;
        assert!(!kit.storage.exists("a/b/c.bin").await?);
        refused(kit.storage.open("a/b/c.bin").await, ErrorKind::NotFound);
        kit.holds_only(&[]).await?;
    }
    // A directory that is left behind would conflict with this key.
    kit.storage.save("a", "a").await?;
    kit.holds_only(&["a"]).await?;
    Ok(())
}

pub(crate) async fn a_dropped_create_new_leaves_the_key_free(kit: &Kit) -> Checked {
    for chunks in stall_points() {
        drop_while_it_waits(|payload| kit.storage.save("a/b.bin", payload).create_new(), chunks)
            .await;
        kit.storage.save("a/b.bin", "first").create_new().await?;
        kit.storage.delete("a/b.bin").await?;
    }
    Ok(())
}

pub(crate) async fn a_stalled_save_is_invisible(kit: &Kit) -> Checked {
    kit.storage.save("old.bin", "old").await?;
    for (key, chunks) in ["old.bin", "new.bin"]
        .into_iter()
        .flat_map(|key| stall_points().map(|chunks| (key, chunks)))
    {
        let (payload, waiting) = stalling(chunks);
        let save = until_stalled(kit.storage.save(key, payload), &waiting).await;
        assert_eq!(kit.read("old.bin").await?, "old", "an unfinished save is visible");
        kit.holds_only(&["old.bin"]).await?;
        // Later saves do not wait for the stalled one.
        kit.storage.save(key, "between").await?;
        assert_eq!(kit.read(key).await?, "between");
        save.abort();
        drop(save.await);
        assert_eq!(kit.read(key).await?, "between");
        kit.storage.save("old.bin", "old").await?;
        kit.storage.delete("new.bin").await?;
    }
    Ok(())
}

/// Upper bound for the number of polls before a future is dropped. A save of a few chunks needs
/// fewer.
const POLLS: usize = 60;

pub(crate) async fn a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all(
    kit: &Kit,
) -> Checked {
    let (old, new) = (pattern(1, 3000), pattern(2, 90_000));
    for polls in 0..POLLS {
        let key = format!("d/{polls}.bin");
        if polls % 2 == 0 {
            kit.storage.save(&key, old.clone()).content_type("a/old").await?;
        }
        let save = kit.storage.save(&key, streaming(new.clone(), 10_000)).content_type("a/new");
        let ended = at_most(polls, save).await.transpose()?;
        match kit.storage.open(&key).await {
            Ok(object) => {
                let meta = object.meta().clone();
                let is_new = meta.size == new.len() as u64;
                assert_same(&object.bytes().await?, if is_new { &new } else { &old });
                assert!(is_new || ended.is_none(), "the object of a successful save is missing");
                assert!(is_new || polls % 2 == 0, "an old object exists where there was none");
                if kit.storage.info().capabilities.metadata {
                    assert_eq!(meta.content_type(), Some(if is_new { "a/new" } else { "a/old" }));
                }
            }
            missing => {
                refused(missing, ErrorKind::NotFound);
                assert!(
                    polls % 2 == 1 && ended.is_none(),
                    "the object is gone after {polls} polls"
                );
            }
        }
    }
    only_known_names(kit, "d/").await
}

/// Asserts that the storage contains only objects with these keys.
async fn only_known_names(kit: &Kit, directory: &str) -> Checked {
    if kit.storage.info().capabilities.list {
        let known: Vec<String> =
            (0..POLLS).map(|polls| format!("{directory}{polls}.bin")).collect();
        let strange: Vec<_> =
            kit.names("").await?.into_iter().filter(|name| !known.contains(name)).collect();
        assert!(strange.is_empty(), "debris: {strange:?}");
    }
    Ok(())
}

pub(crate) async fn a_delete_dropped_at_any_point_leaves_a_complete_object_or_none(
    kit: &Kit,
) -> Checked {
    for polls in 0..POLLS {
        // Each attempt has its own key, because a dropped operation may still take effect later.
        let key = format!("d/{polls}.bin");
        kit.storage.save(&key, pattern(1, 3000)).cache_control("no-store").await?;
        at_most(polls, kit.storage.delete(&key)).await.transpose()?;
        match kit.storage.open(&key).await {
            Ok(object) => assert_same(&object.bytes().await?, &pattern(1, 3000)),
            missing => drop(refused(missing, ErrorKind::NotFound)),
        }
    }
    only_known_names(kit, "d/").await
}

pub(crate) async fn a_delete_many_dropped_at_any_point_leaves_complete_objects_or_none(
    kit: &Kit,
) -> Checked {
    for polls in 0..POLLS / 2 {
        let keys = [format!("d/{}.bin", 2 * polls), format!("d/{}.bin", 2 * polls + 1)];
        for key in &keys {
            kit.storage.save(key, pattern(1, 3000)).cache_control("no-store").await?;
        }
        at_most(polls, kit.storage.delete_many(stream::iter(keys.clone())).finish())
            .await
            .transpose()?;
        for key in &keys {
            match kit.storage.open(key).await {
                Ok(object) => assert_same(&object.bytes().await?, &pattern(1, 3000)),
                missing => drop(refused(missing, ErrorKind::NotFound)),
            }
        }
    }
    only_known_names(kit, "d/").await
}

pub(crate) async fn a_copy_dropped_at_any_point_takes_effect_completely_or_not_at_all(
    kit: &Kit,
) -> Checked {
    kit.storage.save("from", pattern(2, 400_000)).await?;
    let replaced = Metadata::new().content_type("a/new");
    for polls in 0..POLLS {
        let key = format!("d/{polls}.bin");
        kit.storage.save(&key, pattern(1, 3000)).content_type("a/old").await?;
        at_most(polls, kit.storage.copy("from", &key).metadata(replaced.clone()))
            .await
            .transpose()?;
        let object = kit.storage.open(&key).await?;
        let meta = object.meta().clone();
        let is_new = meta.size == 400_000;
        assert_same(
            &object.bytes().await?,
            &if is_new { pattern(2, 400_000) } else { pattern(1, 3000) },
        );
        assert_eq!(meta.content_type(), Some(if is_new { "a/new" } else { "a/old" }));
    }
    kit.storage.delete("from").await?;
    only_known_names(kit, "d/").await
}

pub(crate) async fn a_rename_dropped_at_any_point_loses_no_object(kit: &Kit) -> Checked {
    for polls in 0..POLLS / 2 {
        // Each attempt has its own keys, because a dropped operation may still take effect later.
        let (from, to) = (format!("d/{}.bin", 2 * polls), format!("d/{}.bin", 2 * polls + 1));
        kit.storage.save(&from, pattern(2, 400_000)).content_type("a/new").await?;
        kit.storage.save(&to, pattern(1, 3000)).content_type("a/old").await?;
        at_most(polls, kit.storage.rename(&from, &to)).await.transpose()?;
        // The source is looked up first, because the rename may still go on.
        let source_remains = kit.storage.exists(&from).await?;
        let object = kit.storage.open(&to).await?;
        let meta = object.meta().clone();
        let is_new = meta.size == 400_000;
        assert!(is_new || source_remains, "the object is gone");
        assert_same(
            &object.bytes().await?,
            &if is_new { pattern(2, 400_000) } else { pattern(1, 3000) },
        );
        if kit.storage.info().capabilities.metadata {
            assert_eq!(meta.content_type(), Some(if is_new { "a/new" } else { "a/old" }));
        }
    }
    only_known_names(kit, "d/").await
}

pub(crate) async fn reading_verbs_can_be_dropped_at_any_point(kit: &Kit) -> Checked {
    kit.seed.save("a/b.bin", pattern(1, 3_000_000)).await?;
    for polls in 0..10 {
        drop(at_most(polls, kit.storage.open("a/b.bin")).await.transpose()?);
        drop(at_most(polls, kit.storage.open("a/b.bin").await?.bytes()).await.transpose()?);
        drop(at_most(polls, kit.storage.stat("a/b.bin")).await.transpose()?);
        assert_ne!(at_most(polls, kit.storage.exists("a/b.bin")).await.transpose()?, Some(false));
    }
    assert_same(&kit.read("a/b.bin").await?, &pattern(1, 3_000_000));
    Ok(())
}

pub(crate) async fn stalled_saves_do_not_block_others(kit: &Kit) -> Checked {
    let mut stalled = Vec::new();
    for at in 0..16 {
        let (payload, waiting) = stalling(vec![pattern(1, 5000)]);
        stalled.push(
            until_stalled(kit.storage.save(format!("stalled/{at}.bin"), payload), &waiting).await,
        );
    }
    kit.storage.save("a.bin", "a").await?;
    assert_eq!(kit.read("a.bin").await?, "a");
    kit.holds_only(&["a.bin"]).await?;
    for save in stalled {
        save.abort();
        drop(save.await);
    }
    kit.holds_only(&["a.bin"]).await?;
    Ok(())
}
