//! `delete` removes an object, and succeeds if there is none.

use storage_core::ErrorKind;

use crate::case::Checked;
use crate::kit::{Kit, refused};

pub(crate) async fn a_deleted_object_is_gone(kit: &Kit) -> Checked {
    kit.storage.save("a/b.bin", "b").await?;
    kit.storage.delete("a/b.bin").await?;
    assert!(!kit.storage.exists("a/b.bin").await?);
    refused(kit.storage.open("a/b.bin").await, ErrorKind::NotFound);
    refused(kit.storage.stat("a/b.bin").await, ErrorKind::NotFound);
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn deleting_a_missing_object_succeeds(kit: &Kit) -> Checked {
    kit.storage.delete("a/b.bin").await?;
    kit.storage.save("a/b.bin", "b").await?;
    for missing in ["x", "a/x", "a/b.bin/c", "a/b.bin/c/d", "x/y/z"] {
        kit.storage.delete(missing).await?;
    }
    kit.storage.delete("a/b.bin").await?;
    kit.storage.delete("a/b.bin").await?;
    Ok(())
}

pub(crate) async fn deleting_a_prefix_of_keys_deletes_nothing(kit: &Kit) -> Checked {
    kit.storage.save("a/b/c.bin", "c").await?;
    for prefix in ["a", "a/b", "a/b/c", "a/b/c.bi", "*", "a/b/*"] {
        kit.storage.delete(prefix).await?;
    }
    kit.holds_only(&["a/b/c.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_delete_leaves_similar_keys(kit: &Kit) -> Checked {
    let keys = ["a", "a.b", "a-b", "ab", "b/a", "b/a.b", "b/ab", "b/c/d"];
    for key in keys {
        kit.storage.save(key, key).await?;
    }
    kit.storage.delete("a").await?;
    kit.storage.delete("b/a").await?;
    kit.storage.delete("b/c/d").await?;
    kit.holds_only(&["a.b", "a-b", "ab", "b/a.b", "b/ab"]).await?;
    Ok(())
}

pub(crate) async fn a_deleted_key_can_be_saved_again(kit: &Kit) -> Checked {
    for version in ["one", "two", "three"] {
        kit.storage.save("a/b/c.bin", version).cache_control("no-store").await?;
        assert_eq!(kit.read("a/b/c.bin").await?, version);
        kit.storage.delete("a/b/c.bin").await?;
    }
    kit.storage.save("a/b/c.bin", "four").await?;
    assert_eq!(
        kit.storage.stat("a/b/c.bin").await?.metadata.cache_control,
        None,
        "metadata outlived its object"
    );
    Ok(())
}

pub(crate) async fn a_key_can_become_a_prefix_and_a_key_again(kit: &Kit) -> Checked {
    kit.storage.save("a", "1").await?;
    kit.storage.delete("a").await?;
    kit.storage.save("a/b/c", "2").await?;
    kit.storage.delete("a/b/c").await?;
    kit.storage.save("a/b", "3").await?;
    kit.storage.delete("a/b").await?;
    kit.storage.save("a", "4").await?;
    assert_eq!(kit.read("a").await?, "4");
    kit.holds_only(&["a"]).await?;
    Ok(())
}
