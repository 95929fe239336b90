//! `save` stores the whole payload or nothing.

use bytes::Bytes;
use storage_core::{ErrorKind, Payload};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::{SOURCE_FAILED, chunks_of, failing, streaming};

pub(crate) async fn a_saved_object_is_read_back_byte_for_byte(kit: &Kit) -> Checked {
    let every_byte: Bytes = (0..=255).collect();
    for (key, bytes) in
        [("a/every-byte.bin", every_byte), ("a/text.txt", Bytes::from("héllo\r\n\0"))]
    {
        kit.storage.save(key, bytes.clone()).await?;
        assert_same(&kit.read(key).await?, &bytes);
    }
    Ok(())
}

pub(crate) async fn a_save_returns_the_key_and_the_size(kit: &Kit) -> Checked {
    let meta = kit.storage.save("a/b.bin", pattern(1, 1000)).await?;
    assert_eq!(meta.key, "a/b.bin");
    assert_eq!(meta.size, 1000);
    Ok(())
}

pub(crate) async fn an_empty_object_is_saved(kit: &Kit) -> Checked {
    let nothing =
        Payload::from_stream(futures_util::stream::empty::<Result<Bytes, storage_core::Error>>());
    for (key, payload) in [("bytes.bin", Payload::from("")), ("stream.bin", nothing)] {
        assert_eq!(kit.storage.save(key, payload).await?.size, 0);
        assert!(kit.storage.exists(key).await?);
        assert_eq!(kit.storage.stat(key).await?.size, 0);
        assert!(kit.read(key).await?.is_empty());
    }
    kit.holds_only(&["bytes.bin", "stream.bin"]).await?;
    Ok(())
}

pub(crate) async fn an_overwrite_replaces_the_whole_object(kit: &Kit) -> Checked {
    // Larger, smaller, empty and large again: no bytes of an older version remain.
    for (version, len) in [(1, 1000), (2, 50_000), (3, 10), (4, 0), (5, 200_000), (6, 1)] {
        let bytes = pattern(version, len);
        let meta = kit.storage.save("a/b.bin", bytes.clone()).await?;
        assert_eq!(meta.size, len as u64);
        assert_eq!(kit.storage.stat("a/b.bin").await?.size, len as u64);
        assert_same(&kit.read("a/b.bin").await?, &bytes);
    }
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_stream_of_unknown_size_is_saved_completely(kit: &Kit) -> Checked {
    for (len, chunk) in [(1, 1), (10_000, 1), (300_000, 4096), (3_000_000, 70_001)] {
        let bytes = pattern(9, len);
        let meta = kit.storage.save("a/stream.bin", streaming(bytes.clone(), chunk)).await?;
        assert_eq!(meta.size, len as u64);
        assert_same(&kit.read("a/stream.bin").await?, &bytes);
    }
    Ok(())
}

pub(crate) async fn empty_chunks_in_a_stream_are_ignored(kit: &Kit) -> Checked {
    let chunks =
        ["", "he", "", "", "llo", ""].map(|chunk| Ok::<_, storage_core::Error>(Bytes::from(chunk)));
    kit.storage.save("a.txt", Payload::from_stream(futures_util::stream::iter(chunks))).await?;
    assert_eq!(kit.read("a.txt").await?, "hello");
    Ok(())
}

pub(crate) async fn a_reader_is_saved_completely(kit: &Kit) -> Checked {
    let bytes = pattern(3, 200_000);
    kit.storage.save("a.bin", Payload::from_reader(std::io::Cursor::new(bytes.clone()))).await?;
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_file_on_disk_is_saved_completely(kit: &Kit) -> Checked {
    // The test binary is a large file that exists on every machine.
    let path = std::env::current_exe().map_err(storage_core::Error::from)?;
    let payload = Payload::from_file(&path)
        .await?
        .with_computed_checksum(storage_core::ChecksumAlgorithm::Crc64Nvme);
    let size = payload.size();
    let meta = kit.storage.save("program.bin", payload).await?;
    assert_eq!(Some(meta.size), size);
    assert_eq!(kit.storage.stat("program.bin").await?.size, meta.size);
    Ok(())
}

pub(crate) async fn a_payload_of_the_declared_size_is_saved(kit: &Kit) -> Checked {
    let bytes = pattern(3, 100_000);
    let payload = streaming(bytes.clone(), 999).with_size(100_000);
    assert_eq!(kit.storage.save("a.bin", payload).await?.size, 100_000);
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn a_payload_shorter_or_longer_than_declared_is_refused_and_changes_nothing(
    kit: &Kit,
) -> Checked {
    kit.storage.save("old.bin", "old").await?;
    for key in ["old.bin", "new.bin"] {
        for declared in [99_999, 100_001, 0] {
            let payload = streaming(pattern(3, 100_000), 999).with_size(declared);
            refused(kit.storage.save(key, payload).await, ErrorKind::Integrity);
            let payload = Payload::from_bytes(pattern(3, 100_000)).with_size(declared);
            refused(kit.storage.save(key, payload).await, ErrorKind::Integrity);
        }
    }
    assert_eq!(kit.read("old.bin").await?, "old");
    kit.holds_only(&["old.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_payload_above_the_maximum_size_is_refused_and_changes_nothing(
    kit: &Kit,
) -> Checked {
    kit.storage.save("old.bin", "old").await?;
    for key in ["old.bin", "new.bin"] {
        let bytes = pattern(3, 100_000);
        let unknown = streaming(bytes.clone(), 999);
        refused(kit.storage.save(key, unknown).max_size(99_999).await, ErrorKind::TooLarge);
        refused(kit.storage.save(key, bytes).max_size(99_999).await, ErrorKind::TooLarge);
    }
    assert_eq!(kit.read("old.bin").await?, "old");
    kit.storage.save("new.bin", pattern(3, 1000)).max_size(1000).await?;
    kit.holds_only(&["new.bin", "old.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_failed_stream_leaves_the_old_object(kit: &Kit) -> Checked {
    let old = kit.storage.save("a/b.bin", pattern(1, 5000)).cache_control("no-store").await?;
    for chunks in failure_points() {
        let failed = kit.storage.save("a/b.bin", failing(chunks)).cache_control("public").await;
        let error = refused(failed, ErrorKind::Unexpected);
        assert!(
            error.message().contains(SOURCE_FAILED),
            "the payload's error was replaced: {error}"
        );
        assert_same(&kit.read("a/b.bin").await?, &pattern(1, 5000));
        assert_eq!(kit.storage.stat("a/b.bin").await?.etag, old.etag);
    }
    kit.holds_only(&["a/b.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_failed_stream_creates_no_object(kit: &Kit) -> Checked {
    kit.storage.save("kept.bin", "kept").await?;
    for chunks in failure_points() {
        refused(kit.storage.save("a/b/c.bin", failing(chunks)).await, ErrorKind::Unexpected);
        assert!(!kit.storage.exists("a/b/c.bin").await?);
        refused(kit.storage.open("a/b/c.bin").await, ErrorKind::NotFound);
    }
    kit.holds_only(&["kept.bin"]).await?;
    Ok(())
}

pub(crate) async fn a_save_after_a_failed_save_succeeds(kit: &Kit) -> Checked {
    for chunks in failure_points() {
        refused(kit.storage.save("a/b.bin", failing(chunks)).await, ErrorKind::Unexpected);
    }
    kit.storage.save("a/b.bin", pattern(2, 300)).await?;
    assert_same(&kit.read("a/b.bin").await?, &pattern(2, 300));
    // The failed save must not leave a directory in the place of this object.
    kit.storage.save("c/d/e.bin", "e").await?;
    refused(kit.storage.save("f/g.bin", failing(Vec::new())).await, ErrorKind::Unexpected);
    kit.storage.save("f", "f").await?;
    kit.holds_only(&["a/b.bin", "c/d/e.bin", "f"]).await?;
    Ok(())
}

/// Returns small and large streams that fail at the start, after the first chunk, in the middle,
/// and after the last chunk.
fn failure_points() -> Vec<Vec<Bytes>> {
    let small = chunks_of(&pattern(2, 5000), 500);
    let large = chunks_of(&pattern(2, 9_000_000), 1_000_000);
    vec![Vec::new(), small[..1].to_vec(), small[..5].to_vec(), small, large[..1].to_vec(), large]
}
