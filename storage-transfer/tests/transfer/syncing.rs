//! A sync makes the destination have what the source has.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, Memory, Metadata, Operation, Storage};
use storage_fs::Fs;
use storage_testkit::faults::Faults;
use storage_transfer::{
    Activity, Bandwidth, Comparison, Concurrency, Directory, Ended, Existing, LostMetadata, Side,
    SyncOptions, sync,
};
use tokio::time::Instant;

use crate::copying::large;
use crate::doubles::{relisted, without_metadata};
use crate::support::{
    Events, changed, deleting, disk, fill, fill_numbered, keys, memory, text, texts, whole,
};

#[tokio::test]
async fn a_dry_run_changes_nothing_and_predicts_the_run() {
    let source = memory(&[("a", "1"), ("b", "new"), ("c", "same"), ("e", "")]).await;
    let target = memory(&[("b", "old!"), ("c", "same"), ("d", "extra")]).await;
    let before = texts(&target).await;
    let mut options = deleting();
    options.dry_run = true;
    let (predicted, happened) = (Events::default(), Events::default());
    let (from, to) = (whole(&source), whole(&target));

    let dry = sync(&from, &to, options).on_event(predicted.on_event()).await.unwrap();
    assert_eq!(texts(&target).await, before);
    let run = sync(&from, &to, deleting()).on_event(happened.on_event()).await.unwrap();

    assert_eq!(predicted.lines(), ["+ a", "* b", "= c", "- d", "+ e"]);
    assert_eq!(happened.lines(), predicted.lines());
    assert_eq!(texts(&target).await, texts(&source).await);
    let (dry, run) = (dry.counts, run.counts);
    assert_eq!(
        (dry.same, dry.new, dry.changed, dry.extra, dry.bytes),
        (run.same, run.new, run.changed, run.extra, run.bytes)
    );
    assert_eq!((dry.deleted, run.deleted, dry.bytes_sent), (0, 1, 0));
}

#[tokio::test]
async fn a_second_run_copies_nothing() {
    let source = memory(&[("a", "1"), ("b/c", "2"), ("d", "")]).await;
    let (_root, target) = disk();
    let (from, to) = (whole(&source), whole(&target));
    let first = sync(&from, &to, deleting()).await.unwrap();
    assert_eq!((first.counts.new, first.counts.bytes), (3, 2));
    let second = sync(&from, &to, deleting()).await.unwrap();
    assert_eq!((second.counts.same, second.counts.new, second.counts.changed), (3, 0, 0));
    assert_eq!(second.counts.bytes_sent, 0);
    assert!(second.is_complete());
}

#[tokio::test]
async fn a_second_run_with_listings_alone_sends_no_request_for_a_key() {
    let (source_faults, target_faults) = (Faults::new(), Faults::new());
    let (source, target) = (source_faults.in_memory(), target_faults.in_memory());
    fill_numbered(&source, 0..600).await;
    sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    let calls = |faults: &Faults| {
        [Operation::Open, Operation::Stat, Operation::Exists, Operation::Save]
            .map(|operation| faults.calls(operation))
    };
    let before = (calls(&source_faults), calls(&target_faults));
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!(summary.counts.same, 600);
    assert_eq!((calls(&source_faults), calls(&target_faults)), before);
}

#[tokio::test]
async fn objects_that_the_destination_has_stay_if_existing_ones_are_ignored() {
    let target = memory(&[("a", "old!")]).await;
    let source = memory(&[("a", "new"), ("b", "1")]).await;
    let options = changed(deleting(), |options| options.existing = Existing::Ignore);
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    let counts = summary.counts;
    assert_eq!((counts.left, counts.same, counts.new), (1, 0, 1));
    assert_eq!(text(&target, "a").await, "old!");
}

#[tokio::test]
async fn an_object_that_appears_meanwhile_stays_if_existing_ones_are_ignored() {
    let source = memory(&[("a", "new")]).await;
    let (faults, inner) = (Faults::new(), Memory::storage());
    let target = inner.layer(|driver| faults.layer(driver));
    let held = faults.on(Operation::Save).hold();
    let options = changed(deleting(), |options| options.existing = Existing::Ignore);
    let running = tokio::spawn(sync(&whole(&source), &whole(&target), options).into_future());
    held.reached().await;
    inner.save("a", "of another program").await.unwrap();
    held.release();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.counts.left, summary.counts.failed), (1, 0));
    assert_eq!(text(&target, "a").await, "of another program");
}

#[tokio::test]
async fn an_object_is_copied_although_the_service_evaluates_no_condition_of_its_save() {
    let source = memory(&[("a", "new"), ("b", "1")]).await;
    let faults = Faults::new();
    let target = memory(&[("a", "old!")]).await.layer(|driver| faults.layer(driver));
    let refused = ["a", "b"]
        .map(|key| faults.on(Operation::Save).of(key).call(1).fail(ErrorKind::Unsupported));
    let options = changed(deleting(), |options| options.comparison = Comparison::Size);
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.changed), (1, 1));
    assert_eq!(refused.map(|refused| refused.fired()), [1, 1]);
    assert_eq!(texts(&target).await, texts(&source).await);
}

#[tokio::test]
async fn an_object_that_appears_meanwhile_stays_although_the_service_evaluates_no_condition() {
    let (source_faults, faults) = (Faults::new(), Faults::new());
    let source = memory(&[("a", "new")]).await.layer(|driver| source_faults.layer(driver));
    let inner = Memory::storage();
    let target = inner.layer(|driver| faults.layer(driver));
    let held = source_faults.on(Operation::Open).hold();
    let refused = faults.on(Operation::Save).fail(ErrorKind::Unsupported);
    let running = tokio::spawn(sync(&whole(&source), &whole(&target), deleting()).into_future());
    held.reached().await;
    inner.save("a", "of another program").await.unwrap();
    held.release();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.counts.failed, refused.fired()), (1, 1));
    assert_eq!(text(&inner, "a").await, "of another program");
}

#[tokio::test]
async fn a_newer_object_of_the_destination_stays_if_only_older_ones_are_updated() {
    let target = memory(&[("b", "old!")]).await;
    let source = memory(&[("a", "new"), ("b", "new")]).await;
    fill(&target, &[("a", "newer")]).await;
    let options = changed(deleting(), |options| options.existing = Existing::Update);
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    let counts = summary.counts;
    assert_eq!((counts.left, counts.same, counts.changed), (1, 0, 1));
    assert_eq!(
        (text(&target, "a").await, text(&target, "b").await),
        ("newer".into(), "new".into())
    );
}

#[tokio::test]
async fn a_difference_fails_in_an_immutable_destination() {
    let source = memory(&[("a", "new"), ("b", "1"), ("c", "same")]).await;
    let target = memory(&[("a", "old!"), ("c", "same")]).await;
    let options = changed(deleting(), |options| options.existing = Existing::Immutable);
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), options).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!(events.lines(), ["! a", "+ b", "= c"]);
    assert_eq!(summary.counts.failed, 1);
    assert!(!summary.is_complete());
    assert_eq!(text(&target, "a").await, "old!");
}

#[tokio::test]
async fn a_storage_that_is_missing_is_not_an_empty_one() {
    let target = memory(&[("a", "1")]).await;
    let faults = Faults::new();
    let source = faults.in_memory();
    let missing = faults.on(Operation::List).fail(ErrorKind::NotFound);
    let mut options = deleting();
    options.allow_empty_source = true;
    let summary = sync(&whole(&source), &whole(&target), options.clone()).await.unwrap();
    assert!(matches!(summary.ended, Ended::Broken(Side::Source, _)), "{summary:?}");
    assert_eq!((missing.fired(), keys(&target).await.len()), (1, 1));

    let root = tempfile::tempdir().unwrap();
    let missing = Fs::builder(root.path().join("gone")).create_root(false).build();
    let Ok(missing) = missing else { return };
    let summary = sync(&whole(&Storage::new(missing)), &whole(&target), options).await.unwrap();
    assert!(matches!(summary.ended, Ended::Broken(Side::Source, _)), "{summary:?}");
    assert_eq!(keys(&target).await, ["a"]);
}

#[tokio::test]
async fn directories_that_overlap_are_refused() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    fill(&storage, &[("a/1", "1"), ("a/b/2", "2")]).await;
    for (from, to) in [("", ""), ("a", "a/b"), ("a/b", "a"), ("", "a"), ("a", "")] {
        let (from, to) = [from, to].map(|path| Directory::new(&storage, path).unwrap()).into();
        let error = sync(&from, &to, deleting()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(faults.calls(Operation::List), 0);

    let (root, disk) = disk();
    std::fs::create_dir(root.path().join("inner")).unwrap();
    let inner = Storage::new(Fs::builder(root.path().join("inner")).build().unwrap());
    let error = sync(&whole(&disk), &whole(&inner), deleting()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_directory_does_not_contain_one_whose_name_begins_alike() {
    let storage = memory(&[("a/1", "1"), ("ab/2", "2")]).await;
    let [from, to] = ["a", "c"].map(|path| Directory::new(&storage, path).unwrap());
    let summary = sync(&from, &to, deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.source_objects), (1, 1));
    assert_eq!(keys(&storage).await, ["a/1", "ab/2", "c/1"]);
}

#[tokio::test]
async fn a_sync_within_one_storage_copies_at_the_service() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    fill(&storage, &[("a/1", "1"), ("a/2", "new"), ("b/2", "old!"), ("b/3", "extra")]).await;
    let [from, to] = ["a", "b"].map(|path| Directory::new(&storage, path).unwrap());
    let summary = sync(&from, &to, deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.changed, summary.counts.deleted), (1, 1, 1));
    assert_eq!((summary.counts.bytes, summary.counts.bytes_sent), (4, 0));
    assert_eq!(faults.calls(Operation::Open), 0);
    assert_eq!(keys(&storage).await, ["a/1", "a/2", "b/1", "b/2"]);
    assert_eq!(text(&storage, "b/2").await, "new");
}

#[tokio::test]
async fn metadata_that_the_destination_cannot_keep_is_a_failure_or_counted() {
    let source = Memory::storage();
    source.save("a", "1").cache_control("no-cache").await.unwrap();
    source.save("b", "2").await.unwrap();
    let target = without_metadata(&Memory::storage());
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!((summary.counts.failed, summary.counts.new), (1, 1));
    assert!(events.message("a").contains("cache_control"), "{}", events.message("a"));

    let options =
        changed(deleting(), |options| options.lost_metadata = LostMetadata::DropAndReport);
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.lost_metadata), (1, 1));
    let metadata = target.stat("a").await.unwrap().metadata;
    assert_eq!(metadata.cache_control, None);
}

#[tokio::test]
async fn metadata_and_sizes_survive_a_sync_to_a_disk_and_back() {
    let (source, last) = (Memory::storage(), Memory::storage());
    let metadata = Metadata::new().content_type("text/x-odd").cache_control("no-cache");
    source.save("a", "1").metadata(metadata.clone()).await.unwrap();
    let (_root, disk) = disk();
    sync(&whole(&source), &whole(&disk), deleting()).await.unwrap();
    sync(&whole(&disk), &whole(&last), deleting()).await.unwrap();
    assert_eq!(last.stat("a").await.unwrap().metadata, metadata);
}

#[tokio::test]
async fn the_work_on_a_key_begins_and_ends_whether_it_is_copied_or_fails() {
    let source = memory(&[("copied", "1"), ("failed", "1"), ("listed", "same")]).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    target.save("listed", "same").await.unwrap();
    faults.on(Operation::Save).of("failed").fail(ErrorKind::StorageFull);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&seen);

    let run = sync(&whole(&source), &whole(&target), SyncOptions::new())
        .concurrency(Concurrency::Fixed(1))
        .on_activity(Arc::new(move |activity| {
            lines.lock().unwrap().push(match activity {
                Activity::Begun(key) => format!("begun {key}"),
                Activity::Ended(key) => format!("ended {key}"),
                other => panic!("{other:?}"),
            });
        }));
    let summary = run.await.unwrap();

    assert_eq!((summary.counts.new, summary.counts.failed, summary.counts.same), (1, 1, 1));
    let expected = ["begun copied", "ended copied", "begun failed", "ended failed"];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn limits_of_bytes_and_of_requests_are_kept() {
    let source = Memory::storage();
    for key in ["a", "b", "c", "d"] {
        source.save(key, vec![1; 50_000]).await.unwrap();
    }
    let target = Memory::storage();
    let start = Instant::now();
    let run = sync(&whole(&source), &whole(&target), deleting());
    run.bandwidth(Bandwidth::new(10_000)).await.unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(19_700), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(20_300), "{elapsed:?}");

    let target = Memory::storage();
    let start = Instant::now();
    sync(&whole(&source), &whole(&target), deleting()).requests(1).await.unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(7_700), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(8_300), "{elapsed:?}");

    // The keys of a list are looked up on both sides.
    let target = Memory::storage();
    let start = Instant::now();
    let keys = stream::iter(["a", "b", "c", "d"].map(Key::new)).boxed();
    sync(&whole(&source), &whole(&target), SyncOptions::new())
        .requests(1)
        .keys(keys)
        .await
        .unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(15_700), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(16_300), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_requests_for_the_parts_of_a_large_object_count_for_the_limit() {
    let (source, target) = (Memory::storage(), Memory::storage());
    source.save("a", large(7)).await.unwrap();
    let start = Instant::now();
    sync(&whole(&source), &whole(&target), SyncOptions::new()).requests(1).await.unwrap();
    let elapsed = start.elapsed();
    // The source is opened, and the upload begins. 8 parts are read and sent, and are completed.
    assert!(elapsed >= Duration::from_millis(18_700), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(19_300), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_limits_the_rate_slows_the_run_down_and_does_not_fail_it() {
    let source = Memory::storage();
    fill_numbered(&source, 0..200).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    let limited = faults.on(Operation::Save).calls(40).fail(ErrorKind::RateLimited);
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((limited.fired(), summary.counts.new, summary.counts.failed), (40, 200, 0));
    assert!(summary.is_complete());
}

#[tokio::test]
async fn no_more_objects_than_the_limit_are_copied_at_a_time() {
    let source = Memory::storage();
    fill_numbered(&source, 0..10).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    let held = faults.on(Operation::Save).hold();
    let run = sync(&whole(&source), &whole(&target), deleting());
    let running = tokio::spawn(run.concurrency(Concurrency::Fixed(3)).into_future());
    for _ in 0..3 {
        held.reached().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(held.fired(), 3);
    for _ in 0..10 {
        held.release();
    }
    assert_eq!(running.await.unwrap().unwrap().counts.new, 10);
}

#[tokio::test]
async fn what_remains_is_reported_once_when_both_listings_have_ended() {
    let source = memory(&[("a", "1"), ("b", "22"), ("c", "333"), ("d", "same")]).await;
    let target = memory(&[("d", "same")]).await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reported);
    let summary = sync(&whole(&source), &whole(&target), SyncOptions::new())
        .concurrency(Concurrency::Fixed(1))
        .on_remaining(Arc::new(move |remaining| sink.lock().unwrap().push(remaining)))
        .await
        .unwrap();
    assert_eq!((summary.counts.new, summary.counts.same, summary.counts.bytes), (3, 1, 6));
    let reported = reported.lock().unwrap();
    let [remaining] = reported.as_slice() else { panic!("{reported:?}") };
    // One copy was under way at most, and may have ended.
    assert!((2..=3).contains(&remaining.objects), "{remaining:?}");
    assert!((5..=6).contains(&remaining.bytes), "{remaining:?}");
}

#[tokio::test]
async fn objects_that_wait_are_copied_although_a_listing_breaks_off() {
    let source = memory(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let broken = relisted(&source, |mut items| {
        items.push(Err(Error::new(ErrorKind::Timeout, "page 2")));
        items
    });
    let target = Memory::storage();
    let summary = sync(&whole(&broken), &whole(&target), SyncOptions::new())
        .concurrency(Concurrency::Fixed(1))
        .on_remaining(Arc::new(|_| panic!("the listing has not ended")))
        .await
        .unwrap();
    assert!(matches!(summary.ended, Ended::Broken(..)), "{summary:?}");
    assert_eq!(keys(&target).await, ["a", "b", "c"]);
}
