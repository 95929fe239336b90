//! `rollback`: makes an earlier release of a website current again.

use anystorage::publish::{self, PublishOptions};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output;
use crate::publishing;
use crate::resolver::Resolver;

/// Make an earlier release of a published website current again
///
/// Without RELEASE, it is the one before the current one. If a publish ended between two pages, the
/// pages of the current release are restored. Nothing is changed if a file of the release is gone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory that was published to
    #[arg(value_name = "DEST")]
    destination: Location,
    /// The id of a release, as `anystorage releases` shows it
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let (place, destination) = publishing::destination(resolver, &args.destination)?;
    let done =
        publish::rollback(&destination, args.release.as_deref(), &PublishOptions::new()).await;
    let done = done.map_err(|error| publishing::failure(&place, &error))?;
    output::print(&format!("release {} is current: {} pages written", done.release, done.pages))?;
    let errors = [&done.purge_error, &done.cleanup_error];
    let failed = errors.into_iter().flatten().map(|error| place.failure(error).report());
    Ok(failed.fold(ExitStatus::Success, ExitStatus::or))
}
