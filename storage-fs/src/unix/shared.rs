//! The state that all verbs share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use storage_core::Result;

use super::locks::Locks;
use super::root::{RESERVED, Root, remove_if_empty};
use super::staging::{SWEEP_AGE, Staging};
use crate::blocking::{self, CallerAlive};
use crate::links::Links;
use crate::settings::{CreateMode, MetadataStore, Settings};
use crate::uploads::{self, UPLOADS};

/// An open root with its locks and its staging directory.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: Arc<Root>,
    pub(crate) staging: Staging,
    pub(crate) locks: Locks,
    pub(crate) durable: bool,
    pub(crate) file_mode: CreateMode,
    pub(crate) metadata: MetadataStore,
    pub(crate) links: Links,
    /// Whether the directory of uploads was used.
    pub(crate) has_uploads: AtomicBool,
}

impl Shared {
    /// Opens the root and removes old files that killed processes left in the staging directory.
    pub(crate) fn open(settings: Settings) -> Result<Arc<Self>> {
        let root = Arc::new(Root::open(
            &settings.root,
            settings.create_root,
            settings.dir_mode,
            settings.durable,
        )?);
        let shared = Self {
            staging: Staging::new(Arc::clone(&root)),
            locks: Locks::new(Arc::clone(&root), settings.remove_locks),
            root,
            durable: settings.durable,
            file_mode: settings.file_mode,
            metadata: settings.metadata,
            links: settings.links,
            has_uploads: AtomicBool::new(false),
        };
        if let Err(error) = shared.staging.sweep(SWEEP_AGE) {
            tracing::debug!(
                root = %shared.root.path().display(), %error,
                "the staging directory could not be swept"
            );
        }
        let shared = Arc::new(shared);
        if let Err(error) = uploads::sweep(&shared, SWEEP_AGE) {
            tracing::debug!(
                root = %shared.root.path().display(), %error,
                "the remains of uploads could not be swept"
            );
        }
        Ok(shared)
    }

    /// Runs blocking work on the blocking pool. See [`blocking::run`].
    pub(crate) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &CallerAlive) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(self);
        blocking::run(move |caller| work(&shared, caller)).await
    }
}

/// Removes the directory of uploads if it is empty, so that a short use of a root leaves none.
impl Drop for Shared {
    fn drop(&mut self) {
        if !*self.has_uploads.get_mut() {
            return;
        }
        for path in [UPLOADS, RESERVED] {
            let (outer, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(outer) = self.root.open_directory(outer) {
                let _ = remove_if_empty(&outer, name);
            }
        }
    }
}
