use std::fs;
use std::time::UNIX_EPOCH;

use super::*;
use crate::server::record::Outcome;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// 2 January 2025, at an hour.
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

/// Day, key and downloads of what is written down.
fn written(cache: &Path) -> Vec<(String, String, u64)> {
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
fn a_new_day_begins_at_midnight_and_who_was_seen_is_forgotten() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(23));
    analytics.count(&record("a", 1));
    analytics.save(at(23)).unwrap();
    analytics.count(&record("a", 1));
    analytics.save(at(24)).unwrap();
    assert_eq!(analytics.today_so_far(10).day.to_string(), "2025-01-03");
    analytics.count(&record("a", 1));
    analytics.save(at(25)).unwrap();
    assert_eq!(written(cache.path()), [row("2025-01-02", "a", 1), row("2025-01-03", "a", 1)]);
}

#[test]
fn a_clock_that_is_put_back_loses_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(23));
    for (hour, client) in [(23, 1), (24, 2), (23, 3), (24, 4)] {
        analytics.save(at(hour)).unwrap();
        analytics.count(&record("a", client));
    }
    analytics.save(at(24)).unwrap();
    assert_eq!(written(cache.path()), [row("2025-01-02", "a", 2), row("2025-01-03", "a", 2)]);
}

#[test]
fn what_was_counted_is_there_after_a_restart() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.count(&record("a", 1));
    analytics.save(at(1)).unwrap();
    // This a crash takes along.
    analytics.count(&record("a", 2));
    let analytics = open(cache.path(), at(2));
    analytics.count(&record("a", 3));
    let today = analytics.today_so_far(10);
    assert_eq!((today.all.downloads, today.all.bytes_miss), (2, 20));
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.save(at(1)).unwrap();
    assert!(written(cache.path()).is_empty());
    analytics.count(&record("a", 1));
    analytics.save(at(1)).unwrap();
    fs::remove_dir_all(cache.path().join("analytics")).unwrap();
    analytics.save(at(1)).unwrap();
    analytics.count(&record("a", 2));
    analytics.save(at(1)).unwrap_err();
    // It is written as soon as that is possible.
    fs::create_dir(cache.path().join("analytics")).unwrap();
    analytics.save(at(1)).unwrap();
    assert_eq!(written(cache.path()), [row("2025-01-02", "a", 2)]);
}

#[test]
fn days_that_cannot_be_written_wait_for_the_disk() {
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
    assert_eq!(written(cache.path()), days.map(|day| row(day, "a", 1)));
}

#[test]
fn the_first_days_go_when_there_are_too_many() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = Analytics::open(cache.path(), 2, at(1)).unwrap();
    fs::write(cache.path().join("analytics/notes.txt"), "mine").unwrap();
    for day in 0..4 {
        analytics.save(at(24 * day)).unwrap();
        analytics.count(&record("a", 1));
    }
    analytics.save(at(24 * 3)).unwrap();
    assert_eq!(written(cache.path()), [row("2025-01-04", "a", 1), row("2025-01-05", "a", 1)]);
    assert!(cache.path().join("analytics/notes.txt").exists(), "it is another's");
}

#[test]
fn a_broken_line_costs_itself_alone() {
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
    assert_eq!(analytics.today_so_far(10).top.len(), 2);
}

#[test]
fn the_top_has_the_most_downloads_first() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    for key in 0..1000 {
        for client in 0..=(key % 50) {
            analytics.count(&record(&format!("{key:03}"), client));
        }
    }
    let top = analytics.today_so_far(3).top;
    let top: Vec<_> = top.iter().map(|(key, counts)| (key.as_str(), counts.downloads)).collect();
    assert_eq!(top, [("049", 50), ("099", 50), ("149", 50)]);
}
