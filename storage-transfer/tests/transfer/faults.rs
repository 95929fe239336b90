//! A sync among programs that change the same objects, and storages that fail.

use std::ops::Range;

use futures_util::{StreamExt, stream};
use storage_core::{Entry, Error, ErrorKind, Key, Memory, Operation, Storage};
use storage_testkit::faults::{Faults, Planned};
use storage_transfer::{
    Comparison, Concurrency, Directory, Ended, Filter, HeaderRule, SyncOptions, SyncSummary, sync,
};
use tokio::task::JoinHandle;

use crate::doubles::{relisted, weak_at_first};
use crate::support::{Events, changed, deleting, disk, fill, keys, memory, text, texts, whole};

/// A sync whose first call of a verb is held.
struct Held {
    planned: Planned,
    running: JoinHandle<storage_core::Result<SyncSummary>>,
}

impl Held {
    async fn begin(
        faults: &Faults,
        verb: Operation,
        sides: (&Storage, &Storage),
        options: SyncOptions,
    ) -> Self {
        let planned = faults.on(verb).call(1).hold();
        let run = sync(&whole(sides.0), &whole(sides.1), options);
        let running = tokio::spawn(run.into_future());
        planned.reached().await;
        Self { planned, running }
    }

    async fn end(self) -> SyncSummary {
        self.planned.release();
        self.running.await.unwrap().unwrap()
    }
}

fn layered(faults: &Faults, inner: &Storage) -> Storage {
    inner.layer(|driver| faults.layer(driver))
}

#[tokio::test]
async fn an_object_that_is_deleted_between_its_listing_and_its_copy_has_vanished() {
    let (faults, inner) = (Faults::new(), memory(&[("a", "1")]).await);
    let source = layered(&faults, &inner);
    let target = Memory::storage();
    let held = Held::begin(&faults, Operation::Open, (&source, &target), deleting()).await;
    inner.delete("a").await.unwrap();
    let summary = held.end().await;
    assert_eq!((summary.counts.vanished, summary.counts.failed, summary.counts.new), (1, 0, 0));
    assert!(keys(&target).await.is_empty());
}

#[tokio::test]
async fn an_object_that_vanishes_within_one_storage_is_no_failure() {
    for rules in [Vec::new(), vec![HeaderRule::new("*", "Cache-Control", "no-cache").unwrap()]] {
        let (faults, inner) = (Faults::new(), memory(&[("a/1", "1"), ("a/2", "2")]).await);
        let storage = layered(&faults, &inner);
        let verb = if rules.is_empty() { Operation::Copy } else { Operation::Stat };
        let held = faults.on(verb).of("a/1").call(1).hold();
        let [from, to] = ["a", "b"].map(|path| Directory::new(&storage, path).unwrap());
        let options = changed(deleting(), |options| options.headers = rules);
        let running = tokio::spawn(sync(&from, &to, options).into_future());
        held.reached().await;
        inner.delete("a/1").await.unwrap();
        held.release();
        let counts = running.await.unwrap().unwrap().counts;
        assert_eq!((counts.vanished, counts.failed, counts.new), (1, 0, 1), "{verb}");
    }
}

#[tokio::test]
async fn an_object_that_is_overwritten_between_its_listing_and_its_copy_is_copied_as_it_is_now() {
    let (faults, inner) = (Faults::new(), memory(&[("a", "old")]).await);
    let source = layered(&faults, &inner);
    let target = Memory::storage();
    let held = Held::begin(&faults, Operation::Open, (&source, &target), deleting()).await;
    fill(&inner, &[("a", "newer")]).await;
    let summary = held.end().await;
    assert_eq!((summary.counts.new, summary.counts.bytes, summary.counts.failed), (1, 5, 0));
    assert_eq!(text(&target, "a").await, "newer");
}

#[tokio::test]
async fn an_object_that_changes_all_the_time_fails_in_the_end() {
    let (faults, target) = (Faults::new(), Memory::storage());
    let source = faults.in_memory();
    fill(&source, &[("a", "1")]).await;
    let changing = faults.on(Operation::Open).fail(ErrorKind::PreconditionFailed);
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.failed, summary.counts.new), (1, 0));
    assert!((2..20).contains(&changing.fired()), "{}", changing.fired());
}

#[tokio::test]
async fn a_copy_that_another_worker_made_meanwhile_counts_as_the_same() {
    for comparison in [Comparison::Listing, Comparison::Checksum, Comparison::Size] {
        let source = memory(&[("a", "1")]).await;
        let (faults, inner) = (Faults::new(), Memory::storage());
        let target = layered(&faults, &inner);
        let options = changed(deleting(), |options| options.comparison = comparison);
        let held = Held::begin(&faults, Operation::Save, (&source, &target), options).await;
        fill(&inner, &[("a", "1")]).await;
        let summary = held.end().await;
        assert_eq!((summary.counts.same, summary.counts.failed), (1, 0), "{comparison:?}");
        assert!(summary.is_complete());
    }
}

#[tokio::test]
async fn an_object_that_another_program_saved_meanwhile_is_a_failure_and_is_kept() {
    // One object is as large as that of the source.
    for other in ["2", "other"] {
        for comparison in [Comparison::Listing, Comparison::Mtime, Comparison::Checksum] {
            let source = memory(&[("a", "1")]).await;
            let (faults, inner) = (Faults::new(), Memory::storage());
            let target = layered(&faults, &inner);
            let options = changed(deleting(), |options| options.comparison = comparison);
            let held = Held::begin(&faults, Operation::Save, (&source, &target), options).await;
            fill(&inner, &[("a", other)]).await;
            let counts = held.end().await.counts;
            let context = format!("{other} {comparison:?}");
            assert_eq!((counts.failed, counts.same, counts.new), (1, 0, 0), "{context}");
            assert_eq!(text(&target, "a").await, other, "{context}");
        }
    }
}

#[tokio::test]
async fn an_object_that_another_program_replaced_meanwhile_is_a_failure_and_is_kept() {
    let inner = memory(&[("a", "old!")]).await;
    let source = memory(&[("a", "new")]).await;
    let faults = Faults::new();
    let target = layered(&faults, &inner);
    let held = Held::begin(&faults, Operation::Save, (&source, &target), deleting()).await;
    fill(&inner, &[("a", "other")]).await;
    assert_eq!(held.end().await.counts.failed, 1);
    assert_eq!(text(&target, "a").await, "other");
}

#[tokio::test]
async fn an_object_on_a_disk_that_another_program_replaced_meanwhile_is_kept() {
    let (_root, inner) = disk();
    fill(&inner, &[("a", "old!"), ("b", "old!")]).await;
    let of_source = Faults::new();
    let source = layered(&of_source, &memory(&[("a", "new"), ("b", "new")]).await);
    let held = of_source.on(Operation::Open).of("a").call(1).hold();
    let run = sync(&whole(&source), &whole(&inner), deleting());
    let running = tokio::spawn(run.into_future());
    held.reached().await;
    fill(&inner, &[("a", "other")]).await;
    held.release();
    let counts = running.await.unwrap().unwrap().counts;
    assert_eq!((counts.failed, counts.changed), (1, 1));
    assert_eq!((text(&inner, "a").await, text(&inner, "b").await), ("other".into(), "new".into()));
}

/// Removes what shows the version of an object from a listing.
fn without_versions(
    mut entries: Vec<storage_core::Result<Entry>>,
) -> Vec<storage_core::Result<Entry>> {
    for entry in entries.iter_mut().flatten() {
        if let Entry::Object(object) = entry {
            (object.etag, object.last_modified) = (None, None);
        }
    }
    entries
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_etag_is_weak_at_first_is_replaced_on_the_condition_of_the_later_one() {
    for is_replaced in [false, true] {
        let inner = memory(&[("a", "old!")]).await;
        let target = relisted(&weak_at_first(&inner, 3), without_versions);
        let of_source = Faults::new();
        let source = layered(&of_source, &memory(&[("a", "new")]).await);
        let sides = (&source, &target);
        let held = Held::begin(&of_source, Operation::Open, sides, deleting()).await;
        if is_replaced {
            fill(&inner, &[("a", "other")]).await;
        }
        let counts = held.end().await.counts;
        assert_eq!(
            (counts.failed, counts.changed),
            match is_replaced {
                true => (1, 0),
                false => (0, 1),
            }
        );
        assert_eq!(text(&inner, "a").await, if is_replaced { "other" } else { "new" });
    }
}

/// As an object of S3 without the encryption that was requested.
#[tokio::test]
async fn an_object_that_is_stored_and_is_not_what_was_asked_for_is_a_failure_at_once() {
    let source = memory(&[("a", "1"), ("b", "2")]).await;
    for verb in [Operation::Save, Operation::Copy] {
        let faults = Faults::new();
        let (from, to) = match verb {
            Operation::Save => (whole(&source), whole(&faults.in_memory())),
            _ => {
                let both = layered(&faults, &memory(&[("from/a", "1"), ("from/b", "2")]).await);
                let directory = |name| Directory::new(&both, name).unwrap();
                (directory("from"), directory("to"))
            }
        };
        let stored = faults.on(verb).call(1).fail_with(|| {
            Error::unsupported("the object was stored without encryption").with_took_effect(true)
        });
        let counts = sync(&from, &to, SyncOptions::new()).await.unwrap().counts;
        assert_eq!((counts.failed, counts.new, stored.fired()), (1, 1, 1), "{verb:?}");
        assert_eq!(faults.calls(Operation::Save), if verb == Operation::Save { 2 } else { 0 });
    }
}

#[tokio::test]
async fn an_object_that_appears_within_one_storage_meanwhile_is_compared_and_kept() {
    for (other, same, failed) in [("1", 1, 0), ("other", 0, 1)] {
        let (faults, inner) = (Faults::new(), memory(&[("a/1", "1")]).await);
        let storage = layered(&faults, &inner);
        let held = faults.on(Operation::Copy).call(1).hold();
        let [from, to] = ["a", "b"].map(|path| Directory::new(&storage, path).unwrap());
        let running = tokio::spawn(sync(&from, &to, deleting()).into_future());
        held.reached().await;
        fill(&inner, &[("b/1", other)]).await;
        held.release();
        let counts = running.await.unwrap().unwrap().counts;
        assert_eq!((counts.same, counts.failed), (same, failed), "{other}");
        assert_eq!(text(&inner, "b/1").await, other);
    }
}

#[tokio::test]
async fn a_copy_within_one_storage_whose_response_is_lost_is_found_by_the_next_one() {
    let (faults, inner) = (Faults::new(), memory(&[("a/1", "1")]).await);
    let storage = layered(&faults, &inner);
    let lost = faults.on(Operation::Copy).call(1).lose_response(ErrorKind::Unexpected);
    let [from, to] = ["a", "b"].map(|path| Directory::new(&storage, path).unwrap());
    let summary = sync(&from, &to, SyncOptions::default()).await.unwrap();
    assert_eq!((lost.fired(), faults.calls(Operation::Copy)), (1, 2));
    assert_eq!((summary.counts.same, summary.counts.failed), (1, 0));
    assert_eq!(text(&inner, "b/1").await, "1");
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_old_object_and_the_rest_goes_on() {
    let faults = Faults::new();
    let source = faults.in_memory();
    let target = memory(&[("a", "old!")]).await;
    fill(&source, &[("a", "new"), ("b", "1"), ("c", "2")]).await;
    let broken = faults.on(Operation::Open).of("a").fail_midway(1, ErrorKind::Unexpected);
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!((broken.fired(), summary.counts.failed, summary.counts.new), (1, 1, 2));
    assert_eq!(events.lines(), ["! a", "+ b", "+ c"]);
    assert!(!summary.is_complete());
    let expected = memory(&[("a", "old!"), ("b", "1"), ("c", "2")]).await;
    assert_eq!(texts(&target).await, texts(&expected).await);
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_a_failure() {
    let faults = Faults::new();
    let (source, target) = (faults.in_memory(), Memory::storage());
    fill(&source, &[("a", "hello")]).await;
    let truncated = faults.on(Operation::Open).truncate(3);
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.failed, summary.counts.new), (1, 0));
    assert!(truncated.fired() > 0);
    assert!(keys(&target).await.is_empty());
}

#[tokio::test]
async fn files_that_are_no_objects_do_not_stop_the_rest() {
    let (root, source) = disk();
    fill(&source, &[("a", "1"), ("z", "2")]).await;
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let target = Memory::storage();
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.failed), (2, 0));
    assert_eq!(keys(&target).await, ["a", "z"]);
}

#[tokio::test]
async fn a_name_that_is_no_key_is_unknown_and_the_rest_goes_on() {
    let (root, source) = disk();
    fill(&source, &[("a", "1"), ("z", "2")]).await;
    std::fs::write(root.path().join("line\nfeed"), "3").unwrap();
    let target = memory(&[("extra", "4")]).await;
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.unknown, summary.counts.deleted), (2, 1, 1));
    assert!(!summary.is_complete());
}

/// As consoles and mount tools leave them at S3.
#[tokio::test]
async fn names_that_are_no_keys_hide_no_others_of_the_destination() {
    let source = memory(&[("a", "1"), ("photos/b", "2")]).await;
    let inner = memory(&[("extra", "3")]).await;
    let target = relisted(&inner, |mut entries| {
        let odd = ["/", "photos/", "photos//"].map(|name| {
            let error = Error::new(ErrorKind::InvalidKey, "an invalid name").with_key(name);
            Err(error.with_listing_continues(true))
        });
        entries.extend(odd);
        entries
    });
    let counts = sync(&whole(&source), &whole(&target), deleting()).await.unwrap().counts;
    assert_eq!((counts.new, counts.failed, counts.unknown, counts.deleted), (2, 0, 3, 1));
    // A filter that selects nothing of them leaves them out.
    let options = changed(deleting(), |options| {
        options.filter = Filter::builder().include("/a").build().unwrap();
    });
    let counts = sync(&whole(&source), &whole(&target), options).await.unwrap().counts;
    assert_eq!((counts.same, counts.unknown), (1, 0));
}

/// Syncs so many objects and an extra, while saves of some of them fail temporarily. If the
/// destination is down, it cannot be listed either after the first listing.
async fn sync_with_failing_saves(
    objects: usize,
    failing: Range<usize>,
    is_down: bool,
    concurrency: usize,
) -> (SyncSummary, Storage) {
    let (faults, inner) = (Faults::new(), memory(&[("extra", "x")]).await);
    let target = layered(&faults, &inner);
    let source = Memory::storage();
    for number in 0..objects {
        let key = format!("k{number:02}");
        source.save(&*key, "1").await.unwrap();
        if failing.contains(&number) {
            faults.on(Operation::Save).of(&*key).fail(ErrorKind::Timeout);
        }
    }
    if is_down {
        faults.on(Operation::List).call(2).fail(ErrorKind::Timeout);
    }
    let run = sync(&whole(&source), &whole(&target), deleting());
    (run.concurrency(Concurrency::Fixed(concurrency)).await.unwrap(), inner)
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_unavailable_ends_the_run_before_all_keys_have_failed() {
    let (summary, target) = sync_with_failing_saves(20, 0..20, true, 1).await;
    assert!(matches!(summary.ended, Ended::Unavailable(_)), "{summary:?}");
    assert_eq!((summary.counts.failed, summary.counts.deleted), (8, 0));
    assert_eq!(keys(&target).await, ["extra"]);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_unavailable_for_the_last_keys_at_once_ends_the_run() {
    for (failing, is_down) in [(0..20, true), (0..20, false), (4..20, true)] {
        let (summary, target) = sync_with_failing_saves(20, failing, is_down, 32).await;
        assert!(matches!(summary.ended, Ended::Unavailable(_)), "{summary:?}");
        assert_eq!(summary.counts.deleted, 0);
        assert!(target.exists("extra").await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_takes_no_writes_ends_the_run_before_all_keys_have_failed() {
    let (summary, target) = sync_with_failing_saves(90, 0..90, false, 1).await;
    assert!(matches!(summary.ended, Ended::Unavailable(_)), "{summary:?}");
    assert_eq!((summary.counts.failed, summary.counts.deleted), (64, 0));
    assert_eq!(keys(&target).await, ["extra"]);
}

#[tokio::test(start_paused = true)]
async fn some_keys_that_fail_temporarily_do_not_end_the_run() {
    let (summary, target) = sync_with_failing_saves(20, 0..1, false, 1).await;
    assert!(matches!(summary.ended, Ended::Complete), "{summary:?}");
    let counts = summary.counts;
    assert_eq!((counts.failed, summary.failed_temporarily, counts.new), (1, 1, 19));
    assert!(target.exists("k19").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn many_keys_that_can_never_be_copied_do_not_keep_the_others_from_being_copied() {
    for concurrency in [1, 32] {
        let (summary, _) = sync_with_failing_saves(80, 0..40, false, concurrency).await;
        assert!(matches!(summary.ended, Ended::Complete), "{summary:?}");
        assert_eq!((summary.counts.failed, summary.counts.new), (40, 40));
    }
}

#[tokio::test(start_paused = true)]
async fn extras_that_fail_temporarily_are_counted_as_such() {
    let (faults, inner) = (Faults::new(), memory(&[("a", "1"), ("extra", "x")]).await);
    let planned = faults.on(Operation::Delete).fail(ErrorKind::Timeout);
    let source = memory(&[("a", "1")]).await;
    let target = layered(&faults, &inner);
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert!(planned.fired() > 1, "it is repeated");
    assert_eq!((summary.counts.failed, summary.failed_temporarily), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_list_whose_lookup_fails_for_a_moment_is_copied() {
    let (faults, target) = (Faults::new(), Memory::storage());
    let planned = faults.on(Operation::Stat).of("a").calls(2).fail(ErrorKind::Timeout);
    let inner = memory(&[("a", "1")]).await;
    let source = layered(&faults, &inner);
    let listed = stream::iter([Ok(Key::new("a").unwrap())]).boxed();
    let synced = sync(&whole(&source), &whole(&target), SyncOptions::new()).keys(listed);
    let summary = synced.await.unwrap();
    assert_eq!(planned.fired(), 2);
    assert!(summary.is_complete() && summary.counts.new == 1, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn objects_that_can_never_be_copied_do_not_keep_extras_if_all_others_are_the_same() {
    let (faults, source) = (Faults::new(), Memory::storage());
    // The first one in the order of the keys, so that it is in another range.
    let inner = memory(&[("A", "an extra")]).await;
    for number in 0..10 {
        let key = format!("k{number}");
        source.save(&*key, "1").await.unwrap();
        faults.on(Operation::Save).of(&*key).fail(ErrorKind::Timeout);
    }
    for number in 0..1100 {
        let key = format!("d{number:04}");
        source.save(&*key, "1").await.unwrap();
        inner.save(&*key, "1").await.unwrap();
    }
    let target = layered(&faults, &inner);
    let run = sync(&whole(&source), &whole(&target), deleting());
    let summary = run.concurrency(Concurrency::Fixed(32)).await.unwrap();
    assert!(matches!(summary.ended, Ended::Complete), "{summary:?}");
    assert_eq!((summary.counts.failed, summary.counts.deleted), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_keys_ends_early_if_a_side_is_unavailable() {
    let (faults, target) = (Faults::new(), Memory::storage());
    let planned = faults.on(Operation::Stat).fail(ErrorKind::Timeout);
    faults.on(Operation::List).fail(ErrorKind::Timeout);
    let inner = Memory::storage();
    let source = layered(&faults, &inner);
    let listed = (0..10_000).map(|number| Key::new(format!("k{number:05}")));
    let synced = sync(&whole(&source), &whole(&target), SyncOptions::new());
    let summary = synced.keys(stream::iter(listed.collect::<Vec<_>>()).boxed()).await.unwrap();
    assert!(matches!(summary.ended, Ended::Unavailable(_)), "{summary:?}");
    assert!(planned.fired() < 1000, "{}", planned.fired());
}
