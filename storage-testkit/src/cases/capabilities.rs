//! Capabilities: a driver refuses what its capabilities exclude.

use futures_util::stream;
use storage_core::{Capabilities, ETag, Error, ErrorKind, Result};

use crate::case::Checked;
use crate::kit::Kit;

/// Asserts that a call failed with `Unsupported`, because the driver lacks the capability, or with
/// `PermissionDenied`, because a layer such as `ReadOnly` forbids it.
#[track_caller]
fn denied<T>(what: &str, result: Result<T>) {
    let kind = result.err().as_ref().map(Error::kind);
    let is_refused = matches!(kind, Some(ErrorKind::Unsupported | ErrorKind::PermissionDenied));
    assert!(is_refused, "{what} is beyond the capabilities, but returned {kind:?}");
}

pub(crate) async fn a_verb_without_its_capability_is_refused_and_changes_nothing(
    kit: &Kit,
) -> Checked {
    const KEY: &str = "old.bin";
    let Capabilities { write, list, copy, rename, create_new, save_if_match, .. } =
        kit.storage.info().capabilities;
    kit.seed.save(KEY, "old").await?;
    let storage = &kit.storage;
    if !write {
        denied("save", storage.save(KEY, "new").await);
        denied("save", storage.save("new.bin", "new").await);
        denied("delete", storage.delete(KEY).await);
        denied("delete_many", storage.delete_many(stream::iter([KEY])).finish().await);
    }
    if !create_new {
        denied("create_new", storage.save("new.bin", "new").create_new().await);
    }
    if !save_if_match {
        let etag = storage.stat(KEY).await?.etag.map_or_else(|| ETag::strong("any"), Ok)?;
        denied("if_match", storage.save(KEY, "new").if_match(etag).await);
    }
    if !copy {
        denied("copy", storage.copy(KEY, "new.bin").await);
        denied("copy", storage.copy(KEY, KEY).await);
    }
    if !rename {
        denied("rename", storage.rename(KEY, "new.bin").await);
        denied("rename", storage.rename(KEY, KEY).await);
    }
    if !list {
        denied("list", storage.list("").entries().collect().await);
    }
    assert_eq!(kit.read(KEY).await?, "old");
    assert!(!kit.storage.exists("new.bin").await?);
    Ok(())
}

pub(crate) async fn the_driver_has_a_name_and_a_location(kit: &Kit) -> Checked {
    let info = kit.storage.info();
    assert!(
        !info.name.is_empty() && !info.name.contains(char::is_whitespace),
        "the name: {:?}",
        info.name
    );
    assert!(!info.location.is_empty(), "the location is empty");
    assert_eq!(*info, kit.storage.driver().info(), "the information differs between calls");
    Ok(())
}
