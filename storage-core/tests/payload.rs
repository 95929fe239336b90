//! What a payload tells before its bytes are read.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Memory, Payload};

#[test]
fn the_checksums_that_are_wanted_are_told_before_the_bytes_are_read() {
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
async fn what_is_announced_is_what_the_stream_finds() {
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
async fn a_stream_that_fails_is_found_too_large_first_if_its_bytes_before_that_are_too_many() {
    let endless = || {
        let chunks = [
            Ok(Bytes::from("six")),
            Ok(Bytes::from("six")),
            Err(Error::new(ErrorKind::Unexpected, "broken")),
        ];
        Payload::from_stream(stream::iter(chunks))
    };
    let storage = Memory::storage();
    // The first bytes decide about the type of both, by the name and without one.
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
