//! In which order a publish writes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::*;
use storage_core::Operation;
use storage_publish::testing::page;
use storage_publish::{Site, SiteOptions, publish};
use storage_testkit::faults::Faults;

#[tokio::test]
async fn fixed_names_that_pages_use_come_before_them_and_service_workers_after_them() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let site = site_of(vec![
        page("sw.js", b"worker"),
        page("index.html", b""),
        page("logo.svg", b"<svg/>"),
    ]);
    let held = faults.on(Operation::Copy).call(2).hold();
    let publisher = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options());
        async move { publish(&site, &storage, &options).await }
    });
    held.reached().await;
    assert!(storage.exists("logo.svg").await.unwrap());
    for later in ["index.html", "sw.js"] {
        assert!(!storage.exists(later).await.unwrap(), "{later}");
    }
    held.release();
    publisher.await.unwrap().unwrap();
    assert_eq!(text(&storage, "sw.js").await, "worker");
}

#[tokio::test]
async fn a_style_is_stored_after_all_styles_that_it_imports() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("a.css", "@import 'b.css';");
    write("b.css", "a{b:url(c.png)}");
    write("c.png", "image");
    let site = Site::build(directory.path(), SiteOptions::default()).await.unwrap();
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    // The claim, the image, the imported style.
    let held = faults.on(Operation::Save).call(3).hold();
    let imported = site.assets.iter().find(|asset| asset.path == "b.css").unwrap().name.clone();
    let publisher = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options());
        async move { publish(&site, &storage, &options).await }
    });
    held.reached().await;
    assert_eq!(faults.calls(Operation::Save), 3, "the other style waits");
    assert!(!storage.exists(&*imported).await.unwrap());
    held.release();
    publisher.await.unwrap().unwrap();
    assert_current_release_is_whole(&storage).await;
}

#[tokio::test]
async fn files_that_were_moved_out_of_their_site_are_published() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.css"), "a{b:url(c.png)}").unwrap();
    std::fs::write(directory.path().join("c.png"), "image").unwrap();
    let mut options = SiteOptions::default();
    options.memory_bytes = 0;
    let assets = Site::build(directory.path(), options).await.unwrap().assets;
    let (storage, clock) = (storage_core::Memory::storage(), Clock::new());
    let site = site_of(assets);
    publish(&site, &storage, &clock.options()).await.unwrap();
    assert_current_release_is_whole(&storage).await;
}
