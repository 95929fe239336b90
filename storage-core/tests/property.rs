//! Random operations return the same results with and without layers.

// All of it is test code, where a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use storage_core::layers::{DefaultMetadata, Limit, Observed, PublicUrl, Retry, Timeout};
use storage_core::{Driver, Memory, Metadata, Storage, async_trait};
use storage_testkit::Harness;
use storage_testkit::property::agrees_with_memory;

const SEQUENCES: u32 = 200;

struct Layered(fn(&Storage) -> Storage);

#[async_trait]
impl Harness for Layered {
    async fn storage(&self) -> Storage {
        (self.0)(&Memory::storage())
    }
}

fn timeout(inner: Arc<dyn Driver>) -> Timeout {
    Timeout::new(inner, Duration::from_secs(120))
}

#[test]
fn two_memory_drivers_return_the_same_results() {
    agrees_with_memory(Layered(Storage::clone), SEQUENCES);
}

#[test]
fn a_prefix_changes_no_result() {
    agrees_with_memory(Layered(|storage| storage.prefixed("a/b").unwrap()), SEQUENCES);
}

#[test]
fn two_prefixes_change_no_result() {
    agrees_with_memory(
        Layered(|storage| storage.prefixed("a").unwrap().prefixed("a").unwrap()),
        SEQUENCES,
    );
}

#[test]
fn all_layers_together_change_no_result() {
    let layers = |storage: &Storage| {
        let storage =
            storage.layer(|inner| PublicUrl::new(inner, "https://example.com".parse().unwrap()));
        let storage = storage
            .layer(|inner| DefaultMetadata::new(inner, Metadata::new()))
            .layer(|inner| Limit::new(inner, 4));
        storage
            .layer(timeout)
            .layer(|inner| Retry::new(inner, 2))
            .layer(Observed::new)
            .prefixed("a")
            .unwrap()
    };
    agrees_with_memory(Layered(layers), SEQUENCES);
}

#[test]
fn a_prefix_hides_the_objects_outside_of_it() {
    struct AmongOthers;

    #[async_trait]
    impl Harness for AmongOthers {
        async fn storage(&self) -> Storage {
            let storage = Memory::storage();
            for key in ["a", "a!", "a/b", "a/b-", "a/b.x/y", "a/b0", "b", "a/a/b"] {
                storage.save(key, "another's").await.unwrap();
            }
            storage.prefixed("a/b").unwrap()
        }
    }
    agrees_with_memory(AmongOthers, SEQUENCES);
}
