//! `mv`: copies an object and then deletes the source, if that is certainly another object.

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::commands::cp::resolve_pair;
use crate::copy::copy_object;
use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::metadata::MetadataArgs;
use crate::move_check;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::Resolver;

/// Move an object, with metadata
///
/// The object's name is added to a destination that ends in a slash. The source is deleted after
/// the copy is complete. If source and destination may be the same object, the command fails and
/// keeps the source.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The location of the object
    #[arg(value_name = "FROM")]
    from: Location,
    /// The new location
    #[arg(value_name = "TO")]
    to: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let (from, to) = resolve_pair(resolver, &args.from, &args.to)?;
    if !from.storage.info().capabilities.write {
        let message =
            "the storage of the source is read-only, so nothing was moved; use anystorage cp";
        return Err(Failure::at(
            &format!("{from} -> {to}"),
            &Error::new(ErrorKind::PermissionDenied, message),
        ));
    }
    let (from_key, to_key) = (from.key()?, to.key()?);
    let moved = move_object((&from, &from_key), (&to, &to_key), &args.metadata).await;
    moved.map_err(|error| {
        Failure::at(&format!("{from} -> {to}"), &error).with_exit(ExitStatus::Failed)
    })?;
    Ok(ExitStatus::Success)
}

async fn move_object(
    from: (&Place, &Key),
    to: (&Place, &Key),
    metadata: &MetadataArgs,
) -> Result<()> {
    let ends = ((&from.0.storage, from.1), (&to.0.storage, to.1));
    let destination = move_check::check_before_copy(ends.0, ends.1).await?;
    let copied = copy_object(ends.0, ends.1, metadata, &Progress::bytes(true, None)).await?;
    // Only the version that was copied is deleted. A newer object has no copy yet. If the copy
    // itself replaced the source (the same object at two locations), it is the only one.
    match ends.0.0.stat(from.1).await {
        Ok(now) if is_version(&now, &copied) => {
            move_check::check_after_copy(destination, &now, ends.1).await?;
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
    // Weak comparison, because the ETag of a file becomes strong some time after its last change.
    let same_tag = match (&now.etag, &then.etag) {
        (Some(now), Some(then)) => now.weak_eq(then),
        (now, then) => now == then,
    };
    same_tag && now.last_modified == then.last_modified && now.size == then.size
}
