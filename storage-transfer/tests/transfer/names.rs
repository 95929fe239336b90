//! Names arrive unchanged, in the order of their bytes.

use storage_core::{Memory, Storage};
use storage_transfer::sync;

use crate::support::{Events, deleting, disk, fill, keys, memory, texts, whole};

const NAMES: &[&str] = &[
    "a b",
    "a+b",
    "a%b",
    "a%2Fb",
    "a#b",
    "a*b",
    "a[b",
    "a?b",
    "a&b=c",
    "'\"`$(x)",
    "~",
    "-rf",
    // One letter as one character, and as two.
    "\u{e9}",
    "e\u{301}",
    "File",
    "file",
    "FILE",
    "a-b",
    "a.b",
    "a/b",
    "a/b-c",
    "a0",
    "x/y/z",
    // UTF-16 sorts these two the other way round.
    "\u{e000}",
    "\u{10000}",
    "x\u{e000}/1",
    "x\u{10000}/1",
];

async fn with_names() -> Storage {
    let source = Memory::storage();
    for name in NAMES {
        source.save(*name, (*name).to_owned()).await.unwrap();
    }
    source
}

#[tokio::test]
async fn names_survive_the_way_to_a_disk_and_back() {
    let (source, last) = (with_names().await, Memory::storage());
    let (_root, disk) = disk();
    for (from, to) in [(&source, &disk), (&disk, &last)] {
        let first = sync(&whole(from), &whole(to), deleting()).await.unwrap();
        assert_eq!((first.counts.new, first.counts.failed), (NAMES.len() as u64, 0));
        let second = sync(&whole(from), &whole(to), deleting()).await.unwrap();
        assert_eq!((second.counts.same, second.counts.extra), (NAMES.len() as u64, 0));
    }
    assert_eq!(texts(&last).await, texts(&source).await);
}

#[tokio::test]
async fn each_odd_name_is_compared_with_itself_alone() {
    for name in NAMES {
        let source = with_names().await;
        let target = with_names().await;
        source.delete(*name).await.unwrap();
        let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
        assert_eq!((summary.counts.deleted, summary.counts.new), (1, 0), "{name}");
        assert!(!target.exists(*name).await.unwrap(), "{name}");
        assert_eq!(keys(&target).await.len(), NAMES.len() - 1);
    }
}

#[tokio::test]
async fn a_key_that_is_also_a_directory_is_copied_where_both_can_be() {
    let source = memory(&[("a", "1"), ("a/b", "2"), ("a/b/c", "3"), ("z", "4")]).await;
    let target = Memory::storage();
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!(summary.counts.new, 4);
    assert_eq!(texts(&target).await, texts(&source).await);
}

#[tokio::test]
async fn a_key_that_is_also_a_directory_fails_on_a_disk_and_the_rest_goes_on() {
    let source = memory(&[("a", "1"), ("a/b", "2"), ("z", "3")]).await;
    let (_root, target) = disk();
    let events = Events::default();
    let run = sync(&whole(&source), &whole(&target), deleting()).on_event(events.on_event());
    let summary = run.await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.failed), (2, 1), "{:?}", events.lines());
    assert!(target.exists("z").await.unwrap());
    assert!(!summary.is_complete());
}

#[tokio::test]
async fn a_name_that_the_destination_cannot_store_fails_and_the_rest_goes_on() {
    let long = "x".repeat(300);
    let source = memory(&[(&long, "1"), ("z", "2")]).await;
    let (_root, target) = disk();
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.failed), (1, 1));
}

#[tokio::test]
async fn an_extra_whose_name_the_source_cannot_store_is_deleted() {
    let long = "x".repeat(300);
    let (_root, source) = disk();
    fill(&source, &[("a", "1")]).await;
    let target = memory(&[("a", "1"), (&long, "2")]).await;
    let summary = sync(&whole(&source), &whole(&target), deleting()).await.unwrap();
    assert_eq!((summary.counts.deleted, summary.counts.failed), (1, 0));
    assert_eq!(keys(&target).await, ["a"]);
}
