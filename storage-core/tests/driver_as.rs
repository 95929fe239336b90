//! [`Storage::driver_as`]: typed access to the driver below all layers.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;
use std::time::Duration;

use storage_core::layers::{
    DefaultMetadata, Limit, Observed, Prefixed, PublicUrl, ReadOnly, Retry, Timeout,
};
use storage_core::{Driver, ErrorKind, Memory, Metadata, Registry, Storage};

type Wrap = fn(Arc<dyn Driver>) -> Arc<dyn Driver>;

/// Every layer that changes no key and allows direct access.
const LAYERS: [(&str, Wrap); 6] = [
    ("DefaultMetadata", |inner| Arc::new(DefaultMetadata::new(inner, Metadata::new()))),
    ("Limit", |inner| Arc::new(Limit::new(inner, 1))),
    ("Observed", |inner| Arc::new(Observed::new(inner))),
    ("PublicUrl", |inner| Arc::new(PublicUrl::new(inner, "https://example.com/".parse().unwrap()))),
    ("Retry", |inner| Arc::new(Retry::new(inner, 1))),
    ("Timeout", |inner| Arc::new(Timeout::new(inner, Duration::from_secs(1)))),
];

fn prefixed(inner: Arc<dyn Driver>, prefix: &str) -> Arc<dyn Driver> {
    Arc::new(Prefixed::new(inner, prefix).unwrap())
}

#[test]
fn driver_as_finds_the_same_driver_through_every_layer() {
    let memory = Arc::new(Memory::new());
    for (name, wrap) in LAYERS {
        let storage = Storage::from_arc(wrap(memory.clone()));
        let found = storage.driver_as::<Memory>().unwrap();
        assert!(std::ptr::eq(found.driver(), &*memory), "{name}");
        assert_eq!(found.key("a/b").unwrap().as_str(), "a/b", "{name}");
    }
}

#[tokio::test]
async fn keys_pass_through_two_prefixes_and_every_layer_between() {
    let memory = Arc::new(Memory::new());
    for (name, wrap) in LAYERS {
        let inside = prefixed(memory.clone(), "outer/most");
        let storage = Storage::from_arc(wrap(prefixed(wrap(inside), "inner/")));
        storage.save("ada.txt", name).await.unwrap();
        let found = storage.driver_as::<Memory>().unwrap();
        assert_eq!(found.key("ada.txt").unwrap().as_str(), "outer/most/inner/ada.txt");
        assert_eq!(found.prefix("").unwrap().as_str(), "outer/most/inner/");
        assert_eq!(found.prefix("a/").unwrap().as_str(), "outer/most/inner/a/");
        let object = found.open(&found.key("ada.txt").unwrap(), &Default::default()).await.unwrap();
        assert_eq!(object.text().await.unwrap(), name);
    }
}

#[test]
fn driver_as_refuses_invalid_and_too_long_keys() {
    let storage = Memory::storage().prefixed("media").unwrap();
    let found = storage.driver_as::<Memory>().unwrap();
    let long = "a".repeat(1024);
    for key in ["", "/a", "a/../b", &long] {
        let error = found.key(key).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some(key)));
    }
    let error = found.prefix(&*long).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some(&*long)));
}

#[test]
fn a_read_only_layer_refuses_driver_as_at_any_depth() {
    for (name, wrap) in LAYERS {
        let read_only: Arc<dyn Driver> = Arc::new(ReadOnly::new(Arc::new(Memory::new())));
        let storage = Storage::from_arc(prefixed(wrap(read_only), "media"));
        let error = storage.driver_as::<Memory>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name}");
        assert!(error.message().contains("read_only"), "{error}");
        assert_eq!(error.driver(), Some("memory"), "{name}");
    }
    let configured = Registry::with_memory().open_url("memory:?read_only=true").unwrap();
    let error = configured.driver_as::<Memory>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn driver_as_with_another_type_fails_with_the_name_of_the_driver() {
    let storage = Memory::storage().prefixed("media").unwrap();
    let error = storage.driver_as::<Observed>().unwrap_err();
    assert_eq!((error.kind(), error.driver()), (ErrorKind::Unsupported, Some("memory")));
    assert!(error.message().contains("\"memory\""), "{error}");
    assert!(error.message().contains("Observed"), "{error}");
}

#[test]
fn driver_as_works_on_a_storage_from_configuration() {
    let options = "memory:?prefix=a/b&retries=2&timeout=5s&public_url=https://example.com/";
    let storage = Registry::with_memory().open_url(options).unwrap();
    let found = storage.driver_as::<Memory>().unwrap();
    assert_eq!(found.key("c").unwrap().as_str(), "a/b/c");
    assert_eq!(format!("{found:?}"), "DriverRef { driver: \"memory\", prefix: \"a/b/\", .. }");
}
