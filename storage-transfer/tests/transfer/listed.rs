//! A first copy by an earlier list of the source, such as an S3 Inventory.

use futures_util::{StreamExt, stream};
use storage_core::{ETag, Error, ErrorKind, Key, Memory, ObjectEntry, Operation, Result, Storage};
use storage_testkit::faults::Faults;
use storage_transfer::{Ended, Existing, Filter, Side, SyncOptions, SyncSummary, sync};

use crate::support::{Events, changed, deleting, keys, memory, text, whole};

/// An entry of a list: its key and its size.
fn entry(key: &str, size: u64) -> Result<ObjectEntry> {
    Ok(ObjectEntry::new(Key::new(key).unwrap(), size))
}

async fn run(
    sides: (&Storage, &Storage),
    options: SyncOptions,
    list: Vec<Result<ObjectEntry>>,
) -> (Result<SyncSummary>, Events) {
    let events = Events::default();
    let sync = sync(&whole(sides.0), &whole(sides.1), options);
    let entries = stream::iter(list).boxed();
    (sync.source_entries(entries).on_event(events.on_event()).await, events)
}

#[tokio::test]
async fn a_first_copy_by_an_unsorted_list_copies_what_it_contains_without_listing_the_source() {
    let faults = Faults::new();
    let inner = memory(&[("a", "1"), ("b", "22"), ("c/d", "3"), ("later", "4")]).await;
    let source = inner.layer(|driver| faults.layer(driver));
    let target = Memory::storage();
    let list = vec![entry("c/d", 1), entry("a", 1), entry("b", 2), entry("a", 1)];
    let summary = run((&source, &target), SyncOptions::new(), list).await.0.unwrap();
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.counts.new, summary.counts.bytes), (3, 4));
    assert_eq!(keys(&target).await, ["a", "b", "c/d"]);
    assert_eq!(faults.calls(Operation::List), 0);
}

#[tokio::test]
async fn an_object_that_is_gone_since_the_list_is_reported_and_no_failure() {
    let (source, target) = (memory(&[("a", "1")]).await, Memory::storage());
    let list = vec![entry("a", 1), entry("gone", 1)];
    let (summary, events) = run((&source, &target), SyncOptions::new(), list).await;
    let summary = summary.unwrap();
    assert!(summary.is_complete());
    assert_eq!((summary.counts.new, summary.counts.vanished), (1, 1));
    assert_eq!(events.lines(), ["+ a", "? gone"]);
}

#[tokio::test]
async fn an_object_that_is_newer_than_the_list_is_copied_as_it_is_now() {
    let (source, target) = (memory(&[("a", "newer"), ("b", "newest")]).await, Memory::storage());
    let mut with_etag = entry("b", 1).unwrap();
    with_etag.etag = ETag::strong("5d41402abc4b2a76b9719d911017c592").ok();
    let list = vec![entry("a", 1), Ok(with_etag)];
    let summary = run((&source, &target), SyncOptions::new(), list).await.0.unwrap();
    assert_eq!((summary.counts.new, summary.counts.bytes), (2, 11));
    assert_eq!(text(&target, "a").await + &text(&target, "b").await, "newernewest");
}

#[tokio::test]
async fn a_difference_from_the_list_is_judged_by_the_object_that_the_source_has_now() {
    let source = memory(&[("same", "now"), ("different", "other")]).await;
    let target = memory(&[("same", "now"), ("different", "text"), ("gone", "1")]).await;
    let immutable =
        || changed(SyncOptions::new(), |options| options.existing = Existing::Immutable);
    for options in [immutable(), SyncOptions::new()] {
        let replaces = options.existing == Existing::Replace;
        let list = vec![entry("same", 7), entry("different", 7), entry("gone", 7)];
        let counts = run((&source, &target), options, list).await.0.unwrap().counts;
        assert_eq!((counts.same, counts.vanished), (1, 1));
        assert_eq!((counts.changed, counts.failed), if replaces { (1, 0) } else { (0, 1) });
    }
    assert_eq!(text(&target, "different").await, "other");
    assert_eq!(text(&target, "gone").await, "1");
}

#[tokio::test]
async fn a_list_never_decides_what_to_delete() {
    let (source, target) = (memory(&[("a", "1")]).await, memory(&[("b", "2")]).await);
    let refused = run((&source, &target), deleting(), vec![entry("a", 1)]).await.0.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(keys(&target).await, ["b"]);
    let kept = run((&source, &target), SyncOptions::new(), vec![entry("a", 1)]).await.0.unwrap();
    assert_eq!((kept.counts.extra, kept.counts.deleted), (1, 0));
    assert_eq!(keys(&target).await, ["a", "b"]);
}

#[tokio::test]
async fn filters_limit_a_list() {
    let source = memory(&[("a.png", "1"), ("b.tmp", "2")]).await;
    let target = Memory::storage();
    let options = changed(SyncOptions::new(), |options| {
        options.filter = Filter::builder().exclude("*.tmp").build().unwrap();
    });
    let list = vec![entry("b.tmp", 1), entry("a.png", 1)];
    assert!(run((&source, &target), options, list).await.0.unwrap().is_complete());
    assert_eq!(keys(&target).await, ["a.png"]);
}

#[tokio::test]
async fn a_list_that_breaks_off_copies_nothing_and_an_invalid_name_in_it_is_unknown() {
    let (source, target) = (memory(&[("a", "1")]).await, Memory::storage());
    let broken = Err(Error::new(ErrorKind::Integrity, "damaged"));
    let summary = run((&source, &target), SyncOptions::new(), vec![entry("a", 1), broken]).await.0;
    let ended = summary.unwrap().ended;
    assert!(matches!(ended, Ended::Broken(Side::Source, _)), "{ended:?}");
    assert!(keys(&target).await.is_empty());
    let odd =
        Error::new(ErrorKind::InvalidKey, "odd").with_key("x//y").with_listing_continues(true);
    let list = vec![Err(odd), entry("a", 1)];
    let counts = run((&source, &target), SyncOptions::new(), list).await.0.unwrap().counts;
    assert_eq!((counts.new, counts.unknown), (1, 1));
}
