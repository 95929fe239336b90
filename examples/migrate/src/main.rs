//! Copies everything from one storage to another: a script to take and change.
//!
//! ```console
//! $ STORAGE_CONFIG=storages.toml cargo run -p migrate -- old new
//! ```
//!
//! It can be run again, after a failure or to catch up: an object that is in the new storage with
//! the same size is left alone. So it does not see an overwrite by as many bytes, nor a change of
//! metadata alone; it deletes nothing from the new storage; and what is saved behind the listing's
//! back waits for the next run.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a script speaks on its standard output"
)]

use std::process::ExitCode;

use anystorage::{Entry, ErrorKind, Result, Storage, Storages};
use futures_util::StreamExt;

/// How many objects are under way at a time. Each takes a few MiB of memory at most, however large
/// it is.
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
    println!("{copied} copied ({bytes} bytes), {skipped} there already, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn copy_all(from: &Storage, to: &Storage) -> Report {
    let mut report = Report::default();
    let copies = from.list("").entries().map(|entry| copy(from, to, entry));
    let mut done = copies.buffer_unordered(CONCURRENCY);
    while let Some(result) = done.next().await {
        match result {
            Ok(Some(bytes)) => {
                (report.copied, report.bytes) = (report.copied + 1, report.bytes + bytes)
            }
            Ok(None) => report.skipped += 1,
            Err(error) => {
                report.failed += 1;
                eprintln!("failed: {error}"); // names the key
            }
        }
    }
    report
}

/// Copies one object and tells its size; `None` if it is there already.
async fn copy(from: &Storage, to: &Storage, entry: Result<Entry>) -> Result<Option<u64>> {
    let Some(listed) = entry?.into_object() else { return Ok(None) };
    match to.stat(&listed.key).await {
        Ok(there) if there.size == listed.size => return Ok(None),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let object = from.open(&listed.key).await?;
    let meta = object.meta().clone();
    // The body streams from one to the other; a copy that breaks off, or whose bytes are not those
    // of a known checksum, leaves nothing behind.
    let mut save = to.save(&listed.key, object).metadata(meta.metadata);
    for checksum in meta.checksums.iter() {
        save = save.expect_checksum(checksum.clone());
    }
    Ok(Some(save.await?.size))
}
