//! Copies one object between any two storages, for `cp` and `mv`.

use anystorage::{Error, ErrorKind, Key, ObjectEntry, ObjectMeta, Result, Storage, transfer};

use crate::compare::same_object;
use crate::exit::Failure;
use crate::metadata::{MetadataArgs, print_dropped};
use crate::place::Place;
use crate::progress::Progress;

/// Copies one object with its metadata. Returns the metadata of the version that was copied.
///
/// Fails if the bytes do not match the checksums of the source.
pub(crate) async fn copy_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    if progress.shows_total()
        && let Ok(found) = from.0.stat(from.1).await
    {
        progress.set_total(found.size);
    }
    copy_version(from, None, to, metadata, progress).await
}

/// Copies an object of a listing. A service that copies it needs no other request.
pub(crate) async fn copy_listed(
    (source, listed): (&Storage, &ObjectEntry),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<()> {
    let from = (source, &listed.key);
    match copy_version(from, Some(listed.clone()), to, metadata, progress).await {
        // It was replaced after the listing.
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
            copy_version(from, None, to, metadata, progress).await.map(drop)
        }
        copied => copied.map(drop),
    }
}

/// Copies the version of a listing, or that which the source has now.
async fn copy_version(
    (source, from): (&Storage, &Key),
    listed: Option<ObjectEntry>,
    (target, to): (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    let mut copy = transfer::copy(source, from, target, to)
        .server_side(transfer::server_side())
        .lost_metadata(metadata.lost());
    if let Some(listed) = listed {
        copy = copy.listed(listed);
    }
    if !metadata.keeps_all() {
        copy = copy.map_metadata(|of_source| metadata.of_copy(of_source));
    }
    if let Some(on_bytes) = progress.on_bytes() {
        copy = copy.on_bytes(on_bytes);
    }
    let copied = copy.await.map_err(|error| metadata.explain(error))?;
    print_dropped(from.as_str(), &copied.dropped, progress);
    Ok(copied.source)
}

/// Fails with `Conflict` if source and destination are the same object.
pub(crate) fn refuse_same_object(from: &Place, to: &Place) -> Result<(), Failure> {
    if same_object(from, to) {
        return Err(Failure::at(
            &format!("{from} -> {to}"),
            &Error::new(
                ErrorKind::Conflict,
                "source and destination are the same object; nothing was changed",
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anystorage::{Checksum, ChecksumAlgorithm, Memory};
    use clap::Parser;
    use storage_core::Operation;
    use storage_testkit::faults::Faults;

    use super::*;

    /// Parses the options of a command line.
    fn options(arguments: &[&str]) -> MetadataArgs {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            metadata: MetadataArgs,
        }
        Line::parse_from([&["cp"], arguments].concat()).metadata
    }

    /// Copies an object with another content type within a storage with these faults.
    async fn copy_with_new_type(faults: &Faults) -> Storage {
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").cache_control("no-cache").await.unwrap();
        let (new_type, progress) =
            (options(&["--content-type", "text/css"]), Progress::bytes(false, None));
        copy_object((&storage, &a), (&storage, &b), &new_type, &progress).await.unwrap();
        storage
    }

    /// Asserts that the copy has its bytes, its new content type, and the other metadata.
    async fn assert_copied(storage: &Storage) {
        let copy = storage.open("b").await.unwrap();
        assert_eq!(copy.meta().content_type(), Some("text/css"));
        assert_eq!(copy.meta().metadata.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(copy.text().await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_copy_with_new_metadata_within_a_storage_transfers_no_bytes() {
        let faults = Faults::new();
        let storage = copy_with_new_type(&faults).await;
        // The only save is that of the source.
        let calls = [Operation::Copy, Operation::Open, Operation::Save].map(|of| faults.calls(of));
        assert_eq!(calls, [1, 0, 1]);
        assert_copied(&storage).await;
    }

    /// Lists the object `a`, replaces it if a text is given, and copies the entry to `b`.
    async fn copy_entry(storage: &Storage, replacement: Option<&'static str>) {
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").cache_control("no-cache").await.unwrap();
        let listed = storage.list("").objects().await.unwrap().swap_remove(0);
        if let Some(text) = replacement {
            storage.save(&a, text).await.unwrap();
        }
        let (metadata, progress) = (MetadataArgs::default(), Progress::bytes(false, None));
        copy_listed((storage, &listed), (storage, &b), &metadata, &progress).await.unwrap();
    }

    #[tokio::test]
    async fn a_listed_object_is_copied_within_a_storage_by_one_request() {
        let faults = Faults::new();
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        copy_entry(&storage, None).await;
        let calls = [Operation::Copy, Operation::Stat, Operation::Open].map(|of| faults.calls(of));
        assert_eq!(calls, [1, 0, 0]);
        let copy = storage.open("b").await.unwrap();
        assert_eq!(copy.meta().metadata.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(copy.text().await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn of_an_object_that_was_replaced_after_its_listing_the_new_version_is_copied() {
        let storage = Memory::storage();
        copy_entry(&storage, Some("newer")).await;
        assert_eq!(storage.open("b").await.unwrap().text().await.unwrap(), "newer");
    }

    #[tokio::test]
    async fn a_copy_that_the_storage_refuses_is_streamed() {
        for kind in [ErrorKind::PreconditionFailed, ErrorKind::Unsupported] {
            let faults = Faults::new();
            let refused = faults.on(Operation::Copy).fail(kind);
            let storage = copy_with_new_type(&faults).await;
            assert_eq!((refused.fired(), faults.calls(Operation::Open)), (1, 1), "{kind}");
            assert_copied(&storage).await;
        }
    }

    #[tokio::test]
    async fn a_copy_that_fails_is_not_streamed() {
        let faults = Faults::new();
        let failed = faults.on(Operation::Copy).fail(ErrorKind::StorageFull);
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").await.unwrap();
        let (new_type, progress) =
            (options(&["--content-type", "text/css"]), Progress::bytes(false, None));
        let error = copy_object((&storage, &a), (&storage, &b), &new_type, &progress).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!((failed.fired(), faults.calls(Operation::Open)), (1, 0));
    }

    #[tokio::test]
    async fn the_checksums_of_the_source_are_verified_and_kept() {
        let (source, target) = (Memory::storage(), Memory::storage());
        let key = Key::new("a").unwrap();
        source.save(&key, "hello").compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
        let progress = Progress::bytes(false, None);
        copy_object((&source, &key), (&target, &key), &MetadataArgs::default(), &progress)
            .await
            .unwrap();
        let copied = target.stat(&key).await.unwrap();
        let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"hello");
        assert_eq!(copied.checksums.get(ChecksumAlgorithm::Sha256), Some(&expected));
    }

    #[tokio::test]
    async fn a_copy_within_a_storage_keeps_the_metadata() {
        let storage = Memory::storage();
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").user_metadata("k", "v").await.unwrap();
        let (metadata, progress) = (MetadataArgs::default(), Progress::bytes(false, None));
        let before =
            copy_object((&storage, &a), (&storage, &b), &metadata, &progress).await.unwrap();
        assert_eq!(before, storage.stat(&a).await.unwrap());
        assert_eq!(storage.stat(&b).await.unwrap().metadata, before.metadata);
    }
}
