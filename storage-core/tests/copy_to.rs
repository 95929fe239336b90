//! Copies between two storages: one version with its metadata, verified, or no object.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt;
use storage_core::{
    Checksum, ChecksumAlgorithm, ETag, Error, ErrorKind, Memory, Metadata, Operation, Payload,
    Storage,
};
use storage_testkit::faults::Faults;

fn storages() -> (Storage, Storage) {
    (Memory::storage(), Memory::storage())
}

#[tokio::test]
async fn a_copy_has_the_bytes_the_metadata_and_the_checksums_of_the_source() {
    let (source, target) = storages();
    let metadata = Metadata::new().content_type("text/x-test").user("author", "ada");
    let save = source.save("a.txt", "hello").metadata(metadata.clone());
    save.compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    let saved = source.copy_to("a.txt", &target, "b/c.png").await.unwrap();
    assert_eq!((saved.key.as_str(), saved.size, &saved.metadata), ("b/c.png", 5, &metadata));
    let copy = target.open("b/c.png").await.unwrap();
    let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"hello");
    assert_eq!(copy.meta().checksums.get(ChecksumAlgorithm::Sha256), Some(&expected));
    assert_eq!(
        (copy.meta().metadata.clone(), copy.text().await.unwrap()),
        (metadata, "hello".to_owned())
    );
    assert!(source.exists("a.txt").await.unwrap());
}

#[tokio::test]
async fn given_metadata_replaces_that_of_the_source_and_gets_the_type_of_the_destination() {
    let (source, target) = storages();
    source.save("a", "hello").content_type("text/x-test").await.unwrap();
    let copy = source.copy_to("a", &target, "a.css").metadata(Metadata::new().user("k", "v"));
    let metadata = copy.await.unwrap().metadata;
    assert_eq!(metadata, Metadata::new().content_type("text/css; charset=utf-8").user("k", "v"));
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_no_object() {
    let faults = Faults::new();
    let (source, target) = storages();
    source.save("a", "hello".repeat(100_000)).await.unwrap();
    let broken = source.layer(|inner| faults.layer(inner));
    let fault = faults.on(Operation::Open).fail_midway(1_000, ErrorKind::Unexpected);
    broken.copy_to("a", &target, "a").await.unwrap_err();
    assert_eq!(fault.fired(), 1);
    assert!(!target.exists("a").await.unwrap());
}

#[tokio::test]
async fn bytes_that_do_not_match_the_checksum_of_the_source_are_refused() {
    let (source, target) = storages();
    let save = source.save("a", "hello").compute_checksum(ChecksumAlgorithm::Sha256);
    save.await.unwrap();
    target.save("a", "old").await.unwrap();
    let copy = source.copy_to("a", &target, "a").map_payload(|_| Payload::from("HELLO"));
    assert_eq!(copy.await.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(target.read_text("a").await.unwrap(), "old");
}

#[tokio::test]
async fn an_error_while_metadata_is_mapped_transfers_nothing() {
    let (source, target) = storages();
    source.save("a", "hello").await.unwrap();
    let payloads = AtomicUsize::new(0);
    let copy = source
        .copy_to("a", &target, "a")
        .map_metadata(|meta| {
            assert_eq!(meta.size, 5);
            Err(Error::new(ErrorKind::InvalidInput, "refused by the test"))
        })
        .map_payload(|payload| {
            payloads.fetch_add(1, Ordering::Relaxed);
            payload
        });
    assert_eq!(copy.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(payloads.into_inner(), 0);
    assert!(!target.exists("a").await.unwrap());
}

#[tokio::test]
async fn the_bytes_of_a_copy_can_be_counted() {
    let (source, target) = storages();
    source.save("a", "hello").await.unwrap();
    let counted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counted);
    let copy = source.copy_to("a", &target, "a").map_payload(move |payload| {
        Payload::from_stream(payload.into_stream().inspect_ok(move |chunk| {
            count.fetch_add(chunk.len(), Ordering::Relaxed);
        }))
    });
    copy.await.unwrap();
    assert_eq!(counted.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn conditions_on_source_and_destination_are_evaluated() {
    let (source, target) = storages();
    let etag = source.save("a", "hello").await.unwrap().etag.unwrap();
    let old = target.save("a", "old").await.unwrap().etag.unwrap();
    let other = ETag::strong("another").unwrap();
    let copy = || source.copy_to("a", &target, "a");
    for (copy, kind) in [
        (copy().create_new(), ErrorKind::AlreadyExists),
        (copy().if_match(other.clone()), ErrorKind::PreconditionFailed),
        (copy().if_source_match(other), ErrorKind::PreconditionFailed),
    ] {
        assert_eq!(copy.await.unwrap_err().kind(), kind);
        assert_eq!(target.read_text("a").await.unwrap(), "old");
    }
    copy().if_source_match(etag).if_match(old).await.unwrap();
    assert_eq!(target.read_text("a").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_invalid_destination_is_reported_before_the_source_is_opened() {
    let faults = Faults::new();
    let (source, target) = storages();
    let source = source.layer(|inner| faults.layer(inner));
    let opened = faults.on(Operation::Open).fail(ErrorKind::Unexpected);
    let error = source.copy_to("a", &target, "../b").await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidKey, Some(Operation::Save)));
    assert_eq!(opened.fired(), 0);
}

#[tokio::test]
async fn the_error_of_a_missing_source_names_its_key() {
    let (source, target) = storages();
    let error = source.copy_to("from", &target, "to").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("from")));
    assert_eq!(error.operation(), Some(Operation::Open));
}
