//! [`rollback`]: makes an earlier release current again.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::internal::floor_to_second;
use storage_core::{Error, ErrorKind, Result, Storage};

use super::claim::{Claim, check_unclaimed};
use super::cleanup::Due;
use super::copy::copy;
use super::layout::check_release_id;
use super::listing::Listing;
use super::manifest::{Manifest, ManifestEntry, encoded_by};
use super::names::first_names;
use super::options::PublishOptions;
use super::pages::{self, Shown};
use super::pointer::{Pointer, PointerStore};
use super::publish::{BETWEEN_PAGES, Last, NOTHING_CHANGED, PAGES_AFTER_STOP, finish};
use super::rules::PLAIN_SHA256;
use super::verify::form_of;
use crate::site::Naming;

/// What a rollback did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RolledBack {
    /// The id of the current release.
    pub release: String,
    /// The number of pages and other fixed names that were written.
    pub pages: u64,
    /// The number of objects of old releases that were deleted.
    pub deleted: u64,
    /// The error of the purge. The release is current nevertheless, and the next publish purges
    /// again.
    pub purge_error: Option<Error>,
    /// The error of the clean-up. The release is current nevertheless, and the next publish cleans
    /// up again.
    pub cleanup_error: Option<Error>,
}

/// Makes an earlier release of the destination current again: checks that all its objects exist,
/// writes its pages under their plain names, and switches the pointer.
///
/// Without an id, it is the release before the current one; if a publish ended between two pages,
/// it is the current one, whose pages are restored.
///
/// Dropping the future leaves the destination as a crash does: the claim stays until it expires.
///
/// # Errors
/// - `NotFound` if there is no such release, or if one of its objects is missing. Nothing was
///   changed.
/// - `Conflict`, which is retryable, if another publisher has claimed the destination, or if the
///   rollback was stopped.
/// - `InvalidInput` if the id is malformed.
/// - `Integrity` or `TooLarge` if the manifest of the release is damaged or above 64 MiB.
/// - `Unsupported` and errors of the storage as for [`publish`](super::publish).
pub async fn rollback(
    destination: &Storage,
    release: Option<&str>,
    options: &PublishOptions,
) -> Result<RolledBack> {
    let store = PointerStore::new(destination)?;
    let read = store.read().await?;
    check_unclaimed(&read.pointer, options)?;
    let release = choose(&read.pointer, release)?;
    let target = Manifest::read(destination, &release).await?;
    let checked = check_objects(destination, &target);
    options.stop.limit(Duration::ZERO, NOTHING_CHANGED, checked).await?;
    let ended = match read.pointer.current_release() {
        Some(current) if current != release => {
            Manifest::read_if_whole(destination, current).await?
        }
        _ => None,
    };
    let claim = Claim::take(&store, &read, options, None).await?;
    let ended = Last::new(&read.pointer, ended.as_ref());
    let work = restore(destination, options, &claim, &target, ended);
    let done = claim.while_held(work).await;
    if done.is_err() {
        claim.release_after_failure(|_| {}).await;
    }
    done
}

fn choose(pointer: &Pointer, release: Option<&str>) -> Result<String> {
    let current = pointer.current_release();
    let previous = pointer.previous.iter();
    let chosen = match release {
        Some(release) => {
            check_release_id(release)?;
            let is_listed = |other: &str| other == release;
            let mut known = current.into_iter().chain(previous.map(|previous| &*previous.release));
            known.find(|known| is_listed(known))
        }
        None if pointer.switching.is_some() && current.is_some() => current,
        None => previous
            .filter(|previous| !previous.abandoned)
            .map(|previous| previous.release.as_str())
            .next(),
    };
    chosen.map(str::to_owned).ok_or_else(|| {
        let message = match release {
            Some(release) => format!(
                "there is no release {release:?} here: `anystorage releases` lists those that can \
                 be restored"
            ),
            None => "there is no earlier release here to roll back to".to_owned(),
        };
        Error::new(ErrorKind::NotFound, message)
    })
}

/// Fails with `NotFound` if an object of the release is missing, or has a size that is that of no
/// form of the file. Without its siblings, which are not checked, a file is served plain.
async fn check_objects(destination: &Storage, target: &Manifest) -> Result<()> {
    let objects = || target.entries.values();
    let wanted: HashSet<String> = objects().map(|entry| entry.object_key().to_owned()).collect();
    let found = Listing::of(destination, &wanted).await?;
    let mut missing = Vec::new();
    for entry in objects() {
        let key = entry.object_key();
        let is_there = found.has(key, entry.object_size(), None)
            || (found.contains(key) && is_other_form(destination, entry).await?);
        if !is_there {
            missing.push(key);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the release {:?} lacks {} of its objects, such as {}; nothing was changed: choose \
         another release, or publish the site again",
        target.release,
        missing.len(),
        first_names(&missing)
    );
    Err(Error::new(ErrorKind::NotFound, message))
}

/// Returns whether a later release has stored the file in another encoding under its name.
async fn is_other_form(destination: &Storage, entry: &ManifestEntry) -> Result<bool> {
    Ok(entry.naming != Naming::Fixed
        && form_of(destination, &entry.name, (entry.size, entry.sha256)).await?.is_some())
}

/// Restores the headers of names with a hash. Looks at each object, because any release since then
/// may have changed them, also one that did not complete.
async fn restore_headers(
    destination: &Storage,
    options: &PublishOptions,
    claim: &Claim<'_>,
    target: &Manifest,
) -> Result<()> {
    let hashed: Vec<&ManifestEntry> =
        target.entries.values().filter(|entry| entry.naming != Naming::Fixed).collect();
    let hashed = &hashed;
    stream::iter(0..hashed.len())
        .map(move |index| restore_headers_of(destination, claim, hashed[index]))
        .buffer_unordered(options.concurrency)
        .try_collect()
        .await
}

async fn restore_headers_of(
    destination: &Storage,
    claim: &Claim<'_>,
    entry: &ManifestEntry,
) -> Result<()> {
    claim.check()?;
    let siblings = entry.encodings.values().map(|sibling| sibling.name.as_str());
    for key in siblings.chain([entry.name.as_str()]) {
        restore_headers_of_object(destination, key, entry).await?;
    }
    Ok(())
}

/// Restores the headers of an object that has a file plain or encoded. Keeps what says how it is
/// encoded. Leaves a sibling that is gone, or that is another file now.
async fn restore_headers_of_object(
    destination: &Storage,
    key: &str,
    entry: &ManifestEntry,
) -> Result<()> {
    let (size, found) = match destination.stat(key).await {
        Err(error) if error.is_not_found() && key != entry.name => return Ok(()),
        found => found.map(|meta| (meta.size, meta.metadata))?,
    };
    let is_encoded =
        found.user_metadata.get(PLAIN_SHA256).is_some_and(|hash| *hash == entry.sha256.to_string());
    let wanted = match &found.content_encoding {
        Some(encoding) if is_encoded => encoded_by(&entry.metadata, encoding, entry.sha256),
        // Another program may have copied the object without its user metadata.
        _ if key == entry.name && size == entry.object_size() => entry.object_metadata(),
        _ if key == entry.name => entry.metadata.clone(),
        _ => return Ok(()),
    };
    match found == wanted {
        true => Ok(()),
        false => copy(destination, key, None, key, Some(wanted)).await,
    }
}

async fn restore(
    destination: &Storage,
    options: &PublishOptions,
    claim: &Claim<'_>,
    target: &Manifest,
    ended: Last<'_>,
) -> Result<RolledBack> {
    let release = target.release.clone();
    claim.update(|pointer| pointer.switching = Some(release)).await?;
    let shown: Vec<_> = target.fixed().map(|entry| Shown { level: 0, entry }).collect();
    let work = async {
        restore_headers(destination, options, claim, target).await?;
        pages::show(destination, claim, &shown, options.concurrency).await
    };
    options.stop.limit(PAGES_AFTER_STOP, BETWEEN_PAGES, work).await?;
    let now = floor_to_second(options.now());
    let leaves_pages = pages::leaves_pages(ended.manifest, target);
    claim
        .update(|pointer| {
            pointer.switch(&target.release, now, leaves_pages);
            pointer.purge_pending |= options.purge.is_some();
            if options.purge.is_none() && Due::of(pointer, options).is_empty() {
                pointer.claim = None;
            }
        })
        .await?;
    let finished = finish(destination, options, claim, Some(target), ended).await;
    Ok(RolledBack {
        release: target.release.clone(),
        pages: shown.len() as u64,
        deleted: finished.deleted,
        purge_error: finished.purge_error,
        cleanup_error: finished.cleanup_error,
    })
}
