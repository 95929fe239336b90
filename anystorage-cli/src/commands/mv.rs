//! `mv`: a copy, and then the source is deleted. Nothing is lost on the way.

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::commands::cp::both;
use crate::copy::copy_object;
use crate::distinct;
use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::place::Place;
use crate::places::Places;
use crate::progress::Progress;

/// Move an object, with metadata
///
/// The object's name is added to a destination that ends in a slash. The source is deleted when the
/// copy is complete and proved to be another object; if the two may be one under two names, the
/// source is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The object
    #[arg(value_name = "LOC")]
    from: Location,
    /// Where to
    #[arg(value_name = "LOC")]
    to: Location,
}

pub(crate) async fn run(args: Args, places: &mut Places) -> Result<Exit, Failure> {
    let (from, to) = both(places, &args.from, &args.to)?;
    if !from.storage.info().capabilities.write {
        let message =
            "the source's storage is read-only, so nothing was moved; anystorage cp copies";
        return Err(Failure::at(
            &format!("{from} -> {to}"),
            &Error::new(ErrorKind::PermissionDenied, message),
        ));
    }
    let (from_key, to_key) = (from.key()?, to.key()?);
    let moved = move_object((&from, &from_key), (&to, &to_key), &args.metadata).await;
    moved
        .map_err(|error| Failure::at(&format!("{from} -> {to}"), &error).with_exit(Exit::Failed))?;
    Ok(Exit::Done)
}

async fn move_object(
    from: (&Place, &Key),
    to: (&Place, &Key),
    metadata: &MetadataArgs,
) -> Result<()> {
    let ends = ((&from.0.storage, from.1), (&to.0.storage, to.1));
    let destination = distinct::look(ends.0, ends.1).await?;
    let copied = copy_object(ends.0, ends.1, metadata, &Progress::bytes(true, None)).await?;
    // What is deleted is what was copied, and nothing newer: an object that was saved meanwhile has
    // no copy yet, and one that the copy itself replaced (the same object, reached in another way)
    // is all there is.
    match ends.0.0.stat(from.1).await {
        Ok(now) if is_version(&now, &copied) => {
            distinct::check(destination, &now, ends.1).await?;
            ends.0.0.delete(from.1).await
        }
        Ok(_) => Err(Error::new(
            ErrorKind::Conflict,
            "the source has changed since it was copied, so it was kept; move it again",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_version(now: &ObjectMeta, then: &ObjectMeta) -> bool {
    // Weakly: a file's tag turns from weak to strong when it has been left alone for a while.
    let same_tag = match (&now.etag, &then.etag) {
        (Some(now), Some(then)) => now.weak_eq(then),
        (now, then) => now == then,
    };
    same_tag && now.last_modified == then.last_modified && now.size == then.size
}
