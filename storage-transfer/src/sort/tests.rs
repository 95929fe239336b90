//! Tests of the sorter, against `Vec::sort`.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use storage_core::{Key, ObjectEntry};

use super::*;

/// Options with which few records fill a batch.
fn tiny(memory: usize, fan_in: usize) -> SortOptions {
    SortOptions { memory, fan_in, ..Default::default() }
}

fn entry(name: &str, size: u64) -> ObjectEntry {
    ObjectEntry::new(Key::new(name).unwrap(), size)
}

async fn sorted(entries: &[ObjectEntry], options: SortOptions) -> Vec<ObjectEntry> {
    let mut sorter = Sorter::new(options);
    for entry in entries {
        sorter.push(entry).await.unwrap();
    }
    sorter.finish().await.unwrap().try_collect().await.unwrap()
}

/// Names in an order without a pattern.
fn shuffled(count: u64) -> Vec<ObjectEntry> {
    let mut entries = Vec::new();
    for number in 0..count {
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 10_000;
        entries.push(entry(&format!("{scattered:05}"), number));
    }
    entries
}

/// The last entry of each key, in byte order.
fn expected(entries: &[ObjectEntry]) -> Vec<ObjectEntry> {
    let by_key: BTreeMap<_, _> = entries.iter().map(|entry| (entry.key.clone(), entry)).collect();
    by_key.into_values().cloned().collect()
}

#[tokio::test]
async fn no_records_are_no_records() {
    assert!(sorted(&[], SortOptions::default()).await.is_empty());
}

#[tokio::test]
async fn a_few_records_are_sorted_without_a_file() {
    let directory = Some("/no/such/directory".into());
    let entries = shuffled(1000);
    let options = SortOptions { directory, ..Default::default() };
    assert_eq!(sorted(&entries, options).await, expected(&entries));
}

#[tokio::test]
async fn the_last_of_equal_keys_remains_through_runs_and_passes() {
    let entries = shuffled(20_000);
    for options in [tiny(2000, 2), tiny(2000, 3), tiny(50_000, 64), tiny(1 << 20, 64)] {
        assert_eq!(sorted(&entries, options).await, expected(&entries));
    }
}

#[test]
fn few_files_are_open_however_many_runs_were_written() {
    let work = Work { options: tiny(400, 4), stop: Default::default() };
    let mut runs = Runs::default();
    let mut largest = 0;
    for number in 0..1000 {
        let mut batch = Batch::default();
        batch.push(&entry(&number.to_string(), number)).unwrap();
        runs.add(Run::write(batch, &work).unwrap(), &work).unwrap();
        largest = largest.max(runs.len());
    }
    // At most 3 on each of 5 levels.
    assert!((4..=15).contains(&largest), "{largest}");
}

#[tokio::test]
async fn a_sorter_whose_file_failed_returns_no_records() {
    let directory = Some("/no/such/directory".into());
    let mut sorter = Sorter::new(SortOptions { directory, ..tiny(2, 2) });
    sorter.push(&entry("a", 1)).await.unwrap();
    sorter.push(&entry("b", 1)).await.unwrap();
    let error = sorter.push(&entry("c", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(sorter.push(&entry("c", 1)).await.is_err());
    assert!(sorter.finish().await.is_err());
}

#[tokio::test]
async fn dropping_a_sorter_stops_the_merging_of_its_files() {
    let sorter = Sorter::<Key>::new(tiny(2, 2));
    let work = sorter.work.clone();
    assert!(work.check().is_ok());
    let mut batch = Batch::default();
    batch.push(&Key::new("a").unwrap()).unwrap();
    let run = Run::write(batch, &work).unwrap();
    drop(sorter);
    assert!(Run::merge(vec![run], &work).is_err());
}

#[tokio::test]
async fn errors_of_a_listing_are_sorted_with_its_objects() {
    let unknown = |name: &str| {
        let error = Error::new(ErrorKind::InvalidKey, "a key has no empty segment ('//')");
        Err(error.with_key(name).with_listing_continues(true))
    };
    let items = [
        Ok(entry("c/x", 1)),
        unknown("c/"),
        Ok(entry("b", 2)),
        unknown("b"),
        unknown("a//b"),
        Ok(entry("a", 3)),
    ];
    let sorted = sort_listing(stream::iter(items), tiny(100, 2)).await.unwrap();
    let sorted: Vec<_> = sorted
        .map(|item| match item {
            Ok(entry) => entry.key.to_string(),
            Err(error) => {
                assert!(error.listing_continues() && error.kind() == ErrorKind::InvalidKey);
                assert_eq!(error.message(), "a key has no empty segment ('//')");
                format!("error {}", error.key().unwrap())
            }
        })
        .collect()
        .await;
    assert_eq!(sorted, ["a", "error a//b", "b", "error b", "error c/", "c/x"]);
}

#[tokio::test]
async fn an_error_that_ends_the_listing_ends_the_sorting() {
    let items = [Ok(entry("a", 1)), Err(Error::new(ErrorKind::Timeout, "no response"))];
    let error = sort_listing(stream::iter(items), SortOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_sorter_returns_what_a_vector_does(
        names in prop::collection::vec("[ab/é]{0,6}[a-c]", 0..300),
        memory in 0..2000_usize,
        fan_in in 0..6_usize,
    ) {
        let entries: Vec<_> = names
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some(ObjectEntry::new(Key::new(name.as_str()).ok()?, at as u64)))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(sorted(&entries, tiny(memory, fan_in)));
        prop_assert_eq!(result, expected(&entries));
    }
}
