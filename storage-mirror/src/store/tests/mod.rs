//! Tests of the store on real directories.

mod corruption;
mod cost;
mod crash;
mod eviction;
mod filling;
mod footprint;
mod full_disk;
mod property;
mod purging;
mod reading;
mod recovery;
mod threads;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use storage_core::{ErrorKind, Key, ObjectMeta, Result};
use storage_testkit::jobs;
use tempfile::TempDir;

use super::layout::PAGE;
use super::{BLOCK, Entry, EntryMeta, Limits, Recovered, Store};

const MIB: u64 = 1024 * 1024;

/// A temporary directory that contains the directory of a store.
struct Scratch {
    dir: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// In a file system in memory, where syncing costs nothing, if the machine has one.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::new() }
    }

    fn below(parent: &Path) -> Self {
        Self { dir: tempfile::Builder::new().prefix("http-cache-").tempdir_in(parent).unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn open(&self, max_size: u64) -> Store {
        self.open_with(Limits::new(max_size)).0
    }

    fn open_with(&self, limits: Limits) -> (Store, Recovered) {
        Store::open(&self.path(), limits).unwrap()
    }
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[
        ("fill", crash::fill_for_ever),
        ("churn", crash::churn_for_ever),
        ("full disk", full_disk::full_disk),
        ("no inodes", full_disk::no_inodes),
        ("footprint", footprint::report_growth),
    ]);
}

/// Returns a command that runs a job on a directory, under `wrapper` if that is not empty.
fn job(wrapper: &[&str], name: &str, path: &Path) -> Command {
    jobs::command(concat!(module_path!(), "::child"), wrapper, name, path)
}

/// Returns the files of the entries in a directory.
fn entry_files(path: &Path) -> Vec<PathBuf> {
    let shelves = (0..=255).map(|shelf| path.join(format!("{shelf:02x}")));
    shelves.flat_map(|shelf| files_in(&shelf)).collect()
}

/// Returns the files of the running fills.
fn fill_files(path: &Path) -> Vec<PathBuf> {
    files_in(&path.join("filling"))
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect()
}

/// Returns the file of the only entry.
fn only_file(path: &Path) -> PathBuf {
    let files = entry_files(path);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// Returns the bytes that all files take, in whole pages.
fn disk_use(path: &Path) -> u64 {
    let files = entry_files(path).into_iter().chain(fill_files(path));
    files
        .map(|file| fs::metadata(file).map_or(0, |meta| meta.len().next_multiple_of(PAGE as u64)))
        .sum()
}

/// Returns pseudo-random bytes of a seed.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = split_mix(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Returns the next value of SplitMix64, a reproducible pseudo-random sequence.
fn split_mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn meta(key: &str, size: u64) -> EntryMeta {
    EntryMeta::fetched(ObjectMeta::new(Key::new(key).unwrap(), size), SystemTime::now())
}

/// Fills a key with a body that is written in pieces.
fn try_fill(store: &Store, key: &str, body: &[u8]) -> Result<Arc<Entry>> {
    let mut filling = store.begin(key).create(meta(key, body.len() as u64))?;
    for chunk in body.chunks(100_000) {
        filling.write(chunk)?;
    }
    filling.commit()
}

fn fill(store: &Store, key: &str, body: &[u8]) -> Arc<Entry> {
    try_fill(store, key, body).unwrap()
}

/// Reads the whole body of an entry block by block.
fn read(store: &Store, entry: &Arc<Entry>) -> Result<Vec<u8>> {
    let reader = store.reader(entry)?;
    let mut body = Vec::new();
    for index in 0..reader.blocks() {
        body.extend_from_slice(&reader.read_block(index)?);
    }
    Ok(body)
}

/// Reads the whole body of the entry of a key.
fn read_key(store: &Store, key: &str) -> Option<Vec<u8>> {
    store.get(key).map(|entry| read(store, &entry).unwrap())
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: ErrorKind) -> storage_core::Error {
    match result {
        Ok(_) => panic!("the call succeeded; it should fail with {kind}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}: {:?}", std::error::Error::source(&error));
            error
        }
    }
}

/// Prints a line that the test harness does not capture: measurements and skipped tests.
fn print_line(line: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: {line}");
}

fn skip(reason: &str) {
    print_line(&format!("SKIPPED: {reason}"));
}
