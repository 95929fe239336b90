//! `copy`: within a storage, with the metadata of the source or with other metadata.

use storage_core::{Checksum, ETag, ErrorKind, Metadata};

use super::metadata::everything;
use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::race::race;

pub(crate) async fn the_copy_has_the_bytes_and_the_source_stays(kit: &Kit) -> Checked {
    for len in [0, 1, 5000, 7_000_000] {
        let bytes = pattern(1, len);
        kit.storage.save("a/from.bin", bytes.clone()).await?;
        let before = kit.storage.stat("a/from.bin").await?;
        kit.storage.copy("a/from.bin", "x/y/to.bin").await?;
        let meta = kit.storage.stat("x/y/to.bin").await?;
        assert_eq!((meta.key.as_str(), meta.size), ("x/y/to.bin", len as u64));
        assert_same(&kit.read("x/y/to.bin").await?, &bytes);
        assert_same(&kit.read("a/from.bin").await?, &bytes);
        assert_eq!(kit.storage.stat("a/from.bin").await?, before, "the source changed");
    }
    kit.holds_only(&["a/from.bin", "x/y/to.bin"]).await?;
    Ok(())
}

pub(crate) async fn the_copy_has_the_metadata(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").metadata(everything()).await?;
    kit.storage.copy("from.bin", "to.png").await?;
    assert_eq!(kit.storage.stat("to.png").await?.metadata, everything());
    assert_eq!(kit.storage.open("to.png").await?.meta().metadata, everything());
    Ok(())
}

pub(crate) async fn stat_and_open_of_the_copy_return_the_same_metadata(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.copy("from.bin", "to.bin").await?;
    let stat = kit.storage.stat("to.bin").await?;
    assert_eq!((stat.key.as_str(), stat.size), ("to.bin", 4));
    assert_eq!(*kit.storage.open("to.bin").await?.meta(), stat);
    Ok(())
}

pub(crate) async fn given_metadata_replaces_all_metadata_of_the_source(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").metadata(everything()).await?;
    let other = Metadata::new().content_type("text/css").user("editor", "grace");
    kit.storage.copy("from.bin", "to.bin").metadata(other.clone()).await?;
    assert_eq!(kit.storage.stat("to.bin").await?.metadata, other);
    assert_eq!(kit.read("to.bin").await?, "body");
    assert_eq!(
        kit.storage.stat("from.bin").await?.metadata,
        everything(),
        "the source's metadata changed"
    );
    Ok(())
}

pub(crate) async fn given_metadata_without_a_content_type_gets_the_type_of_the_destination(
    kit: &Kit,
) -> Checked {
    kit.storage.save("from.bin", "body").metadata(everything()).await?;
    kit.storage.copy("from.bin", "to.css").metadata(Metadata::new().user("a", "b")).await?;
    let metadata = kit.storage.stat("to.css").await?.metadata;
    assert_eq!(metadata, Metadata::new().content_type("text/css").user("a", "b"));
    Ok(())
}

pub(crate) async fn a_copy_replaces_the_destination_with_all_its_metadata(kit: &Kit) -> Checked {
    let plain = kit.storage.save("from.bin", "short").await?.metadata;
    kit.storage.save("to.bin", pattern(1, 9000)).metadata(everything()).await?;
    kit.storage.copy("from.bin", "to.bin").await?;
    let copied = kit.storage.stat("to.bin").await?;
    assert_eq!((copied.size, copied.metadata), (5, plain));
    assert_eq!(kit.read("to.bin").await?, "short");
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_missing_source_is_not_found_and_changes_nothing(kit: &Kit) -> Checked {
    kit.storage.save("to.bin", "old").await?;
    for to in ["to.bin", "x/new.bin", "missing.bin"] {
        refused(kit.storage.copy("missing.bin", to).await, ErrorKind::NotFound);
        let replaced = kit.storage.copy("missing.bin", to).metadata(everything()).await;
        refused(replaced, ErrorKind::NotFound);
    }
    refused(kit.storage.copy("to", "x/new.bin").await, ErrorKind::NotFound);
    refused(kit.storage.copy("to.bin/below", "x/new.bin").await, ErrorKind::NotFound);
    assert_eq!(kit.read("to.bin").await?, "old");
    kit.holds_only(&["to.bin"]).await?;
    Ok(())
}

pub(crate) async fn source_and_copy_are_independent(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "one").metadata(everything()).await?;
    for to in ["changed.bin", "kept.bin"] {
        kit.storage.copy("from.bin", to).await?;
    }
    kit.storage.save("from.bin", "another").await?;
    assert_eq!(kit.read("kept.bin").await?, "one");
    kit.storage
        .copy("changed.bin", "changed.bin")
        .metadata(Metadata::new().content_type("a/b"))
        .await?;
    kit.storage.save("changed.bin", "two").await?;
    kit.storage.delete("from.bin").await?;
    assert_eq!(kit.read("kept.bin").await?, "one");
    assert_eq!(kit.storage.stat("kept.bin").await?.metadata, everything());
    kit.holds_only(&["changed.bin", "kept.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_copy_onto_itself_changes_nothing(kit: &Kit) -> Checked {
    for len in [4, 3_000_000] {
        kit.storage.save("a/b.bin", pattern(1, len)).metadata(everything()).await?;
        kit.storage.copy("a/b.bin", "a/b.bin").await?;
        assert_same(&kit.read("a/b.bin").await?, &pattern(1, len));
        assert_eq!(kit.storage.stat("a/b.bin").await?.metadata, everything());
    }
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_copy_onto_itself_with_new_metadata_changes_only_the_metadata(
    kit: &Kit,
) -> Checked {
    for len in [4, 3_000_000] {
        kit.storage.save("a/b.bin", pattern(1, len)).metadata(everything()).await?;
        let other = Metadata::new()
            .content_type("text/css")
            .cache_control("no-store")
            .user("editor", "grace");
        kit.storage.copy("a/b.bin", "a/b.bin").metadata(other.clone()).await?;
        let meta = kit.storage.stat("a/b.bin").await?;
        assert_eq!((meta.size, &meta.metadata), (len as u64, &other));
        assert_same(&kit.read("a/b.bin").await?, &pattern(1, len));
    }
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn checksums_of_a_copy_match_its_bytes(kit: &Kit) -> Checked {
    let bytes = pattern(1, 5000);
    let save = kit.storage.save("from.bin", bytes.clone());
    save.compute_checksum(storage_core::ChecksumAlgorithm::Sha256).await?;
    kit.storage.save("to.bin", "x").compute_checksum(storage_core::ChecksumAlgorithm::Md5).await?;
    kit.storage.copy("from.bin", "to.bin").await?;
    kit.storage.copy("from.bin", "from.bin").metadata(everything()).await?;
    for key in ["from.bin", "to.bin"] {
        for checksum in kit.storage.stat(key).await?.checksums.iter() {
            assert_eq!(*checksum, Checksum::of(checksum.algorithm(), &bytes), "{key}");
        }
    }
    Ok(())
}

pub(crate) async fn create_new_copies_to_a_free_key(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.copy("from.bin", "a/to.bin").create_new().await?;
    assert_eq!(kit.read("a/to.bin").await?, "body");
    kit.holds_only(&["a/to.bin", "from.bin"]).await?;
    Ok(())
}

pub(crate) async fn create_new_refuses_a_taken_key_and_leaves_its_object(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.save("to.bin", "old").metadata(everything()).await?;
    let before = kit.storage.stat("to.bin").await?;
    refused(kit.storage.copy("from.bin", "to.bin").create_new().await, ErrorKind::AlreadyExists);
    let replaced =
        kit.storage.copy("from.bin", "to.bin").metadata(Metadata::new()).create_new().await;
    refused(replaced, ErrorKind::AlreadyExists);
    refused(kit.storage.copy("to.bin", "to.bin").create_new().await, ErrorKind::AlreadyExists);
    assert_eq!(kit.read("to.bin").await?, "old");
    assert_eq!(kit.storage.stat("to.bin").await?, before);
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn one_of_16_concurrent_copies_with_create_new_succeeds(kit: &Kit) -> Checked {
    for racer in 0..16_u8 {
        kit.storage.save(format!("from/{racer}.bin"), pattern(racer, 4000)).await?;
    }
    for round in 0..5 {
        let to = format!("to/{round}.bin");
        let ended = race(16, |racer| {
            let copy = kit.storage.copy(format!("from/{racer}.bin"), &to).create_new();
            async move { copy.await }
        });
        let mut winners = Vec::new();
        for (racer, ended) in ended.await.into_iter().enumerate() {
            match ended {
                Ok(_) => winners.push(racer),
                lost => drop(refused(lost, ErrorKind::AlreadyExists)),
            }
        }
        assert_eq!(winners.len(), 1, "these racers all won: {winners:?}");
        assert_same(&kit.read(&to).await?, &pattern(winners[0] as u8, 4000));
    }
    Ok(())
}

pub(crate) async fn if_source_match_copies_the_matching_version(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    kit.storage.save("to.bin", "old").await?;
    let etag = kit.storage.stat("from.bin").await?.etag.expect("required of the driver");
    kit.storage.copy("from.bin", "to.bin").if_source_match(etag.clone()).await?;
    assert_eq!(kit.read("to.bin").await?, "body");
    if kit.storage.info().capabilities.metadata {
        let other = Metadata::new().content_type("text/css");
        let copy = kit.storage.copy("from.bin", "from.bin").metadata(other.clone());
        copy.if_source_match(etag).await?;
        assert_eq!(kit.storage.stat("from.bin").await?.metadata, other);
        assert_eq!(kit.read("from.bin").await?, "body");
    }
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn if_source_match_refuses_another_version_and_changes_nothing(
    kit: &Kit,
) -> Checked {
    let older = kit.storage.save("from.bin", "older").await?;
    let older = older.etag.map_or_else(|| ETag::strong("unknown"), Ok)?;
    kit.storage.save("from.bin", "a newer version").await?;
    kit.storage.save("to.bin", "old").await?;
    let before = kit.storage.stat("from.bin").await?;
    for to in ["to.bin", "new.bin", "from.bin"] {
        let copy = kit.storage.copy("from.bin", to).if_source_match(older.clone());
        refused(copy.await, ErrorKind::PreconditionFailed);
        if kit.storage.info().capabilities.metadata {
            let copy = kit.storage.copy("from.bin", to).metadata(everything());
            let copy = copy.if_source_match(older.clone());
            refused(copy.await, ErrorKind::PreconditionFailed);
        }
    }
    let missing = kit.storage.copy("missing.bin", "to.bin").if_source_match(older);
    refused(missing.await, ErrorKind::NotFound);
    assert_eq!(kit.storage.stat("from.bin").await?, before);
    assert_eq!(kit.read("to.bin").await?, "old");
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    Ok(())
}

pub(crate) async fn if_source_match_and_create_new_are_both_evaluated(kit: &Kit) -> Checked {
    let older = kit.storage.save("from.bin", "older").await?;
    let older = older.etag.map_or_else(|| ETag::strong("unknown"), Ok)?;
    kit.storage.save("from.bin", "a newer version").await?;
    kit.storage.save("to.bin", "old").await?;
    let etag = kit.storage.stat("from.bin").await?.etag.expect("required of the driver");
    let copy = |to, etag: &ETag| {
        kit.storage.copy("from.bin", to).if_source_match(etag.clone()).create_new()
    };
    refused(copy("to.bin", &etag).await, ErrorKind::AlreadyExists);
    refused(copy("new.bin", &older).await, ErrorKind::PreconditionFailed);
    kit.holds_only(&["from.bin", "to.bin"]).await?;
    copy("new.bin", &etag).await?;
    assert_eq!(kit.read("new.bin").await?, "a newer version");
    assert_eq!(kit.read("to.bin").await?, "old");
    Ok(())
}

pub(crate) async fn a_weak_source_etag_never_matches(kit: &Kit) -> Checked {
    kit.storage.save("from.bin", "body").await?;
    let etag = kit.storage.stat("from.bin").await?.etag.expect("required of the driver");
    let copy = kit.storage.copy("from.bin", "to.bin").if_source_match(ETag::weak(etag.opaque())?);
    refused(copy.await, ErrorKind::PreconditionFailed);
    kit.holds_only(&["from.bin"]).await?;
    Ok(())
}
