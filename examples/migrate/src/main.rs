//! Copies all objects from one storage to another. Use it as a starting point for your own script.
//!
//! ```console
//! $ STORAGE_CONFIG=storages.toml cargo run -p migrate -- old new
//! ```
//!
//! The script can run again, after a failure or to copy new objects. It skips an object if the new
//! storage has one with the same key and size. Therefore it does not detect a new version of the
//! same size or a change of metadata only. It deletes nothing from the new storage. Objects that
//! are saved during a run may be copied only by the next run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the script prints its results")]

use std::process::ExitCode;

use anystorage::{Entry, ErrorKind, Result, Storage, Storages};
use futures_util::StreamExt;

/// How many objects to copy at a time. Each takes at most a few MiB of memory, regardless of its
/// size.
const CONCURRENCY: usize = 16;

#[derive(Default)]
struct Report {
    copied: u64,
    bytes: u64,
    skipped: u64,
    failed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &names[..] else {
        eprintln!(
            "usage: migrate FROM TO   (names of storages in STORAGE_CONFIG or STORAGE_<NAME>_URL)"
        );
        return ExitCode::from(2);
    };
    let storages = match Storages::from_env().and_then(|all| Ok((all.get(from)?, all.get(to)?))) {
        Ok(storages) => storages,
        Err(error) => {
            eprintln!("migrate: {error}");
            return ExitCode::from(2);
        }
    };
    let report = copy_all(&storages.0, &storages.1).await;
    let Report { copied, bytes, skipped, failed } = report;
    println!("{copied} copied ({bytes} bytes), {skipped} skipped, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn copy_all(from: &Storage, to: &Storage) -> Report {
    let mut report = Report::default();
    let copies = from.list("").entries().map(|entry| copy(from, to, entry));
    let mut done = copies.buffer_unordered(CONCURRENCY);
    while let Some(result) = done.next().await {
        match result {
            Ok(Some(bytes)) => {
                (report.copied, report.bytes) = (report.copied + 1, report.bytes + bytes);
            }
            Ok(None) => report.skipped += 1,
            Err(error) => {
                report.failed += 1;
                eprintln!("failed: {error}"); // the error contains the key
            }
        }
    }
    report
}

/// Copies one object and returns its size in bytes, or `None` if the new storage already has it.
async fn copy(from: &Storage, to: &Storage, entry: Result<Entry>) -> Result<Option<u64>> {
    let Some(listed) = entry?.into_object() else { return Ok(None) };
    match to.stat(&listed.key).await {
        Ok(existing) if existing.size == listed.size => return Ok(None),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Streams one version with its metadata. A copy that breaks off or does not match a checksum of
    // the source leaves no object.
    Ok(Some(from.copy_to(&listed.key, to, &listed.key).await?.size))
}
