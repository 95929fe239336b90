use std::fs;
use std::time::UNIX_EPOCH;

use super::*;
use crate::server::record::Outcome;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Returns the time of an hour after 2 January 2025, 00:00 UTC.
fn at(hour: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_735_776_000) + HOUR * hour
}

fn record(key: &str, client: u64) -> Record {
    let mut record = Record::for_tests(200, 10);
    record.object = Some((Key::new(key).unwrap(), Outcome::Miss));
    record.client = client;
    record
}

fn open(cache: &Path, now: SystemTime) -> Analytics {
    Analytics::open(cache, 400, now).unwrap()
}

/// Returns day, key and downloads of each saved row.
fn saved(cache: &Path) -> Vec<(String, String, u64)> {
    let mut rows = Vec::new();
    let files = Files::below(cache);
    for day in files.days().unwrap() {
        let each = |row: tally::Row| {
            let key = row.key.map_or(String::new(), |key| key.as_str().to_owned());
            rows.push((row.day.to_string(), key, row.counts.downloads));
            Ok(())
        };
        files.read(day, each).unwrap();
    }
    rows
}

fn row(day: &str, key: &str, downloads: u64) -> (String, String, u64) {
    (day.to_owned(), key.to_owned(), downloads)
}

#[test]
fn a_new_day_begins_at_midnight_and_counts_clients_again() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(23));
    analytics.count(&record("a", 1));
    analytics.save(at(23)).unwrap();
    analytics.count(&record("a", 1));
    analytics.save(at(24)).unwrap();
    assert_eq!(analytics.summarize_today(10).day.to_string(), "2025-01-03");
    analytics.count(&record("a", 1));
    analytics.save(at(25)).unwrap();
    assert_eq!(saved(cache.path()), [row("2025-01-02", "a", 1), row("2025-01-03", "a", 1)]);
}

#[test]
fn a_clock_that_is_set_back_loses_no_counts() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(23));
    for (hour, client) in [(23, 1), (24, 2), (23, 3), (24, 4)] {
        analytics.save(at(hour)).unwrap();
        analytics.count(&record("a", client));
    }
    analytics.save(at(24)).unwrap();
    assert_eq!(saved(cache.path()), [row("2025-01-02", "a", 2), row("2025-01-03", "a", 2)]);
}

#[test]
fn saved_counts_survive_a_restart() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.count(&record("a", 1));
    analytics.save(at(1)).unwrap();
    // A crash loses this unsaved request.
    analytics.count(&record("a", 2));
    let analytics = open(cache.path(), at(2));
    analytics.count(&record("a", 3));
    let today = analytics.summarize_today(10);
    assert_eq!((today.all.downloads, today.all.bytes_miss), (2, 20));
}

#[test]
fn a_day_is_saved_only_if_its_counts_have_changed() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.save(at(1)).unwrap();
    assert!(saved(cache.path()).is_empty());
    analytics.count(&record("a", 1));
    analytics.save(at(1)).unwrap();
    fs::remove_dir_all(cache.path().join("analytics")).unwrap();
    analytics.save(at(1)).unwrap();
    analytics.count(&record("a", 2));
    analytics.save(at(1)).unwrap_err();
    // The next attempt saves it.
    fs::create_dir(cache.path().join("analytics")).unwrap();
    analytics.save(at(1)).unwrap();
    assert_eq!(saved(cache.path()), [row("2025-01-02", "a", 2)]);
}

#[test]
fn days_that_cannot_be_saved_are_saved_when_the_disk_recovers() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.count(&record("a", 1));
    fs::remove_dir_all(cache.path().join("analytics")).unwrap();
    for day in 1..=3 {
        analytics.save(at(24 * day)).unwrap_err();
        analytics.count(&record("a", 1));
    }
    fs::create_dir(cache.path().join("analytics")).unwrap();
    analytics.save(at(24 * 3)).unwrap();
    let days = ["2025-01-02", "2025-01-03", "2025-01-04", "2025-01-05"];
    assert_eq!(saved(cache.path()), days.map(|day| row(day, "a", 1)));
}

#[test]
fn the_oldest_days_are_removed_beyond_the_maximum() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = Analytics::open(cache.path(), 2, at(1)).unwrap();
    fs::write(cache.path().join("analytics/notes.txt"), "notes").unwrap();
    for day in 0..4 {
        analytics.save(at(24 * day)).unwrap();
        analytics.count(&record("a", 1));
    }
    analytics.save(at(24 * 3)).unwrap();
    assert_eq!(saved(cache.path()), [row("2025-01-04", "a", 1), row("2025-01-05", "a", 1)]);
    assert!(cache.path().join("analytics/notes.txt").exists(), "other files stay");
}

#[test]
fn a_corrupt_line_is_skipped_and_the_other_lines_are_read() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    for key in ["a", "b", "c"] {
        analytics.count(&record(key, 1));
    }
    analytics.save(at(1)).unwrap();
    let file = cache.path().join("analytics/2025-01-02.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] = 0xff;
    fs::write(&file, bytes).unwrap();
    let analytics = open(cache.path(), at(1));
    assert_eq!(analytics.summarize_today(10).top.len(), 2);
}

#[test]
fn the_top_keys_are_in_descending_order_of_downloads() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    for key in 0..1000 {
        for client in 0..=(key % 50) {
            analytics.count(&record(&format!("{key:03}"), client));
        }
    }
    let top = analytics.summarize_today(3).top;
    let top: Vec<_> = top.iter().map(|(key, counts)| (key.as_str(), counts.downloads)).collect();
    assert_eq!(top, [("049", 50), ("099", 50), ("149", 50)]);
}
