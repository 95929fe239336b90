//! `rollback`: makes an earlier release of a website current again.

use anystorage::publish;
use anystorage::transfer::Stop;
use serde_json::json;

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output::Output;
use crate::publishing::{self, Section};
use crate::resolver::{Resolver, Setup};

/// Make an earlier release of a published website current again
///
/// Without RELEASE, it is the one before the current one. If a publish ended between two pages, the
/// pages of the current release are restored. Nothing is changed if a file of the release is gone.
/// The keys keep, grace and purge of the table [publish] apply.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage rollback site:
  anystorage rollback site: 20261121T093000Z-p7c2w5qd

Exit codes: 0 the release is current; 1 a failure: nothing visible was changed unless the message
says so; 2 wrong usage or configuration; 75 interrupted, another publisher is at work, or a service
is unavailable: run again.")]
pub(crate) struct Args {
    /// The table of the configuration file; defaults to publish
    #[arg(long, value_name = "NAME")]
    config_section: Option<String>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// The directory that was published to
    #[arg(value_name = "DEST")]
    destination: Location,
    /// The id of a release, as `anystorage releases` shows it
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
}

pub(crate) async fn run(args: Args, setup: Setup, stop: &Stop) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::without_storages(setup);
    let section = Section::read(&resolver, args.config_section.as_deref())?;
    let (place, destination) = publishing::destination(&mut resolver, &args.destination)?;
    let options = section.options(&mut resolver, &place, stop)?;
    let done = publish::rollback(&destination, args.release.as_deref(), &options).await;
    let done = done.map_err(|error| publishing::failure(&place, &error))?;
    let publish::RolledBack { release, pages, deleted, .. } = &done;
    let mut output = Output::new();
    match args.json {
        true => {
            output.json(&json!({ "release": release, "pages": pages, "deleted": deleted }))?;
        }
        false => output.line(&format!(
            "release {release} is current: {} written, {deleted} deleted",
            publishing::pages(*pages)
        ))?,
    }
    output.flush()?;
    Ok(publishing::report_leftovers(&place, stop, done.purge_error, done.cleanup_error))
}
