//! Copies all objects from one storage to another. Use it as a starting point for your own script.
//!
//! ```console
//! $ STORAGE_CONFIG=storages.toml cargo run -p migrate -- old new
//! ```
//!
//! The script can run again, after a failure or to copy what has changed: it copies objects that
//! the new storage lacks, and those that differ in size or are newer. It deletes nothing. Objects
//! that are saved during a run may be copied only by the next run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the script prints its results")]

use std::process::ExitCode;
use std::sync::Arc;

use anystorage::transfer::{Directory, Ended, SyncOptions, SyncSummary, sync};
use anystorage::{Result, Storages};

#[tokio::main]
async fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &names[..] else {
        eprintln!(
            "usage: migrate FROM TO   (names of storages in STORAGE_CONFIG or STORAGE_<NAME>_URL)"
        );
        return ExitCode::from(2);
    };
    let summary = match migrate(from, to).await {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("migrate: {error}");
            return ExitCode::from(2);
        }
    };
    let counts = &summary.counts;
    println!(
        "{} copied ({} bytes), {} skipped, {} failed",
        counts.new + counts.changed,
        counts.bytes,
        counts.same,
        counts.failed + counts.unknown
    );
    if let Ended::Broken(_, error) = &summary.ended {
        eprintln!("migrate: run again for the rest: {error}");
    }
    if summary.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn migrate(from: &str, to: &str) -> Result<SyncSummary> {
    let storages = Storages::from_env()?;
    let from = Directory::new(&storages.get(from)?, "")?;
    let to = Directory::new(&storages.get(to)?, "")?;
    // Copies several objects at a time, each of one version and with its metadata. A copy that
    // breaks off or does not match a checksum of the source leaves no object.
    let migration = sync(&from, &to, SyncOptions::new()).on_event(Arc::new(|event| {
        if let Some(error) = event.error {
            eprintln!("failed: {}: {error}", event.key);
        }
    }));
    migration.await
}
