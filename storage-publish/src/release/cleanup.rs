//! Deletes what only old releases need, after their grace.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Error, MAX_DELETE_MANY, Result, Storage};

use super::claim::Claim;
use super::digest::Sha256;
use super::layout::{RESERVED_PREFIX, release_prefix};
use super::manifest::Manifest;
use super::options::PublishOptions;
use super::pointer::{Pointer, Previous};
use super::verify::has_bytes_of;

/// Which releases are past their grace.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Due {
    /// Releases that are not kept.
    pub(crate) dropped: Vec<String>,
    /// Kept releases whose pages may be gone under their plain names.
    pub(crate) past_grace: Vec<String>,
    /// Whether a kept release still has such pages.
    leaves_pages: bool,
}

impl Due {
    pub(crate) fn of(pointer: &Pointer, options: &PublishOptions) -> Self {
        let now = options.now();
        // The current release is one of those to keep.
        let keep = usize::try_from(options.keep).unwrap_or(usize::MAX).saturating_sub(1);
        let (mut due, mut kept) = (Self::default(), 0);
        for previous in &pointer.previous {
            let is_past = is_past_grace(previous, options, now);
            let is_kept = !previous.abandoned && kept < keep;
            kept += usize::from(is_kept);
            match (is_past, is_kept) {
                (false, _) => {}
                (true, false) => due.dropped.push(previous.release.clone()),
                (true, true) => {
                    due.past_grace.push(previous.release.clone());
                    due.leaves_pages |= previous.leaves_pages;
                }
            }
        }
        due
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dropped.is_empty() && !self.leaves_pages
    }

    /// Removes what was cleaned up from the pointer.
    pub(crate) fn forget(&self, pointer: &mut Pointer) {
        pointer.previous.retain(|previous| !self.dropped.contains(&previous.release));
        for previous in &mut pointer.previous {
            if self.past_grace.contains(&previous.release) {
                previous.leaves_pages = false;
            }
        }
    }
}

fn is_past_grace(previous: &Previous, options: &PublishOptions, now: SystemTime) -> bool {
    // A grace beyond the end of time never passes.
    previous.ended.checked_add(options.grace).is_some_and(|end| end <= now)
}

/// What may be deleted.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Names with a hash, siblings, and objects below the reserved prefix.
    pub(crate) owned: BTreeSet<String>,
    /// Plain names of pages, with the sizes and hashes that the due releases gave them. Another
    /// program may have stored a file under such a name since then.
    pub(crate) pages: BTreeMap<String, Vec<(u64, Sha256)>>,
}

impl Candidates {
    /// Returns what a due release names and no kept one needs. A listing of the destination makes
    /// no candidates, because it may have files of other programs.
    ///
    /// # Errors
    /// `NotFound` if the manifest of a kept release is missing: then nothing may be deleted.
    pub(crate) async fn of(
        destination: &Storage,
        pointer: &Pointer,
        current: Option<&Manifest>,
        due: &Due,
    ) -> Result<Self> {
        let (mut found, mut needed) = (Self::default(), HashSet::new());
        if let Some(current) = current {
            needed.extend(owned_keys(current));
            needed.extend(current.fixed().map(|entry| entry.name.clone()));
        }
        for previous in &pointer.previous {
            if due.dropped.contains(&previous.release) {
                found.add_dropped(destination, previous).await?;
                continue;
            }
            let manifest = match Manifest::read(destination, &previous.release).await {
                // The publish ended before it stored the manifest.
                Err(error) if error.is_not_found() && previous.abandoned => continue,
                read => read?,
            };
            needed.extend(owned_keys(&manifest));
            match due.past_grace.contains(&previous.release) {
                true => found.add_pages(&manifest),
                false => needed.extend(manifest.fixed().map(|entry| entry.name.clone())),
            }
        }
        found.owned.retain(|key| !needed.contains(key));
        found.pages.retain(|key, _| !needed.contains(key));
        Ok(found)
    }

    async fn add_dropped(&mut self, destination: &Storage, previous: &Previous) -> Result<()> {
        // A missing manifest was deleted by a clean-up that did not finish, or the publish ended
        // before it was stored.
        if let Some(manifest) = Manifest::read_if_whole(destination, &previous.release).await? {
            self.owned.extend(owned_keys(&manifest));
            // The pages of an abandoned release were perhaps never written.
            if !previous.abandoned || previous.leaves_pages {
                self.add_pages(&manifest);
            }
        }
        // The reserved prefix has files of this crate only.
        let stored = destination.list(release_prefix(&previous.release)?.as_str()).keys().await?;
        self.owned.extend(stored.into_iter().map(|key| key.as_str().to_owned()));
        Ok(())
    }

    fn add_pages(&mut self, manifest: &Manifest) {
        for entry in manifest.fixed() {
            let bytes = (entry.object_size(), entry.object_sha256());
            self.pages.entry(entry.name.clone()).or_default().push(bytes);
        }
    }

    /// Deletes the plain names of pages, and returns them.
    ///
    /// # Errors
    /// `Conflict` if the claim has expired; errors of the storage. Some objects may be deleted.
    pub(crate) async fn delete_pages(
        &mut self,
        destination: &Storage,
        claim: &Claim<'_>,
        concurrency: usize,
    ) -> Result<Vec<String>> {
        let pages = stream::iter(std::mem::take(&mut self.pages))
            .map(|(key, versions)| async move {
                let is_ours = has_bytes_of(destination, &key, &versions).await?;
                Ok::<_, Error>(is_ours.then_some(key))
            })
            .buffer_unordered(concurrency)
            .try_filter_map(|key| std::future::ready(Ok(key)))
            .try_collect::<Vec<_>>()
            .await?;
        delete(destination, claim, &pages).await?;
        Ok(pages)
    }

    /// Deletes the other candidates; the manifests of releases last or not at all, so that an
    /// unfinished clean-up goes on later. Returns the number of deleted objects.
    ///
    /// # Errors
    /// As [`delete_pages`](Self::delete_pages).
    pub(crate) async fn delete_owned(
        self,
        destination: &Storage,
        claim: &Claim<'_>,
        with_manifests: bool,
    ) -> Result<u64> {
        let (manifests, owned): (Vec<_>, Vec<_>) =
            self.owned.into_iter().partition(|key| is_manifest(key));
        let mut deleted = delete(destination, claim, &owned).await?;
        if with_manifests {
            deleted += delete(destination, claim, &manifests).await?;
        }
        Ok(deleted)
    }
}

async fn delete(destination: &Storage, claim: &Claim<'_>, keys: &[String]) -> Result<u64> {
    let mut deleted = 0;
    for chunk in keys.chunks(MAX_DELETE_MANY) {
        claim.check()?;
        deleted += destination.delete_many(stream::iter(chunk.to_vec())).await?;
    }
    Ok(deleted)
}

fn owned_keys(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.owned_objects().map(|(key, ..)| key.to_owned())
}

fn is_manifest(key: &str) -> bool {
    let name = key.strip_prefix(RESERVED_PREFIX).and_then(|rest| rest.strip_prefix("releases/"));
    name.and_then(|name| name.split_once('/')).is_some_and(|(_, name)| name == "manifest.json")
}
