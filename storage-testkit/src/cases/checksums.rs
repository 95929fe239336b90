//! Checksums are verified before the object becomes visible, and kept with it.

use bytes::Bytes;
use storage_core::ChecksumAlgorithm::{Crc32c, Crc64Nvme, Md5, Sha256};
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Payload};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::streaming;

const ALGORITHMS: [ChecksumAlgorithm; 4] = [Sha256, Md5, Crc64Nvme, Crc32c];

/// Returns the bytes in memory and as a stream, because drivers may treat the two differently.
fn both_ways(bytes: &Bytes) -> [Payload; 2] {
    [Payload::from_bytes(bytes.clone()), streaming(bytes.clone(), 1000)]
}

pub(crate) async fn bytes_with_the_expected_checksum_are_saved(kit: &Kit) -> Checked {
    let bytes = pattern(1, 20_000);
    for algorithm in ALGORITHMS {
        let checksum = Checksum::of(algorithm, &bytes);
        for payload in both_ways(&bytes) {
            kit.storage.save("a.bin", payload).expect_checksum(checksum.clone()).await?;
            assert_same(&kit.read("a.bin").await?, &bytes);
        }
    }
    Ok(())
}

pub(crate) async fn bytes_with_another_checksum_are_refused_and_change_nothing(
    kit: &Kit,
) -> Checked {
    kit.storage.save("old.bin", "old").cache_control("no-store").await?;
    let before = kit.storage.stat("old.bin").await?;
    let bytes = pattern(1, 20_000);
    for algorithm in ALGORITHMS {
        let wrong = Checksum::of(algorithm, b"other bytes");
        for key in ["old.bin", "new.bin", "x/y/new.bin"] {
            for payload in both_ways(&bytes) {
                let saved = kit.storage.save(key, payload).expect_checksum(wrong.clone()).await;
                refused(saved, ErrorKind::Integrity);
            }
        }
    }
    assert_eq!(kit.read("old.bin").await?, "old");
    assert_eq!(kit.storage.stat("old.bin").await?, before);
    kit.holds_only(&["old.bin"]).await?;
    Ok(())
}

pub(crate) async fn an_empty_object_is_verified(kit: &Kit) -> Checked {
    for algorithm in ALGORITHMS {
        let wrong = Checksum::of(algorithm, b"x");
        refused(kit.storage.save("a.bin", "").expect_checksum(wrong).await, ErrorKind::Integrity);
        kit.holds_only(&[]).await?;
        kit.storage.save("a.bin", "").expect_checksum(Checksum::of(algorithm, b"")).await?;
        kit.storage.delete("a.bin").await?;
    }
    Ok(())
}

pub(crate) async fn one_wrong_checksum_among_right_ones_is_refused(kit: &Kit) -> Checked {
    let bytes = pattern(1, 20_000);
    for payload in both_ways(&bytes) {
        let save = kit.storage.save("a.bin", payload).expect_checksum(Checksum::of(Sha256, &bytes));
        let save = save.expect_checksum(Checksum::of(Md5, b"other"));
        refused(save.await, ErrorKind::Integrity);
    }
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn verified_and_computed_checksums_are_kept(kit: &Kit) -> Checked {
    let bytes = pattern(1, 20_000);
    for payload in both_ways(&bytes) {
        let save = kit.seed.save("a.bin", payload).expect_checksum(Checksum::of(Md5, &bytes));
        let save = save.compute_checksum(Sha256).compute_checksum(Crc64Nvme);
        let saved = save.compute_checksum(Crc32c).await?;
        for algorithm in ALGORITHMS {
            let expected = Some(Checksum::of(algorithm, &bytes));
            assert_eq!(saved.checksums.get(algorithm), expected.as_ref(), "save");
            assert_eq!(
                kit.storage.stat("a.bin").await?.checksums.get(algorithm),
                expected.as_ref(),
                "stat"
            );
            let object = kit.storage.open("a.bin").range(0..1).await?;
            assert_eq!(object.meta().checksums.get(algorithm), expected.as_ref(), "open");
        }
    }
    Ok(())
}

pub(crate) async fn an_overwrite_removes_the_checksums_of_the_old_bytes(kit: &Kit) -> Checked {
    let old = pattern(1, 100);
    for algorithm in ALGORITHMS {
        kit.seed.save("a.bin", old.clone()).compute_checksum(algorithm).await?;
        kit.seed.save("a.bin", pattern(2, 100)).await?;
        // A backend may compute checksums itself, but only of the new bytes.
        for checksum in kit.storage.stat("a.bin").await?.checksums.iter() {
            assert_eq!(*checksum, Checksum::of(checksum.algorithm(), &pattern(2, 100)));
        }
    }
    Ok(())
}
