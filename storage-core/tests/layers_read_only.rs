//! The read-only layer: no call that could change the storage reaches the driver.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::layers::ReadOnly;
use storage_core::{ErrorKind, Metadata, Result, Storage, UrlMethod};
use storage_testkit::scripted::Scripted;

fn assert_refused<T>(result: Result<T>) {
    let Err(error) = result else { panic!("the call succeeded") };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("read-only"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn calls_that_change_the_storage_are_refused_before_the_driver_is_called() {
    let scripted = Scripted::with_objects(&[("a", "text")]).await;
    let storage = Storage::new(ReadOnly::new(scripted.arc()));
    assert_refused(storage.save("a", "other").await);
    assert_refused(storage.save("b", "new").create_new().await);
    assert_refused(storage.save("b", "new").unique_name().await);
    assert_refused(storage.delete("a").await);
    assert_refused(storage.delete("not there").await);
    let results: Vec<_> = storage.delete_many(stream::iter(["a", "not there"])).collect().await;
    assert_eq!(results.len(), 2);
    results.into_iter().for_each(assert_refused);
    assert_refused(storage.copy("a", "b").await);
    assert_refused(
        storage.copy("a", "a").metadata(Metadata::new().content_type("text/html")).await,
    );
    for method in [UrlMethod::Put, UrlMethod::Post] {
        assert_refused(storage.url("a").method(method).expires_in(Duration::from_secs(9)).await);
    }
    assert!(scripted.calls().is_empty(), "{:?}", scripted.calls());
    assert_eq!(scripted.text("a").await, "text");
}

#[tokio::test]
async fn links_for_reading_come_from_the_driver() {
    let scripted = Scripted::new();
    let storage = Storage::new(ReadOnly::new(scripted.arc()));
    for method in [UrlMethod::Get, UrlMethod::Head] {
        let link =
            storage.url("a").method(method).expires_in(Duration::from_secs(9)).await.unwrap();
        assert_eq!(link.as_str(), "https://inner.example/a");
    }
}
