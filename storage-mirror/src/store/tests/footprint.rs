//! The memory that a stored object takes, measured by the resident memory of a child process.

use storage_core::{Checksum, ChecksumAlgorithm, ETag, Metadata};

use super::*;

const WARM_UP: u64 = 2_000;
const OBJECTS: u64 = 30_000;
/// Upper bound in bytes for an object with a key of 40 bytes.
const MOST_PER_OBJECT: u64 = 300;

/// Returns metadata as S3 has it for a recording.
fn typical(key: &str) -> EntryMeta {
    let mut object = ObjectMeta::new(Key::new(key).unwrap(), 1);
    object.etag = Some(ETag::strong("5d41402abc4b2a76b9719d911017c592").unwrap());
    object.last_modified = Some(SystemTime::now());
    object.metadata = Metadata::new()
        .content_type("audio/mpeg")
        .cache_control("public, max-age=31536000")
        .content_disposition("attachment; filename=\"episode.mp3\"")
        .user("show", "a-show-with-a-name");
    object.checksums.insert(Checksum::of(ChecksumAlgorithm::Sha256, b"x"));
    EntryMeta::fetched(object, SystemTime::now())
}

/// Returns the resident memory of this process in bytes, or `None` where the system does not report
/// it.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Fills a store with small objects and reports the growth of the process for each.
pub(super) fn report_growth(path: &Path) {
    let mut limits = Limits::new(2048 * MIB);
    (limits.memory, limits.open_files) = (0, 1);
    let (store, _) = Store::open(path, limits).unwrap();
    let fill = |n: u64| {
        let key = format!("podcasts/a-show-of-news/episode-{n:08}");
        let mut filling = store.begin(&key).create(typical(&key)).unwrap();
        filling.write(b"x").unwrap();
        filling.commit().unwrap();
    };
    (0..WARM_UP).for_each(fill);
    let before = resident();
    (WARM_UP..WARM_UP + OBJECTS).for_each(fill);
    let grown = before.zip(resident()).map_or(0, |(before, after)| after.saturating_sub(before));
    jobs::report(&format!("{}", grown / OBJECTS));
}

#[test]
fn a_stored_object_takes_at_most_300_bytes_of_memory() {
    if resident().is_none() {
        return skip("the system does not report the memory of a process");
    }
    let scratch = Scratch::in_memory();
    let reports = jobs::finish(job(&[], "footprint", &scratch.path()));
    let each: u64 = reports[0].parse().unwrap();
    print_line(&format!("{each} bytes an object"));
    assert!((1..=MOST_PER_OBJECT).contains(&each), "{each} bytes an object");
}
