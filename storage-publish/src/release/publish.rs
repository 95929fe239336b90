//! [`publish`]: makes a site the current release of a destination.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::internal::floor_to_second;
use storage_core::{Error, Metadata, Result, SaveOptions, Storage};

use super::before::Before;
use super::bundled::check_bundled;
use super::claim::Claim;
use super::cleanup::{Candidates, Due};
use super::directories::check_directories;
use super::draft::{Draft, drafts};
use super::layout::manifest_key;
use super::manifest::{Manifest, ManifestEntry};
use super::options::PublishOptions;
use super::pages::{self, Shown};
use super::place::{Placer, Tally};
use super::pointer::Pointer;
use super::purge::purge;
use crate::site::{Naming, Site};

/// How long pages may be written after the publish was stopped.
pub(crate) const PAGES_AFTER_STOP: Duration = Duration::from_secs(5);

pub(crate) const NOTHING_CHANGED: &str = "nothing visible was changed";
pub(crate) const BETWEEN_PAGES: &str =
    "some pages are those of another release, which a publish or a rollback repairs";
const LEFT: &str = "the release is current, and the next publish does the rest";

/// What a publish did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Published {
    /// The id of the current release.
    pub release: String,
    /// Whether the release is a new one. `false` if the site is the one of the current release.
    pub is_new: bool,
    /// The number of objects that were uploaded, siblings and stored pages included.
    pub uploaded: u64,
    /// The bytes that were uploaded.
    pub uploaded_bytes: u64,
    /// The number of objects whose headers were replaced without an upload.
    pub headers_replaced: u64,
    /// The number of pages and other fixed names that were written under their plain names.
    pub pages: u64,
    /// The number of files that needed no request before the pages.
    pub unchanged: u64,
    /// The number of objects of old releases that were deleted.
    pub deleted: u64,
    /// The error of the purge. The release is current nevertheless, and the next publish purges
    /// again.
    pub purge_error: Option<Error>,
    /// The error of the clean-up. The release is current nevertheless, and the next publish cleans
    /// up again.
    pub cleanup_error: Option<Error>,
}

/// Publishes a site: makes it the current release of the destination.
///
/// The steps are: claim the destination; store names with a hash, first the files that are
/// published as they are, then those with rewritten references; store the pages of the release and
/// its manifest; write pages and other fixed names under their plain names; switch the pointer;
/// purge the mirrors; delete what only releases past their grace need. If a step before the pages
/// fails, nothing visible has changed. If a step between two pages fails, the next publish or
/// [`rollback`](super::rollback) repairs them.
///
/// `destination` is the directory as a storage: [`Storage::prefixed`] makes one of a prefix. It may
/// have other files, which are left as they are unless the site has a file of the same fixed name.
///
/// If the site is that of the current release, it reads the pointer and one manifest, lists the
/// destination once, and writes nothing.
///
/// Dropping the future leaves the destination as a crash does: the claim stays until it expires.
/// [`PublishOptions::stop_on`] ends a publish in good order.
///
/// ```
/// use storage_publish::{PublishOptions, Site, publish};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let bucket = storage_core::Memory::storage();
/// let site = Site::default();
/// let published = publish(&site, &bucket.prefixed("www")?, &PublishOptions::new()).await?;
/// assert!(published.is_new);
/// # Ok(()) }
/// ```
///
/// # Errors
/// - `Unsupported` if the storage has no conditional saves, or the releases have another format.
/// - `Conflict`, which is retryable, if another publisher has claimed the destination; the message
///   contains its name and when its claim expires. Also if the publish was stopped.
/// - `Conflict`, which is not retryable, if the destination has a file where the site has a
///   directory, or the reverse.
/// - `Integrity` if a file changed since the site was read, or if an earlier release or an object
///   has other bytes under the name of a file, although the name contains a hash.
/// - `InvalidInput` and `InvalidKey` for paths and names that cannot be published.
/// - Errors of the storage.
pub async fn publish(
    site: &Site,
    destination: &Storage,
    options: &PublishOptions,
) -> Result<Published> {
    let (stop, now) = (&options.stop, Duration::ZERO);
    let read = Before::read(site, destination, options, false);
    let before = stop.limit(now, NOTHING_CHANGED, read).await?;
    let compared = compare(site, destination, &before, options);
    let drafts = stop.limit(now, NOTHING_CHANGED, compared).await?;
    let is_changed = before.is_changed(&drafts);
    let pointer = &before.read.pointer;
    if !is_changed && Due::of(pointer, options).is_empty() && !needs_purge(pointer, options) {
        return Ok(unchanged(&before, &drafts));
    }
    let release = is_changed.then_some(before.release.as_str());
    let claim = Claim::take(&before.store, &before.read, options, release).await?;
    let run = Run { before: &before, drafts: &drafts, destination, options, claim: &claim };
    let done = claim.while_held(run.all(is_changed)).await;
    if done.is_err() {
        let now = floor_to_second(options.now());
        let give_up = |pointer: &mut Pointer| {
            if let Some(release) = release {
                pointer.abandon(release, now);
            }
        };
        claim.release_after_failure(give_up).await;
    }
    done
}

/// Decides what becomes of each file. Writes nothing.
pub(crate) async fn compare<'a>(
    site: &'a Site,
    destination: &Storage,
    before: &'a Before,
    options: &PublishOptions,
) -> Result<Vec<Draft<'a>>> {
    let drafts = drafts(site, &before.release, before.baseline(), options).await?;
    check_bundled(destination, before, &drafts).await?;
    Ok(drafts)
}

fn needs_purge(pointer: &Pointer, options: &PublishOptions) -> bool {
    pointer.purge_pending && options.purge.is_some()
}

fn unchanged(before: &Before, drafts: &[Draft<'_>]) -> Published {
    let release = before.read.pointer.current_release().unwrap_or_default().to_owned();
    Published { release, unchanged: drafts.len() as u64, ..Published::default() }
}

/// One run of a publisher that has the claim.
struct Run<'a> {
    before: &'a Before,
    drafts: &'a [Draft<'a>],
    destination: &'a Storage,
    options: &'a PublishOptions,
    claim: &'a Claim<'a>,
}

impl Run<'_> {
    async fn all(&self, is_changed: bool) -> Result<Published> {
        if !is_changed {
            let published = unchanged(self.before, self.drafts);
            return Ok(self.finish(published, self.before.last.as_ref()).await);
        }
        let placer = Placer::new(self.destination, self.before, self.options);
        let stored = self.store(&placer);
        let stop = &self.options.stop;
        let manifest = stop.limit(Duration::ZERO, NOTHING_CHANGED, stored).await?;
        let mut published = published(&manifest.release, &placer.tally);
        let shown = self.show_pages(&manifest);
        published.pages = stop.limit(PAGES_AFTER_STOP, BETWEEN_PAGES, shown).await?;
        self.switch(&manifest).await?;
        Ok(self.finish(published, Some(&manifest)).await)
    }

    /// Stores everything that is not visible yet.
    async fn store(&self, placer: &Placer<'_>) -> Result<Manifest> {
        check_directories(self.destination, self.before, self.drafts).await?;
        let mut entries = BTreeMap::new();
        let (pages, assets): (Vec<_>, Vec<_>) =
            self.drafts.iter().partition(|draft| draft.asset.naming == Naming::Fixed);
        let mut steps: BTreeMap<u32, Vec<&Draft<'_>>> = BTreeMap::new();
        for draft in assets {
            steps.entry(draft.asset.level).or_default().push(draft);
        }
        for step in steps.into_values().chain([pages]) {
            entries.extend(self.place(placer, step).await?);
        }
        let created = floor_to_second(self.options.now());
        let manifest = Manifest::new(&self.before.release, created, entries);
        self.save_manifest(&manifest).await?;
        Ok(manifest)
    }

    /// Places files in the order of the site, several at a time.
    async fn place(
        &self,
        placer: &Placer<'_>,
        drafts: Vec<&Draft<'_>>,
    ) -> Result<Vec<(String, ManifestEntry)>> {
        let drafts = &drafts;
        stream::iter(0..drafts.len())
            .map(move |index| placer.place(drafts[index]))
            .buffer_unordered(self.options.concurrency)
            .try_collect()
            .await
    }

    async fn save_manifest(&self, manifest: &Manifest) -> Result<()> {
        let metadata = Metadata::new().content_type("application/json").cache_control("no-cache");
        let options = SaveOptions::new().create_new().metadata(metadata);
        let key = manifest_key(&manifest.release)?;
        self.destination.save_with(key, manifest.to_json()?, options).await.map(drop)
    }

    /// Writes the fixed names that are not there yet. Returns their number.
    async fn show_pages(&self, manifest: &Manifest) -> Result<u64> {
        let pages: Vec<_> = self
            .drafts
            .iter()
            .filter(|draft| self.before.is_to_show(draft))
            .filter_map(|draft| {
                let entry = manifest.entries.get(&draft.asset.path)?;
                Some(Shown { level: draft.asset.level, entry })
            })
            .collect();
        // Also proves that the claim is still valid.
        let release = manifest.release.clone();
        self.claim.update(|pointer| pointer.switching = Some(release)).await?;
        pages::show(self.destination, self.claim, &pages, self.options.concurrency).await?;
        Ok(pages.len() as u64)
    }

    /// Makes the release current. Keeps the claim only if there is more to do.
    async fn switch(&self, manifest: &Manifest) -> Result<()> {
        let now = floor_to_second(self.options.now());
        let leaves_pages = pages::leaves_pages(self.before.last.as_ref(), manifest);
        self.claim
            .update(|pointer| {
                pointer.switch(&manifest.release, now, leaves_pages);
                pointer.purge_pending |= self.options.purge.is_some();
                if !needs_purge(pointer, self.options) && Due::of(pointer, self.options).is_empty()
                {
                    pointer.claim = None;
                }
            })
            .await
    }

    /// Purges and cleans up. The release is current already, so failures do not end the run.
    async fn finish(&self, mut published: Published, manifest: Option<&Manifest>) -> Published {
        let pointer = &self.before.read.pointer;
        let last = Last::new(pointer, self.before.last.as_ref());
        let finished = finish(self.destination, self.options, self.claim, manifest, last).await;
        published.deleted = finished.deleted;
        published.purge_error = finished.purge_error;
        published.cleanup_error = finished.cleanup_error;
        published
    }
}

fn published(release: &str, tally: &Tally) -> Published {
    Published {
        release: release.to_owned(),
        is_new: true,
        uploaded: tally.uploaded.load(Ordering::Relaxed),
        uploaded_bytes: tally.uploaded_bytes.load(Ordering::Relaxed),
        headers_replaced: tally.headers.load(Ordering::Relaxed),
        unchanged: tally.unchanged.load(Ordering::Relaxed),
        ..Published::default()
    }
}

/// The release before a switch, of which mirrors may have pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last<'m> {
    pub(crate) manifest: Option<&'m Manifest>,
    /// Whether mirrors have pages of no release before.
    is_certain: bool,
}

impl<'m> Last<'m> {
    /// Takes the pointer before the switch.
    pub(crate) fn new(pointer: &Pointer, manifest: Option<&'m Manifest>) -> Self {
        Self { manifest, is_certain: !pointer.purge_pending && pointer.switching.is_none() }
    }
}

/// What followed a switch.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) deleted: u64,
    pub(crate) purge_error: Option<Error>,
    pub(crate) cleanup_error: Option<Error>,
    /// Whether mirrors may have pages that only due releases name, so that these stay listed.
    has_unpurged: bool,
}

/// Purges the mirrors, deletes what is past its grace, and gives the claim back.
pub(crate) async fn finish(
    destination: &Storage,
    options: &PublishOptions,
    claim: &Claim<'_>,
    current: Option<&Manifest>,
    last: Last<'_>,
) -> Finished {
    let pointer = claim.pointer().await;
    let mut finished = Finished::default();
    if pointer.claim.is_none() {
        return finished;
    }
    if let (true, Some(mirrors)) = (pointer.purge_pending, &options.purge) {
        let listed = if last.is_certain { &[][..] } else { &pointer.previous };
        let purged = purge(&**mirrors, destination, current, last.manifest, listed);
        finished.purge_error = options.stop.limit(Duration::ZERO, LEFT, purged).await.err();
    }
    let due = Due::of(&pointer, options);
    let cleaned = clean_up(destination, options, claim, current, &due, &mut finished);
    let cleaned = options.stop.limit(Duration::ZERO, LEFT, cleaned).await;
    finished.cleanup_error = cleaned.err();
    let is_purged =
        options.purge.is_some() && finished.purge_error.is_none() && !finished.has_unpurged;
    let is_done = finished.cleanup_error.is_none() && !finished.has_unpurged;
    let released = claim.release(|pointer| {
        pointer.purge_pending &= !is_purged;
        if is_done {
            due.forget(pointer);
        }
    });
    if let Err(error) = released.await {
        // What was deleted or purged is deleted or purged again later.
        finished.cleanup_error.get_or_insert(error);
        claim.release_after_failure(|_| {}).await;
    }
    finished
}

async fn clean_up(
    destination: &Storage,
    options: &PublishOptions,
    claim: &Claim<'_>,
    current: Option<&Manifest>,
    due: &Due,
    finished: &mut Finished,
) -> Result<()> {
    if due.is_empty() {
        return Ok(());
    }
    let pointer = claim.pointer().await;
    let mut candidates = Candidates::of(destination, &pointer, current, due).await?;
    // Another publisher may have taken the claim over since it was renewed, and need what would be
    // deleted.
    let mirrors = options.purge.as_ref().filter(|_| !candidates.pages.is_empty());
    claim.update(|pointer| pointer.purge_pending |= mirrors.is_some()).await?;
    finished.has_unpurged = mirrors.is_some();
    let pages = candidates.delete_pages(destination, claim, options.concurrency).await?;
    finished.deleted += pages.len() as u64;
    if let (Some(mirrors), None) = (mirrors, &finished.purge_error) {
        if !pages.is_empty() {
            finished.purge_error = mirrors.purge(&pages).await.err();
        }
        finished.has_unpurged = finished.purge_error.is_some();
    }
    // The manifests name the pages that the next publish purges.
    let with_manifests = !finished.has_unpurged;
    finished.deleted += candidates.delete_owned(destination, claim, with_manifests).await?;
    Ok(())
}
