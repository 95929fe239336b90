//! The layer for default metadata: it sets the fields that a save omits, and no others.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use storage_core::layers::DefaultMetadata;
use storage_core::{ErrorKind, MAX_USER_METADATA_BYTES, Metadata, Storage};
use storage_testkit::scripted::Scripted;

fn storage(scripted: &Scripted) -> Storage {
    let defaults = Metadata::new()
        .content_type("text/never")
        .cache_control("max-age=60")
        .content_language("en")
        .user("team", "web");
    Storage::new(DefaultMetadata::new(scripted.arc(), defaults))
}

#[tokio::test]
async fn a_field_that_the_save_omits_gets_its_default() {
    let scripted = Scripted::new();
    let saved =
        storage(&scripted).save("a.css", "body {}").user_metadata("author", "ada").await.unwrap();
    let expected = Metadata::new()
        .content_type("text/css; charset=utf-8")
        .cache_control("max-age=60")
        .content_language("en")
        .user("author", "ada")
        .user("team", "web");
    assert_eq!(saved.metadata, expected);
    assert_eq!(storage(&scripted).stat("a.css").await.unwrap().metadata, expected);
}

#[tokio::test]
async fn a_field_that_the_save_sets_keeps_its_value() {
    let save = storage(&Scripted::new())
        .save("a.css", "body {}")
        .cache_control("no-store")
        .user_metadata("team", "ops");
    let saved = save.await.unwrap().metadata;
    assert_eq!(saved.cache_control.as_deref(), Some("no-store"));
    assert_eq!(saved.user_metadata["team"], "ops");
}

#[tokio::test]
async fn a_copy_gets_no_defaults() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = storage(&scripted);
    storage.copy("a", "b").await.unwrap();
    assert_eq!(storage.stat("b").await.unwrap().metadata, Metadata::new());
    let given = Metadata::new().content_type("text/html");
    storage.copy("a", "c").metadata(given.clone()).await.unwrap();
    assert_eq!(storage.stat("c").await.unwrap().metadata, given);
}

#[tokio::test]
async fn metadata_that_is_too_large_with_the_defaults_is_refused_before_the_driver_is_called() {
    let scripted = Scripted::new();
    let value = "x".repeat(MAX_USER_METADATA_BYTES - 1);
    let error = storage(&scripted).save("a", "text").user_metadata("a", value).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(scripted.calls().is_empty());
}
