//! `exists`: whether there is an object, as an exit code.

use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::places::{Places, Want};

/// Exit with 0 if the object is there, with 1 if it certainly is not, with 2 on any trouble
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The object
    #[arg(value_name = "LOC")]
    location: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let place = match places.find(&args.location, Want::Existing) {
        // Where the directory is not, the file is not.
        Err(failure) if failure.means_absent() => return Ok(Exit::Failed),
        found => found?,
    };
    let there = place.storage.exists(place.key()?).await.map_err(|error| place.failure(&error))?;
    Ok(if there { Exit::Done } else { Exit::Failed })
}
