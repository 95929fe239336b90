//! The examples of docs/publish.md are read by this version.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use storage_core::Memory;
use storage_publish::{Manifest, POINTER_KEY, PublishConfig, PublishOptions, releases};

const PAGE: &str = include_str!("../../docs/publish.md");

/// Returns the fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_table_of_the_page_is_valid() {
    #[derive(serde::Deserialize)]
    struct File {
        publish: Option<PublishConfig>,
    }
    let files = blocks("toml").into_iter().map(|block| toml::from_str::<File>(block).unwrap());
    let tables: Vec<_> = files.filter_map(|file| file.publish).collect();
    assert_eq!(tables.len(), 4);
    for table in tables {
        PublishOptions::from_config(&table).unwrap();
    }
}

#[test]
fn the_example_of_the_configuration_has_every_key() {
    let text = blocks("toml").into_iter().find(|block| block.starts_with("[publish]")).unwrap();
    let error = toml::from_str::<PublishConfig>("x = 1").unwrap_err().to_string();
    let known: Vec<_> = error.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 5, "{error}");
    for key in known {
        assert!(text.contains(key) && PAGE.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_example_of_a_manifest_is_read() {
    let manifest = Manifest::from_json(blocks("json")[0].as_bytes()).unwrap();
    assert_eq!(manifest.entries.len(), 3);
}

#[tokio::test]
async fn the_example_of_a_pointer_is_read() {
    let storage = Memory::storage();
    storage.save(POINTER_KEY, blocks("json")[1]).await.unwrap();
    let releases = releases(&storage).await.unwrap();
    assert_eq!(releases.claim.unwrap().publisher, "ada@laptop");
    assert_eq!(releases.previous.len(), 2);
    assert!(releases.switching.is_some());
}
