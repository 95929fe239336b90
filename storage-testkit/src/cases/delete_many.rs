//! `delete_many` removes many objects and returns a result for each key.

use futures_util::{StreamExt, stream};
use storage_core::{ErrorKind, Key, Result};

use crate::case::Checked;
use crate::kit::{Kit, refused};

/// Deletes the keys and returns the results in their order.
async fn deleted(kit: &Kit, keys: &[&str]) -> Vec<Result<Key>> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    kit.storage.delete_many(stream::iter(keys)).collect().await
}

pub(crate) async fn all_listed_objects_are_deleted_and_the_rest_stays(kit: &Kit) -> Checked {
    for key in ["a/1", "a/b/2", "a/b/3", "a-1", "b/1"] {
        kit.storage.save(key, key).await?;
    }
    let deleted = kit.storage.delete_many(kit.storage.list("a/").entries()).finish().await?;
    assert_eq!(deleted, 3);
    for key in ["a/1", "a/b/2", "a/b/3"] {
        assert!(!kit.storage.exists(key).await?, "{key:?} is still there");
    }
    kit.holds_only(&["a-1", "b/1"]).await?;
    assert_eq!(kit.storage.delete_many(kit.storage.list("").entries()).finish().await?, 2);
    kit.holds_only(&[]).await?;
    Ok(())
}

/// Also if some of them are invalid, or the backend cannot store them.
pub(crate) async fn each_result_is_in_the_place_of_its_key(kit: &Kit) -> Checked {
    let long_segment = format!("d/{}.bin", "n".repeat(300));
    let long = format!("d{}", "/0123456789".repeat(93));
    let keys =
        ["a.bin", "no//key", &long_segment, "b.bin", &long, "../key", "missing.bin", "c.bin"];
    for key in ["a.bin", "b.bin", "c.bin", "d.bin"] {
        kit.storage.save(key, key).await?;
    }
    let results = deleted(kit, &keys).await;
    assert_eq!(results.len(), keys.len(), "{results:?}");
    for (result, key) in results.into_iter().zip(keys) {
        let may_be_refused = Key::new(key).map_or(true, |key| kit.harness.rejects_key(&key));
        match result {
            Ok(gone) => {
                assert_eq!(gone, key, "the result of another key");
                assert!(Key::new(key).is_ok());
            }
            refusal if may_be_refused => {
                let error = refused(refusal, ErrorKind::InvalidKey);
                assert_eq!(error.key(), Some(key), "the error of another key: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    kit.holds_only(&["d.bin"]).await?;
    for key in ["a.bin", "b.bin", "c.bin"] {
        assert!(!kit.storage.exists(key).await?, "{key:?} is still there");
    }
    Ok(())
}

pub(crate) async fn a_missing_object_counts_as_deleted(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", "b").await?;
    let missing = ["x", "a/x", "a/b.bin/c", "a", "x/y/z"];
    let results = deleted(kit, &missing).await.into_iter().collect::<Result<Vec<_>>>()?;
    assert_eq!(results, missing);
    assert_eq!(kit.storage.delete_many(stream::iter(Vec::<Key>::new())).finish().await?, 0);
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_key_that_is_given_twice_is_deleted(kit: &Kit) -> Checked {
    let keys = ["a.bin", "b.bin", "a.bin", "a.bin"];
    for key in keys {
        kit.storage.save(key, key).await?;
    }
    let results = deleted(kit, &keys).await.into_iter().collect::<Result<Vec<_>>>()?;
    assert_eq!(results, keys);
    assert!(!kit.storage.exists("a.bin").await?);
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn similar_keys_and_keys_below_stay(kit: &Kit) -> Checked {
    for key in ["a.bin", "b.bin"] {
        kit.storage.save(key, key).await?;
    }
    let stay = ["ab.bin", "a.binary", "A.bin", "d/a.bin", "d/e/f.bin", "*"];
    let stay = kit.seed_keys(&stay).await?;
    for result in deleted(kit, &["a.bin", "d", "d/e", "d/e/f", "b.bin", "a"]).await {
        result?;
    }
    kit.holds_only(&stay.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(())
}

/// Requests contain the keys in a text format, which may give characters a meaning.
pub(crate) async fn unusual_keys_are_deleted_and_similar_ones_stay(kit: &Kit) -> Checked {
    let pairs = [
        ("x&y", "x&amp;y"),
        ("<k>", "&lt;k&gt;"),
        ("a%2Fb", "a/b"),
        ("a+b", "a b"),
        ("q\"", "q&quot;"),
        ("caf\u{e9}", "cafe\u{301}"),
        (" b", "b"),
        ("]]>", "]]&gt;"),
        ("x\\y", "x/y"),
    ];
    for (gone, stays) in pairs.into_iter().flat_map(|(one, other)| [(one, other), (other, one)]) {
        let stored = kit.seed_keys(&[gone, stays]).await?;
        let present: Vec<&str> =
            stored.iter().map(String::as_str).filter(|key| *key == gone).collect();
        for result in deleted(kit, &present).await {
            result?;
        }
        let rest: Vec<&str> =
            stored.iter().map(String::as_str).filter(|key| *key != gone).collect();
        assert!(!kit.storage.exists(gone).await?, "{gone:?} is still there");
        kit.holds_only(&rest).await?;
        for result in deleted(kit, &rest).await {
            result?;
        }
    }
    kit.holds_only(&[]).await?;
    Ok(())
}

/// More keys than one request of any backend takes. Few of them exist, which keeps the case fast.
pub(crate) async fn all_objects_of_1200_keys_are_deleted(kit: &Kit) -> Checked {
    let keys: Vec<String> = (0..1200).map(|at| format!("d{}/{at:04}.bin", at % 7)).collect();
    let there: Vec<&String> = keys.iter().step_by(59).chain(keys.last()).collect();
    for key in &there {
        kit.storage.save(*key, "x").await?;
    }
    kit.storage.save("stays.bin", "x").await?;
    let results: Vec<Result<Key>> =
        kit.storage.delete_many(stream::iter(keys.clone())).collect().await;
    assert_eq!(results.len(), keys.len());
    for (result, key) in results.into_iter().zip(&keys) {
        assert_eq!(result?, key.as_str());
    }
    for key in there {
        assert!(!kit.storage.exists(key).await?, "{key:?} is still there");
    }
    kit.holds_only(&["stays.bin"]).await?;
    Ok(())
}
