//! The options of the cache in a configuration.

use storage_core::config::StoragesConfig;
use storage_core::{ErrorKind, Memory, Registry};
use storage_mirror::cache::{self, Cache};
use storage_testkit::wait::until;

fn open(options: &str) -> storage_core::Result<storage_core::Storage> {
    let mut registry = Registry::with_memory();
    cache::register(&mut registry);
    let text = format!(
        r#"{{ "default": {{ "driver": "cache", {options} }}, "media": {{ "driver": "memory" }} }}"#
    );
    let config: StoragesConfig = serde_json::from_str(&text).unwrap();
    registry.open_named(&config, "default")
}

#[tokio::test]
async fn all_options_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache");
    let storage = open(&format!(
        r#""origin": "media", "cache_dir": "{}", "max_size": "10MiB", "max_object_size": "1MiB",
           "ttl": "5m", "memory": "1MiB", "stale_if_error": "1h""#,
        path.display()
    ))
    .unwrap();
    storage.save("a", "one").await.unwrap();
    let cache = storage.driver_as::<Cache>().unwrap();
    let is_hit = async || {
        assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "one");
        cache.status().hits > 0
    };
    assert!(until(is_hit).await, "{:?}", cache.status());
    assert!(path.exists());
}

#[test]
fn the_origin_can_be_an_inline_table() {
    let storage = open(
        r#""origin": { "driver": "memory" }, "cache_dir": "/var/cache/app", "max_size": "10MiB""#,
    );
    assert_eq!(storage.unwrap().info().location, "/var/cache/app -> memory:");
}

#[test]
fn the_error_of_an_invalid_option_names_it() {
    let rest = r#""cache_dir": "/var/cache/app", "origin": "media""#;
    for (options, named) in [
        (r#""max_size": 1, "origin": "media""#.to_owned(), "cache_dir"),
        (r#""max_size": 1, "cache_dir": "/a""#.to_owned(), "origin"),
        (rest.to_owned(), "max_size"),
        (format!(r#"{rest}, "max_size": 0"#), "max_size"),
        (format!(r#"{rest}, "max_size": "many""#), "max_size"),
        (format!(r#"{rest}, "max_size": 10, "max_object_size": 11"#), "max_object_size"),
        (format!(r#"{rest}, "max_size": 10, "ttl": "soon""#), "ttl"),
        (format!(r#"{rest}, "max_size": 10, "negative_ttl": "1s""#), "negative_ttl"),
        (r#""max_size": 1, "origin": "media", "cache_dir": """#.to_owned(), "cache_dir"),
        (r#""max_size": 1, "origin": "none", "cache_dir": "/a""#.to_owned(), "origin"),
    ] {
        let error = open(&options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{options}");
        assert!(error.message().contains(named), "{options}: {error}");
    }
}

#[test]
fn the_cache_has_the_capabilities_of_origin() {
    let origin = Memory::storage();
    let cache = Cache::builder(origin.clone(), "/var/cache/app", 1 << 20).build().unwrap();
    let info = storage_core::Driver::info(&cache);
    assert_eq!(info.capabilities, origin.info().capabilities);
    assert_eq!(info.name, "cache");
}
