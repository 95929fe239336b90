//! How a sync decides that two objects are the same, and what each comparison cannot see.

use std::time::{Duration, SystemTime};

use storage_core::{ChecksumAlgorithm, ErrorKind, Operation, Storage};
use storage_testkit::faults::Faults;
use storage_transfer::{Bandwidth, Comparison, SyncOptions, sync};

use crate::support::{changed, disk, memory, text, whole};

async fn synced(source: &Storage, target: &Storage, comparison: Comparison) -> (u64, u64) {
    let options = changed(SyncOptions::new(), |options| options.comparison = comparison);
    let summary = sync(&whole(source), &whole(target), options).await.unwrap();
    assert_eq!(summary.counts.failed, 0);
    (summary.counts.same, summary.counts.changed)
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_read_to_compare_pass_within_the_bandwidth() {
    let text = "x".repeat(5_000);
    let (source, target) = (memory(&[("a", &text)]).await, memory(&[("a", &text)]).await);
    let options = changed(SyncOptions::new(), |options| options.comparison = Comparison::Checksum);
    let began = tokio::time::Instant::now();
    let run = sync(&whole(&source), &whole(&target), options).bandwidth(Bandwidth::new(1_000));
    assert_eq!(run.await.unwrap().counts.same, 1);
    let elapsed = began.elapsed();
    assert!((9..=11).contains(&elapsed.as_secs()), "{elapsed:?}");
}

#[tokio::test]
async fn other_bytes_of_one_size_are_found_by_the_time() {
    let target = memory(&[("a", "old")]).await;
    let source = memory(&[("a", "new")]).await;
    assert_eq!(synced(&source, &target, Comparison::Listing).await, (0, 1));
    assert_eq!(text(&target, "a").await, "new");
}

#[tokio::test]
async fn other_bytes_of_one_size_are_missed_if_the_time_hides_them_and_found_by_checksum() {
    let source = memory(&[("a", "new")]).await;
    let target = memory(&[("a", "old")]).await;
    for comparison in [Comparison::Listing, Comparison::Mtime, Comparison::Size] {
        assert_eq!(synced(&source, &target, comparison).await, (1, 0), "{comparison:?}");
    }
    assert_eq!(synced(&source, &target, Comparison::Checksum).await, (0, 1));
    assert_eq!(text(&target, "a").await, "new");
}

#[tokio::test]
async fn a_newer_time_alone_copies_again_unless_checksums_are_compared() {
    let (source_root, source) = disk();
    let target = memory(&[]).await;
    source.save("a", "1").await.unwrap();
    assert_eq!(synced(&source, &target, Comparison::Listing).await, (0, 0));
    let file = std::fs::File::options().write(true).open(source_root.path().join("a")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    assert_eq!(synced(&source, &target, Comparison::Checksum).await, (1, 0));
    assert_eq!(synced(&source, &target, Comparison::Size).await, (1, 0));
    assert_eq!(synced(&source, &target, Comparison::Mtime).await, (0, 1));
}

#[tokio::test]
async fn headers_alone_are_a_difference_in_no_comparison_and_come_with_a_newer_time() {
    let (source, target) = (memory(&[]).await, memory(&[]).await);
    let save = async |storage: &Storage, cache_control: &str| {
        storage.save("a", "1").cache_control(cache_control).await.unwrap();
    };
    let header = async || target.stat("a").await.unwrap().metadata.cache_control.unwrap();
    save(&source, "no-cache").await;
    save(&target, "public").await;
    for comparison in
        [Comparison::Listing, Comparison::Mtime, Comparison::Size, Comparison::Checksum]
    {
        assert_eq!(synced(&source, &target, comparison).await, (1, 0), "{comparison:?}");
    }
    assert_eq!(header().await, "public");
    save(&source, "no-store").await;
    for comparison in [Comparison::Size, Comparison::Checksum] {
        assert_eq!(synced(&source, &target, comparison).await, (1, 0), "{comparison:?}");
    }
    assert_eq!(header().await, "public");
    assert_eq!(synced(&source, &target, Comparison::Listing).await, (0, 1));
    assert_eq!(header().await, "no-store");
}

#[tokio::test]
async fn checksums_that_both_sides_have_stored_are_compared_without_reading() {
    let (faults, inner) = (Faults::new(), memory(&[]).await);
    let source = inner.layer(|driver| faults.layer(driver));
    let target = memory(&[]).await;
    for storage in [&source, &target] {
        let save = storage.save("a", "1").compute_checksum(ChecksumAlgorithm::Sha256);
        save.await.unwrap();
    }
    assert_eq!(synced(&source, &target, Comparison::Checksum).await, (1, 0));
    assert_eq!(faults.calls(Operation::Open), 0);
}

#[tokio::test]
async fn the_summary_counts_what_each_decision_is_based_on() {
    let source = memory(&[("a", "1")]).await;
    let target = memory(&[("a", "1")]).await;
    let by = |comparison| {
        let options = changed(SyncOptions::new(), |options| options.comparison = comparison);
        sync(&whole(&source), &whole(&target), options)
    };
    assert_eq!(by(Comparison::Listing).await.unwrap().counts.same_by_time, 1);
    assert_eq!(by(Comparison::Size).await.unwrap().counts.same_by_size, 1);
    assert_eq!(by(Comparison::Checksum).await.unwrap().counts.same_by_checksum, 1);
}

#[tokio::test]
async fn etags_of_drivers_other_than_s3_are_not_compared() {
    let (source, target) = (memory(&[]).await, memory(&[]).await);
    let options = changed(SyncOptions::new(), |options| options.comparison = Comparison::ETag);
    let error = sync(&whole(&source), &whole(&target), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_compared_is_copied_in_its_new_version() {
    let (faults, inner) = (Faults::new(), memory(&[("a", "old")]).await);
    let source = inner.layer(|driver| faults.layer(driver));
    let target = memory(&[("a", "old")]).await;
    let held = faults.on(Operation::Stat).call(1).hold();
    let options = changed(SyncOptions::new(), |options| options.comparison = Comparison::Checksum);
    let running = tokio::spawn(sync(&whole(&source), &whole(&target), options).into_future());
    held.reached().await;
    inner.save("a", "newer").await.unwrap();
    held.release();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.counts.changed, summary.counts.failed), (1, 0));
    assert_eq!(text(&target, "a").await, "newer");
}
