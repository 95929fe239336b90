//! `stat` and `exists`: the metadata of an object, and a definite result for a missing one.

use storage_core::ErrorKind;

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::pattern;

pub(crate) async fn stat_of_a_missing_object_is_not_found(kit: &Kit) -> Checked {
    kit.seed.save("a/b.bin", "b").await?;
    for key in ["x", "a/b", "a/x/y", "b.bin"] {
        refused(kit.storage.stat(key).await, ErrorKind::NotFound);
    }
    Ok(())
}

pub(crate) async fn exists_is_true_from_save_to_delete(kit: &Kit) -> Checked {
    assert!(!kit.storage.exists("a/b.bin").await?);
    kit.seed.save("a/b.bin", "b").await?;
    assert!(kit.storage.exists("a/b.bin").await?);
    kit.seed.delete("a/b.bin").await?;
    assert!(!kit.storage.exists("a/b.bin").await?);
    Ok(())
}

pub(crate) async fn a_prefix_of_keys_is_not_an_object(kit: &Kit) -> Checked {
    kit.seed.save("a/b/c.bin", "c").await?;
    for key in ["a", "a/b", "a/b/c", "a/b/c.bi"] {
        assert!(!kit.storage.exists(key).await?, "{key:?}");
        refused(kit.storage.stat(key).await, ErrorKind::NotFound);
        refused(kit.storage.open(key).await, ErrorKind::NotFound);
    }
    Ok(())
}

pub(crate) async fn a_key_below_an_object_is_not_an_object(kit: &Kit) -> Checked {
    kit.seed.save("a/b", "b").await?;
    for key in ["a/b/c", "a/b/c/d", "a/b/b"] {
        assert!(!kit.storage.exists(key).await?, "{key:?}");
        refused(kit.storage.stat(key).await, ErrorKind::NotFound);
        refused(kit.storage.open(key).await, ErrorKind::NotFound);
    }
    Ok(())
}

pub(crate) async fn save_stat_and_open_return_the_same_metadata(kit: &Kit) -> Checked {
    let saved = kit
        .seed
        .save("a/b.css", pattern(1, 1234))
        .cache_control("no-cache")
        .user_metadata("a", "b")
        .await;
    // Without metadata, the other fields must still agree.
    let saved = match saved {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            kit.seed.save("a/b.css", pattern(1, 1234)).await?
        }
        saved => saved?,
    };
    let stat = kit.storage.stat("a/b.css").await?;
    let object = kit.storage.open("a/b.css").await?;
    assert_eq!(*object.meta(), stat);
    let part = kit.storage.open("a/b.css").range(5..7).await?;
    let mut of_part = part.meta().clone();
    // No checksum was requested. A backend may compute checksums of the whole object itself.
    of_part.checksums.clone_from(&stat.checksums);
    assert_eq!(of_part, stat, "the metadata of a range is the whole object's");
    assert_eq!((saved.key, saved.size), (stat.key, stat.size));
    assert_eq!(saved.metadata, stat.metadata);
    // A save need not return the ETag.
    if saved.etag.is_some() {
        assert_eq!(saved.etag, stat.etag);
    }
    if saved.last_modified.is_some() {
        assert_eq!(whole_second(saved.last_modified), whole_second(stat.last_modified));
    }
    Ok(())
}

fn whole_second(time: Option<std::time::SystemTime>) -> Option<u64> {
    Some(time?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

pub(crate) async fn stat_returns_the_time_of_the_save(kit: &Kit) -> Checked {
    let before = std::time::SystemTime::now();
    kit.seed.save("a.bin", "a").await?;
    let after = std::time::SystemTime::now();
    // Clocks of machines differ, and many backends state whole seconds. One hour is tolerated.
    let slack = std::time::Duration::from_secs(3600);
    let Some(modified) = kit.storage.stat("a.bin").await?.last_modified else { return Ok(()) };
    assert!(modified >= before - slack && modified <= after + slack, "saved at {modified:?}");
    Ok(())
}
