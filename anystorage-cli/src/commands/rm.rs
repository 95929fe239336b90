//! `rm`: objects away.

use std::path::Path;

use anystorage::{Error, ErrorKind, Key};
use futures_util::stream;

use crate::exit::{Exit, Failure, say};
use crate::links;
use crate::location::Location;
use crate::place::Place;
use crate::places::{Places, Want};
use crate::same::same_storage;

/// Up to how many locations are looked below: more of them come from a script, and each look is a
/// request.
const LOOKED_BELOW: usize = 8;

/// Delete objects, or with -r directories. What is not there is fine
///
/// Keys are taken literally: `rm 'media:x/*'` deletes the object of that name. If there is none,
/// that is an error; so is the name of a directory (looked for with up to eight locations).
///
/// With -r each location is a directory, whether or not it ends in a slash: `rm -r media:a` deletes
/// `a/1` and `a/b/2`, and neither `a` nor `ab`. Folder markers of S3 consoles go too. What could
/// not be deleted is named, and the rest is deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Delete everything below a directory
    #[arg(short, long)]
    recursive: bool,
    /// With -r, allow a location that names a whole storage: `media:`
    #[arg(long, requires = "recursive")]
    everything: bool,
    /// The objects, or the directories
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    if args.recursive {
        return delete_directories(&args, places).await;
    }
    // All are looked up first: a mistake in the last one is found before the first is deleted.
    let mut groups: Vec<Vec<(Key, Place)>> = Vec::new();
    for place in found(&args.locations, places, Want::Existing)? {
        if place.names_directory() && (place.local || !place.text.is_empty()) {
            return Err(Failure::usage(format!(
                "{place}: a directory: anystorage rm -r {place} deletes all below it"
            )));
        }
        join(&mut groups, (place.key()?, place));
    }
    // What was certainly meant otherwise, likewise.
    let few = args.locations.len() <= LOOKED_BELOW;
    for (key, place) in groups.iter().flatten() {
        refuse_other_meaning(key, place, few).await?;
    }
    let mut exit = Exit::Done;
    for group in groups {
        for failure in delete(&group).await {
            exit = failure.tell();
        }
    }
    Ok(exit)
}

/// The places, except those that certainly hold nothing.
fn found(locations: &[Location], places: &mut Places, want: Want) -> Result<Vec<Place>, Failure> {
    let mut all = Vec::new();
    for location in locations {
        match places.find(location, want) {
            // Where the directory is not, the file is not.
            Err(failure) if failure.means_absent() => {}
            found => all.push(found?),
        }
    }
    Ok(all)
}

async fn delete_directories(args: &Args, places: &mut Places) -> Result<Exit, Failure> {
    let mut directories = Vec::new();
    for place in found(&args.locations, places, Want::Subtree)? {
        let directory = place.directory()?;
        if directory.text.is_empty() && !args.everything {
            return Err(Failure::usage(format!(
                "{directory} is a whole storage: add --everything to delete all that is in it"
            )));
        }
        directories.push(directory);
    }
    let mut exit = Exit::Done;
    for directory in directories {
        match delete_directory(&directory).await? {
            Exit::Done => {}
            failed => exit = failed,
        }
    }
    Ok(exit)
}

/// Deletes all that is below a directory. Names what stays, and goes on.
async fn delete_directory(directory: &Place) -> Result<Exit, Failure> {
    let mut deleted = match directory.text.as_str() {
        "" => directory.storage.delete_everything(),
        _ => directory.storage.delete_prefix(directory.prefix()?),
    };
    let (mut gone, mut failed) = (0_u64, 0_u64);
    while let Some(entry) = deleted.next().await {
        match entry {
            Ok(_) => gone += 1,
            Err(error) => {
                failed += 1;
                let place =
                    error.key().map_or_else(|| directory.clone(), |key| directory.with_text(key));
                place.failure(&error).tell();
            }
        }
    }
    failed += name_specials(directory).await;
    if failed > 0 {
        say(&format!("{failed} not deleted, {gone} deleted"));
        return Ok(Exit::Failed);
    }
    if gone == 0 && !directory.text.is_empty() {
        refuse_object(directory).await?;
    }
    Ok(Exit::Done)
}

/// Names the symlinks and special files below a local directory, which are no objects and so are
/// still there. Returns their number.
async fn name_specials(directory: &Place) -> u64 {
    if !directory.local {
        return 0;
    }
    let mut count = 0;
    let mut specials =
        links::specials(Path::new(&directory.storage.info().location).join(&directory.text));
    while let Some(special) = specials.recv().await {
        count += 1;
        let error = Error::unsupported(
            "a symlink or special file, not deleted: rm -r deletes regular files only",
        );
        directory.with_text(format!("{}{}", directory.text, special.name)).failure(&error).tell();
    }
    count
}

/// Fails if the directory that was named is an object, which is still there.
async fn refuse_object(directory: &Place) -> Result<(), Failure> {
    let object = directory.with_text(directory.text.trim_end_matches('/'));
    if object.storage.exists(object.key()?).await.map_err(|error| object.failure(&error))? {
        let message =
            format!("nothing is below this, but {object} is an object: delete it without -r");
        return Err(Failure::at(directory, &Error::new(ErrorKind::NotFound, message)));
    }
    Ok(())
}

/// Refuses a name that no object has and that means several objects in a shell: a pattern or a
/// directory. A delete would find nothing and succeed.
async fn refuse_other_meaning(key: &Key, place: &Place, looks_below: bool) -> Result<(), Failure> {
    let is_pattern = key.as_str().contains(['*', '?', '[']);
    let is_directory = looks_below && !is_pattern && is_directory(place).await?;
    if !is_pattern && !is_directory {
        return Ok(());
    }
    if place.storage.exists(key).await.map_err(|error| place.failure(&error))? {
        return Ok(());
    }
    let message = match is_pattern {
        true => "no such object: patterns are not expanded".to_owned(),
        false => format!(
            "no such object, but it is a directory: anystorage rm -r {place}/ deletes all below it"
        ),
    };
    Err(place.failure(&Error::new(ErrorKind::NotFound, message)))
}

/// Whether anything is below a name: an object, a folder marker, or what cannot be read or named.
async fn is_directory(place: &Place) -> Result<bool, Failure> {
    let below = place.with_text(format!("{}/", place.text));
    match place.storage.list(below.prefix()?).with_folder_markers().entries().next().await {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        // An error of one name below is something below. Of any other: a program that may delete
        // need not be allowed to list, and a delete by name is no more than was asked for.
        Some(Err(error)) => Ok(error.listing_continues()),
    }
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
    let mut deleted = first.storage.delete_many(stream::iter(keys));
    let mut failures = Vec::new();
    // The answers come in the order of the keys.
    for (_, place) in group {
        if let Some(Err(error)) = deleted.next().await {
            failures.push(place.failure(&error));
        }
    }
    failures
}
