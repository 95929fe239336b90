//! [`Invalidation`]: records a write of one key in the memo and at each mirror, and purges the key.

use futures_util::future::join_all;
use storage_core::{Error, ErrorKind, Key};

use crate::origin_memo::{Ticket, WriteOutcome};
use crate::purge::MirrorWrite;
use crate::shared::Shared;

/// A write of one key that is in progress. Dropping it counts as an unknown outcome.
pub(crate) struct Invalidation {
    cache: Shared,
    key: Key,
    /// `None` after the end.
    begun: Option<Ticket>,
    at_mirrors: Vec<MirrorWrite>,
}

impl Invalidation {
    /// Records the beginning of a write: from now on the key bypasses the mirrors.
    pub(crate) fn begin(cache: &Shared, key: &Key) -> Self {
        let at_mirrors = cache.mirrors.iter().map(|mirror| mirror.begin_write(key)).collect();
        Self {
            cache: cache.clone(),
            key: key.clone(),
            begun: Some(cache.memo.begin_write(key)),
            at_mirrors,
        }
    }

    /// Records the outcome of the write, and purges the key unless nothing changed. Returns when
    /// each mirror has confirmed its purge, or the purge is left to the background.
    pub(crate) async fn end(mut self, outcome: WriteOutcome) {
        let prefetch = matches!(outcome, WriteOutcome::Present(_));
        let is_unchanged = matches!(outcome, WriteOutcome::Unchanged);
        self.record(outcome);
        let at_mirrors = std::mem::take(&mut self.at_mirrors).into_iter();
        if is_unchanged {
            at_mirrors.for_each(MirrorWrite::cancel);
        } else {
            join_all(at_mirrors.map(|write| write.commit(prefetch))).await;
        }
    }

    fn record(&mut self, outcome: WriteOutcome) {
        if let Some(begun) = self.begun.take() {
            self.cache.memo.end_write(&self.key, begun, outcome);
        }
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        self.record(WriteOutcome::Unknown);
    }
}

/// Returns the outcome of a write that failed. It changed nothing if the kind of the error is that
/// of a check before the write. An error of any other kind may come after the write: the S3 driver
/// reports `Unsupported` if the service has stored the object without the encryption or the storage
/// class that was requested, and `PermissionDenied` if it may not verify its tags.
pub(crate) fn outcome_of_error(error: &Error) -> WriteOutcome {
    match error.kind() {
        _ if error.took_effect() => WriteOutcome::Unknown,
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::PreconditionFailed
        | ErrorKind::InvalidKey
        | ErrorKind::InvalidInput => WriteOutcome::Unchanged,
        _ => WriteOutcome::Unknown,
    }
}
