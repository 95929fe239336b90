use std::fs;
use std::time::UNIX_EPOCH;

use storage_core::Key;

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
        let each = |row: Row| {
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
    assert_eq!(analytics.summarize_today().day.to_string(), "2025-01-03");
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
    let all = analytics.summarize_today().total.counts;
    assert_eq!((all.downloads, all.bytes_miss), (2, 20));
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
    assert_eq!(analytics.summarize_today().top.len(), 2);
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
    let top = analytics.summarize_today().top;
    let top: Vec<_> = top.iter().map(|top| (top.key.as_str(), top.counts.downloads)).collect();
    assert_eq!((top.len(), &top[..3]), (25, &[("049", 50), ("099", 50), ("149", 50)][..]));
}

/// Returns the day, the downloads and the number of keys of each day of the history.
fn history(analytics: &Analytics) -> Vec<(String, u64, u64)> {
    let days = analytics.day_totals().days.into_iter();
    days.map(|(day, total)| (day.to_string(), total.counts.downloads, total.keys)).collect()
}

fn day(day: &str, downloads: u64, keys: u64) -> (String, u64, u64) {
    (day.to_owned(), downloads, keys)
}

/// Counts one download of `a` on 2 January, and two downloads of `b` on 3 January.
fn two_days(cache: &Path) -> Analytics {
    let analytics = open(cache, at(1));
    analytics.count(&record("a", 1));
    analytics.save(at(24)).unwrap();
    analytics.count(&record("b", 1));
    analytics.count(&record("b", 2));
    analytics.save(at(25)).unwrap();
    analytics
}

#[test]
fn the_history_has_the_sums_of_past_days_and_of_the_current_day() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = two_days(cache.path());
    let expected = [day("2025-01-02", 1, 1), day("2025-01-03", 2, 1)];
    assert_eq!(history(&analytics), expected);
    let reopened = open(cache.path(), at(26));
    assert_eq!(history(&reopened), expected);
    reopened.count(&record("c", 1));
    assert_eq!(history(&reopened), [day("2025-01-02", 1, 1), day("2025-01-03", 3, 2)]);
}

#[test]
fn a_past_day_is_in_the_history_while_it_cannot_be_saved() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    analytics.count(&record("a", 1));
    fs::remove_dir_all(cache.path().join("analytics")).unwrap();
    analytics.save(at(24)).unwrap_err();
    assert_eq!(history(&analytics), [day("2025-01-02", 1, 1), day("2025-01-03", 0, 0)]);
}

#[test]
fn a_day_without_a_valid_summary_is_summed_up_later() {
    let cache = tempfile::tempdir().unwrap();
    drop(two_days(cache.path()));
    let summary = cache.path().join("analytics/2025-01-02.summary.json");
    let valid = fs::read_to_string(&summary).unwrap();
    let other_size = valid.replacen("\"file_size\":", "\"file_size\":1", 1);
    let other_day = valid.replace("2025-01-02", "2025-01-01");
    for invalid in [None, Some(""), Some("{"), Some(&*other_size), Some(&*other_day)] {
        match invalid {
            Some(text) => fs::write(&summary, text).unwrap(),
            None => fs::remove_file(&summary).unwrap(),
        }
        let analytics = open(cache.path(), at(26));
        assert_eq!(analytics.day_totals().unread, 1, "{invalid:?}");
        assert!(analytics.summary("2025-01-02".parse().unwrap()).is_none(), "{invalid:?}");
        assert_eq!(history(&analytics), [day("2025-01-03", 2, 1)], "{invalid:?}");
        assert!(analytics.summarize_unread() && !analytics.summarize_unread(), "{invalid:?}");
        assert_eq!(analytics.day_totals().unread, 0, "{invalid:?}");
        assert_eq!(history(&analytics), [day("2025-01-02", 1, 1), day("2025-01-03", 2, 1)]);
        assert_eq!(fs::read_to_string(&summary).unwrap(), valid, "{invalid:?}");
    }
}

#[test]
fn the_summary_of_a_past_day_has_its_top_keys() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = two_days(cache.path());
    let summary = |day: &str| analytics.summary(day.parse().unwrap());
    for (day, key, downloads) in [("2025-01-02", "a", 1), ("2025-01-03", "b", 2)] {
        let top = summary(day).unwrap().top;
        assert_eq!((top.len(), top[0].key.as_str(), top[0].counts.downloads), (1, key, downloads));
    }
    assert!(summary("2025-01-04").is_none());
}

#[test]
fn a_removed_day_is_neither_in_the_history_nor_on_the_disk() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = Analytics::open(cache.path(), 1, at(1)).unwrap();
    for day in 0..3 {
        analytics.save(at(24 * day)).unwrap();
        analytics.count(&record("a", 1));
    }
    analytics.save(at(24 * 2)).unwrap();
    assert_eq!(history(&analytics), [day("2025-01-04", 1, 1)]);
    let files = fs::read_dir(cache.path().join("analytics")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["2025-01-04.jsonl", "2025-01-04.summary.json"]);
}

#[test]
fn a_search_finds_keys_in_any_case_and_continues_behind_its_limit() {
    let cache = tempfile::tempdir().unwrap();
    let analytics = open(cache.path(), at(1));
    for key in 0..2000 {
        analytics.count(&record(&format!("{}/{key}.MP3", ["a", "b"][key % 2]), 1));
    }
    let all = analytics.search("B/19", 0);
    // b/19, b/191 to b/199, b/1901 to b/1999.
    assert_eq!((all.matches, all.top.len(), all.next), (56, 25, None));
    assert_eq!(analytics.search(".mp3", 0).matches, 2000);
    assert_eq!(analytics.search("c/", 0).matches, 0);
    let (mut from, mut searches, mut matches) = (Some(0), 0, 0);
    while let Some(at) = from {
        let found = analytics.search_at_most("b/19", at, 600);
        (from, searches, matches) = (found.next, searches + 1, matches + found.matches);
    }
    assert!(searches > 1, "the limit was not reached");
    assert_eq!(matches, 56);
}
