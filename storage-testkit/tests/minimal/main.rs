//! The suite on a driver with few capabilities, whose bodies are not in memory. Cases that do not
//! apply are skipped with the reason, and the large body streams through the driver and every
//! layer.

// This is test code, in which a panic is a failure of the test.
#![allow(clippy::unwrap_used)]

mod spool;

use std::time::Duration;

use spool::Spool;
use storage_core::layers::{DefaultMetadata, Limit, Observed, PublicUrl, Retry, Timeout};
use storage_core::{Metadata, Storage, async_trait};
use storage_testkit::faults::Faults;
use storage_testkit::{Harness, Outcome, Requirement, case, cases, in_own_process};

struct OnSpool;

#[async_trait]
impl Harness for OnSpool {
    async fn storage(&self) -> Storage {
        Storage::new(Spool::default())
    }
}

storage_testkit::conformance!(spool_alone, OnSpool);

struct ThroughAllLayers;

#[async_trait]
impl Harness for ThroughAllLayers {
    async fn storage(&self) -> Storage {
        let storage = Storage::new(Spool::default())
            .layer(|inner| PublicUrl::new(inner, "https://example.com".parse().unwrap()))
            .layer(|inner| DefaultMetadata::new(inner, Metadata::new()))
            .layer(|inner| Limit::new(inner, 100))
            .layer(|inner| Timeout::new(inner, Duration::from_secs(120)))
            .layer(|inner| Retry::new(inner, 2))
            .layer(Observed::new)
            .layer(|inner| Faults::new().layer(inner));
        storage.prefixed("a/b").unwrap()
    }
}

#[test]
fn no_layer_keeps_a_large_body_in_memory() {
    in_own_process(concat!(module_path!(), "::no_layer_keeps_a_large_body_in_memory"), || {
        let name = "streaming::a_stream_of_300_mib_of_unknown_size_passes_in_bounded_memory";
        assert_eq!(case(name).run(ThroughAllLayers), Outcome::Passed);
    });
}

#[test]
fn a_case_that_does_not_apply_returns_the_missing_requirement() {
    let skipped = |name: &str| case(name).run(OnSpool);
    assert_eq!(
        skipped("list::all_keys_are_listed_in_byte_order"),
        Outcome::NotApplicable(Requirement::List)
    );
    assert_eq!(
        skipped("copy::the_copy_has_the_metadata"),
        Outcome::NotApplicable(Requirement::Copy)
    );
    assert_eq!(
        skipped("create_new::create_new_saves_under_a_free_key"),
        Outcome::NotApplicable(Requirement::CreateNew)
    );
    assert_eq!(
        skipped("if_match::a_weak_etag_never_matches"),
        Outcome::NotApplicable(Requirement::SaveIfMatch)
    );
    assert_eq!(
        skipped("url::signed_links_encode_unusual_keys"),
        Outcome::NotApplicable(Requirement::SignedGet)
    );
    assert_eq!(
        skipped("errors::exists_fails_on_a_broken_backend"),
        Outcome::NotApplicable(Requirement::BrokenBackend)
    );
}

/// A harness that skips a case because of a defect of its server.
struct OnAPoorServer;

const POOR: &str = "delete::a_delete_leaves_similar_keys";

#[async_trait]
impl Harness for OnAPoorServer {
    async fn storage(&self) -> Storage {
        OnSpool.storage().await
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        (case == POOR).then_some("the server also deletes similar keys")
    }
}

storage_testkit::conformance!(poor_server, OnAPoorServer);

#[test]
fn a_case_that_the_harness_skips_returns_the_reason_and_others_run() {
    let outcome = case(POOR).run(OnAPoorServer);
    assert_eq!(outcome, Outcome::Skipped("the server also deletes similar keys".to_owned()));
    assert_eq!(outcome.skip_reason().as_deref(), Some("the server also deletes similar keys"));
    let other = case("delete::a_deleted_object_is_gone").run(OnAPoorServer);
    assert_eq!((other.skip_reason(), other), (None, Outcome::Passed));
}

/// Runs a test of this binary in its own process and returns its standard output.
fn output_of(tests: &str) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output =
        command.args([tests, "--exact", "--nocapture", "--test-threads=1"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    stdout
}

#[test]
fn a_skipped_case_is_printed_with_its_reason() {
    let line =
        "skipped: delete::a_delete_leaves_similar_keys: the server also deletes similar keys";
    for test in [
        "poor_server::delete::a_delete_leaves_similar_keys",
        "poor_server::skipped_cases_are_named",
    ] {
        assert!(output_of(test).contains(line), "{test} prints no reason");
    }
}

#[test]
fn a_harness_that_cannot_fill_its_storage_fails() {
    struct Unfillable;

    #[async_trait]
    impl Harness for Unfillable {
        async fn storage(&self) -> Storage {
            OnSpool.storage().await.read_only()
        }
    }
    let named = std::panic::catch_unwind(|| storage_testkit::name_skipped(&Unfillable));
    assert!(named.is_err(), "a suite that skips nearly everything passed");
}

#[test]
fn case_names_are_unique_sentences() {
    let mut names: Vec<_> = cases().iter().map(storage_testkit::Case::name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(
        names.iter().all(|name| name.contains("::") && name.matches('_').count() > 1),
        "{names:?}"
    );
}
