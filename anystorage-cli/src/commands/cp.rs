//! `cp`: copies an object, a directory, or what a pattern matches, between any two locations.

use anystorage::Payload;

use crate::copy::{copy_object, refuse_same_object};
use crate::exit::{ExitStatus, Failure};
use crate::links::LinkArgs;
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::output;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::source::Source;
use crate::transfer::{Action, ManyArgs, TransferOptions, transfer};

/// Copy an object, or with -r a directory, with metadata
///
/// The object's name is added to a destination that ends in a slash. With -r, both locations are
/// directories, with or without a slash at the end: `cp -r media:a backup:b` copies `a/1.png` to
/// `b/1.png`, but neither `a.png` nor `ab/2.png`. Reports every object that could not be copied,
/// and every symlink and special file of a local directory.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage cp media:a.png backup:a.png          copy an object
  anystorage cp media:a.png backup:old/           copy it to old/a.png
  anystorage cp -r media:avatars ./avatars        copy a directory to a local one
  anystorage cp 'media:2024/*.png' backup:2024/   copy what a pattern matches
  anystorage cp -rn media: s3://bucket/media      show what would be copied
  pg_dump app | anystorage cp - backup:app.sql    copy standard input

Patterns: * and ? stay in one level, ** is any number of levels, [a-z] and {a,b}. Quote them. The
keys of the copies are relative to the directory before the first of these characters. If an
object has exactly this name, it is copied instead.")]
pub(crate) struct Args {
    /// Copy all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    many: ManyArgs,
    #[command(flatten)]
    links: LinkArgs,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The location of the object or a pattern, or with -r of the directory; - for standard input
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
        (Location::Standard, to) => from_standard_input(resolver, to, &args).await?,
        (from, Location::Standard) => to_standard_output(resolver, from, &args).await?,
        (from, to) => {
            let from = resolver.resolve(from, Purpose::Existing)?;
            let options = TransferOptions {
                action: Action::Copy(&args.metadata),
                links: args.links.policy(),
                many: &args.many,
            };
            if !transfer_many(resolver, &from, to, args.recursive, &options).await? {
                copy_one(resolver, from, to, &args).await?;
            }
        }
    }
    Ok(ExitStatus::Success)
}

/// Transfers a directory or what a pattern matches. Returns `false` if the source is neither.
pub(crate) async fn transfer_many(
    resolver: &mut Resolver,
    from: &Place,
    to: &Location,
    recursive: bool,
    options: &TransferOptions<'_>,
) -> Result<bool, Failure> {
    let Some(source) = Source::many(from, recursive).await? else { return Ok(false) };
    let to = resolver.resolve(to, Purpose::NewDirectory)?.directory()?;
    transfer(resolver, &source, &to, options).await?;
    Ok(true)
}

async fn copy_one(
    resolver: &mut Resolver,
    from: Place,
    to: &Location,
    args: &Args,
) -> Result<(), Failure> {
    let to = destination(resolver, &from, to)?;
    let shown = format!("{from} -> {to}");
    if args.many.dry_run {
        return output::print(&shown);
    }
    let progress = Progress::bytes(true, None);
    let (from_key, to_key) = (from.key()?, to.key()?);
    let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
    let copied = copy_object(ends.0, ends.1, &args.metadata, &progress).await;
    copied.map_err(|error| Failure::at(&shown, &error).with_exit(ExitStatus::Failed))?;
    tracing::info!("copied {shown}");
    Ok(())
}

/// Resolves the destination of one object. Fails if it is the source.
pub(crate) fn destination(
    resolver: &mut Resolver,
    from: &Place,
    to: &Location,
) -> Result<Place, Failure> {
    if from.names_directory() {
        return Err(Failure::usage(format!(
            "{from}: a directory: -r is for all objects below it, as in anystorage cp -r"
        )));
    }
    let name = from.key()?.name().to_owned();
    let to = resolver.resolve(to, Purpose::NewObject)?.or_below(&name);
    to.key()?;
    refuse_same_object(from, &to)?;
    Ok(to)
}

async fn from_standard_input(
    resolver: &mut Resolver,
    to: &Location,
    args: &Args,
) -> Result<(), Failure> {
    let to = resolver.resolve(to, Purpose::NewObject)?;
    let key = to.key()?;
    if args.many.dry_run {
        return output::print(&format!("- -> {to}"));
    }
    let payload = Payload::from_reader(tokio::io::stdin());
    let save = to.storage.save(key, payload).metadata(args.metadata.for_new());
    save.await.map(drop).map_err(|error| to.failure(&error))
}

async fn to_standard_output(
    resolver: &mut Resolver,
    from: &Location,
    args: &Args,
) -> Result<(), Failure> {
    let from = resolver.resolve(from, Purpose::Existing)?;
    let key = from.key()?;
    if args.many.dry_run {
        return output::print(&format!("{from} -> -"));
    }
    let object = from.storage.open(key).await.map_err(|error| from.failure(&error))?;
    output::write_object(&from, object).await
}
