//! Tests of the driver. Its listings are compared with those of the same objects in memory.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use anystorage::{Entry, ErrorKind, Memory, Storage};

use crate::driver::{Generated, GeneratedOptions};

fn generated(count: u64, seed: u64) -> Storage {
    let options =
        GeneratedOptions { count, size: 100_000, large_count: 1, large_size: 200_000, seed };
    Storage::new(Generated::new(&options).unwrap())
}

async fn names(storage: &Storage, prefix: &str, delimiter: &str, after: &str) -> Vec<String> {
    let mut list = storage.list(prefix);
    if !delimiter.is_empty() {
        list = list.delimiter(delimiter);
    }
    if !after.is_empty() {
        list = list.start_after(after);
    }
    let entries: Vec<Entry> = list.entries().collect().await.unwrap();
    entries.iter().map(|entry| entry.name().to_owned()).collect()
}

#[tokio::test]
async fn listings_are_those_of_the_same_objects_in_memory() {
    let (generated, memory) = (generated(3210, 1), Memory::storage());
    for key in names(&generated, "", "", "").await {
        memory.save(key.as_str(), "x").await.unwrap();
    }
    let texts = ["", "0", "000/", "000/00", "000/002/0000020", "000/003/000003209.bin", "1", "/"];
    for prefix in texts.into_iter().filter(|prefix| *prefix != "/") {
        for delimiter in ["", "/", "0", ".bin", "3/000003"] {
            for after in ["", "0", "000/", "000/001/", "000/001/000001500.bin", "000/001/x", "1"] {
                let expected = names(&memory, prefix, delimiter, after).await;
                let found = names(&generated, prefix, delimiter, after).await;
                assert_eq!(found, expected, "{prefix:?} {delimiter:?} {after:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_million_objects_have_a_first_and_a_last() {
    let storage = generated(1_000_000_000, 1);
    let last = names(&storage, "", "", "999/999/999999998.bin").await;
    assert_eq!(last, ["999/999/999999999.bin"]);
    assert_eq!(names(&storage, "", "/", "").await.len(), 1000);
    assert!(storage.exists("123/456/123456789.bin").await.unwrap());
    assert!(!storage.exists("123/456/123457789.bin").await.unwrap());
    assert!(!storage.exists("000/000/0.bin").await.unwrap());
}

#[tokio::test]
async fn a_range_has_the_bytes_of_the_whole_object() {
    let storage = generated(2, 1);
    let key = "000/000/000000000.bin";
    let whole = storage.open(key).await.unwrap().bytes().await.unwrap();
    assert_eq!(whole.len(), 200_000);
    for (start, end) in [(0, 1), (1, 4097), (4095, 4111), (65_530, 131_080), (199_999, 200_000)] {
        let part = storage.open(key).range(start..end).await.unwrap().bytes().await.unwrap();
        assert_eq!(part, whole.slice(start as usize..end as usize), "{start}..{end}");
    }
}

#[tokio::test]
async fn other_numbers_and_seeds_have_other_bytes_and_etags() {
    let mut bodies = Vec::new();
    for (storage, key) in [
        (generated(3, 1), "000/000/000000001.bin"),
        (generated(3, 1), "000/000/000000002.bin"),
        (generated(3, 2), "000/000/000000001.bin"),
    ] {
        let object = storage.open(key).await.unwrap();
        bodies.push((object.meta().etag.clone().unwrap(), object.bytes().await.unwrap()));
    }
    for (position, (etag, bytes)) in bodies.iter().enumerate() {
        for (other_etag, other) in &bodies[position + 1..] {
            assert!(!etag.strong_eq(other_etag));
            assert_ne!(bytes.slice(..16), other.slice(..16));
            assert_ne!(bytes, other);
        }
    }
}

#[tokio::test]
async fn a_condition_is_on_the_etag_that_the_listing_shows() {
    let storage = generated(2, 1);
    let key = "000/000/000000001.bin";
    let entries: Vec<Entry> = storage.list("").entries().collect().await.unwrap();
    let listed = entries.into_iter().filter_map(Entry::into_object).last().unwrap();
    assert_eq!((listed.key.as_str(), listed.size), (key, 100_000));
    let etag = listed.etag.unwrap();
    storage.open(key).if_match(etag.clone()).await.unwrap();
    let unchanged = storage.open(key).if_none_match(etag).await.unwrap_err();
    assert_eq!(unchanged.kind(), ErrorKind::NotModified);
    let other = storage.stat("000/000/000000000.bin").await.unwrap().etag.unwrap();
    let changed = storage.open(key).if_match(other).await.unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn writes_are_refused() {
    let storage = generated(1, 1);
    let error = storage.save("a", "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let error = storage.delete("000/000/000000000.bin").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}
