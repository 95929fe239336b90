//! `rm`: objects away.

use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::places::{Places, Want};

/// Delete objects. One that is not there is fine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The objects
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    // All are looked up first: a mistake in the last one is found before the first is deleted.
    let mut objects = Vec::with_capacity(args.locations.len());
    for location in &args.locations {
        match places.find(location, Want::Existing) {
            // Where the directory is not, the file is not.
            Err(failure) if failure.means_absent() => {}
            found => {
                let place = found?;
                objects.push((place.key()?, place));
            }
        }
    }
    let mut exit = Exit::Done;
    for (key, place) in objects {
        if let Err(error) = place.storage.delete(key).await {
            exit = place.failure(&error).tell();
        }
    }
    Ok(exit)
}
