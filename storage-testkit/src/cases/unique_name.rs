//! `unique_name` never replaces an object, and chooses another name if the key is taken.

use std::collections::BTreeSet;

use storage_core::{ErrorKind, Key, ObjectMeta, Result};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::{failing, streaming};
use crate::support::race::race;

pub(crate) async fn a_free_key_is_used_unchanged(kit: &Kit) -> Checked {
    let meta = kit.storage.save("a/photo.png", "1").unique_name().await?;
    assert_eq!(meta.key, "a/photo.png");
    kit.holds_only(&["a/photo.png"]).await?;
    Ok(())
}

pub(crate) async fn a_taken_key_leads_to_a_similar_one_and_both_objects_stay(kit: &Kit) -> Checked {
    kit.storage.save("a/photo.png", "1").cache_control("no-store").await?;
    let before = kit.storage.stat("a/photo.png").await?;
    let mut keys = vec!["a/photo.png".to_owned()];
    for version in ["22", "333"] {
        let meta = kit.storage.save("a/photo.png", version).unique_name().await?;
        assert_eq!(meta.key.parent(), Some("a"), "the directory differs: {}", meta.key);
        assert_eq!(meta.key.extension(), Some("png"), "the extension differs: {}", meta.key);
        assert_eq!(meta.size, version.len() as u64);
        assert_eq!(kit.read(meta.key.as_str()).await?, version);
        assert_eq!(kit.storage.stat(&meta.key).await?.metadata.cache_control, None);
        keys.push(meta.key.to_string());
    }
    assert_eq!(kit.storage.stat("a/photo.png").await?, before);
    assert_eq!(kit.read("a/photo.png").await?, "1");
    kit.holds_only(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(())
}

pub(crate) async fn every_name_has_a_similar_one(kit: &Kit) -> Checked {
    let long = format!("d/{}.png", "n".repeat(251));
    let longest = vec!["s".repeat(204); 5].join("/");
    let keys = [
        "a",
        ".env",
        "a/.env",
        "archive.tar.gz",
        "a.b/c",
        "caf\u{e9}.txt",
        "a b (1).txt",
        "x.",
        &long,
        &longest,
    ];
    for key in keys {
        if kit.try_seed(key, "first").await?.is_none() {
            continue;
        }
        let meta = kit.storage.save(key, "second").unique_name().await?;
        assert_eq!(
            meta.key.parent(),
            storage_core::Key::new(key)?.parent(),
            "another directory than {key}"
        );
        assert_eq!(kit.read(meta.key.as_str()).await?, "second");
        assert_eq!(kit.read(key).await?, "first");
    }
    Ok(())
}

pub(crate) async fn a_stream_is_saved_under_a_similar_name(kit: &Kit) -> Checked {
    kit.storage.save("a.bin", "taken").await?;
    let meta = kit.storage.save("a.bin", streaming(pattern(1, 200_000), 999)).unique_name().await?;
    assert_ne!(meta.key, "a.bin");
    assert_same(&kit.read(meta.key.as_str()).await?, &pattern(1, 200_000));
    assert_eq!(kit.read("a.bin").await?, "taken");
    Ok(())
}

pub(crate) async fn a_failed_stream_creates_no_object(kit: &Kit) -> Checked {
    for taken in [false, true] {
        if taken {
            kit.storage.save("a/b.bin", "taken").await?;
        }
        for chunks in [vec![], vec![pattern(1, 100)], vec![pattern(1, 3_000_000)]] {
            refused(
                kit.storage.save("a/b.bin", failing(chunks)).unique_name().await,
                ErrorKind::Unexpected,
            );
        }
        kit.holds_only(if taken { &["a/b.bin"] } else { &[] }).await?;
    }
    Ok(())
}

pub(crate) async fn each_of_32_concurrent_saves_gets_its_own_name(kit: &Kit) -> Checked {
    for round in 0..5 {
        let key = format!("{round}/photo.png");
        let ended = race(32, |racer| {
            let save = kit.storage.save(&key, pattern(racer as u8, 1000 + racer)).unique_name();
            async move { save.await }
        });
        let saved: Vec<ObjectMeta> = ended.await.into_iter().collect::<Result<_>>()?;
        let keys: BTreeSet<&Key> = saved.iter().map(|meta| &meta.key).collect();
        assert_eq!(keys.len(), saved.len(), "two racers got one name");
        assert_eq!(
            saved.iter().filter(|meta| meta.key == *key).count(),
            1,
            "the requested name was not used"
        );
        for (racer, meta) in saved.iter().enumerate() {
            assert_same(&kit.read(meta.key.as_str()).await?, &pattern(racer as u8, 1000 + racer));
        }
        kit.holds_only(&keys.iter().map(|key| key.as_str()).collect::<Vec<_>>()).await?;
        for key in keys {
            kit.storage.delete(key).await?;
        }
    }
    Ok(())
}
