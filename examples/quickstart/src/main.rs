//! The same application code ([`app`]) against each storage of `storages.toml` in turn:
//!
//! ```console
//! $ cargo run -p quickstart
//! ```
//!
//! One of them is S3, on a server that it starts itself, and one is a disk behind a mirror, which
//! it starts as well (`--no-default-features` leaves both out).
//!
//! If the environment names storages (`STORAGE_CONFIG`, `STORAGE_DEFAULT_URL=s3://your-bucket`), it
//! runs against those instead, below a prefix that nobody else has, and takes away what it saved
//! there.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks on its standard output"
)]

mod app;
mod files;
#[cfg(feature = "server")]
mod mirror;
mod report;
#[cfg(feature = "server")]
mod server;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use anystorage::{Environment, Loader, Storage, Storages, keys};

use crate::report::Report;

#[cfg(feature = "server")]
const STORAGES: &str = concat!(
    include_str!("../storages.toml"),
    include_str!("../cache-tier.toml"),
    include_str!("../s3.toml")
);
#[cfg(not(feature = "server"))]
const STORAGES: &str = include_str!("../storages.toml");

type Result<T> = std::result::Result<T, Box<dyn Error>>;

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
    let mut done = 0;
    for name in storages.names() {
        let storage = storages.get(name)?;
        report.title(name, &storage.info().location);
        if storage.info().capabilities.write {
            in_a_place_of_its_own(&storage, &mut report)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            done += 1;
        } else {
            report.row("skipped", "", "this storage is configured read-only");
        }
        report.gap();
    }
    match done {
        0 => return Err("every storage is read-only, so nothing was shown".into()),
        1 => report.end("1 storage, no surprises."),
        _ => report.end(&format!("{done} storages, one application, no surprises.")),
    }
    Ok(())
}

/// The storages that the environment names; if it names none, those of `storages.toml`.
async fn storages(scratch: &Path) -> Result<Storages> {
    let named = Loader::new().env()?;
    if named.names().next().is_some() {
        return Ok(named.open_all()?);
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

/// Runs the application below a prefix that nobody else has, and leaves nothing there, whatever
/// happens.
async fn in_a_place_of_its_own(storage: &Storage, report: &mut Report) -> Result<()> {
    let place = storage.prefixed(keys::unique("quickstart", "run")?)?;
    let outcome = app::tour(&place, report).await;
    if outcome.is_err() {
        for file in files::ALL {
            // The first error is the one to tell.
            let _ = place.delete(file.key).await;
        }
    }
    outcome
}
