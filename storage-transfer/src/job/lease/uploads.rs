//! The uploads of the large objects of a shard, which its document names.

use std::sync::Arc;

use async_trait::async_trait;
use storage_core::{Error, ErrorKind, Result};

use crate::copy::{UnfinishedCopy, UploadRecorder};
use crate::job::lease::Lease;
use crate::sync::shared::Uploads;

/// The uploads of a shard.
#[derive(Debug, Clone)]
pub(crate) struct LeaseUploads(pub(crate) Arc<Lease>);

impl Uploads for LeaseUploads {
    fn recorder(&self, name: &str) -> Arc<dyn UploadRecorder> {
        Arc::new(Recorder { lease: Arc::clone(&self.0), name: name.to_owned() })
    }

    fn unfinished(&self, name: &str) -> Option<UnfinishedCopy> {
        self.0.state().uploads.get(name).cloned()
    }

    fn finished(&self, name: &str) {
        self.0.state().uploads.remove(name);
    }

    fn includes(&self, name: &str) -> bool {
        self.0.includes(name)
    }

    fn may_delete(&self) -> bool {
        self.0.is_held()
    }
}

struct Recorder {
    lease: Arc<Lease>,
    name: String,
}

#[async_trait]
impl UploadRecorder for Recorder {
    async fn begun(&self, unfinished: &UnfinishedCopy) -> Result<()> {
        self.lease.state().uploads.insert(self.name.clone(), unfinished.clone());
        let stored = self.lease.renew().await;
        if stored.is_ok() && self.lease.includes(&self.name) {
            return Ok(());
        }
        // It is aborted.
        self.lease.state().uploads.remove(&self.name);
        stored.and(Err(moved()))
    }
}

/// Returns the error for an upload of a key that another shard has now.
fn moved() -> Error {
    let message = "the shard was divided, so that the copy begins again";
    Error::new(ErrorKind::Conflict, message)
}
