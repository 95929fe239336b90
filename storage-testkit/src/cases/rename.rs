//! `rename`: moves within a storage. Failures and concurrent writes lose no object.

use storage_core::{Checksum, ChecksumAlgorithm, ETag, ErrorKind};

use super::metadata::everything;
use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::race::race;

pub(crate) async fn the_moved_object_has_the_bytes_and_the_source_is_gone(kit: &Kit) -> Checked {
    for len in [0, 1, 5000, 7_000_000] {
        let bytes = pattern(1, len);
        kit.storage.save("a/from.bin", bytes.clone()).await?;
        kit.storage.rename("a/from.bin", "x/y/to.bin").await?;
        let meta = kit.storage.stat("x/y/to.bin").await?;
        assert_eq!((meta.key.as_str(), meta.size), ("x/y/to.bin", len as u64));
        assert_same(&kit.read("x/y/to.bin").await?, &bytes);
        refused(kit.storage.stat("a/from.bin").await, ErrorKind::NotFound);
        refused(kit.storage.open("a/from.bin").await, ErrorKind::NotFound);
        assert!(!kit.storage.exists("a/from.bin").await?);
        kit.holds_only(&["x/y/to.bin"]).await?;
    }
    Ok(())
}

pub(crate) async fn the_moved_object_has_the_metadata(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").metadata(everything()).await?;
    // The type of the new key is another one.
    kit.storage.rename("from.bin", "to.png").await?;
    assert_eq!(kit.storage.stat("to.png").await?.metadata, everything());
    assert_eq!(kit.storage.open("to.png").await?.meta().metadata, everything());
    // The old key keeps nothing for the next object.
    let saved = kit.storage.save("from.bin", "next").await?;
    assert_eq!(kit.storage.stat("from.bin").await?.metadata, saved.metadata);
    Ok(())
}

pub(crate) async fn a_rename_replaces_the_destination_with_all_its_metadata(kit: &Kit) -> Checked {
    let plain = kit.storage.save("from.bin", "short").await?.metadata;
    kit.storage.save("to.bin", pattern(1, 9000)).metadata(everything()).await?;
    kit.storage.rename("from.bin", "to.bin").await?;
    let moved = kit.storage.stat("to.bin").await?;
    assert_eq!((moved.size, moved.metadata), (5, plain));
    assert_eq!(kit.read("to.bin").await?, "short");
    kit.holds_only(&["to.bin"]).await?;
    Ok(())
}

pub(crate) async fn checksums_of_a_moved_object_match_its_bytes(kit: &Kit) -> Checked {
    let bytes = pattern(1, 5000);
    kit.storage.save("from.bin", bytes.clone()).compute_checksum(ChecksumAlgorithm::Sha256).await?;
    kit.storage.save("to.bin", "x").compute_checksum(ChecksumAlgorithm::Md5).await?;
    kit.storage.rename("from.bin", "to.bin").await?;
    for checksum in kit.storage.stat("to.bin").await?.checksums.iter() {
        assert_eq!(*checksum, Checksum::of(checksum.algorithm(), &bytes));
    }
    Ok(())
}

pub(crate) async fn a_missing_source_is_not_found_and_changes_nothing(kit: &Kit) -> Checked {
    kit.storage.save("to.bin", "old").metadata(everything()).await?;
    for to in ["to.bin", "x/new.bin", "missing.bin"] {
        refused(kit.storage.rename("missing.bin", to).await, ErrorKind::NotFound);
    }
    refused(kit.storage.rename("to", "x/new.bin").await, ErrorKind::NotFound);
    refused(kit.storage.rename("to.bin/below", "x/new.bin").await, ErrorKind::NotFound);
    assert_eq!(kit.read("to.bin").await?, "old");
    assert_eq!(kit.storage.stat("to.bin").await?.metadata, everything());
    kit.holds_only(&["to.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_rename_onto_itself_changes_nothing(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", pattern(1, 5000)).metadata(everything()).await?;
    let before = kit.storage.stat("a/b.bin").await?;
    kit.storage.rename("a/b.bin", "a/b.bin").await?;
    assert_eq!(kit.storage.stat("a/b.bin").await?, before);
    assert_same(&kit.read("a/b.bin").await?, &pattern(1, 5000));
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn create_new_renames_to_a_free_key(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").metadata(everything()).await?;
    kit.storage.rename("from.bin", "a/to.bin").create_new().await?;
    assert_eq!(kit.read("a/to.bin").await?, "body");
    assert_eq!(kit.storage.stat("a/to.bin").await?.metadata, everything());
    kit.holds_only(&["a/to.bin"]).await?;
    Ok(())
}

pub(crate) async fn create_new_refuses_a_taken_key_and_both_objects_stay(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.save("to.bin", "old").metadata(everything()).await?;
    let before = kit.storage.stat("to.bin").await?;
    let source = kit.storage.stat("from.bin").await?;
    refused(kit.storage.rename("from.bin", "to.bin").create_new().await, ErrorKind::AlreadyExists);
    refused(kit.storage.rename("to.bin", "to.bin").create_new().await, ErrorKind::AlreadyExists);
    assert_eq!(
        (kit.read("to.bin").await?, kit.read("from.bin").await?),
        ("old".into(), "body".into())
    );
    assert_eq!(kit.storage.stat("to.bin").await?, before);
    assert_eq!(kit.storage.stat("from.bin").await?, source);
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn if_source_match_renames_the_matching_version(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.save("to.bin", "old").await?;
    let etag = kit.storage.stat("from.bin").await?.etag.expect("required of the driver");
    kit.storage.rename("from.bin", "to.bin").if_source_match(etag).await?;
    assert_eq!(kit.read("to.bin").await?, "body");
    kit.holds_only(&["to.bin"]).await?;
    Ok(())
}

pub(crate) async fn if_source_match_refuses_another_version_and_changes_nothing(
    kit: &Kit,
) -> Checked {
    let older = kit.storage.save("from.bin", "older").await?;
    let older = older.etag.map_or_else(|| ETag::strong("unknown"), Ok)?;
    kit.storage.save("from.bin", "a newer version").await?;
    kit.storage.save("to.bin", "old").await?;
    for to in ["to.bin", "new.bin", "from.bin"] {
        let rename = kit.storage.rename("from.bin", to).if_source_match(older.clone());
        refused(rename.await, ErrorKind::PreconditionFailed);
    }
    let missing = kit.storage.rename("missing.bin", "to.bin").if_source_match(older);
    refused(missing.await, ErrorKind::NotFound);
    assert_eq!(kit.read("from.bin").await?, "a newer version");
    assert_eq!(kit.read("to.bin").await?, "old");
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_weak_source_etag_never_matches(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    let etag = kit.storage.stat("from.bin").await?.etag.expect("required of the driver");
    let weak = ETag::weak(etag.opaque())?;
    let rename = kit.storage.rename("from.bin", "to.bin").if_source_match(weak);
    refused(rename.await, ErrorKind::PreconditionFailed);
    kit.holds_only(&["from.bin"]).await?;
    Ok(())
}

pub(crate) async fn one_of_16_concurrent_renames_with_create_new_succeeds(kit: &Kit) -> Checked {
    for round in 0..5 {
        let (to, from) = (format!("to/{round}.bin"), |racer| format!("from/{racer}.bin"));
        for racer in 0..16_u8 {
            kit.storage.save(from(racer.into()), pattern(racer, 4000)).await?;
        }
        let ended = race(16, |racer: usize| {
            let rename = kit.storage.rename(from(racer), &to).create_new();
            async move { rename.await }
        });
        let mut winners = Vec::new();
        for (racer, ended) in ended.await.into_iter().enumerate() {
            match ended {
                Ok(()) => winners.push(racer),
                lost => {
                    refused(lost, ErrorKind::AlreadyExists);
                    assert_same(&kit.read(&from(racer)).await?, &pattern(racer as u8, 4000));
                }
            }
        }
        assert_eq!(winners.len(), 1, "these racers all won: {winners:?}");
        assert_same(&kit.read(&to).await?, &pattern(winners[0] as u8, 4000));
        assert!(!kit.storage.exists(from(winners[0])).await?, "the winner's source remains");
    }
    Ok(())
}

/// Where a rename is two requests, several callers may copy the object before one deletes it.
pub(crate) async fn concurrent_renames_of_one_object_do_not_lose_it(kit: &Kit) -> Checked {
    for round in 0..5_u8 {
        let from = format!("from/{round}.bin");
        kit.storage.save(&from, pattern(round, 4000)).await?;
        let to = |racer: usize| format!("to/{round}/{racer}.bin");
        let ended = race(8, |racer| {
            let rename = kit.storage.rename(&from, to(racer));
            async move { rename.await }
        });
        let mut moved = 0;
        for (racer, ended) in ended.await.into_iter().enumerate() {
            match ended {
                Ok(()) => {
                    moved += 1;
                    assert_same(&kit.read(&to(racer)).await?, &pattern(round, 4000));
                }
                lost => drop(refused(lost, ErrorKind::NotFound)),
            }
        }
        assert!(moved > 0, "no rename succeeded");
        assert!(!kit.storage.exists(&from).await?, "the source remains");
    }
    Ok(())
}
