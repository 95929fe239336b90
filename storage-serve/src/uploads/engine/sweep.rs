//! Removing uploads whose URL has expired.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use storage_core::internal::unix_seconds;

use super::state::Status;
use super::store::Loaded;
use super::{Engine, Failure};
use crate::uploads::token::expiry_of_id;

/// How long a request that began before the expiry may go on.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// How long after its expiry an upload stays that has all its bytes and cannot be finished, or
/// whose state cannot be read.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Engine {
    /// Removes the uploads that have expired. Returns how many. One that has all its bytes is
    /// finished, because its client may have received no response, unless there is a newer object
    /// under its key.
    ///
    /// An id begins with the expiry, so that this lists only what has expired.
    pub(in crate::uploads) async fn sweep(&self) -> Result<u64, Failure> {
        let now = unix_seconds(SystemTime::now());
        let expired = now.saturating_sub(GRACE.as_secs());
        let abandoned = now.saturating_sub(PATIENCE.as_secs());
        let mut removed = 0;
        let mut failed = None;
        let mut entries = self.states.ids();
        while let Some(id) = entries.next().await? {
            let is_abandoned = match expiry_of_id(&id) {
                None => continue,
                Some(expiry) if expiry >= expired => break,
                Some(expiry) => expiry < abandoned,
            };
            // One that cannot be removed does not keep the others.
            match self.remove_expired(&id, is_abandoned).await {
                Ok(()) => removed += 1,
                Err(Failure::Busy) => {}
                Err(failure) => failed = Some(failure),
            }
        }
        self.sweep_groups(expired).await?;
        failed.map_or(Ok(removed), Err)
    }

    async fn remove_expired(&self, id: &str, is_abandoned: bool) -> Result<(), Failure> {
        let _turn = self.turns.take(id).await?;
        match self.states.load(id).await {
            Ok(None) => {}
            Ok(Some(loaded)) => self.remove_unfinished(loaded, is_abandoned).await?,
            Err(error) if is_abandoned => {
                tracing::warn!(%error, "an upload whose state cannot be read is removed");
            }
            Err(error) => return Err(error.into()),
        }
        self.storage.delete(self.states.object_key(id)).await?;
        Ok(self.states.remove_all(id).await?)
    }

    async fn remove_unfinished(
        &self,
        mut loaded: Loaded,
        is_abandoned: bool,
    ) -> Result<(), Failure> {
        if loaded.state.has_all_bytes() && !self.is_overtaken(&loaded).await? {
            match self.settle(loaded.clone()).await {
                Ok(settled) => loaded = settled,
                // Nothing of it can become visible any more.
                Err(Failure::Gone | Failure::Rejected(_)) => {}
                Err(Failure::Refused(refusal)) if refusal.status.is_client_error() => {}
                Err(failure) if is_abandoned => {
                    tracing::warn!(?failure, "an upload that cannot be finished is removed");
                    // The storage may be completing it, and must not abort it meanwhile. What is
                    // left is removed by `Storage::abort_stale`.
                    if failure.may_be_completed() {
                        return Ok(());
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        match loaded.state.status {
            Status::Done => Ok(()),
            _ => Ok(self.remove_object(&loaded.state).await?),
        }
    }

    /// Returns whether someone has saved another object under the final key since the upload was
    /// changed last. That one is newer than what its client gave up, and must not be replaced.
    async fn is_overtaken(&self, Loaded { id, state, .. }: &Loaded) -> Result<bool, Failure> {
        let found = match self.storage.stat(&state.key).await {
            Err(error) if error.is_not_found() => return Ok(false),
            found => found?,
        };
        let changed = self.states.last_changed(id).await?;
        if state.is_stored_partial() || changed.is_none() || found.last_modified <= changed {
            return Ok(false);
        }
        // It may be the object of this upload, whose last step was not recorded.
        match (&state.staging, &state.status) {
            (Some(staging), Status::Accepted { .. }) => {
                Ok(self.storage.exists(&staging.key).await?)
            }
            (Some(_), _) => Ok(true),
            (None, _) => match self.upload(state)?.parts().try_next().await {
                Err(error) if error.is_not_found() => Ok(false),
                part => Ok(part.map(|_| true)?),
            },
        }
    }
}
