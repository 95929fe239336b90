//! `cp`: copies an object or a directory between any two locations.

use crate::copy::{DirectoryOptions, copy_directory, copy_object, refuse_same_object};
use crate::exit::{ExitStatus, Failure};
use crate::links::LinkPolicy;
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::output;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};

use anystorage::Payload;

/// Copy an object, or with -r a directory, with metadata
///
/// The object's name is added to a destination that ends in a slash. With -r, both locations are
/// directories, with or without a slash at the end: `cp -r media:a backup:b` copies `a/1.png` to
/// `b/1.png`, and neither `a.png` nor `ab/2.png`. Reports every object that could not be copied,
/// and every symlink and special file of a local directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Copy all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    /// How many objects to copy at a time with -r
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    concurrency: u16,
    /// With -r from a local directory: copy the targets of symlinks
    #[arg(long, requires = "recursive")]
    follow: bool,
    /// With -r from a local directory: skip symlinks and special files without an error
    #[arg(long, requires = "recursive", conflicts_with = "follow")]
    skip_links: bool,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The location of the object, or with -r of the directory; - for standard input
    #[arg(value_name = "FROM")]
    from: Location,
    /// The location of the copy; - for standard output
    #[arg(value_name = "TO")]
    to: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    match (&args.from, &args.to) {
        (Location::Standard, Location::Standard) => {
            return Err(Failure::usage(
                "name a storage: cp does not copy standard input to standard output",
            ));
        }
        (Location::Standard, _) | (_, Location::Standard) if args.recursive => {
            return Err(Failure::usage("-r copies directories: name two locations other than -"));
        }
        (Location::Standard, to) => from_standard_input(resolver, to, &args.metadata).await?,
        (from, Location::Standard) => to_standard_output(resolver, from).await?,
        (from, to) if args.recursive => {
            let from = resolver.resolve(from, Purpose::Existing)?.directory()?;
            let to = resolver.resolve(to, Purpose::NewDirectory)?.directory()?;
            let links = match (args.follow, args.skip_links) {
                (true, _) => LinkPolicy::Follow,
                (_, true) => LinkPolicy::Skip,
                _ => LinkPolicy::Refuse,
            };
            let options = DirectoryOptions {
                concurrency: usize::from(args.concurrency),
                links,
                metadata: &args.metadata,
            };
            copy_directory(resolver, &from, &to, &options).await?;
        }
        (from, to) => {
            let (from, to) = resolve_pair(resolver, from, to)?;
            let progress = Progress::bytes(true, None);
            let (from_key, to_key) = (from.key()?, to.key()?);
            let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
            let copied = copy_object(ends.0, ends.1, &args.metadata, &progress).await;
            copied.map_err(|error| {
                Failure::at(&format!("{from} -> {to}"), &error).with_exit(ExitStatus::Failed)
            })?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Resolves the source and the destination of one object. Fails if they are the same.
pub(crate) fn resolve_pair(
    resolver: &mut Resolver,
    from: &Location,
    to: &Location,
) -> Result<(Place, Place), Failure> {
    let from = resolver.resolve(from, Purpose::Existing)?;
    if from.names_directory() {
        return Err(Failure::usage(format!(
            "{from}: a directory: anystorage cp -r copies all objects below it"
        )));
    }
    let name = from.key()?.name().to_owned();
    let to = resolver.resolve(to, Purpose::NewObject)?.or_below(&name);
    to.key()?;
    refuse_same_object(&from, &to)?;
    Ok((from, to))
}

async fn from_standard_input(
    resolver: &mut Resolver,
    to: &Location,
    metadata: &MetadataArgs,
) -> Result<(), Failure> {
    let to = resolver.resolve(to, Purpose::NewObject)?;
    let payload = Payload::from_reader(tokio::io::stdin());
    let save = to.storage.save(to.key()?, payload).metadata(metadata.for_new());
    save.await.map(drop).map_err(|error| to.failure(&error))
}

async fn to_standard_output(resolver: &mut Resolver, from: &Location) -> Result<(), Failure> {
    let from = resolver.resolve(from, Purpose::Existing)?;
    let object = from.storage.open(from.key()?).await.map_err(|error| from.failure(&error))?;
    output::write_object(&from, object).await
}
