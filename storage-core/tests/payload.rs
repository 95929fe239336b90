//! What a payload tells before its bytes are read.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use storage_core::{Checksum, ChecksumAlgorithm, Payload};

#[test]
fn the_checksums_that_are_wanted_are_told_before_the_bytes_are_read() {
    let plain = Payload::from("text");
    assert!(plain.expected_checksums().is_empty() && plain.computed_checksums().is_empty());

    let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"text");
    let payload = plain.with_expected_checksum(expected.clone()).with_computed_checksum(ChecksumAlgorithm::Md5);
    for payload in [payload.replay().unwrap(), payload] {
        assert_eq!(payload.expected_checksums(), std::slice::from_ref(&expected));
        assert_eq!(payload.computed_checksums(), [ChecksumAlgorithm::Md5]);
    }
}

#[tokio::test]
async fn what_is_announced_is_what_the_stream_finds() {
    let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"text");
    let payload = Payload::from("text").with_expected_checksum(expected).with_computed_checksum(ChecksumAlgorithm::Md5);
    let mut announced: Vec<_> = payload.expected_checksums().iter().map(Checksum::algorithm).collect();
    announced.extend(payload.computed_checksums());
    let (_, found) = payload.into_bytes().await.unwrap();
    let mut found: Vec<_> = found.iter().map(Checksum::algorithm).collect();
    announced.sort_unstable();
    found.sort_unstable();
    assert_eq!(announced, found);
}
