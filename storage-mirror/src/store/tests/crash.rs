//! Processes killed at any instant (SIGKILL): the next start restores every object whose commit
//! returned, no purged object, and no incomplete file.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use storage_testkit::jobs::{self, Running};

/// Space for all objects of the test, so that no entry is evicted.
const ROOM: u64 = 64 * MIB;
/// Less space than the objects take, so that entries are evicted all the time.
const LITTLE_ROOM: u64 = 2 * MIB;

/// Returns the body of a version of a key, which begins with the number of the version.
fn body(key: &str, version: u64) -> Vec<u8> {
    let seed = version + key.bytes().map(u64::from).sum::<u64>() * 1_000_003;
    let len = if key.starts_with("large") { 800_000 } else { 1_000 + seed as usize % 300_000 };
    [version.to_string().as_bytes(), b"\n", &pattern(seed, len)].concat()
}

fn version_of(body: &[u8]) -> u64 {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap();
    std::str::from_utf8(&body[..end]).unwrap().parse().unwrap()
}

/// The variable with the first version of a job. Versions never repeat, so that a restored object
/// is distinguishable from one that this job filled.
const FIRST: &str = "STORAGE_HTTP_CACHE_FIRST";

fn first() -> u64 {
    std::env::var(FIRST).unwrap().parse().unwrap()
}

/// Fills the same few keys in three threads and purges some of them, until the process is killed.
/// Each thread reports before a purge, and after each fill and purge that returned.
pub(super) fn fill_for_ever(path: &Path) {
    let (store, _) = Store::open(path, Limits::new(ROOM)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for version in first().. {
                    for key in [
                        format!("small/{thread}"),
                        format!("large/{thread}"),
                        format!("purged/{thread}"),
                    ] {
                        fill(store, &key, &body(&key, version));
                        jobs::report(&format!("filled {key} {version}"));
                    }
                    let key = format!("purged/{thread}");
                    jobs::report(&format!("purging {key} {version}"));
                    store.purge(&key).unwrap();
                    jobs::report(&format!("purged {key} {version}"));
                }
            });
        }
    });
}

/// Evicts, replaces, abandons fills and reopens the store, all at a time, until the process is
/// killed.
pub(super) fn churn_for_ever(path: &Path) {
    for round in first().. {
        let (store, recovered) = Store::open(path, Limits::new(LITTLE_ROOM)).unwrap();
        jobs::report(&format!("opened {} {}", recovered.dropped, round));
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..30 {
                        let key = format!(
                            "{}/{}",
                            if n % 10 == 3 { "large" } else { "small" },
                            (thread + n * 7) % 17
                        );
                        let bytes = body(&key, round);
                        let Ok(mut filling) =
                            store.begin(&key).create(meta(&key, bytes.len() as u64))
                        else {
                            continue;
                        };
                        filling.write(&bytes).unwrap();
                        if n % 4 > 0 {
                            filling.commit().unwrap();
                            jobs::report(&format!("churned {key} {round}"));
                        }
                    }
                });
            }
        });
    }
}

/// The reports of all jobs, which decide what a restart must restore.
#[derive(Default)]
struct Reports {
    filled: HashMap<String, u64>,
    purging: HashMap<String, u64>,
    purged: HashMap<String, u64>,
    lines: usize,
}

impl Reports {
    fn take(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<_> = line.split(' ').collect();
        let [what, key, version] = words[..] else { panic!("{line}") };
        let map = match what {
            "filled" => &mut self.filled,
            "purging" => &mut self.purging,
            "purged" => &mut self.purged,
            "opened" => return assert_eq!(key, "0", "no file is broken"),
            "churned" => return,
            _ => panic!("{line}"),
        };
        map.insert(key.to_owned(), version.parse().unwrap());
    }

    fn latest(&self) -> u64 {
        self.filled.values().max().copied().unwrap_or(0)
    }

    fn assert_kept(&self, found: &HashMap<String, u64>) {
        for (key, version) in &self.filled {
            let purge = self.purging.get(key).copied().unwrap_or(0);
            match found.get(key) {
                Some(found) => {
                    assert!(found >= version, "{key} went back from version {version} to {found}");
                }
                None => assert!(purge >= *version, "{key} version {version} is lost"),
            }
        }
        for (key, version) in &self.purged {
            assert!(
                found.get(key).is_none_or(|found| found > version),
                "{key} version {version} came back"
            );
        }
    }
}

/// Opens the store of a killed process and reads all of its entries.
fn read_all(path: &Path, room: u64, partial: &mut u64) -> HashMap<String, u64> {
    let (store, recovered) = Store::open(path, Limits::new(room)).unwrap();
    assert_eq!(recovered.dropped, 0, "a kill breaks nothing");
    *partial += recovered.partial;
    assert!(fill_files(path).is_empty());
    let usage = store.usage();
    assert_eq!(usage.bytes, disk_use(path));
    assert!(usage.bytes <= room);
    let found: HashMap<_, _> = store
        .entries()
        .map(|entry| {
            let found = read(&store, &entry).unwrap();
            let version = version_of(&found);
            assert!(
                found == body(entry.key(), version),
                "{} version {version} is torn",
                entry.key()
            );
            assert_eq!(store.meta(&entry).unwrap().object.size, found.len() as u64);
            (entry.key().to_owned(), version)
        })
        .collect();
    assert_eq!(store.usage().corrupt, 0);
    found
}

fn kill_again_and_again(job: &str, scratch: &Scratch, room: u64, kills: u64) -> (Reports, u64) {
    let (mut reports, mut partial) = (Reports::default(), 0);
    for kill in 0..kills {
        let seed = split_mix(kill + room);
        let mut command = super::job(&[], job, &scratch.path());
        command.env(FIRST, (reports.latest() + 1_000 * (kill + 1)).to_string());
        let mut running = Running::start(command);
        // Kills the job after a random number of reports and a random delay.
        for _ in 0..(seed >> 33) % 20 + 1 {
            reports.take(&running.next_report().expect("it runs until it is killed"));
        }
        spin(Duration::from_micros((seed >> 40) % 8_000));
        running.kill().iter().for_each(|line| reports.take(line));
        let found = read_all(&scratch.path(), room, &mut partial);
        reports.assert_kept(&found);
    }
    assert!(reports.lines as u64 > kills, "the jobs reported nothing");
    (reports, partial)
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn a_killed_process_loses_no_committed_object_and_leaves_no_incomplete_one() {
    let scratch = Scratch::new();
    let (reports, partial) = kill_again_and_again("fill", &scratch, ROOM, 30);
    assert!(
        reports.purged.len() == 3 && reports.filled.len() == 9,
        "{:?} {:?}",
        reports.filled,
        reports.purged
    );
    assert!(partial > 0, "no kill hit a fill, so that nothing is proved");
}

#[test]
fn a_killed_process_loses_no_committed_object_on_a_file_system_in_memory() {
    let (_, partial) = kill_again_and_again("fill", &Scratch::in_memory(), ROOM, 30);
    assert!(partial > 0, "no kill hit a fill, so that nothing is proved");
}

#[test]
fn a_process_killed_while_it_evicts_leaves_no_more_than_max_size() {
    let (_, partial) = kill_again_and_again("churn", &Scratch::in_memory(), LITTLE_ROOM, 30);
    assert!(partial > 0, "no kill hit a fill, so that nothing is proved");
}
