//! `rm`: deletes objects and directories.

use std::path::Path;

use anystorage::{Error, ErrorKind, Key};
use futures_util::stream;

use crate::compare::same_storage;
use crate::exit::{ExitStatus, Failure, print_line};
use crate::links;
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};

/// With up to this many locations, `rm` checks whether a key is a directory. More locations come
/// from a script, and each check is a request.
const MAX_DIRECTORY_CHECKS: usize = 8;

/// Delete objects, or with -r directories. A missing object is not an error
///
/// Keys are literal: `rm 'media:x/*'` deletes the object with that name, and is an error if there
/// is none. The name of a directory is an error, too (checked for up to eight locations).
///
/// With -r, each location is a directory, with or without a slash at the end: `rm -r media:a`
/// deletes `a/1` and `a/b/2`, and neither `a` nor `ab`. It also deletes the folder markers of S3
/// consoles. Reports what could not be deleted, and deletes the rest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Delete everything below a directory
    #[arg(short, long)]
    recursive: bool,
    /// With -r, allow a location that is a whole storage: `media:`
    #[arg(long, requires = "recursive")]
    everything: bool,
    /// The objects, or with -r the directories: NAME:KEY, URLs or local paths
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    if args.recursive {
        return delete_directories(&args, resolver).await;
    }
    // All locations are resolved first, so that a mistake in the last one deletes nothing.
    let mut groups: Vec<Vec<(Key, Place)>> = Vec::new();
    for place in resolve_all(&args.locations, resolver, Purpose::Existing)? {
        if place.names_directory() && (place.local || !place.text.is_empty()) {
            return Err(Failure::usage(format!(
                "{place}: a directory: anystorage rm -r {place} deletes everything below it"
            )));
        }
        group_by_storage(&mut groups, (place.key()?, place));
    }
    // Patterns and directories are mistakes, too.
    let few = args.locations.len() <= MAX_DIRECTORY_CHECKS;
    for (key, place) in groups.iter().flatten() {
        refuse_pattern_or_directory(key, place, few).await?;
    }
    let mut exit = ExitStatus::Success;
    for group in groups {
        for failure in delete(&group).await {
            exit = failure.report();
        }
    }
    Ok(exit)
}

/// Resolves the locations. Leaves out those that certainly do not exist.
fn resolve_all(
    locations: &[Location],
    resolver: &mut Resolver,
    purpose: Purpose,
) -> Result<Vec<Place>, Failure> {
    let mut all = Vec::new();
    for location in locations {
        match resolver.resolve(location, purpose) {
            // Without the directory, the file does not exist either.
            Err(failure) if failure.is_not_found() => {}
            found => all.push(found?),
        }
    }
    Ok(all)
}

async fn delete_directories(args: &Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let mut directories = Vec::new();
    for place in resolve_all(&args.locations, resolver, Purpose::Subtree)? {
        let directory = place.directory()?;
        if directory.text.is_empty() && !args.everything {
            return Err(Failure::usage(format!(
                "{directory} is a whole storage: add --everything to delete all of its objects"
            )));
        }
        directories.push(directory);
    }
    let mut exit = ExitStatus::Success;
    for directory in directories {
        match delete_directory(&directory).await? {
            ExitStatus::Success => {}
            failed => exit = failed,
        }
    }
    Ok(exit)
}

/// Deletes everything below a directory. Reports what could not be deleted, and continues.
async fn delete_directory(directory: &Place) -> Result<ExitStatus, Failure> {
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
                place.failure(&error).report();
            }
        }
    }
    failed += report_special_files(directory).await;
    if failed > 0 {
        print_line(&format!("{failed} not deleted, {gone} deleted"));
        return Ok(ExitStatus::Failed);
    }
    if gone == 0 && !directory.text.is_empty() {
        fail_if_object(directory).await?;
    }
    Ok(ExitStatus::Success)
}

/// Reports the symlinks and special files below a local directory, which were not deleted because
/// they are not objects. Returns their number.
async fn report_special_files(directory: &Place) -> u64 {
    if !directory.local {
        return 0;
    }
    let mut count = 0;
    let mut specials = links::find_special_files(
        Path::new(&directory.storage.info().location).join(&directory.text),
    );
    while let Some(special) = specials.recv().await {
        count += 1;
        let error = Error::unsupported(
            "a symlink or special file, not deleted: rm -r deletes regular files only",
        );
        directory.with_text(format!("{}{}", directory.text, special.name)).failure(&error).report();
    }
    count
}

/// Fails if the name is that of an object, which was not deleted.
async fn fail_if_object(directory: &Place) -> Result<(), Failure> {
    let object = directory.with_text(directory.text.trim_end_matches('/'));
    if object.storage.exists(object.key()?).await.map_err(|error| object.failure(&error))? {
        let message = format!(
            "nothing is below this directory, but {object} is an object: delete it without -r"
        );
        return Err(Failure::at(directory, &Error::new(ErrorKind::NotFound, message)));
    }
    Ok(())
}

/// Fails if a name is a pattern or a directory, and not the name of an object. A deletion would
/// delete nothing and succeed.
async fn refuse_pattern_or_directory(
    key: &Key,
    place: &Place,
    may_list: bool,
) -> Result<(), Failure> {
    let is_pattern = key.as_str().contains(['*', '?', '[']);
    let is_directory = may_list && !is_pattern && is_directory(place).await?;
    if !is_pattern && !is_directory {
        return Ok(());
    }
    if place.storage.exists(key).await.map_err(|error| place.failure(&error))? {
        return Ok(());
    }
    let message = match is_pattern {
        true => "no such object: patterns are not expanded".to_owned(),
        false => format!(
            "no such object, but it is a directory: \
             anystorage rm -r {place}/ deletes everything below it"
        ),
    };
    Err(place.failure(&Error::new(ErrorKind::NotFound, message)))
}

/// Whether a directory of this name contains an object, a folder marker, or an unreadable or
/// invalid name.
async fn is_directory(place: &Place) -> Result<bool, Failure> {
    let below = place.with_text(format!("{}/", place.text));
    match place.storage.list(below.prefix()?).with_folder_markers().entries().next().await {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        // An error about one name shows that the directory is not empty. After any other error the
        // key is deleted: a program with permission to delete may lack permission to list.
        Some(Err(error)) => Ok(error.listing_continues()),
    }
}

/// Adds an object to the group of its storage, because a storage deletes many objects in one
/// request.
fn group_by_storage(groups: &mut Vec<Vec<(Key, Place)>>, object: (Key, Place)) {
    let is_same = |group: &&mut Vec<(Key, Place)>| {
        group.first().is_some_and(|(_, place)| same_storage(&place.storage, &object.1.storage))
    };
    match groups.iter_mut().find(is_same) {
        Some(group) => group.push(object),
        None => groups.push(vec![object]),
    }
}

async fn delete(group: &[(Key, Place)]) -> Vec<Failure> {
    let Some((_, first)) = group.first() else { return Vec::new() };
    let keys: Vec<_> = group.iter().map(|(key, _)| key.clone()).collect();
    let mut deleted = first.storage.delete_many(stream::iter(keys));
    let mut failures = Vec::new();
    // The results have the order of the keys.
    for (_, place) in group {
        if let Some(Err(error)) = deleted.next().await {
            failures.push(place.failure(&error));
        }
    }
    failures
}
