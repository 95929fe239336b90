//! Names of files in an application.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::*;
use storage_core::{ErrorKind, Memory, Operation};
use storage_publish::testing::{hashed, page};
use storage_publish::{Assets, Manifest, manifest_key, publish, releases};
use storage_testkit::faults::Faults;

#[tokio::test]
async fn a_url_has_the_published_name_below_the_base() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    let assets = Assets::load(&storage).await.unwrap();
    assert_eq!(*assets.url("css/app.css").unwrap(), format!("/{style}"));
    assert_eq!(&*assets.url("index.html").unwrap(), "/index.html");
    let assets = Assets::load_at(&storage, "https://cdn.example.com/s").await.unwrap();
    assert_eq!(*assets.url("css/app.css").unwrap(), format!("https://cdn.example.com/s/{style}"));
}

#[tokio::test]
async fn characters_of_names_that_end_a_path_are_escaped() {
    let storage = Memory::storage();
    let site = site_of(vec![page("a b/c#d?e%f\"g.txt", b"")]);
    publish(&site, &storage, &Clock::new().options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let url = assets.url("a b/c#d?e%f\"g.txt").unwrap();
    assert_eq!(&*url, "/a%20b/c%23d%3Fe%25f%22g.txt");
}

#[tokio::test]
async fn an_unknown_name_is_an_error_that_states_it() {
    let storage = Memory::storage();
    publish(&site("v1"), &storage, &Clock::new().options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    for error in [
        assets.url("css/ap.css").unwrap_err(),
        assets.integrity("css/ap.css").unwrap_err(),
        assets.preload("css/ap.css").unwrap_err(),
    ] {
        assert!(error.is_not_found() && error.message().contains("\"css/ap.css\""), "{error}");
    }
}

#[tokio::test]
async fn a_destination_without_a_release_is_an_error() {
    let error = Assets::load(&Memory::storage()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn integrity_is_the_hash_of_the_plain_bytes() {
    let storage = Memory::storage();
    let site = site_of(vec![hashed("hello.js", b"hello")]);
    publish(&site, &storage, &Clock::new().options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let integrity = assets.integrity("hello.js").unwrap().unwrap();
    assert_eq!(&*integrity, "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
}

#[tokio::test]
async fn a_preload_names_the_kind_of_the_file() {
    let storage = Memory::storage();
    let assets = vec![hashed("a.css", b"a"), hashed("b.woff2", b"b"), hashed("c.mjs", b"c")];
    let names: Vec<_> = assets.iter().map(|asset| asset.name.clone()).collect();
    publish(&site_of(assets), &storage, &Clock::new().options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let style = assets.preload("a.css").unwrap();
    let start =
        format!("<link rel=\"preload\" as=\"style\" type=\"text/css\" href=\"/{}\"", names[0]);
    assert!(style.starts_with(&start) && !style.contains("crossorigin"), "{style}");
    assert!(style.contains("integrity=\"sha256-"), "{style}");
    let font = assets.preload("b.woff2").unwrap();
    assert!(font.contains("as=\"font\"") && font.contains("crossorigin"), "{font}");
    let module = assets.preload("c.mjs").unwrap();
    assert!(module.starts_with("<link rel=\"modulepreload\" href="), "{module}");
}

#[tokio::test]
async fn a_refresh_loads_a_new_release_and_costs_one_request_otherwise() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let opens = faults.calls(Operation::Open);
    assert!(!assets.refresh().await.unwrap());
    assert_eq!(faults.calls(Operation::Open), opens + 1);
    publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    let clone = assets.clone();
    assert!(assets.refresh().await.unwrap());
    let style = name_of(&site("v2"), "css/app.css").to_owned();
    assert_eq!(*clone.url("css/app.css").unwrap(), format!("/{style}"));
    let current = releases(&storage).await.unwrap().current.unwrap().release;
    assert_eq!(clone.release(), Some(current));
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_loaded_release() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    let assets = Assets::load(&storage).await.unwrap();
    let fault = faults.on(Operation::Open).fail(ErrorKind::Timeout);
    assert!(assets.refresh().await.is_err());
    assert_eq!(fault.fired(), 1);
    assert!(assets.url("css/app.css").is_ok());
}

#[tokio::test]
async fn an_embedded_manifest_needs_no_storage() {
    let storage = Memory::storage();
    publish(&site("v1"), &storage, &Clock::new().options()).await.unwrap();
    let current = releases(&storage).await.unwrap().current.unwrap().release;
    let manifest = Manifest::read(&storage, &current).await.unwrap();
    // As `include_bytes!` embeds it.
    let json = text(&storage, manifest_key(&current).unwrap().as_str()).await;
    let manifest_of_json = Manifest::from_json(json.as_bytes()).unwrap();
    assert_eq!(manifest_of_json, manifest);
    let assets = Assets::embedded(&manifest, "/");
    assert_eq!(assets.release(), Some(current));
    assert!(!assets.refresh().await.unwrap());
    assert!(assets.url("css/app.css").is_ok() && assets.url("x").is_err());
}

#[tokio::test]
async fn development_finds_a_file_that_is_added_while_the_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    let assets = Assets::development_at(directory.path(), "/static");
    assert!(assets.url("new.css").is_err());
    std::fs::write(directory.path().join("new.css"), "").unwrap();
    assert_eq!(&*assets.url("new.css").unwrap(), "/static/new.css");
    assert_eq!(assets.release(), None);
}

#[tokio::test]
async fn development_passes_names_of_files_through_without_integrity() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a b.css"), "a{}").unwrap();
    let assets = Assets::development(directory.path());
    assert_eq!(&*assets.url("a b.css").unwrap(), "/a%20b.css");
    assert_eq!(assets.integrity("a b.css").unwrap(), None);
    assert!(!assets.preload("a b.css").unwrap().contains("integrity"));
    assert!(assets.url("b.css").unwrap_err().is_not_found());
    assert_eq!(assets.url("../b.css").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert!(!assets.refresh().await.unwrap());
}
