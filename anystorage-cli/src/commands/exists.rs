//! `exists`: checks whether an object exists.

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::resolver::{Purpose, Resolver};

/// Exit with 0 if the object exists, with 1 if it certainly does not, with 2 on any error
///
/// The key is literal: `*` is a character of the key and not a pattern.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage exists media:a.png && echo yes
  anystorage exists media:a.png || anystorage put a.png media:a.png")]
pub(crate) struct Args {
    /// The object: NAME:KEY, a URL or a local path
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let place = match resolver.resolve(&args.location, Purpose::Existing) {
        // Without the directory, the file does not exist either.
        Err(failure) if failure.is_not_found() => return Ok(ExitStatus::Failed),
        found => found?,
    };
    let there = place.storage.exists(place.key()?).await.map_err(|error| place.failure(&error))?;
    Ok(if there { ExitStatus::Success } else { ExitStatus::Failed })
}
