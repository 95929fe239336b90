//! Completion: what it verifies, and that it is all or nothing.

use storage_core::{Checksum, ChecksumAlgorithm, CompleteOptions, ErrorKind};

use super::{content, listed, part_size, put_all, split};
use crate::case::Checked;
use crate::cases::metadata::everything;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};

pub(crate) async fn nothing_is_visible_before_completion(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a/new.bin").part_size(part_size(kit)?).await?;
    kit.storage.save("a/old.bin", "old").await?;
    let replacing = kit.storage.multipart("a/old.bin").part_size(part_size(kit)?).await?;
    put_all(kit, &upload, &content(kit, 1, 1)?).await?;
    put_all(kit, &replacing, &content(kit, 2, 1)?).await?;
    refused(kit.storage.stat("a/new.bin").await, ErrorKind::NotFound);
    assert!(!kit.storage.exists("a/new.bin").await?);
    assert_eq!(kit.read("a/old.bin").await?, "old");
    kit.holds_only(&["a/old.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_completed_object_has_the_metadata_of_the_beginning(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").metadata(everything()).await?;
    upload.put_part(1, "body").await?;
    assert_eq!(upload.complete().await?.metadata, everything());
    assert_eq!(kit.storage.stat("a.bin").await?.metadata, everything());
    assert_eq!(kit.storage.open("a.bin").await?.meta().metadata, everything());
    Ok(())
}

pub(crate) async fn the_content_type_of_an_upload_is_guessed_from_the_key(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a/film.mp4").await?;
    upload.put_part(1, "body").await?;
    upload.complete().await?;
    assert_eq!(kit.storage.stat("a/film.mp4").await?.content_type(), Some("video/mp4"));
    Ok(())
}

pub(crate) async fn a_missing_part_is_found_and_the_upload_stays(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    refused(upload.complete().await, ErrorKind::Conflict);
    let parts = split(kit, &bytes)?;
    for (number, part) in parts.iter().filter(|(number, _)| *number != 2) {
        upload.put_part(*number, part.clone()).await?;
    }
    refused(upload.complete().await, ErrorKind::Conflict);
    kit.holds_only(&[]).await?;
    upload.put_part(2, parts[1].1.clone()).await?;
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_short_part_before_the_last_one_is_refused(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, pattern(1, 1_000)).await?;
    upload.put_part(2, pattern(1, 1_000)).await?;
    refused(upload.complete().await, ErrorKind::Conflict);
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn a_size_other_than_declared_is_refused(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    for difference in [-1, 1] {
        let declared = (bytes.len() as u64).saturating_add_signed(difference);
        let begin = kit.storage.multipart("a.bin").part_size(part_size(kit)?).size(declared);
        let upload = begin.await?;
        put_all(kit, &upload, &bytes).await?;
        refused(upload.complete().await, ErrorKind::Integrity);
    }
    kit.holds_only(&[]).await?;
    let begin = kit.storage.multipart("a.bin").part_size(part_size(kit)?);
    let upload = begin.size(bytes.len() as u64).await?;
    put_all(kit, &upload, &bytes).await?;
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_checksum_other_than_declared_is_refused(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    for algorithm in [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32c] {
        let crc = |bytes: &[u8]| Checksum::of(algorithm, bytes);
        let begin = kit.storage.multipart("a.bin").part_size(part_size(kit)?);
        let upload = begin.expect_checksum(crc(b"other")).await?;
        put_all(kit, &upload, &bytes).await?;
        refused(upload.complete().await, ErrorKind::Integrity);
        kit.holds_only(&[]).await?;

        let begin = kit.storage.multipart("a.bin").part_size(part_size(kit)?);
        let upload = begin.expect_checksum(crc(&bytes)).await?;
        put_all(kit, &upload, &bytes).await?;
        // Another process knows the checksums of the parts by the listing alone.
        let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
        other.complete().await?;
        assert_same(&kit.read("a.bin").await?, &bytes);
        let stored = kit.storage.stat("a.bin").await?.checksums;
        assert_eq!(stored.get(algorithm), Some(&crc(&bytes)));
        kit.storage.delete("a.bin").await?;
    }
    Ok(())
}

pub(crate) async fn a_checksum_that_cannot_be_composed_is_unsupported(kit: &Kit) -> Checked {
    for algorithm in [ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Md5] {
        let begin = kit.storage.multipart("a.bin").expect_checksum(Checksum::of(algorithm, b"a"));
        refused(begin.await, ErrorKind::Unsupported);
    }
    Ok(())
}

pub(crate) async fn a_completion_that_is_repeated_succeeds(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    put_all(kit, &upload, &bytes).await?;
    let first = upload.complete().await?;
    let again = upload.complete().await?;
    assert_eq!((again.size, &again.key), (first.size, &first.key));
    let resumed = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    assert_eq!(resumed.complete().await?.size, first.size);
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_completion_whose_object_was_replaced_is_not_found(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "uploaded").await?;
    upload.complete().await?;
    kit.storage.save("a.bin", "uploaded").await?;
    refused(upload.complete().await, ErrorKind::NotFound);
    assert_eq!(kit.read("a.bin").await?, "uploaded");
    kit.storage.delete("a.bin").await?;
    refused(upload.complete().await, ErrorKind::NotFound);
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn a_part_that_another_handle_replaced_is_found(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let known = put_all(kit, &upload, &bytes).await?;
    let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    other.put_part(2, pattern(9, 1_000)).await?;
    refused(upload.complete().await, ErrorKind::Conflict);
    let exactly = CompleteOptions::new().exactly(known);
    refused(upload.complete_with(exactly).await, ErrorKind::Conflict);
    kit.holds_only(&[]).await?;
    // The handle that sends it again completes.
    upload.put_part(2, bytes.slice(bytes.len() - 1_000..)).await?;
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn an_upload_that_another_handle_completed_with_another_size_is_found(
    kit: &Kit,
) -> Checked {
    let bytes = content(kit, 1, 1)?;
    for len in [10, 2_000] {
        let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
        let known = put_all(kit, &upload, &bytes).await?;
        let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
        other.put_part(2, pattern(9, len)).await?;
        let completed = other.complete().await?;
        // The bytes that were acknowledged to this handle are not in the object.
        refused(upload.complete().await, ErrorKind::Conflict);
        let exactly = CompleteOptions::new().exactly(known);
        refused(upload.complete_with(exactly).await, ErrorKind::Conflict);
        assert_eq!(kit.storage.stat("a.bin").await?.size, completed.size);
        assert_eq!(other.complete().await?.size, completed.size);
    }
    Ok(())
}

pub(crate) async fn a_part_beyond_the_named_ones_is_discarded(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let known = put_all(kit, &upload, &bytes).await?;
    let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    other.put_part(3, pattern(9, 1_000)).await?;
    assert_eq!(listed(&upload).await?.len(), 3);
    let meta = upload.complete_with(CompleteOptions::new().exactly(known)).await?;
    assert_eq!(meta.size, bytes.len() as u64);
    assert_same(&kit.read("a.bin").await?, &bytes);
    kit.holds_only(&["a.bin"]).await?;
    Ok(())
}

/// Without a declared size, only the handle that has sent all parts knows that this is not one.
pub(crate) async fn a_part_that_another_process_sent_late_is_refused(kit: &Kit) -> Checked {
    let bytes = pattern(1, usize::try_from(2 * part_size(kit)?).unwrap_or(0));
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let known = put_all(kit, &upload, &bytes).await?;
    let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    other.put_part(3, pattern(9, 1_000)).await?;
    refused(upload.complete().await, ErrorKind::Conflict);
    let only = CompleteOptions::new().only(known.clone());
    refused(other.complete_with(only).await, ErrorKind::Conflict);
    kit.holds_only(&[]).await?;
    assert_eq!(listed(&upload).await?.len(), 3);

    // The other process has not sent all, so it takes what is stored.
    let meta = other.complete().await?;
    assert_eq!(meta.size, bytes.len() as u64 + 1_000);
    refused(upload.complete().await, ErrorKind::Conflict);
    Ok(())
}

pub(crate) async fn a_handle_that_continued_an_upload_uses_the_parts_that_were_there(
    kit: &Kit,
) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let parts = split(kit, &bytes)?;
    // The first process had not sent its first part when it ended.
    for (number, part) in &parts[1..] {
        upload.put_part(*number, part.clone()).await?;
    }
    let resumed = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    resumed.put_part(parts[0].0, parts[0].1.clone()).await?;
    resumed.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn parts_of_other_processes_are_used_if_the_size_is_declared(
    kit: &Kit,
) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let begin = kit.storage.multipart("a.bin").part_size(part_size(kit)?);
    let upload = begin.size(bytes.len() as u64).await?;
    let other = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    for (number, part) in split(kit, &bytes)? {
        let sender = if number == 1 { &upload } else { &other };
        sender.put_part(number, part).await?;
    }
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}
