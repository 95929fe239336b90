//! `rm`: objects away.

use anystorage::Key;
use futures_util::stream;

use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::places::{Places, Want};
use crate::same::same_storage;

/// Delete objects. One that is not there is fine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The objects
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    // All are looked up first: a mistake in the last one is found before the first is deleted.
    let mut groups: Vec<Vec<(Key, Place)>> = Vec::new();
    for location in &args.locations {
        match places.find(location, Want::Existing) {
            // Where the directory is not, the file is not.
            Err(failure) if failure.means_absent() => {}
            found => {
                let place = found?;
                join(&mut groups, (place.key()?, place));
            }
        }
    }
    let mut exit = Exit::Done;
    for group in groups {
        for failure in delete(&group).await {
            exit = failure.tell();
        }
    }
    Ok(exit)
}

/// What is in one storage goes together, in as few requests as it needs.
fn join(groups: &mut Vec<Vec<(Key, Place)>>, object: (Key, Place)) {
    let of_storage = |group: &&mut Vec<(Key, Place)>| {
        group.first().is_some_and(|(_, place)| same_storage(&place.storage, &object.1.storage))
    };
    match groups.iter_mut().find(of_storage) {
        Some(group) => group.push(object),
        None => groups.push(vec![object]),
    }
}

async fn delete(group: &[(Key, Place)]) -> Vec<Failure> {
    let Some((_, first)) = group.first() else { return Vec::new() };
    let keys: Vec<_> = group.iter().map(|(key, _)| key.clone()).collect();
    let mut deleted = first.storage.delete_all(stream::iter(keys));
    let mut failures = Vec::new();
    // The answers come in the order of the keys.
    for (_, place) in group {
        if let Some(Err(error)) = deleted.next().await {
            failures.push(place.failure(&error));
        }
    }
    failures
}
