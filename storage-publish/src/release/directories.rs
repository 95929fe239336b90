//! Refuses names for which a storage with directories has no place.

use storage_core::{Error, ErrorKind, Result, Storage};

use super::before::Before;
use super::draft::Draft;
use super::layout::POINTER_KEY;
use super::names::first_names_and_count;

/// Checks that the destination can have all names of a site: a storage with directories cannot have
/// a file and a directory of one name. Call it with the claim, so that the pointer exists.
///
/// # Errors
/// `Conflict` that names the first files.
pub(crate) async fn check_directories(
    destination: &Storage,
    before: &Before,
    drafts: &[Draft<'_>],
) -> Result<()> {
    let names = drafts.iter().map(|draft| draft.asset.name.as_str());
    let doubtful: Vec<_> = names.filter(|name| before.found.may_block(name)).collect();
    let Some(first) = doubtful.first() else { return Ok(()) };
    if !has_directories(destination).await? {
        return Ok(());
    }
    let message = format!(
        "the destination has files where the site now has directories, or the reverse: {}; \
         nothing visible was changed: publish the site without these files and with a `keep` of 1 \
         and a `grace` of 0s, then publish it whole, and delete what another program stored there",
        first_names_and_count(&doubtful)
    );
    Err(Error::new(ErrorKind::Conflict, message).with_key(*first))
}

/// Returns whether the storage refuses an object below another one: the pointer.
async fn has_directories(destination: &Storage) -> Result<bool> {
    let probe = format!("{POINTER_KEY}/probe");
    match destination.save(&probe, "").await {
        Ok(_) => destination.delete(&probe).await.map(|()| false),
        Err(error) if error.kind() == ErrorKind::Conflict && !error.is_retryable() => Ok(true),
        Err(error) => Err(error),
    }
}
