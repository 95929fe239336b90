//! Names that a bundler has hashed never get other bytes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::*;
use storage_core::{Error, ErrorKind, Memory, Operation};
use storage_publish::testing::{asset, page};
use storage_publish::{Naming, Site, plan, publish};
use storage_testkit::faults::Faults;

const NAME: &str = "assets/index-BPx7kQ9z.js";

fn bundled(script: &str, page_text: &str) -> Site {
    site_of(vec![
        asset(NAME, NAME, Naming::Bundled, script.as_bytes()),
        page("index.html", page_text.as_bytes()),
    ])
}

fn assert_refused(error: &Error, release: &str) {
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let message = error.message();
    assert!(message.contains(NAME) && message.contains(release), "{message}");
    assert!(message.contains("nothing was changed"), "{message}");
}

#[tokio::test]
async fn a_bundled_name_with_other_bytes_than_in_the_last_release_is_refused() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let first = publish(&bundled("1", NAME), &storage, &clock.options()).await.unwrap().release;
    let saves = faults.calls(Operation::Save);
    let error = publish(&bundled("2", NAME), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
    let error = plan(&bundled("2", NAME), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
    // Not even the pointer was changed.
    assert_eq!(faults.calls(Operation::Save), saves);
    // Browsers keep the old bytes even if the destination has lost them.
    storage.delete(NAME).await.unwrap();
    let error = publish(&bundled("2", NAME), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
}

#[tokio::test]
async fn a_bundled_name_with_other_bytes_than_in_an_earlier_release_is_refused() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let first = publish(&bundled("1", NAME), &storage, &clock.options()).await.unwrap().release;
    let without = site_of(vec![page("index.html", b"")]);
    publish(&without, &storage, &clock.options()).await.unwrap();
    let error = publish(&bundled("2", NAME), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
    assert_shows(&storage, &without).await;
    // With the same bytes it is published again.
    publish(&bundled("1", NAME), &storage, &clock.options()).await.unwrap();
    assert_shows(&storage, &bundled("1", NAME)).await;
}

#[tokio::test]
async fn a_name_that_a_bundler_has_hashed_gets_no_other_bytes_as_a_fixed_name() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let first = publish(&bundled("1", NAME), &storage, &clock.options()).await.unwrap().release;
    let fixed = |text: &str| site_of(vec![asset(NAME, NAME, Naming::Fixed, text.as_bytes())]);
    let error = publish(&fixed("2"), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
    assert_shows(&storage, &bundled("1", NAME)).await;
}

#[tokio::test]
async fn a_bundled_name_gets_no_other_bytes_after_a_release_with_equal_bytes_as_a_fixed_name() {
    let (storage, clock) = (Memory::storage(), Clock::new());
    let first = publish(&bundled("1", NAME), &storage, &clock.options()).await.unwrap().release;
    let fixed = |text: &str| site_of(vec![asset(NAME, NAME, Naming::Fixed, text.as_bytes())]);
    publish(&fixed("1"), &storage, &clock.options()).await.unwrap();
    let error = publish(&fixed("2"), &storage, &clock.options()).await.unwrap_err();
    assert_refused(&error, &first);
    assert_eq!(text(&storage, NAME).await, "1");
}
