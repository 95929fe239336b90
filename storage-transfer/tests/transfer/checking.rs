//! A check changes nothing, and never calls objects the same that it has not compared.

use std::sync::{Arc, Mutex};

use storage_core::{ChecksumAlgorithm, ErrorKind, Operation, Storage};
use storage_testkit::extra_entries::ExtraEntries;
use storage_testkit::faults::Faults;
use storage_transfer::{CheckBy, CheckSummary, Ended, Side, VerdictEvent, check};

use crate::doubles::relisted;
use crate::support::{fill, memory, texts, whole};

const ALL: [CheckBy; 3] = [CheckBy::Metadata, CheckBy::Checksum, CheckBy::Download];

/// Returns the summary, and each verdict as its symbol and its key, sorted by key.
async fn checked(source: &Storage, target: &Storage, by: CheckBy) -> (CheckSummary, Vec<String>) {
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&verdicts);
    let on_verdict = move |event: &VerdictEvent<'_>| {
        seen.lock().unwrap().push((event.key.to_owned(), event.verdict.symbol()));
    };
    let run = check(&whole(source), &whole(target)).by(by).on_verdict(Arc::new(on_verdict));
    let summary = run.await.unwrap();
    let mut verdicts = verdicts.lock().unwrap().clone();
    verdicts.sort();
    (summary, verdicts.iter().map(|(key, symbol)| format!("{symbol} {key}")).collect())
}

async fn with_checksums(storage: &Storage, objects: &[(&str, &str)]) {
    for (key, text) in objects {
        let save = storage.save(*key, (*text).to_owned());
        save.compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    }
}

#[tokio::test]
async fn missing_extra_and_different_objects_are_found_by_each_method() {
    let source = memory(&[("a", "1"), ("b", "12"), ("d", "1")]).await;
    let target = memory(&[("b", "1"), ("c", "1"), ("d", "1")]).await;
    let before = texts(&target).await;
    for by in ALL {
        let (summary, verdicts) = checked(&source, &target, by).await;
        let last = if by == CheckBy::Metadata { "? d" } else { "= d" };
        assert_eq!(verdicts, ["+ a", "* b", "- c", last], "{by:?}");
        let counts = summary.counts;
        assert_eq!((counts.missing, counts.different, counts.extra), (1, 1, 1));
        assert_eq!(
            (counts.same, counts.unknown),
            if by == CheckBy::Metadata { (0, 1) } else { (1, 0) }
        );
        assert!(!summary.is_same());
    }
    assert_eq!(texts(&target).await, before);
}

#[tokio::test]
async fn objects_of_one_size_without_checksums_are_unknown_by_metadata() {
    let (source, target) = (memory(&[("a", "1")]).await, memory(&[("a", "1")]).await);
    let (summary, verdicts) = checked(&source, &target, CheckBy::Metadata).await;
    assert_eq!(verdicts, ["? a"]);
    assert!(!summary.is_same());
}

#[tokio::test]
async fn checksums_that_both_sides_store_decide_without_reading() {
    let (faults, target) = (Faults::new(), memory(&[]).await);
    let source = faults.in_memory();
    with_checksums(&source, &[("a", "1"), ("b", "2")]).await;
    with_checksums(&target, &[("a", "1"), ("b", "3")]).await;
    for by in [CheckBy::Metadata, CheckBy::Checksum] {
        let (_, verdicts) = checked(&source, &target, by).await;
        assert_eq!(verdicts, ["= a", "* b"], "{by:?}");
    }
    assert_eq!(faults.calls(Operation::Open), 0);
}

#[tokio::test]
async fn a_download_finds_bytes_that_no_longer_match_their_checksum() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), memory(&[]).await);
    with_checksums(&source, &[("a", "hello")]).await;
    with_checksums(&target, &[("a", "hello")]).await;
    let damaged = faults.on(Operation::Open).corrupt(1);
    assert_eq!(checked(&source, &target, CheckBy::Checksum).await.1, ["= a"]);
    assert_eq!(checked(&source, &target, CheckBy::Download).await.1, ["* a"]);
    assert_eq!(damaged.fired(), 1);
}

#[tokio::test]
async fn equal_sides_are_the_same() {
    let (source, target) = (memory(&[]).await, memory(&[]).await);
    for storage in [&source, &target] {
        with_checksums(storage, &[("a", "1"), ("b/c", ""), ("\u{10000}", "3")]).await;
    }
    for by in ALL {
        let (summary, _) = checked(&source, &target, by).await;
        assert!(summary.is_same(), "{summary:?}");
        assert_eq!(summary.counts.same, 3);
    }
}

#[tokio::test]
async fn headers_alone_are_no_difference_for_a_check() {
    let (source, target) = (memory(&[]).await, memory(&[]).await);
    for (storage, cache_control) in [(&source, "no-cache"), (&target, "public")] {
        let save = storage.save("a", "1").cache_control(cache_control);
        save.compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    }
    for by in ALL {
        let (summary, verdicts) = checked(&source, &target, by).await;
        assert_eq!((verdicts, summary.is_same()), (vec!["= a".to_owned()], true), "{by:?}");
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_unknown() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), memory(&[("a", "1"), ("b", "2")]).await);
    fill(&source, &[("a", "1"), ("b", "2")]).await;
    let denied = faults.on(Operation::Open).of("a").fail(ErrorKind::PermissionDenied);
    let (summary, verdicts) = checked(&source, &target, CheckBy::Download).await;
    assert_eq!((verdicts, denied.fired()), (vec!["? a".to_owned(), "= b".to_owned()], 1));
    assert!(!summary.is_same());
}

#[tokio::test(start_paused = true)]
async fn a_temporary_failure_is_repeated() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), memory(&[("a", "1")]).await);
    fill(&source, &[("a", "1")]).await;
    let limited = faults.on(Operation::Open).calls(2).fail(ErrorKind::RateLimited);
    let (summary, _) = checked(&source, &target, CheckBy::Download).await;
    assert_eq!((summary.counts.same, limited.fired()), (1, 2));
}

#[tokio::test]
async fn nothing_is_certain_below_a_directory_that_cannot_be_read() {
    let objects = [("a", "1"), ("b/1", "2"), ("c", "3")];
    let (source, target) = (memory(&objects).await, memory(&objects).await);
    let unreadable = |storage: &Storage| {
        storage.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"))
    };
    for sides in [(unreadable(&source), target.clone()), (source.clone(), unreadable(&target))] {
        let (summary, verdicts) = checked(&sides.0, &sides.1, CheckBy::Download).await;
        assert_eq!(verdicts, ["= a", "? b/", "? b/1", "= c"]);
        assert_eq!(
            (summary.counts.unknown, summary.counts.extra, summary.counts.missing),
            (2, 0, 0)
        );
        assert!(!summary.is_same());
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_or_panics_leaves_the_check_without_a_result() {
    let (source, target) = (memory(&[("a", "1")]).await, memory(&[("a", "1")]).await);
    let faults = Faults::new();
    let broken = target.layer(|inner| faults.layer(inner));
    faults.on(Operation::List).fail_midway(1, ErrorKind::Unexpected);
    let (summary, _) = checked(&source, &broken, CheckBy::Download).await;
    assert!(matches!(summary.ended, Ended::Broken(Side::Target, _)), "{summary:?}");
    assert!(!summary.is_same());

    let panicking = relisted(&memory(&[]).await, |_| panic!("a defect of a driver"));
    let (summary, _) = checked(&panicking, &panicking, CheckBy::Download).await;
    assert!(!summary.is_same(), "{summary:?}");
}
