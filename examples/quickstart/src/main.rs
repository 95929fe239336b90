//! Runs the same application code ([`app`]) on each storage of `storages.toml`:
//!
//! ```console
//! $ cargo run -p quickstart
//! ```
//!
//! Two of the storages need a server, which the program starts itself: S3, and a disk behind a
//! mirror (`--no-default-features` leaves both out).
//!
//! If the environment defines storages (`STORAGE_CONFIG`, `STORAGE_DEFAULT_URL=s3://your-bucket`),
//! the program uses those instead, below a new prefix, and deletes what it saved.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the program prints its results")]

mod app;
mod error;
mod files;
#[cfg(feature = "server")]
mod mirror;
mod report;
#[cfg(feature = "server")]
mod server;

use std::path::Path;
use std::process::ExitCode;

use anystorage::{Environment, Loader, Storage, Storages, keys};

use crate::error::Result;
use crate::report::Report;

#[cfg(feature = "server")]
const STORAGES: &str = concat!(
    include_str!("../storages.toml"),
    include_str!("../cache-tier.toml"),
    include_str!("../s3.toml")
);
#[cfg(not(feature = "server"))]
const STORAGES: &str = include_str!("../storages.toml");

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let storages = storages(scratch.path()).await?;
    let mut report = Report::default();
    let mut finished = 0;
    for name in storages.names() {
        let storage = storages.get(name)?;
        report.title(name, &storage.info().location);
        if storage.info().capabilities.write {
            run_below_new_prefix(&storage, &mut report)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            finished += 1;
        } else {
            report.row("skipped", "", "this storage is configured read-only");
        }
        report.end_storage();
    }
    match finished {
        0 => return Err("all storages are read-only, so there is nothing to show".into()),
        1 => report.end("1 storage, the expected results."),
        _ => report.end(&format!("{finished} storages, one application, the same results.")),
    }
    Ok(())
}

/// Opens the storages of the environment, or if there are none, those of `storages.toml`.
async fn storages(scratch: &Path) -> Result<Storages> {
    let definitions = Loader::new().env()?;
    if definitions.names().next().is_some() {
        return Ok(definitions.open_all()?);
    }
    let key = keys::random_text(32)?;
    let environment = Environment::process()
        .with("QUICKSTART_DIR", scratch.join("disk"))
        .with("QUICKSTART_KEY", key.as_str());
    #[cfg(feature = "server")]
    let environment = {
        let endpoint = server::start(&scratch.join("s3"), "quickstart", "quickstart", &key).await?;
        let mirror = mirror::start(&scratch.join("cache"), &scratch.join("disk-mirrored"), &key)?;
        environment.with("QUICKSTART_ENDPOINT", endpoint).with("QUICKSTART_MIRROR", mirror)
    };
    let definitions = Loader::new().with_environment(environment).toml_str(STORAGES)?;
    Ok(definitions.open_all()?)
}

/// Runs the application below a prefix with a random name. Deletes its objects also after a
/// failure.
async fn run_below_new_prefix(storage: &Storage, report: &mut Report) -> Result<()> {
    let prefixed = storage.prefixed(keys::unique("quickstart", "run")?)?;
    let outcome = app::tour(&prefixed, report).await;
    if outcome.is_err() {
        for file in files::ALL {
            // The first error is the one to report.
            let _ = prefixed.delete(file.key).await;
        }
    }
    outcome
}
