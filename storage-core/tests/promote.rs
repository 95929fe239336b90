//! `promote`: the version that was verified moves, and no other.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;

use storage_core::{
    CopyOptions, Driver, ETag, Error, ErrorKind, Key, Memory, Metadata, Operation, RenameOptions,
    Result, Storage, async_trait, forward,
};
use storage_testkit::faults::Faults;

const TEMPORARY: &str = "incoming/1";
const FINAL: &str = "final.txt";

/// Saves an object under the temporary key and returns its version.
async fn uploaded(storage: &Storage, body: &'static str) -> ETag {
    let save = storage.save(TEMPORARY, body).user_metadata("by", "the client");
    save.await.unwrap().etag.unwrap()
}

async fn text(storage: &Storage, key: &str) -> String {
    storage.read_text(key).await.unwrap()
}

/// A driver without conditions on the source of a copy or a rename.
#[derive(Debug)]
struct Unconditional(Arc<dyn Driver>);

fn unsupported<T>() -> Result<T> {
    Err(Error::unsupported("this backend has no conditions"))
}

#[async_trait]
impl Driver for Unconditional {
    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        match options.if_source_match {
            Some(_) => unsupported(),
            None => self.0.copy(from, to, options).await,
        }
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        match options.if_source_match {
            Some(_) => unsupported(),
            None => self.0.rename(from, to, options).await,
        }
    }

    forward! {
        to self.0: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, url, link_verifier, multipart
    }
}

/// Storages that rename, and that can only stream on this condition.
fn storages() -> [Storage; 2] {
    [Memory::storage(), Memory::storage().layer(Unconditional)]
}

#[tokio::test]
async fn the_verified_version_moves_with_its_metadata() {
    for storage in storages() {
        let etag = uploaded(&storage, "good").await;
        storage.promote(TEMPORARY, etag, FINAL).await.unwrap();
        assert_eq!(text(&storage, FINAL).await, "good");
        let moved = storage.stat(FINAL).await.unwrap().metadata;
        assert_eq!(moved.user_metadata["by"], "the client");
        assert!(!storage.exists(TEMPORARY).await.unwrap());
    }
}

#[tokio::test]
async fn a_version_that_was_stored_after_the_check_does_not_move() {
    for storage in storages() {
        for metadata in [None, Some(Metadata::new().content_type("text/plain"))] {
            let etag = uploaded(&storage, "good").await;
            uploaded(&storage, "evil").await;
            let mut promote = storage.promote(TEMPORARY, etag, FINAL);
            if let Some(metadata) = metadata {
                promote = promote.metadata(metadata);
            }
            assert_eq!(promote.await.unwrap_err().kind(), ErrorKind::PreconditionFailed);
            assert!(!storage.exists(FINAL).await.unwrap());
            assert_eq!(text(&storage, TEMPORARY).await, "evil");
        }
    }
}

#[tokio::test]
async fn create_new_leaves_the_object_under_the_final_key() {
    for storage in storages() {
        storage.save(FINAL, "old").await.unwrap();
        let etag = uploaded(&storage, "good").await;
        let promote = storage.promote(TEMPORARY, etag.clone(), FINAL).create_new();
        assert_eq!(promote.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let metadata = Metadata::new().content_type("text/plain");
        let promote = storage.promote(TEMPORARY, etag, FINAL).create_new().metadata(metadata);
        assert_eq!(promote.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(text(&storage, FINAL).await, "old");
        assert_eq!(text(&storage, TEMPORARY).await, "good");
    }
}

#[tokio::test]
async fn given_metadata_replaces_that_of_the_client() {
    for storage in storages() {
        let etag = uploaded(&storage, "good").await;
        let metadata = Metadata::new().cache_control("no-store");
        storage.promote(TEMPORARY, etag, FINAL).metadata(metadata).await.unwrap();
        let moved = storage.stat(FINAL).await.unwrap().metadata;
        assert_eq!(moved.cache_control.as_deref(), Some("no-store"));
        assert!(moved.content_type.is_some_and(|kind| kind.starts_with("text/plain")));
        assert!(moved.user_metadata.is_empty());
        assert!(!storage.exists(TEMPORARY).await.unwrap());
    }
}

#[tokio::test]
async fn a_promotion_onto_itself_loses_nothing() {
    for storage in storages() {
        let etag = uploaded(&storage, "good").await;
        storage.promote(TEMPORARY, etag.clone(), TEMPORARY).await.unwrap();
        let etag = storage.stat(TEMPORARY).await.unwrap().etag.unwrap_or(etag);
        let metadata = Metadata::new().content_type("text/plain");
        storage.promote(TEMPORARY, etag, TEMPORARY).metadata(metadata).await.unwrap();
        assert_eq!(text(&storage, TEMPORARY).await, "good");
    }
}

#[tokio::test]
async fn a_newer_upload_at_the_temporary_key_stays() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner));
    let etag = uploaded(&storage, "good").await;
    // After the copy, and before the source is deleted.
    let held = faults.on(Operation::Stat).call(1).hold();
    let promote = tokio::spawn({
        let storage = storage.clone();
        let metadata = Metadata::new().content_type("text/plain");
        async move { storage.promote(TEMPORARY, etag, FINAL).metadata(metadata).await }
    });
    held.reached().await;
    uploaded(&storage, "the next one").await;
    held.release();
    promote.await.unwrap().unwrap();
    assert_eq!(text(&storage, FINAL).await, "good");
    assert_eq!(text(&storage, TEMPORARY).await, "the next one");
}

#[tokio::test]
async fn a_failure_after_the_copy_loses_nothing() {
    for operation in [Operation::Stat, Operation::Delete] {
        let faults = Faults::new();
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        let etag = uploaded(&storage, "good").await;
        let failed = faults.on(operation).call(1).fail(ErrorKind::Timeout);
        let metadata = Metadata::new().content_type("text/plain");
        let promote = storage.promote(TEMPORARY, etag, FINAL).metadata(metadata);
        assert_eq!(promote.await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(failed.fired(), 1);
        assert_eq!(text(&storage, FINAL).await, "good");
        assert_eq!(text(&storage, TEMPORARY).await, "good");
    }
}

/// A driver that deletes nothing.
#[derive(Debug)]
struct Undeletable(Arc<dyn Driver>);

#[async_trait]
impl Driver for Undeletable {
    async fn delete(&self, _key: &Key) -> Result<()> {
        unsupported()
    }

    forward! {
        to self.0: info, innermost, save, open, stat, exists, delete_many, delete_folder_marker,
        list, copy, rename, url, link_verifier, multipart
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_deleted_is_copied_once() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner)).layer(Undeletable);
    let etag = uploaded(&storage, "good").await;
    let metadata = Metadata::new().content_type("text/plain");
    let promote = storage.promote(TEMPORARY, etag, FINAL).create_new().metadata(metadata);
    assert_eq!(promote.await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!((faults.calls(Operation::Copy), faults.calls(Operation::Save)), (1, 1));
    assert_eq!(text(&storage, FINAL).await, "good");
    assert_eq!(text(&storage, TEMPORARY).await, "good");
}

#[tokio::test]
async fn a_missing_upload_is_not_found() {
    for storage in storages() {
        let etag = ETag::strong("a").unwrap();
        let error = storage.promote(TEMPORARY, etag, FINAL).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some(TEMPORARY)));
    }
}
