//! Copies one object between any two storages, for `cp` and `mv`.

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result, Storage};

use crate::compare::{same_object, same_storage};
use crate::exit::Failure;
use crate::metadata::{MetadataArgs, print_dropped};
use crate::place::Place;
use crate::progress::Progress;

/// Copies one object with its metadata: with the storage's own copy within one storage, and as a
/// stream otherwise. Returns the metadata of the version that was copied.
///
/// Fails if the bytes do not match the checksums of the source.
pub(crate) async fn copy_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target)
        && source.info().capabilities.copy
        && let Some(copied) = copy_within(source, from_key, to_key, metadata, progress).await?
    {
        return Ok(copied);
    }
    let mut copied = None;
    source
        .copy_to(from_key, target, to_key)
        .map_metadata(|meta| {
            progress.set_total(meta.size);
            let (kept, dropped) = metadata.for_copy(&meta.metadata)?;
            print_dropped(from_key.as_str(), &dropped, progress);
            copied = Some(meta.clone());
            Ok(kept)
        })
        .map_payload(|payload| progress.count_payload(payload))
        .await?;
    copied.ok_or_else(|| Error::new(ErrorKind::Unexpected, "nothing was copied"))
}

/// Copies with the storage's own copy, which transfers no bytes. Returns `None` if nothing was
/// copied because the object must be streamed.
async fn copy_within(
    storage: &Storage,
    from: &Key,
    to: &Key,
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<Option<ObjectMeta>> {
    let before = storage.stat(from).await?;
    let mut copy = storage.copy(from, to);
    let mut dropped = Vec::new();
    if metadata.would_change(&before.metadata) {
        // Changed metadata of one version must not be stored with the bytes of another.
        let Some(etag) = before.etag.clone().filter(|etag| !etag.is_weak()) else {
            return Ok(None);
        };
        let (kept, refused) = metadata.for_copy(&before.metadata)?;
        // A save also detects a missing content type from the bytes.
        if kept.content_type.is_none() {
            return Ok(None);
        }
        copy = copy.metadata(kept).if_source_match(etag);
        dropped = refused;
    }
    match copy.await {
        Ok(()) => {
            print_dropped(from.as_str(), &dropped, progress);
            Ok(Some(before))
        }
        // The storage cannot copy, or the source was replaced since. A stream is of one version.
        Err(error)
            if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PreconditionFailed) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
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
