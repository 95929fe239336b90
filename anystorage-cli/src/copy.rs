//! Copies one object between any two storages, for `cp` and `mv`.

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result, Storage};

use crate::compare::{same_object, same_storage};
use crate::exit::Failure;
use crate::metadata::MetadataArgs;
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
    if same_storage(source, target) && source.info().capabilities.copy {
        let before = source.stat(from_key).await?;
        // Changed metadata of one version must not be stored with the bytes of another, so such a
        // copy is streamed.
        if !metadata.would_change(&before.metadata) {
            match source.copy(from_key, to_key).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                copied => return copied.map(|()| before),
            }
        }
    }
    let mut copied = None;
    source
        .copy_to(from_key, target, to_key)
        .map_metadata(|meta| {
            progress.set_total(meta.size);
            let kept = metadata.for_copy(from_key.as_str(), &meta.metadata, progress)?;
            copied = Some(meta.clone());
            Ok(kept)
        })
        .map_payload(|payload| progress.count_payload(payload))
        .await?;
    copied.ok_or_else(|| Error::new(ErrorKind::Unexpected, "nothing was copied"))
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

    use super::*;

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
