//! Earlier releases become current again.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::time::Duration;

use common::*;
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_publish::{PublishConfig, PublishOptions, manifest_key, publish, releases, rollback};
use storage_testkit::faults::Faults;

async fn published(clock: &Clock, versions: &[&str]) -> (Storage, Vec<String>) {
    let (storage, mut ids) = (Memory::storage(), Vec::new());
    for version in versions {
        clock.advance(day());
        ids.push(publish(&site(version), &storage, &clock.options()).await.unwrap().release);
    }
    (storage, ids)
}

#[tokio::test]
async fn a_rollback_shows_the_release_before_the_current_one() {
    let clock = Clock::new();
    let (storage, ids) = published(&clock, &["v1", "v2", "v3"]).await;
    let rolled_back = rollback(&storage, None, &clock.options()).await.unwrap();
    assert_eq!((&rolled_back.release, rolled_back.pages), (&ids[1], 3));
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn a_rollback_to_a_named_release_and_forward_again_works_without_the_files() {
    let clock = Clock::new();
    let (storage, ids) = published(&clock, &["v1", "v2", "v3"]).await;
    rollback(&storage, Some(&ids[0]), &clock.options()).await.unwrap();
    assert_shows(&storage, &site("v1")).await;
    rollback(&storage, Some(&ids[2]), &clock.options()).await.unwrap();
    assert_shows(&storage, &site("v3")).await;
}

#[tokio::test]
async fn a_rollback_to_an_unknown_release_or_without_an_earlier_one_is_an_error() {
    let clock = Clock::new();
    let (storage, _) = published(&clock, &["v1"]).await;
    let error = rollback(&storage, None, &clock.options()).await.unwrap_err();
    assert!(error.is_not_found() && error.message().contains("no earlier release"), "{error}");
    let error = rollback(&storage, Some("r9"), &clock.options()).await.unwrap_err();
    assert!(error.is_not_found() && error.message().contains("\"r9\""), "{error}");
    let error = rollback(&storage, Some("../x"), &clock.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_shows(&storage, &site("v1")).await;
}

#[tokio::test]
async fn a_rollback_to_a_release_that_lacks_an_asset_changes_nothing() {
    let clock = Clock::new();
    let (storage, _) = published(&clock, &["v1", "v2"]).await;
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    storage.delete(&*style).await.unwrap();
    let before = pointer(&storage).await;
    let error = rollback(&storage, None, &clock.options()).await.unwrap_err();
    assert!(error.is_not_found() && error.message().contains(&style), "{error}");
    assert_eq!(pointer(&storage).await, before);
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn the_grace_of_a_release_begins_again_when_it_ends_again() {
    let clock = Clock::new();
    let (storage, ids) = published(&clock, &["v1", "v2"]).await;
    let options = clock.options().keep(1).grace(7 * day());
    rollback(&storage, Some(&ids[0]), &options).await.unwrap();
    clock.advance(6 * day());
    rollback(&storage, Some(&ids[1]), &options).await.unwrap();
    clock.advance(6 * day());
    assert_eq!(publish(&site("v2"), &storage, &options).await.unwrap().deleted, 0);
    rollback(&storage, Some(&ids[0]), &options).await.unwrap();
    assert_shows(&storage, &site("v1")).await;
}

#[tokio::test]
async fn a_publish_after_a_rollback_uploads_nothing_that_is_there() {
    let clock = Clock::new();
    let (storage, _) = published(&clock, &["v1", "v2"]).await;
    rollback(&storage, None, &clock.options()).await.unwrap();
    let again = publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    // The start page is stored again; the style is found by its name.
    assert_eq!((again.is_new, again.uploaded, again.pages), (true, 1, 1));
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn releases_are_listed_with_the_times_when_they_ended() {
    let clock = Clock::new();
    assert_eq!(releases(&Memory::storage()).await.unwrap(), Default::default());
    let (storage, ids) = published(&clock, &["v1", "v2", "v3"]).await;
    let listed = releases(&storage).await.unwrap();
    let current = listed.current.unwrap();
    assert_eq!((&current.release, current.since), (&ids[2], clock.now()));
    let previous: Vec<_> =
        listed.previous.iter().map(|previous| (&previous.release, previous.ended)).collect();
    assert_eq!(previous, [(&ids[1], clock.now()), (&ids[0], clock.now() - day())]);
    assert_eq!((listed.claim, listed.switching), (None, None));
}

#[tokio::test]
async fn a_failed_publish_is_listed_as_abandoned_and_is_no_target_of_a_plain_rollback() {
    let clock = Clock::new();
    let (storage, ids) = published(&clock, &["v1", "v2"]).await;
    let style = name_of(&site("v3"), "css/app.css").to_owned();
    storage.save(&*style, "torn").await.unwrap();
    publish(&site("v3"), &storage, &clock.options()).await.unwrap_err();
    let listed = releases(&storage).await.unwrap();
    assert!(listed.previous.iter().any(|previous| previous.abandoned));
    assert_eq!(rollback(&storage, None, &clock.options()).await.unwrap().release, ids[0]);
    clock.advance(Duration::from_secs(30 * 24 * 3600));
    storage.delete(&*style).await.unwrap();
    publish(&site("v3"), &storage, &clock.options()).await.unwrap();
    assert!(!releases(&storage).await.unwrap().previous.iter().any(|release| release.abandoned));
}

#[tokio::test]
async fn a_rollback_restores_the_headers_that_a_rule_changed() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let with = |text: &str| {
        let config: PublishConfig = toml::from_str(text).unwrap();
        clock.with(PublishOptions::from_config(&config).unwrap())
    };
    let first = with("encodings = [\"gzip\"]");
    publish(&site("v1"), &storage, &first).await.unwrap();
    let rule = "[[rules]]\nmatch = \"*\"\ncache_control = \"max-age=60\"";
    let second = with(&format!("encodings = [\"gzip\"]\n{rule}"));
    publish(&site("v1"), &storage, &second).await.unwrap();
    rollback(&storage, None, &first).await.unwrap();
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    for key in [&style, &format!("{style}.gz")] {
        let metadata = storage.stat(key.as_str()).await.unwrap().metadata;
        let immutable = "public, max-age=31536000, immutable";
        assert_eq!(metadata.cache_control.as_deref(), Some(immutable), "{key}");
    }
    let page = storage.stat("index.html").await.unwrap().metadata;
    assert_eq!(page.cache_control.as_deref(), Some("no-cache"));
}

#[tokio::test]
async fn a_rollback_restores_headers_that_a_later_release_no_longer_has() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let (plain, changed) = (clock.options(), with_max_age(&clock));
    let first = publish(&site("v1"), &storage, &plain).await.unwrap().release;
    publish(&site("v1"), &storage, &changed).await.unwrap();
    publish(&site("v2"), &storage, &plain).await.unwrap();
    rollback(&storage, Some(&first), &plain).await.unwrap();
    assert_has_immutable_style(&storage).await;
}

#[tokio::test]
async fn the_headers_that_a_failed_publish_has_changed_are_restored_by_the_next() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    // The first save is that of the claim, and the second that of the manifest.
    let failing = faults.on(Operation::Save).call(2).fail(ErrorKind::Unexpected);
    publish(&site("v1"), &storage, &with_max_age(&clock)).await.unwrap_err();
    assert_eq!(failing.fired(), 1);
    faults.clear();
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    let metadata = storage.stat(style.as_str()).await.unwrap().metadata;
    assert_eq!(metadata.cache_control.as_deref(), Some("max-age=60"));

    publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    assert_has_immutable_style(&storage).await;
    let again = publish(&site("v1"), &storage, &clock.options()).await.unwrap();
    assert!(!again.is_new);
}

fn with_max_age(clock: &Clock) -> PublishOptions {
    let rule = "[[rules]]\nmatch = \"*\"\ncache_control = \"max-age=60\"";
    let config: PublishConfig = toml::from_str(rule).unwrap();
    clock.with(PublishOptions::from_config(&config).unwrap())
}

async fn assert_has_immutable_style(storage: &Storage) {
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    let metadata = storage.stat(style.as_str()).await.unwrap().metadata;
    assert_eq!(metadata.cache_control.as_deref(), Some("public, max-age=31536000, immutable"));
}

#[tokio::test]
async fn a_damaged_manifest_of_the_current_release_blocks_neither_a_publish_nor_a_rollback() {
    let clock = Clock::new();
    for rolls_back in [true, false] {
        let (storage, ids) = published(&clock, &["v1", "v2"]).await;
        let key = manifest_key(&ids[1]).unwrap();
        storage.save(&key, "{").await.unwrap();
        match rolls_back {
            true => drop(rollback(&storage, None, &clock.options()).await.unwrap()),
            false => drop(publish(&site("v1"), &storage, &clock.options()).await.unwrap()),
        }
        assert_shows(&storage, &site("v1")).await;
    }
}

#[tokio::test]
async fn a_rollback_restores_the_encoding_of_an_object_that_lost_its_user_metadata() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let rule = "[[rules]]\nmatch = \"*.css\"\nencoding = \"gzip\"";
    let config: PublishConfig = toml::from_str(rule).unwrap();
    let options = clock.with(PublishOptions::from_config(&config).unwrap());
    for version in ["v1", "v2"] {
        publish(&site(version), &storage, &options).await.unwrap();
    }
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    let encoded = storage.open(&*style).await.unwrap().bytes().await.unwrap();
    storage.save(&*style, encoded).await.unwrap();
    rollback(&storage, None, &options).await.unwrap();
    let metadata = storage.stat(&*style).await.unwrap().metadata;
    assert_eq!(metadata.content_encoding.as_deref(), Some("gzip"));
}
