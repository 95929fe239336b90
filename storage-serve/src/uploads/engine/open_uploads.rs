//! The number of open uploads of a group, of which each has a marker: an empty object below the
//! name of the group.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use storage_core::{ChecksumAlgorithm, Entry, Hasher, Result};
use tokio::sync::{Mutex, MutexGuard};

use super::{Engine, Failure, StateStore};
use crate::uploads::grant::OpenLimit;
use crate::uploads::token::expiry_of_id;

/// How long the beginning of an upload waits for others of its group.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many locks there are for all groups.
const LOCKS: u64 = 64;

/// The locks of groups, of which several may share one.
#[derive(Debug, Clone)]
pub(super) struct GroupLocks(Arc<[Mutex<()>]>);

impl Default for GroupLocks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| Mutex::default()).collect())
    }
}

impl GroupLocks {
    /// Waits for the lock. Fails with `Busy` if the storage is so slow that this takes too long.
    async fn lock(&self, group: &str) -> Result<MutexGuard<'_, ()>, Failure> {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % LOCKS).unwrap_or_default();
        let locked = tokio::time::timeout(PATIENCE, self.0[index].lock()).await;
        locked.map_err(|_| Failure::Busy)
    }
}

impl Engine {
    /// Fails with `TooMany` if the group has as many open uploads as it may have. Otherwise marks
    /// this upload as open, and returns the name of its group.
    pub(super) async fn open_in_group(
        &self,
        id: &str,
        limit: &OpenLimit,
    ) -> Result<String, Failure> {
        let group = group_name(&limit.group);
        // Between the count and the new marker, no other upload of the group begins here.
        let _guard = self.groups.lock(&group).await?;
        let markers = self.states.storage.list(self.states.marker_key(&group, ""));
        let mut markers = markers.entries();
        let mut open = 0;
        while open < limit.max {
            match markers.try_next().await? {
                Some(_) => open += 1,
                None => {
                    self.states.storage.save(self.states.marker_key(&group, id), "").await?;
                    return Ok(group);
                }
            }
        }
        Err(Failure::TooMany)
    }

    /// Records that an upload is not open any more. The sweep repeats this if it fails.
    pub(super) async fn close_in_group(&self, id: &str, group: Option<&str>) {
        let Some(group) = group else { return };
        let marker = self.states.marker_key(group, id);
        if let Err(error) = self.states.storage.delete(marker).await {
            tracing::warn!(%error, "a finished upload still counts as open until it expires");
        }
    }

    /// Removes the markers of uploads that expired before this time.
    pub(super) async fn sweep_groups(&self, expired: u64) -> Result<(), Failure> {
        let mut markers = self.states.storage.list(self.states.markers()).entries();
        while let Some(entry) = markers.try_next().await? {
            let Entry::Object(marker) = entry else { continue };
            let id = marker.key.as_str().rsplit('/').next().unwrap_or_default();
            if expiry_of_id(id).is_some_and(|expiry| expiry < expired) {
                self.states.storage.delete(&marker.key).await?;
            }
        }
        Ok(())
    }
}

impl StateStore {
    fn markers(&self) -> String {
        format!("{}open/", self.prefix)
    }

    fn marker_key(&self, group: &str, id: &str) -> String {
        format!("{}{group}/{id}", self.markers())
    }
}

/// Returns the name of a group in keys. The application's own may contain any character.
fn group_name(group: &str) -> String {
    let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
    hasher.update(group.as_bytes());
    storage_core::internal::hex(&hasher.finish().value()[..16])
}
