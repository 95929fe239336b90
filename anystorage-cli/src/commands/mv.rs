//! `mv`: moves an object, a directory, or what a pattern matches.

use crate::commands::cp::{destination, transfer_many};
use crate::exit::{ExitStatus, Failure};
use crate::links::LinkPolicy;
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::moves::{move_object, refuse_read_only};
use crate::output;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::transfer::{Action, ManyArgs, TransferOptions};

/// Move an object, or with -r a directory, with metadata
///
/// The object's name is added to a destination that ends in a slash. With -r, both locations are
/// directories, as for `cp -r`. Within one storage the driver renames the object, if it can.
/// Otherwise each source is deleted after its copy is complete. If source and destination may be
/// the same object, the command fails and keeps the source. Reports every object that could not be
/// moved, and moves the rest. The command can be repeated.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage mv media:a.png media:b.png        rename an object
  anystorage mv media:a.png backup:old/        move it to old/a.png
  anystorage mv -r media:2023 archive:2023     move a directory
  anystorage mv 'media:in/*.csv' media:done/   move what a pattern matches
  anystorage mv -rn media:2023 archive:2023    show what would be moved

Patterns are those of cp: see anystorage cp --help.")]
pub(crate) struct Args {
    /// Move all objects below a directory
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    many: ManyArgs,
    /// With -r from a local directory: leave symlinks and special files where they are without an
    /// error
    #[arg(long, requires = "recursive")]
    skip_links: bool,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The location of the object or a pattern, or with -r of the directory
    #[arg(value_name = "FROM")]
    from: Location,
    /// The new location
    #[arg(value_name = "TO")]
    to: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let from = resolver.resolve(&args.from, Purpose::Existing)?;
    let options = TransferOptions {
        action: Action::Move(&args.metadata),
        links: if args.skip_links { LinkPolicy::Skip } else { LinkPolicy::Keep },
        many: &args.many,
    };
    if transfer_many(resolver, &from, &args.to, args.recursive, &options).await? {
        return Ok(ExitStatus::Success);
    }
    let to = destination(resolver, &from, &args.to)?;
    let shown = format!("{from} -> {to}");
    refuse_read_only(&from, &shown)?;
    if args.many.dry_run {
        return output::print(&shown).map(|()| ExitStatus::Success);
    }
    let (from_key, to_key) = (from.key()?, to.key()?);
    let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
    let progress = Progress::bytes(true, None);
    let moved = move_object(ends.0, ends.1, &args.metadata, &progress).await;
    moved.map_err(|error| Failure::at(&shown, &error).with_exit(ExitStatus::Failed))?;
    tracing::info!("moved {shown}");
    Ok(ExitStatus::Success)
}
