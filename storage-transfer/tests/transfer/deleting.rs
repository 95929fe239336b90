//! Extras are deleted only where that is certainly safe.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use storage_core::{Entry, ErrorKind, Key, Memory, Operation};
use storage_testkit::extra_entries::ExtraEntries;
use storage_testkit::faults::Faults;
use storage_transfer::{
    Comparison, Concurrency, DeleteExtras, Directory, Ended, Filter, MaxDelete, Outcome, Refusal,
    Side, SyncOptions, sync,
};
use tokio::time::Instant;

use crate::doubles::relisted;
use crate::support::{
    Events, deleting, disk, fill, fill_numbered, keys, memory, text, texts, whole,
};

#[tokio::test]
async fn extras_stay_by_default() {
    let (source, target) = (memory(&[("a", "1")]).await, memory(&[("b", "2")]).await);
    let summary = sync(&whole(&source), &whole(&target), SyncOptions::new()).await.unwrap();
    assert_eq!((summary.counts.extra, summary.counts.deleted), (1, 0));
    assert!(summary.is_complete());
    assert_eq!(keys(&target).await, ["a", "b"]);
}

#[tokio::test]
async fn an_empty_source_does_not_empty_the_destination() {
    let (source, target) = (Memory::storage(), memory(&[("a", "1"), ("b", "2")]).await);
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!(summary.refused, Some(Refusal::EmptySource));
    assert!(!summary.is_complete());
    assert_eq!(keys(&target).await, ["a", "b"]);

    let mut options = deleting();
    options.allow_empty_source = true;
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((summary.refused, summary.counts.deleted), (None, 2));
    assert!(keys(&target).await.is_empty());
}

#[tokio::test]
async fn a_source_that_becomes_empty_while_it_is_listed_does_not_empty_the_destination() {
    static LISTINGS: AtomicUsize = AtomicUsize::new(0);
    let source = memory(&[("a", "1")]).await;
    let source = relisted(&source, |entries| match LISTINGS.fetch_add(1, Ordering::SeqCst) {
        0 => entries,
        _ => Vec::new(),
    });
    let target = memory(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.refused, summary.counts.deleted), (Some(Refusal::EmptySource), 0));
    assert_eq!(keys(&target).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_cap_is_counted_before_the_first_delete() {
    for (max, deleted) in [
        (MaxDelete::Count(3), 3),
        (MaxDelete::Count(2), 0),
        (MaxDelete::Count(0), 0),
        (MaxDelete::Percent(30), 3),
        (MaxDelete::Percent(29), 0),
        (MaxDelete::Percent(100), 3),
    ] {
        let (source, target) = (Memory::storage(), Memory::storage());
        fill_numbered(&source, 0..7).await;
        fill_numbered(&target, 0..10).await;
        let mut options = deleting();
        options.delete = Some(DeleteExtras::new().max(max));
        let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
        assert_eq!(summary.counts.deleted, deleted, "{max:?}");
        let refusal = (deleted == 0).then_some(Refusal::TooManyExtras(3));
        assert_eq!(summary.refused, refusal, "{max:?}");
        assert_eq!(keys(&target).await.len() as u64, 10 - deleted, "{max:?}");
    }
}

#[tokio::test]
async fn ten_thousand_extras_are_deleted() {
    let (source, target) = (Memory::storage(), Memory::storage());
    fill_numbered(&source, (0..10_100).step_by(101)).await;
    fill_numbered(&target, 0..10_100).await;
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let counts = run.await.unwrap().counts;
    assert_eq!((counts.same, counts.extra, counts.deleted), (100, 10_000, 10_000));
    assert_eq!((counts.source_objects, counts.target_objects), (100, 10_100));
    assert_eq!(keys(&target).await, keys(&source).await);
    assert_eq!(events.lines().len(), 10_100);
}

#[tokio::test]
async fn a_copy_that_failed_blocks_the_deletes_of_its_range_alone() {
    let faults = Faults::new();
    let source = faults.in_memory();
    let target = Memory::storage();
    // Every tenth key is an extra, so that a range of 1,000 keys has 100.
    fill_numbered(&source, (0..2500).filter(|number| number % 10 != 0)).await;
    fill_numbered(&target, (0..2500).step_by(10)).await;
    let failing = faults.on(Operation::Open).of("k01501").fail(ErrorKind::PermissionDenied);

    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    let counts = summary.counts;
    assert_eq!((failing.fired(), counts.failed), (1, 1));
    assert_eq!((counts.deleted, counts.kept), (150, 100));
    assert!(!summary.is_complete());
    let left = keys(&target).await;
    let extras: Vec<_> = left.iter().filter(|key| key.ends_with('0')).collect();
    assert!(extras.iter().all(|key| key.starts_with("k01")), "{extras:?}");
    assert_eq!(extras.len(), 100);
}

#[tokio::test]
async fn a_listing_that_breaks_off_on_its_second_page_deletes_nothing() {
    for side in [Side::Source, Side::Target] {
        let (of_source, of_target) = (Faults::new(), Faults::new());
        let (source, target) = (of_source.in_memory(), of_target.in_memory());
        fill_numbered(&source, (0..3000).step_by(2)).await;
        fill_numbered(&target, 0..3000).await;
        let faults = if side == Side::Source { &of_source } else { &of_target };
        let broken = faults.on(Operation::List).call(1).fail_midway(1000, ErrorKind::Unexpected);
        let mut options = deleting();
        options.allow_empty_source = true;
        let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
        assert_eq!((broken.fired(), summary.counts.deleted), (1, 0));
        assert!(matches!(&summary.ended, Ended::Broken(at, _) if *at == side), "{summary:?}");
        assert!(!summary.is_complete());
        assert_eq!(keys(&target).await.len(), 3000);
    }
}

#[tokio::test]
async fn a_listing_that_panics_has_not_ended_well() {
    let source = memory(&[("a", "1"), ("b", "2")]).await;
    let source = relisted(&source, |_| panic!("a defect of a driver"));
    let target = memory(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let mut options = deleting();
    options.allow_empty_source = true;
    let ended = sync(&whole(&source), &whole(&target), options).await.map(|run| run.ended);
    assert!(!matches!(ended, Ok(Ended::Complete)), "{ended:?}");
    assert_eq!(keys(&target).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_listing_that_is_not_sorted_stops_the_run_before_any_delete() {
    let reverse = |mut entries: Vec<_>| {
        entries.reverse();
        entries
    };
    let objects = [("a", "1"), ("b", "2"), ("c", "3")];
    for side in [Side::Source, Side::Target] {
        let (mut source, mut target) = (memory(&objects).await, memory(&objects).await);
        fill(&target, &[("d", "4"), ("aa", "5")]).await;
        let plain = target.clone();
        match side {
            Side::Source => source = relisted(&source, reverse),
            _ => target = relisted(&target, reverse),
        }
        let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
        assert!(matches!(&summary.ended, Ended::Broken(at, _) if *at == side), "{summary:?}");
        assert_eq!(summary.counts.deleted, 0);
        assert_eq!(keys(&plain).await, ["a", "aa", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn a_side_without_order_is_sorted_first() {
    let reverse = |mut entries: Vec<_>| {
        entries.reverse();
        entries
    };
    let (source, plain) = (
        memory(&[("a", "1"), ("b", "2"), ("c", "3")]).await,
        memory(&[("b", "2"), ("d", "4")]).await,
    );
    let sides = [relisted(&source, reverse), relisted(&plain, reverse)];
    let [source, target] = sides.each_ref().map(|side| whole(side).unsorted());
    let summary = sync(&source, &target, deleting()).await.unwrap();
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(keys(&plain).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn nothing_below_a_directory_that_the_source_cannot_read_is_deleted() {
    let source = memory(&[("a", "1"), ("b/1", "2"), ("b0", "3")]).await;
    let source = source.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
    let target = memory(&[("b/1", "2"), ("b/2", "kept"), ("c", "extra")]).await;
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!(keys(&target).await, ["a", "b/1", "b/2", "b0"]);
    let counts = summary.counts;
    assert_eq!((counts.unknown, counts.new, counts.deleted, counts.kept), (1, 2, 1, 2));
    assert!(!summary.is_complete());
    assert_eq!(events.lines(), ["+ a", "? b/", "? b/1", "? b/2", "+ b0", "- c"]);
}

#[tokio::test]
async fn a_dry_run_predicts_only_deletions_that_the_run_would_make() {
    let source = memory(&[("a", "1"), ("b/1", "2")]).await;
    let source = source.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
    let target = memory(&[("b/1", "2"), ("b/2", "kept"), ("c", "extra")]).await;
    let (events, options) = (Events::default(), deleting().dry_run());
    let run = sync(&whole(&source), &whole(&target), options).on_event(events.on_event());
    let counts = run.await.unwrap().counts;
    assert_eq!((counts.extra, counts.kept, counts.deleted), (3, 2, 0));
    assert_eq!(events.lines(), ["+ a", "? b/", "? b/1", "? b/2", "- c"]);

    let mut options = deleting().dry_run();
    options.delete = Some(DeleteExtras::new().max(MaxDelete::Count(2)));
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), options).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!(summary.refused, Some(Refusal::TooManyExtras(3)));
    assert_eq!(summary.counts.kept, 3);
    assert!(events.message("c").contains("kept, because"), "{}", events.message("c"));
}

#[tokio::test]
async fn a_file_that_became_a_directory_is_one_on_a_disk_too() {
    let source = memory(&[("a/b", "below"), ("c", "now a file"), ("d", "same")]).await;
    let (_root, target) = disk();
    fill(&target, &[("a", "a file"), ("c/1", "below"), ("c/2/3", "below"), ("d", "same")]).await;
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(events.lines(), ["- a", "+ a/b", "+ c", "- c/1", "- c/2/3", "= d"]);
    let counts = summary.counts;
    assert_eq!((counts.new, counts.deleted, counts.failed), (2, 3, 0));
    assert_eq!(texts(&target).await, texts(&source).await);
}

#[tokio::test]
async fn a_file_that_became_a_directory_fails_if_the_extras_stay() {
    let source = memory(&[("a/b", "below"), ("d", "new")]).await;
    let (_root, target) = disk();
    fill(&target, &[("a", "a file")]).await;
    let events = Events::default();
    let mut options = deleting();
    options.delete = Some(DeleteExtras::new().max(MaxDelete::Count(0)));
    let run = sync(&whole(&source), &whole(&target), options).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!(events.lines(), ["- a", "! a/b", "+ d"]);
    assert!(events.message("a/b").contains("is a file"), "{}", events.message("a/b"));
    assert_eq!((summary.counts.failed, summary.counts.kept), (1, 1));
    assert_eq!(text(&target, "a").await, "a file");
}

#[tokio::test]
async fn a_source_whose_keys_all_wait_for_deletions_is_not_empty() {
    let source = memory(&[("a/b", "below")]).await;
    let (_root, target) = disk();
    fill(&target, &[("a", "a file")]).await;
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.refused, summary.counts.deleted), (None, 1), "{summary:?}");
    assert_eq!(texts(&target).await, texts(&source).await);
}

#[tokio::test(start_paused = true)]
async fn extras_whose_looks_are_slow_are_deleted_before_all_are_looked_at() {
    let (source, faults) = (memory(&[("a", "1")]).await, Faults::new());
    let target = faults.in_memory();
    fill(&target, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]).await;
    let mut options = deleting();
    options.comparison = Comparison::Size;
    let looks = faults.on(Operation::Stat).delay(Duration::from_secs(8));
    let (began, first) = (Instant::now(), Arc::new(OnceLock::new()));
    let deleted = Arc::clone(&first);
    let run = sync(&whole(&source), &whole(&target), options)
        .concurrency(Concurrency::Fixed(1))
        .on_event(Arc::new(move |event| {
            if event.outcome == Outcome::Extra {
                deleted.get_or_init(|| began.elapsed());
            }
        }));
    assert_eq!(run.await.unwrap().counts.deleted, 4);
    let (first, all) = (first.get().unwrap().as_secs(), began.elapsed().as_secs());
    assert_eq!((looks.fired(), first, all), (4, 16, 32));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_saved_while_a_run_is_suspended_is_not_deleted() {
    let (source, faults) = (memory(&[("a", "1")]).await, Faults::new());
    let target = faults.in_memory();
    fill(&target, &[("a", "1"), ("b", "extra"), ("c", "extra")]).await;
    let mut options = deleting();
    options.comparison = Comparison::Size;
    let look = faults.on(Operation::Stat).of("c").call(1).hold();
    let run = sync(&whole(&source), &whole(&target), options).concurrency(Concurrency::Fixed(2));
    let run = tokio::spawn(run.into_future());
    look.reached().await;
    tokio::time::advance(Duration::from_secs(120)).await;
    target.save("b", "a new object").await.unwrap();
    look.release();
    let summary = run.await.unwrap().unwrap();
    assert_eq!((summary.counts.deleted, summary.counts.kept), (1, 1), "{summary:?}");
    assert_eq!(keys(&target).await, ["a", "b"]);
}

#[tokio::test]
async fn nothing_below_a_directory_that_the_destination_cannot_read_is_created() {
    let source = memory(&[("a", "1"), ("b/1", "2"), ("c", "3")]).await;
    let inner = memory(&[("b/2", "hidden"), ("d", "extra")]).await;
    let target = inner.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!(events.lines()[..4], ["+ a", "? b/", "! b/1", "+ c"]);
    assert_eq!((summary.counts.unknown, summary.counts.failed), (1, 1));
    assert!(!summary.is_complete());
    assert_eq!(keys(&inner).await, ["a", "b/2", "c", "d"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_counts_although_a_filter_admits_only_keys_below_it() {
    let source = memory(&[("a", "1"), ("b/1.png", "2")]).await;
    let source = source.layer(|inner| ExtraEntries::new(inner).unreadable_directory("b/"));
    let target = memory(&[("b/1.png", "2"), ("x.png", "3")]).await;
    let mut options = deleting();
    options.allow_empty_source = true;
    options.filter = storage_transfer::Filter::builder().include("*.png").build().unwrap();
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((summary.counts.unknown, summary.counts.deleted), (1, 1));
    assert_eq!(keys(&target).await, ["b/1.png"]);
}

/// Runs a sync that deletes, holds its last copy, and makes a change meanwhile.
macro_rules! held_before_the_deletes {
    ($source:expr, $target:expr, $change:expr) => {{
        // The copy of the last key is held, so that both listings have been read.
        let faults = Faults::new();
        let inner = $target.clone();
        let target = inner.layer(|driver| faults.layer(driver));
        let held = faults.on(Operation::Save).hold();
        let run = sync(&whole(&$source), &whole(&target), deleting());
        let running = tokio::spawn(run.into_future());
        held.reached().await;
        $change;
        held.release();
        running.await.unwrap().unwrap()
    }};
}

#[tokio::test]
async fn an_object_that_is_uploaded_to_the_source_meanwhile_is_not_deleted() {
    let source = memory(&[("z", "1")]).await;
    let target = memory(&[("m", "2"), ("n", "3")]).await;
    let summary = held_before_the_deletes!(source, target, source.save("m", "2").await.unwrap());
    assert_eq!(summary.counts.deleted, 1);
    assert_eq!(keys(&target).await, ["m", "z"]);
}

#[tokio::test]
async fn an_extra_that_is_replaced_meanwhile_is_kept() {
    let source = memory(&[("z", "1")]).await;
    let target = memory(&[("m", "old"), ("n", "3")]).await;
    let summary = held_before_the_deletes!(source, target, fill(&target, &[("m", "new")]).await);
    assert_eq!((summary.counts.deleted, summary.counts.kept), (1, 1));
    assert_eq!(text(&target, "m").await, "new");
    assert!(!summary.is_complete());
}

#[tokio::test]
async fn an_extra_on_a_disk_that_is_replaced_by_one_of_its_size_is_kept() {
    let source = memory(&[("z", "1")]).await;
    let (_root, target) = disk();
    fill(&target, &[("m", "old"), ("n", "3")]).await;
    let summary = held_before_the_deletes!(source, target, fill(&target, &[("m", "new")]).await);
    assert_eq!((summary.counts.deleted, summary.counts.kept), (1, 1));
    assert_eq!(text(&target, "m").await, "new");
}

#[tokio::test]
async fn an_extra_that_is_gone_meanwhile_is_no_failure() {
    let source = memory(&[("z", "1")]).await;
    let target = memory(&[("m", "2"), ("n", "3")]).await;
    let summary = held_before_the_deletes!(source, target, target.delete("m").await.unwrap());
    assert_eq!((summary.counts.deleted, summary.counts.failed), (1, 0));
    assert!(summary.is_complete());
}

#[tokio::test]
async fn a_backup_gets_what_is_replaced_and_deleted() {
    let source = memory(&[("a", "new"), ("b", "same"), ("c", "first")]).await;
    let target = memory(&[("a", "old!"), ("b", "same"), ("d", "extra"), ("old/x", "x")]).await;
    let mut options = deleting();
    options.backup = Some("old".to_owned());
    let summary = sync(&whole(&source), &whole(&target), options.clone()).await.unwrap();
    assert_eq!((summary.counts.changed, summary.counts.deleted), (1, 1));
    let expected = memory(&[
        ("a", "new"),
        ("b", "same"),
        ("c", "first"),
        ("old/a", "old!"),
        ("old/d", "extra"),
        ("old/x", "x"),
    ])
    .await;
    assert_eq!(texts(&target).await, texts(&expected).await);

    let again = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((again.counts.same, again.counts.extra), (3, 0));
    assert_eq!(texts(&target).await, texts(&expected).await);
}

#[tokio::test]
async fn a_backup_directory_that_shares_objects_with_the_source_is_refused() {
    let storage = memory(&[("f", "new"), ("old/f", "good"), ("old/deep/f", "good")]).await;
    let before = texts(&storage).await;
    // Source, destination, backup, and what the filter leaves out.
    for (source, target, backup, excluded) in
        [("old", "", "old", "/old/"), ("old/deep", "", "old", "/old/"), ("", "new", "x", "-")]
    {
        let mut options = deleting();
        options.backup = Some(backup.to_owned());
        options.filter = Filter::builder().exclude(excluded).build().unwrap();
        let side = |path: &str| Directory::new(&storage, path).unwrap();
        let error = sync(&side(source), &side(target), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{source} {target} {backup}");
        assert_eq!(texts(&storage).await, before);
    }
    let mut options = SyncOptions::new();
    options.backup = Some("old".to_owned());
    options.filter = Filter::builder().exclude("/copy/").build().unwrap();
    let side = |path: &str| Directory::new(&storage, path).unwrap();
    sync(&side(""), &side("copy"), options).await.unwrap();
}

#[tokio::test]
async fn an_object_of_the_source_below_the_name_of_the_backup_directory_is_a_failure() {
    let source = memory(&[("a", "1"), ("old/a", "2"), ("old/b", "3")]).await;
    let target = memory(&[("a", "old!"), ("old/b", "a backup"), ("older", "extra")]).await;
    let mut options = deleting();
    options.comparison = Comparison::Size;
    options.backup = Some("old".to_owned());
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), options.clone()).on_event(events.on_event());
    let summary = run.await.unwrap();
    let counts = summary.counts;
    assert_eq!((counts.changed, counts.failed, counts.source_objects), (1, 2, 1));
    assert_eq!(events.lines(), ["* a", "! old/a", "! old/b", "- older"]);
    assert!(events.message("old/b").contains("backups under this name"));
    assert!(!summary.is_complete());
    assert_eq!(keys(&target).await, ["a", "old/a", "old/b", "old/older"]);
    assert_eq!(text(&target, "old/a").await + &text(&target, "old/b").await, "old!a backup");

    options.filter = Filter::builder().exclude("/old/").build().unwrap();
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert!(summary.is_complete(), "{summary:?}");
}

#[tokio::test]
async fn listed_extras_are_deleted_if_the_source_has_other_objects() {
    let (source, target) = (memory(&[("b", "1")]).await, memory(&[("a", "2"), ("c", "3")]).await);
    let listed = || futures_util::stream::iter([Ok(Key::new("a").unwrap())]).boxed();
    let synced = sync(&whole(&source), &whole(&target), deleting()).keys(listed());
    let summary = synced.await.unwrap();
    assert_eq!((summary.counts.deleted, summary.refused), (1, None));
    assert_eq!(keys(&target).await, ["c"]);

    target.save("a", "2").await.unwrap();
    source.delete("b").await.unwrap();
    let synced = sync(&whole(&source), &whole(&target), deleting()).keys(listed());
    assert_eq!(synced.await.unwrap().refused, Some(Refusal::EmptySource));
    assert_eq!(keys(&target).await, ["a", "c"]);
}

#[tokio::test]
async fn a_newer_version_than_the_listed_one_does_not_replace_a_backup() {
    let source = memory(&[("a", "the third")]).await;
    // Another worker has kept the first version, and has replaced it.
    let target = memory(&[("a", "second"), ("old/a", "first")]).await;
    let listed = relisted(&target, |entries| {
        let stale = |entry| match entry {
            Entry::Object(mut object) => {
                (object.etag, object.size) = (None, 5);
                Entry::Object(object)
            }
            other => other,
        };
        entries.into_iter().map(|entry| entry.map(stale)).collect()
    });
    let mut options = SyncOptions::new();
    options.backup = Some("old".to_owned());
    let summary = sync(&whole(&source), &whole(&listed), options).await.unwrap();
    assert_eq!((summary.counts.changed, summary.counts.failed), (0, 1));
    let expected = memory(&[("a", "second"), ("old/a", "first")]).await;
    assert_eq!(texts(&target).await, texts(&expected).await);
}

#[tokio::test]
async fn a_file_that_was_just_written_is_kept_as_a_backup() {
    let source = memory(&[("a", "the new one")]).await;
    let (_root, target) = disk();
    fill(&target, &[("a", "old")]).await;
    let mut options = SyncOptions::new();
    options.backup = Some("old".to_owned());
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!(summary.counts.changed, 1, "{summary:?}");
    assert_eq!(text(&target, "old/a").await, "old");
    assert_eq!(text(&target, "a").await, "the new one");
}

#[tokio::test]
async fn extras_that_a_guard_keeps_are_reported() {
    let source = memory(&[("a", "1")]).await;
    let target = memory(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let mut options = deleting();
    options.delete = Some(DeleteExtras::new().max(MaxDelete::Count(1)));
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), options).on_event(events.on_event());
    assert_eq!(run.await.unwrap().refused, Some(Refusal::TooManyExtras(2)));
    assert_eq!(events.lines(), ["= a", "- b", "- c"]);
    assert!(events.message("b").contains("more extras than may be deleted"));
}

#[tokio::test]
async fn nothing_is_replaced_or_deleted_whose_backup_fails() {
    let source = memory(&[("a", "new")]).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    fill(&target, &[("a", "old!"), ("d", "extra")]).await;
    let copies = faults.on(Operation::Copy).fail(ErrorKind::StorageFull);
    let renames = faults.on(Operation::Rename).fail(ErrorKind::StorageFull);
    let mut options = deleting();
    options.backup = Some("old/".to_owned());
    let summary = sync(&whole(&source), &whole(&target), options.clone()).await.unwrap();
    assert_eq!((copies.fired(), summary.counts.changed), (1, 0));
    assert_eq!(texts(&target).await, texts(&memory(&[("a", "old!"), ("d", "extra")]).await).await);

    // Without changes, the extra is the only one to move.
    fill(&source, &[("a", "old!")]).await;
    options.comparison = Comparison::Size;
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((renames.fired(), summary.counts.deleted, summary.counts.failed), (1, 0, 1));
    assert_eq!(text(&target, "d").await, "extra");
}

#[tokio::test]
async fn a_backup_is_copied_and_deleted_where_the_driver_does_not_rename() {
    let source = memory(&[("a", "1")]).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    fill(&target, &[("a", "1"), ("d", "extra")]).await;
    let renames = faults.on(Operation::Rename).fail(ErrorKind::Unsupported);
    let mut options = deleting();
    options.backup = Some("old".to_owned());
    let summary = sync(&whole(&source), &whole(&target), options).await.unwrap();
    assert_eq!((renames.fired(), summary.counts.deleted), (1, 1));
    assert_eq!(keys(&target).await, ["a", "old/d"]);
}

#[tokio::test]
async fn a_failed_delete_is_a_failure_of_its_key_alone() {
    let source = memory(&[("a", "1")]).await;
    let faults = Faults::new();
    let target = faults.in_memory();
    fill(&target, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await;
    let denied = faults.on(Operation::Delete).of("c").fail(ErrorKind::PermissionDenied);
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!((denied.fired(), summary.counts.deleted, summary.counts.failed), (1, 2, 1));
    assert_eq!(events.lines(), ["= a", "- b", "! c", "- d"]);
    assert_eq!(keys(&target).await, ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_repeated_after_a_temporary_failure() {
    let of_source = Faults::new();
    let source = of_source.in_memory();
    let of_target = Faults::new();
    let target = of_target.in_memory();
    fill(&source, &[("a", "1")]).await;
    fill(&target, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await;
    let plans = [
        of_source.on(Operation::Exists).calls(2).fail(ErrorKind::RateLimited),
        of_target.on(Operation::Stat).calls(2).fail(ErrorKind::Timeout),
        of_target.on(Operation::Delete).calls(2).fail(ErrorKind::RateLimited),
    ];
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.deleted, summary.counts.failed), (3, 0));
    assert_eq!(plans.map(|plan| plan.fired()), [2, 2, 2]);
    assert_eq!(keys(&target).await, ["a"]);
}
