//! [`SourceLook`]: whether a local file changed while it was copied.

use futures_util::{StreamExt, stream};
use storage_core::{
    Error, ErrorKind, Key, ObjectEntry, ObjectMeta, Operation, Payload, Result, Storage,
};

use crate::compare::{entry, is_listed_version};

/// A look at the file that is copied, which shows whether it still is the version that was opened.
/// Other programs may write into a file in place while it is read, which no driver can prevent.
pub(super) struct SourceLook {
    storage: Storage,
    key: Key,
    opened: ObjectEntry,
}

impl SourceLook {
    pub(super) fn new(storage: &Storage, key: &Key, opened: &ObjectMeta) -> Self {
        Self { storage: storage.clone(), key: key.clone(), opened: entry(opened.clone()) }
    }

    /// Returns whether the file is unchanged. One that is gone has not changed.
    pub(super) async fn is_unchanged(&self) -> Result<bool> {
        match self.storage.stat(&self.key).await {
            Ok(now) => Ok(is_listed_version(&self.opened, &now)),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Fails if the file changed while it was read.
    ///
    /// # Errors
    /// `Integrity`, retryable, and errors of the look.
    pub(super) async fn check(&self) -> Result<()> {
        if self.is_unchanged().await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Integrity, "the file changed while it was copied")
            .with_retryable(true)
            .with_operation(Operation::Open)
            .with_key(self.key.as_str()))
    }

    /// Adds the check to the end of a payload, so that no mix of two versions becomes visible.
    pub(super) async fn guard(self, payload: Payload) -> Result<Payload> {
        if payload.is_replayable() {
            // The bytes are in memory, so they were read already.
            return self.check().await.map(|()| payload);
        }
        Ok(payload.map_stream(|chunks| {
            let check = stream::once(async move { self.check().await.err() });
            chunks.chain(check.filter_map(|error| std::future::ready(error.map(Err)))).boxed()
        }))
    }
}
