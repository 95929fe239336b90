//! The bytes of an upload: what parts contain, in which order they come, and what is refused.

use futures_util::future::try_join_all;
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Payload};

use super::{content, listed, part_size, put_all, split};
use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::{failing, streaming};

pub(crate) async fn an_object_that_is_uploaded_in_parts_is_read_back(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 2)?;
    let upload = kit.storage.multipart("a/b.bin").part_size(part_size(kit)?).await?;
    assert_eq!(upload.part_size(), Some(part_size(kit)?));
    let parts = put_all(kit, &upload, &bytes).await?;
    let numbers: Vec<_> = parts.iter().map(|part| (part.number, part.size)).collect();
    assert_eq!(numbers, [(1, part_size(kit)?), (2, part_size(kit)?), (3, 1_000)]);
    let meta = upload.complete().await?;
    assert_eq!((meta.key.as_str(), meta.size), ("a/b.bin", bytes.len() as u64));
    assert_same(&kit.read("a/b.bin").await?, &bytes);
    assert_eq!(kit.storage.stat("a/b.bin").await?.size, bytes.len() as u64);
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn an_object_of_one_part_may_be_short_or_empty(kit: &Kit) -> Checked {
    for len in [0, 1, 1_000] {
        let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
        upload.put_part(1, pattern(1, len)).await?;
        assert_eq!(upload.complete().await?.size, len as u64);
        assert_same(&kit.read("a.bin").await?, &pattern(1, len));
    }
    Ok(())
}

pub(crate) async fn an_object_whose_last_part_is_whole_is_read_back(kit: &Kit) -> Checked {
    let bytes = pattern(1, 2 * usize::try_from(part_size(kit)?).expect("it fits"));
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    put_all(kit, &upload, &bytes).await?;
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn parts_are_put_in_any_order(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 3)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let mut parts = split(kit, &bytes)?;
    parts.rotate_left(2);
    for (number, part) in parts {
        upload.put_part(number, part).await?;
    }
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn parts_are_put_in_parallel(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 4)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let puts = split(kit, &bytes)?;
    try_join_all(puts.into_iter().map(|(number, part)| upload.put_part(number, part))).await?;
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_part_that_is_put_again_replaces_the_earlier_one(kit: &Kit) -> Checked {
    let (old, new) = (content(kit, 1, 2)?, content(kit, 9, 2)?);
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let first = put_all(kit, &upload, &old).await?;
    let again = put_all(kit, &upload, &new).await?;
    for (first, again) in first.iter().zip(&again) {
        assert_ne!(first.etag, again.etag, "part {} has other bytes", first.number);
    }
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &new);
    Ok(())
}

pub(crate) async fn a_part_that_is_put_twice_with_the_same_bytes_is_stored_once(
    kit: &Kit,
) -> Checked {
    let bytes = content(kit, 1, 1)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    put_all(kit, &upload, &bytes).await?;
    put_all(kit, &upload, &bytes).await?;
    assert_eq!(listed(&upload).await?, [(1, part_size(kit)?), (2, 1_000)]);
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_shorter_part_replaces_a_longer_one_completely(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, content(kit, 1, 0)?).await?;
    upload.put_part(1, pattern(2, 10)).await?;
    assert_eq!(listed(&upload).await?, [(1, 10)]);
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &pattern(2, 10));
    Ok(())
}

pub(crate) async fn a_streamed_part_of_unknown_size_is_stored_completely(kit: &Kit) -> Checked {
    let bytes = content(kit, 1, 1)?;
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    for (number, part) in split(kit, &bytes)? {
        upload.put_part(number, streaming(part, 7_000)).await?;
    }
    upload.complete().await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_part_with_another_checksum_is_refused_and_the_old_part_stays(
    kit: &Kit,
) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "good").await?;
    let wrong = Checksum::of(ChecksumAlgorithm::Sha256, b"other");
    let payload = Payload::from_bytes("evil").with_expected_checksum(wrong);
    refused(upload.put_part(1, payload).await, ErrorKind::Integrity);
    let right = Checksum::of(ChecksumAlgorithm::Sha256, b"more");
    refused(upload.put_part(1, failing(vec![pattern(1, 10)])).await, ErrorKind::Unexpected);
    assert_eq!(upload.complete().await?.size, 4);
    assert_eq!(kit.read("a.bin").await?, "good");

    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, Payload::from_bytes("more").with_expected_checksum(right)).await?;
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "more");
    Ok(())
}

pub(crate) async fn a_part_above_the_part_size_is_refused_and_the_old_part_stays(
    kit: &Kit,
) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    upload.put_part(1, "good").await?;
    let large = pattern(1, usize::try_from(part_size(kit)?).expect("it fits") + 1);
    refused(upload.put_part(1, large.clone()).await, ErrorKind::TooLarge);
    refused(upload.put_part(1, streaming(large, 7_000)).await, ErrorKind::TooLarge);
    upload.complete().await?;
    assert_eq!(kit.read("a.bin").await?, "good");
    Ok(())
}

pub(crate) async fn a_part_number_out_of_range_is_refused(kit: &Kit) -> Checked {
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let max_parts = kit.storage.multipart_limits()?.max_parts;
    refused(upload.put_part(0, "a").await, ErrorKind::InvalidInput);
    if let Some(above) = max_parts.checked_add(1) {
        refused(upload.put_part(above, "a").await, ErrorKind::InvalidInput);
    }
    assert_eq!(listed(&upload).await?, []);
    upload.abort().await?;
    Ok(())
}
