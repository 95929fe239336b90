//! The checks of a payload, before and after its bytes are read.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Memory, Payload};

#[test]
fn a_payload_returns_its_checksum_algorithms_before_its_bytes_are_read() {
    let plain = Payload::from("text");
    assert!(plain.expected_checksums().is_empty() && plain.computed_checksums().is_empty());

    let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"text");
    let payload = plain
        .with_expected_checksum(expected.clone())
        .with_computed_checksum(ChecksumAlgorithm::Md5);
    for payload in [payload.replay().unwrap(), payload] {
        assert_eq!(payload.expected_checksums(), std::slice::from_ref(&expected));
        assert_eq!(payload.computed_checksums(), [ChecksumAlgorithm::Md5]);
    }
}

#[tokio::test]
async fn the_announced_checksums_are_the_computed_ones() {
    let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"text");
    let payload = Payload::from("text")
        .with_expected_checksum(expected)
        .with_computed_checksum(ChecksumAlgorithm::Md5);
    let mut announced: Vec<_> =
        payload.expected_checksums().iter().map(Checksum::algorithm).collect();
    announced.extend(payload.computed_checksums());
    let (_, found) = payload.into_bytes().await.unwrap();
    let mut found: Vec<_> = found.iter().map(Checksum::algorithm).collect();
    announced.sort_unstable();
    found.sort_unstable();
    assert_eq!(announced, found);
}

#[tokio::test]
async fn a_stream_that_exceeds_its_limit_before_it_fails_is_too_large() {
    let endless = || {
        let chunks = [
            Ok(Bytes::from("six")),
            Ok(Bytes::from("six")),
            Err(Error::new(ErrorKind::Unexpected, "broken")),
        ];
        Payload::from_stream(stream::iter(chunks))
    };
    let storage = Memory::storage();
    // The content type of both depends on the first bytes.
    for key in ["a.txt", "a"] {
        let error = storage.save(key, endless()).max_size(5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{key}");
        let error = storage.save(key, endless()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unexpected, "broken"), "{key}");
        assert!(!storage.exists(key).await.unwrap(), "{key}");
    }
    let mut payload = endless();
    assert_eq!(payload.peek(100).await.unwrap(), &b"sixsix"[..]);
}
