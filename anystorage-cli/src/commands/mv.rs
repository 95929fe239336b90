//! `mv`: a copy, and then the source is deleted. Nothing is lost on the way.

use anystorage::{Error, ErrorKind, ObjectMeta, Result};

use crate::commands::cp::both;
use crate::copy::copy_object;
use crate::exit::{Exit, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::places::Places;
use crate::progress::Progress;

/// Move an object, with metadata
///
/// The object's name is added to a destination that ends in a slash. The source is deleted when the copy is complete.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
        let message = "the source's storage is read-only, so nothing was moved; anystorage cp copies";
        return Err(Failure::at(&format!("{from} -> {to}"), &Error::new(ErrorKind::PermissionDenied, message)));
    }
    let progress = Progress::bytes(true, None);
    let moved = match copy_object((&from.storage, &from.key()?), (&to.storage, &to.key()?), &progress).await {
        Ok(copied) => delete_source(&from, &copied).await,
        Err(error) => Err(error),
    };
    moved.map_err(|error| Failure::at(&format!("{from} -> {to}"), &error).with_exit(Exit::Failed))?;
    Ok(Exit::Done)
}

/// Deletes what was copied, and nothing newer: an object that was saved meanwhile has no copy yet, and one that the
/// copy itself replaced (the same object, reached in another way) is all there is.
async fn delete_source(from: &Place, copied: &ObjectMeta) -> Result<()> {
    let key = &copied.key;
    match from.storage.stat(key).await {
        Ok(now) if is_version(&now, copied) => from.storage.delete(key).await,
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
