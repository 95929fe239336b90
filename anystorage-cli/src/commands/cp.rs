//! `cp`: objects from anywhere to anywhere.

use crate::copy::{Tree, copy_directory, copy_object, refuse_same};
use crate::exit::{Exit, Failure};
use crate::links::Links;
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::output;
use crate::place::Place;
use crate::places::{Places, Want};
use crate::progress::Progress;

use anystorage::Payload;

/// Copy an object, or with -r a directory, with metadata
///
/// The object's name is added to a destination that ends in a slash. With -r both are directories,
/// whether or not they end in one: `cp -r media:a backup:b` copies `a/1.png` to `b/1.png`, and
/// neither `a.png` nor `ab/2.png`. Every object that could not be copied is named at the end, and
/// so is every symlink and special file below a local directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Copy all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    /// How many objects are copied at a time with -r
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// With -r from a local directory: copy what symlinks lead to
    #[arg(long, requires = "recursive")]
    follow: bool,
    /// With -r from a local directory: leave out symlinks and special files without an error
    #[arg(long, requires = "recursive", conflicts_with = "follow")]
    skip_links: bool,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The object, or the directory
    #[arg(value_name = "LOC")]
    from: Location,
    /// Where to
    #[arg(value_name = "LOC")]
    to: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    match (&args.from, &args.to) {
        (Location::Standard, Location::Standard) => {
            return Err(Failure::usage(
                "name a storage: standard input to standard output is what cat does",
            ));
        }
        (Location::Standard, _) | (_, Location::Standard) if args.recursive => {
            return Err(Failure::usage("-r copies from storage to storage: name two locations"));
        }
        (Location::Standard, to) => from_standard_input(places, to, &args.metadata).await?,
        (from, Location::Standard) => to_standard_output(places, from).await?,
        (from, to) if args.recursive => {
            let from = places.find(from, Want::Existing)?.directory()?;
            let to = places.find(to, Want::NewDirectory)?.directory()?;
            let links = match (args.follow, args.skip_links) {
                (true, _) => Links::Follow,
                (_, true) => Links::Skip,
                _ => Links::Refuse,
            };
            let tree = Tree {
                concurrency: usize::from(args.concurrency),
                links,
                metadata: &args.metadata,
            };
            copy_directory(places, &from, &to, &tree).await?;
        }
        (from, to) => {
            let (from, to) = both(places, from, to)?;
            let progress = Progress::bytes(true, None);
            let (from_key, to_key) = (from.key()?, to.key()?);
            let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
            let copied = copy_object(ends.0, ends.1, &args.metadata, &progress).await;
            copied.map_err(|error| {
                Failure::at(&format!("{from} -> {to}"), &error).with_exit(Exit::Failed)
            })?;
        }
    }
    Ok(Exit::Done)
}

/// Source and destination of one object, found not to be the same.
pub(crate) fn both(
    places: &mut Places,
    from: &Location,
    to: &Location,
) -> Result<(Place, Place), Failure> {
    let from = places.find(from, Want::Existing)?;
    if from.names_directory() {
        return Err(Failure::usage(format!(
            "{from}: a directory: anystorage cp -r copies all objects below it"
        )));
    }
    let name = from.key()?.name().to_owned();
    let to = places.find(to, Want::NewObject)?.or_below(&name);
    to.key()?;
    refuse_same(&from, &to)?;
    Ok((from, to))
}

async fn from_standard_input(
    places: &mut Places,
    to: &Location,
    metadata: &MetadataArgs,
) -> Result<(), Failure> {
    let to = places.find(to, Want::NewObject)?;
    let payload = Payload::from_reader(tokio::io::stdin());
    let save = to.storage.save(to.key()?, payload).metadata(metadata.of_new());
    save.await.map(drop).map_err(|error| to.failure(&error))
}

async fn to_standard_output(places: &mut Places, from: &Location) -> Result<(), Failure> {
    let from = places.find(from, Want::Existing)?;
    let object = from.storage.open(from.key()?).await.map_err(|error| from.failure(&error))?;
    output::write_object(&from, object).await
}
