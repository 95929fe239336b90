//! [`sync`]: makes a destination have what a source has.

pub(crate) mod act;
mod backlog;
mod backup;
pub(crate) mod deletes;
pub(crate) mod extras;
pub(crate) mod gate;
mod options;
mod outage;
pub(crate) mod pass;
pub(crate) mod shared;
pub(crate) mod summary;
pub(crate) mod unknown;

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use storage_core::{Error, ErrorKind, Key, ObjectEntry, Result};

pub use gate::Concurrency;
pub use options::{DeleteExtras, Existing, MaxDelete, SyncOptions};
pub use summary::{Counts, Ended, Refusal, SyncSummary};

use crate::copy::{Bandwidth, OnBytes, ServerSideCopy};
use crate::directory::{Directory, refuse_overlap};
use crate::event::{OnActivity, OnEvent, OnRemaining, Outcome};
use crate::merge::Side;
use crate::steps::Steps;
use crate::stop::Stop;
use deletes::{Deleted, Kept};
use gate::Gate;
use pass::Pass;
use shared::Shared;

/// Makes a destination have what a source has: see [`Synchronize`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_transfer::{Directory, SyncOptions, sync};
///
/// # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
/// media.save("2026/a.txt", "hello").await?;
/// let (from, to) = (Directory::new(&media, "")?, Directory::new(&backup, "media")?);
/// let summary = sync(&from, &to, SyncOptions::new()).await?;
/// assert_eq!((summary.counts.new, summary.counts.failed), (1, 0));
/// assert!(backup.exists("media/2026/a.txt").await?);
/// # Ok(()) }
/// ```
pub fn sync(source: &Directory, target: &Directory, options: SyncOptions) -> Synchronize {
    let shared = Shared::new(source.clone(), target.clone(), options);
    Synchronize { shared, keys: None, source_entries: None }
}

/// A sync that has not begun yet. Await it.
///
/// Compares the sorted listings of both sides in bounded memory, and copies what is missing or
/// different, several objects at a time. Each copy is as [`copy`](crate::copy()) makes it: of one
/// version, all or nothing. The destination is written on the condition that it is still what was
/// listed, where its driver has such conditions.
///
/// A failure of one key is counted, and the rest goes on.
///
/// **Deletions** come last, after all copies. An extra object is deleted only if both listings
/// ended well, no copy of a key near it failed, its part of the source could be listed, and a
/// second look at both sides shows that it is still the object that was listed and that the source
/// still lacks it. Nothing is deleted if the source has no objects, or if there are more extras
/// than [`DeleteExtras::max`] allows. The driver of a local directory lists no symlinks, so what
/// the destination has under the name of one, or below it, is an extra, unless the filter excludes
/// it.
///
/// If the future is dropped, copies under way are dropped; each has happened or not. Run it again.
///
/// # Errors
/// - `Conflict` if one directory contains the other, unless the filter excludes it; also for the
///   backup directory and the source.
/// - `InvalidInput` if the comparison is impossible between these drivers, or if
///   [`source_entries`](Self::source_entries) is set together with deletions or
///   [`keys`](Self::keys).
/// - `InvalidKey` if the backup directory is no valid key.
/// - `PermissionDenied` if the storage of the destination is read-only.
/// - `StorageFull` and other errors of temporary files.
///
/// All other failures are in the summary.
#[must_use = "nothing is copied until it is awaited"]
pub struct Synchronize {
    shared: Shared,
    keys: Option<BoxStream<'static, Result<Key>>>,
    source_entries: Option<BoxStream<'static, Result<ObjectEntry>>>,
}

impl Synchronize {
    /// Compares these keys alone, which are relative to both directories, in byte order
    /// without repetitions: see [`sort_keys`](crate::sort_keys). Each costs one request on each
    /// side. Other objects of the destination are not extras.
    pub fn keys(mut self, keys: BoxStream<'static, Result<Key>>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Takes the objects of the source from this stream, in any order, in place of a listing: for a
    /// first copy by an earlier list, such as `Inventory::entries` of the feature `inventory`. They
    /// are sorted in temporary files before the first copy.
    ///
    /// Each object is copied as it is now. If the source no longer has it, it counts as
    /// [`vanished`](Counts::vanished), which is no failure. Before an object of the destination is
    /// replaced, that of the source is looked up. Objects that are saved after the list was made
    /// are not copied, so run a sync with a listing afterwards. An object of the destination that
    /// the list lacks counts as [`extra`](Counts::extra), although the source may have it, so
    /// nothing can be deleted: [`SyncOptions::delete`] must be `None`.
    ///
    /// An entry outside of the directory, and an error that does not
    /// [continue the listing](Error::listing_continues), end the sync as [`Ended::Broken`].
    pub fn source_entries(mut self, entries: BoxStream<'static, Result<ObjectEntry>>) -> Self {
        self.source_entries = Some(entries);
        self.shared.is_source_past = true;
        self
    }

    /// Sets how many objects are handled at a time. Defaults to [`Concurrency::Adaptive`].
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.shared.gate = Arc::new(Gate::new(concurrency));
        self
    }

    /// Limits the bytes per second that pass through this process.
    pub fn bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.shared.bandwidth = Some(bandwidth);
        self
    }

    /// Limits the requests per second for objects of both sides together, including those for the
    /// parts of large objects. Requests for listings are not counted, and neither are those into
    /// which a driver divides a copy within its service, or an object that it receives as one
    /// stream, as a local file without a job.
    pub fn requests(mut self, per_second: u64) -> Self {
        self.shared.requests = Some(Bandwidth::new(per_second));
        self
    }

    /// Calls a function with what happened to each key.
    pub fn on_event(mut self, on_event: OnEvent) -> Self {
        self.shared.on_event = Some(on_event);
        self
    }

    /// Calls a function when the work on a key begins, and when it has ended. Keys whose listings
    /// decide what to do, without a copy, do not begin.
    pub fn on_activity(mut self, on_activity: OnActivity) -> Self {
        self.shared.on_activity = Some(on_activity);
        self
    }

    /// Calls a function with each number of bytes that has passed through this process.
    pub fn on_bytes(mut self, on_bytes: OnBytes) -> Self {
        self.shared.on_bytes = Some(on_bytes);
        self
    }

    /// Calls a function once, when both listings have ended, with what remains to be copied. From
    /// then on the end can be estimated: each later call of [`on_event`](Self::on_event) is about
    /// one of these objects, until the deletions. Not called if a listing breaks off, if the sync
    /// is stopped before, and in a dry run.
    ///
    /// For this, the sync compares up to 10,000 objects that differ ahead of the copies, which
    /// takes a few MB of memory.
    pub fn on_remaining(mut self, on_remaining: OnRemaining) -> Self {
        self.shared.on_remaining = Some(on_remaining);
        self
    }

    /// Sets the services that copy between two storages. Defaults to copies within one storage.
    pub fn server_side(mut self, server_side: ServerSideCopy) -> Self {
        self.shared.server_side = server_side;
        self
    }

    /// Sets the handle that ends the sync early.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.shared.stop = stop;
        self
    }

    async fn run(self) -> Result<SyncSummary> {
        check(&self.shared)?;
        let (source, target) = self.shared.directories();
        let has_keys = self.keys.is_some();
        let steps = match (self.source_entries, self.keys) {
            (None, keys) => {
                let keys = keys.map(|keys| self.shared.limited_lookups(keys));
                Steps::begin(source, target, keys)
            }
            (Some(entries), None) if self.shared.options.delete.is_none() => {
                Steps::with_source_entries(source, target, entries)
            }
            _ => return Err(not_with_source_entries()),
        };
        let shared = Arc::new(self.shared);
        let mut pass = Pass::new(&shared, None);
        let ended = pass.run(steps).await?;
        finish(&shared, pass, ended, has_keys).await
    }
}

fn not_with_source_entries() -> Error {
    let message = "an earlier list of the source neither decides what to delete nor is limited by \
                   a list of keys: sync with its listing";
    Error::new(ErrorKind::InvalidInput, message)
}

/// Checks what is known before any request.
pub(crate) fn check(shared: &Shared) -> Result<()> {
    let options = &shared.options;
    refuse_overlap(&shared.source, &shared.target, |path| !options.filter.may_admit_below(path))?;
    options.comparison.check(&shared.source, &shared.target)?;
    if !options.dry_run && !shared.target.storage().info().capabilities.write {
        let message = "the storage of the destination is read-only";
        return Err(Error::new(ErrorKind::PermissionDenied, message));
    }
    match &options.backup {
        Some(backup) => check_backup(shared, backup),
        None => Ok(()),
    }
}

/// Checks that the backup directory has a valid name and shares no object with the source.
fn check_backup(shared: &Shared, backup: &str) -> Result<()> {
    // The name of a directory is valid if it is one as a key.
    Key::new(backup.trim_end_matches('/'))?;
    let path = format!("{}{backup}", shared.target.prefix().as_str());
    let directory = Directory::new(shared.target.storage(), &path)?;
    let in_source = shared.source.path_of(&directory);
    let is_compared =
        |path: &String| path.is_empty() || shared.options.filter.may_admit_below(path);
    if in_source.as_ref().is_some_and(is_compared) || directory.path_of(&shared.source).is_some() {
        let message = "the backup directory and the source contain each other: choose another \
                       backup directory; nothing was changed";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// Deletes the extras if that is safe.
async fn finish(
    shared: &Shared,
    mut pass: Pass,
    ended: Ended,
    has_keys: bool,
) -> Result<SyncSummary> {
    let (counts, mut ended) = (pass.counts, ended);
    let mut refused = None;
    if let (Some(delete), Ended::Complete) = (shared.options.delete, &ended) {
        // A list of keys may contain nothing but extras, although the source has other objects.
        let has_objects = counts.source_objects > 0
            || pass.has_blocked()
            || (has_keys && counts.extra > 0 && shared.source.first_object().await?.is_some());
        refused = refusal(&shared.options, delete, &counts, has_objects);
        let may_be_empty = !shared.options.allow_empty_source && !has_keys;
        if refused.is_none() && counts.extra > 0 && may_be_empty {
            // It may have been emptied while it was listed.
            match shared.source.first_object().await {
                Ok(Some(_)) => {}
                Ok(None) => refused = Some(Refusal::EmptySource),
                Err(error) => ended = Ended::Broken(Side::Source, error),
            }
        }
    }
    let mut deleted = Deleted::default();
    if let Some(extras) = pass.take_extras().await? {
        match (&ended, refused) {
            (Ended::Complete, None) => {
                let kept = Kept {
                    unknown: &pass.unknown_names.source,
                    failed_ranges: &pass.failed_ranges,
                };
                match shared.options.dry_run {
                    true => deletes::predict(shared, extras, &kept, &mut deleted).await?,
                    false => deletes::delete_extras(shared, extras, &kept, &mut deleted).await?,
                }
                pass.counts += deleted.counts;
            }
            (_, Some(refusal)) => {
                pass.counts.kept += counts.extra;
                deletes::report_kept(shared, extras, Outcome::Extra, refusal.reason()).await?;
            }
            (Ended::Broken(..), _) => {
                deletes::report_kept(shared, extras, Outcome::Extra, "a listing broke off").await?;
            }
            (Ended::Unavailable(_), _) => {
                let reason = "a service is unavailable";
                deletes::report_kept(shared, extras, Outcome::Extra, reason).await?;
            }
            // A report of an interrupted run ends with what was handled.
            (Ended::Interrupted, _) => {}
        }
    }
    pass.copy_blocked().await?;
    let ended = match ended {
        Ended::Complete if shared.stop.is_stopped() => Ended::Interrupted,
        ended => ended,
    };
    let failed_temporarily = pass.failed_temporarily() + deleted.failed_temporarily;
    Ok(SyncSummary { counts: pass.counts, ended, refused, failed_temporarily })
}

/// Returns why no extra may be deleted.
pub(crate) fn refusal(
    options: &SyncOptions,
    delete: DeleteExtras,
    counts: &Counts,
    source_has_objects: bool,
) -> Option<Refusal> {
    if counts.extra == 0 {
        return None;
    }
    if !source_has_objects && !options.allow_empty_source {
        return Some(Refusal::EmptySource);
    }
    let is_allowed = delete.max.is_none_or(|max| max.allows(counts.extra, counts.target_objects));
    (!is_allowed).then_some(Refusal::TooManyExtras(counts.extra))
}

impl fmt::Debug for Synchronize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Synchronize").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl IntoFuture for Synchronize {
    type Output = Result<SyncSummary>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
