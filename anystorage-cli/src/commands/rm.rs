//! `rm`: deletes objects and directories.

use std::collections::HashSet;
use std::path::Path;

use anystorage::{Entry, Error, ErrorKind, Key};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::compare::same_storage;
use crate::exit::{ExitStatus, Failure, print_line};
use crate::links::{self, Unsearched};
use crate::location::Location;
use crate::output::Output;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::source::Source;

/// With up to this many locations, `rm` checks whether a key is a directory. More locations come
/// from a script, and each check is a request.
const MAX_DIRECTORY_CHECKS: usize = 8;

/// How many failed names are remembered, so that none is reported twice.
const MAX_REMEMBERED: usize = 1000;

/// Delete objects, or with -r directories. A missing object is not an error
///
/// A pattern that matches nothing is an error, and so is the name of a directory (checked for up to
/// eight locations). In both cases nothing is deleted.
///
/// With -r, each location is a directory, with or without a slash at the end: `rm -r media:a`
/// deletes `a/1` and `a/b/2`, but neither `a` nor `ab`. It also deletes the folder markers of S3
/// consoles. Reports what could not be deleted, and deletes the rest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage rm media:a.png media:b.png        delete two objects
  anystorage rm -r media:tmp                   delete everything below tmp/
  anystorage rm 'media:tmp/*.log'              delete what a pattern matches
  anystorage rm -r 'media:cache-*'             delete matching objects and directories
  anystorage rm -rn media:tmp                  show what would be deleted
  anystorage rm -r --everything media:         delete all objects of a storage

Patterns are those of cp: see anystorage cp --help. If an object has exactly this name,
only that object is deleted.")]
pub(crate) struct Args {
    /// Delete everything below a directory
    #[arg(short, long)]
    recursive: bool,
    /// Allow a location that is a whole storage: with -r `media:`, and patterns that match
    /// everything
    #[arg(long)]
    everything: bool,
    /// Print the location of each object that would be deleted, and delete nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The objects or patterns, or with -r the directories: NAME:KEY, URLs or local paths
    #[arg(value_name = "LOC", required = true)]
    locations: Vec<Location>,
}

/// The objects that a pattern matches. The listing has begun, so that a pattern that matches
/// nothing fails before anything is deleted.
struct Matches {
    source: Source,
    entries: BoxStream<'static, anystorage::Result<Entry>>,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    // All locations are resolved first, so that a mistake in the last one deletes nothing.
    let purpose = if args.recursive { Purpose::Subtree } else { Purpose::Existing };
    let (mut objects, mut directories, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
    for place in resolve_all(&args.locations, resolver, purpose)? {
        if let Some(source) = Source::pattern(&place, args.recursive).await? {
            patterns.push(find_matches(source, &args).await?);
        } else if args.recursive {
            directories.push(checked_directory(&place, &args)?);
        } else {
            objects.push(checked_object(place)?);
        }
    }
    // The name of a directory is a mistake, too.
    if args.locations.len() <= MAX_DIRECTORY_CHECKS {
        for (key, place) in &objects {
            refuse_directory(key, place).await?;
        }
    }
    if args.dry_run {
        return plan(&objects, &directories, patterns).await;
    }
    let mut exit = ExitStatus::Success;
    let mut groups: Vec<Vec<(Key, Place)>> = Vec::new();
    for object in objects {
        group_by_storage(&mut groups, object);
    }
    for group in groups {
        for failure in delete(&group).await {
            exit = failure.report();
        }
    }
    for directory in &directories {
        exit = exit.or(delete_directory(directory).await.unwrap_or_else(Failure::report));
    }
    for matches in patterns {
        exit = exit.or(delete_matches(matches).await);
    }
    Ok(exit)
}

fn checked_object(place: Place) -> Result<(Key, Place), Failure> {
    if place.names_directory() && (place.local || !place.text.is_empty()) {
        return Err(Failure::usage(format!(
            "{place}: a directory: anystorage rm -r {place} deletes everything below it"
        )));
    }
    Ok((place.key()?, place))
}

fn checked_directory(place: &Place, args: &Args) -> Result<Place, Failure> {
    let directory = place.directory()?;
    if directory.text.is_empty() && !args.everything {
        return Err(Failure::usage(format!(
            "{directory} is a whole storage: add --everything to delete all of its objects"
        )));
    }
    Ok(directory)
}

/// Begins to list the objects that a pattern matches. Fails if there are none, or if the pattern
/// matches a whole storage and `--everything` is not set.
async fn find_matches(source: Source, args: &Args) -> Result<Matches, Failure> {
    let is_everything = source.pattern.as_ref().is_some_and(Pattern::matches_everything);
    if is_everything && !args.everything {
        return Err(Failure::usage(format!(
            "{source} matches a whole storage: add --everything to delete all of its objects"
        )));
    }
    let mut entries = source.entries()?;
    let Some(first) = entries.next().await else { return Err(source.no_match()) };
    Ok(Matches { source, entries: stream::iter([first]).chain(entries).boxed() })
}

/// Prints what would be deleted.
async fn plan(
    objects: &[(Key, Place)],
    directories: &[Place],
    patterns: Vec<Matches>,
) -> Result<ExitStatus, Failure> {
    let mut output = Output::new();
    let mut exit = ExitStatus::Success;
    for (_, place) in objects {
        output.line(&place.to_string())?;
    }
    let mut all = patterns;
    for directory in directories {
        let source = Source { directory: directory.clone(), pattern: None };
        all.push(Matches { entries: source.entries()?, source });
    }
    for Matches { source, mut entries } in all {
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(entry) => output.line(&source.directory.with_text(entry.name()).to_string())?,
                Err(error) => {
                    output.flush()?;
                    exit = source.directory.entry_failure(&error).report();
                }
            }
        }
    }
    output.flush()?;
    Ok(exit)
}

/// Deletes the objects that a pattern matches. Reports those that could not be deleted, and
/// continues.
async fn delete_matches(matches: Matches) -> ExitStatus {
    let Matches { source, entries } = matches;
    let directory = &source.directory;
    let (mut gone, mut failed) = (0_u64, 0_u64);
    let mut count = |deleted: Result<String, Failure>| match deleted {
        Ok(key) => {
            gone += 1;
            tracing::info!("deleted {}", directory.with_text(key));
        }
        Err(failure) => {
            failed += 1;
            failure.report();
        }
    };
    // The names of folder markers are not keys, so they are deleted one by one. There are few.
    let (sender, mut markers) = tokio::sync::mpsc::unbounded_channel();
    let keys = entries.filter_map(move |entry| {
        let is_key = match entry {
            Ok(Entry::FolderMarker(marker)) => {
                let _ = sender.send(marker);
                None
            }
            other => Some(other),
        };
        std::future::ready(is_key)
    });
    let mut deleted = directory.storage.delete_many(keys);
    loop {
        // Deletes the markers that were found so far, so that their number is bounded.
        let next = deleted.next().await;
        while let Ok(marker) = markers.try_recv() {
            let deleted = directory.storage.delete_folder_marker(marker.clone()).await;
            count(
                deleted
                    .map(|()| marker.to_string())
                    .map_err(|error| directory.entry_failure(&error)),
            );
        }
        match next {
            Some(Ok(key)) => count(Ok(key.to_string())),
            Some(Err(error)) => {
                let place =
                    error.key().map_or_else(|| directory.clone(), |key| directory.with_text(key));
                count(Err(place.failure(&error)));
            }
            None => break,
        }
    }
    if failed > 0 {
        print_line(&format!("{failed} not deleted, {gone} deleted"));
        return ExitStatus::Failed;
    }
    tracing::info!("{gone} deleted");
    ExitStatus::Success
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

/// Deletes everything below a directory. Reports what could not be deleted, and continues.
async fn delete_directory(directory: &Place) -> Result<ExitStatus, Failure> {
    let mut deleted = match directory.text.as_str() {
        "" => directory.storage.delete_everything(),
        _ => directory.storage.delete_prefix(directory.prefix()?),
    };
    let (mut gone, mut failed) = (0_u64, 0_u64);
    let mut unlisted = HashSet::new();
    while let Some(entry) = deleted.next().await {
        match entry {
            Ok(entry) => {
                gone += 1;
                tracing::info!("deleted {}", directory.with_text(entry.name()));
            }
            Err(error) => {
                failed += 1;
                if let Some(key) = error.key().filter(|_| unlisted.len() < MAX_REMEMBERED) {
                    unlisted.insert(key.to_owned());
                }
                let place =
                    error.key().map_or_else(|| directory.clone(), |key| directory.with_text(key));
                place.failure(&error).report();
            }
        }
    }
    failed += report_special_files(directory, &unlisted).await;
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
/// they are not objects, and the directories that could not be searched for them, unless they are
/// in `reported`. Returns their number.
async fn report_special_files(directory: &Place, reported: &HashSet<String>) -> u64 {
    if !directory.local {
        return 0;
    }
    let mut count = 0;
    let mut specials = links::find_special_files(
        Path::new(&directory.storage.info().location).join(&directory.text),
    );
    while let Some(found) = specials.recv().await {
        let (name, error) = match found {
            Ok(special) => {
                let message =
                    "a symlink or special file, not deleted: rm -r deletes regular files only";
                (special.name, Error::unsupported(message))
            }
            Err(Unsearched { name, error }) => (name, error),
        };
        let at = directory.with_text(format!("{}{name}", directory.text));
        if !reported.contains(&at.text) {
            count += 1;
            at.failure(&error).report();
        }
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

/// Fails if a name is a directory, and not the name of an object. A deletion would delete nothing
/// and succeed.
async fn refuse_directory(key: &Key, place: &Place) -> Result<(), Failure> {
    if !is_directory(place).await?
        || place.storage.exists(key).await.map_err(|error| place.failure(&error))?
    {
        return Ok(());
    }
    let message = format!(
        "no such object, but it is a directory: anystorage rm -r {place}/ deletes everything below \
         it"
    );
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
        match deleted.next().await {
            Some(Err(error)) => failures.push(place.failure(&error)),
            _ => tracing::info!("deleted {place}"),
        }
    }
    failures
}
