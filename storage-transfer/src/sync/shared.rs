//! [`Shared`]: what all tasks of a transfer share.

use std::fmt;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use storage_core::{Error, ErrorKind, Key, ObjectEntry, Result};

use crate::compare::{self, Reading};
use crate::copy::{
    Bandwidth, OnBytes, ServerSideCopy, UnfinishedCopy, UploadRecorder, abort_incomplete,
};
use crate::directory::Directory;
use crate::event::{KeyEvent, OnActivity, OnEvent, OnRemaining, Outcome};
use crate::filter::Filter;
use crate::merge::Pair;
use crate::retry::Retry;
use crate::stop::Stop;
use crate::sync::gate::Gate;
use crate::sync::options::SyncOptions;
use crate::sync::unknown::concerns_keys_below;

/// The uploads of large objects that a job continues.
pub(crate) trait Uploads: Send + Sync {
    /// Returns the recorder for the upload of an object.
    fn recorder(&self, name: &str) -> Arc<dyn UploadRecorder>;

    /// Returns the upload that an earlier run left.
    fn unfinished(&self, name: &str) -> Option<UnfinishedCopy>;

    /// Forgets the upload of an object that was copied.
    fn finished(&self, name: &str);

    /// Returns whether this worker still has the key. Another one handles and reports it otherwise.
    fn includes(&self, name: &str) -> bool;

    /// Returns whether this worker still has its shard. If not, the transfer is ended.
    fn may_delete(&self) -> bool;
}

/// What all tasks of a transfer share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) source: Directory,
    pub(crate) target: Directory,
    pub(crate) options: SyncOptions,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stop: Stop,
    pub(crate) bandwidth: Option<Bandwidth>,
    /// A limit of requests per second.
    pub(crate) requests: Option<Bandwidth>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) on_activity: Option<OnActivity>,
    pub(crate) on_bytes: Option<OnBytes>,
    pub(crate) on_remaining: Option<OnRemaining>,
    pub(crate) server_side: ServerSideCopy,
    pub(crate) uploads: Option<Arc<dyn Uploads>>,
    pub(crate) are_s3: bool,
    /// Whether the objects of the source are those of an earlier time. The present one is looked up
    /// before an object of the destination is replaced.
    pub(crate) is_source_past: bool,
    pub(crate) backup: Option<String>,
}

impl Shared {
    pub(crate) fn new(source: Directory, target: Directory, options: SyncOptions) -> Self {
        let are_s3 = compare::are_s3(&source, &target);
        let backup = options.backup_prefix();
        Self {
            source,
            target,
            options,
            gate: Arc::new(Gate::new(super::Concurrency::default())),
            stop: Stop::new(),
            bandwidth: None,
            requests: None,
            on_event: None,
            on_activity: None,
            on_bytes: None,
            on_remaining: None,
            server_side: ServerSideCopy::default(),
            uploads: None,
            are_s3,
            is_source_past: false,
            backup,
        }
    }

    pub(crate) fn directories(&self) -> (&Directory, &Directory) {
        (&self.source, &self.target)
    }

    /// Returns whether a name takes part. Names below the backup directory do not.
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.backup.as_deref().is_none_or(|backup| !name.starts_with(backup))
            && self.options.filter.admits(name)
    }

    /// Returns whether an object of the source takes no part only because its name is below the
    /// backup directory.
    pub(crate) fn is_kept_out_by_backup(&self, pair: &Pair) -> bool {
        pair.source.is_some() && self.options.filter.admits(pair.name())
    }

    /// Returns whether a name with an error, or a key that the error concerns, may take part.
    pub(crate) fn may_admit_at(&self, name: &str, error: &Error) -> bool {
        self.backup.as_deref().is_none_or(|backup| !name.starts_with(backup))
            && may_admit_at(&self.options.filter, name, error)
    }

    /// Waits until so many requests may be sent.
    pub(crate) async fn requests(&self, count: u64) {
        if let Some(requests) = &self.requests {
            requests.pass(count).await;
        }
    }

    /// Compares the contents of two objects: see [`compare::compare_contents`].
    pub(crate) async fn compare_contents(
        &self,
        source: &ObjectEntry,
        target: &ObjectEntry,
    ) -> Result<Option<bool>> {
        self.requests(2).await;
        let how = (Reading::Missing, self.bandwidth.as_ref());
        compare::compare_contents(self.directories(), source, target, how).await
    }

    /// Limits the requests that look up the keys of a list on both sides.
    pub(crate) fn limited_lookups(
        &self,
        keys: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        let Some(requests) = self.requests.clone() else { return keys };
        let wait = move |key| {
            let requests = requests.clone();
            async move {
                requests.pass(2).await;
                key
            }
        };
        keys.then(wait).boxed()
    }

    /// Waits after a temporary failure, and lowers the concurrency. Fails with any other error.
    pub(crate) async fn wait(&self, retry: &mut Retry, error: Error) -> Result<()> {
        if error.is_retryable() {
            self.gate.overloaded();
        }
        retry.wait(error).await
    }

    /// Returns whether a later copy can continue an upload: the source still has its version, and
    /// the destination lacks the object. If that is unknown, it is kept.
    pub(crate) async fn needs_upload(&self, name: &str, unfinished: &UnfinishedCopy) -> bool {
        let (Ok(from), Ok(to)) = (self.source.key(name), self.target.key(name)) else {
            return false;
        };
        let is_current = match self.source.storage().stat(from).await {
            Ok(now) => {
                let etag = now.strong_etag();
                etag.is_some_and(|etag| etag.strong_eq(&unfinished.source))
            }
            Err(error) => !error.is_not_found(),
        };
        is_current
            && match self.target.storage().stat(to).await {
                Ok(now) => now.size != unfinished.size,
                Err(_) => true,
            }
    }

    /// Aborts an upload, unless it may be completed at this moment. Returns whether it is gone.
    pub(crate) async fn abort_upload(&self, name: &str, unfinished: &UnfinishedCopy) -> bool {
        let Ok(key) = self.target.key(name) else { return true };
        let storage = self.target.storage();
        let Ok(upload) = storage.resume_multipart(key, unfinished.upload.clone()) else {
            return true;
        };
        match abort_incomplete(&upload, unfinished.size).await {
            Err(error) if !error.is_not_found() => {
                tracing::debug!("an upload of {name} is left: {error}");
                false
            }
            _ => true,
        }
    }

    pub(crate) fn emit(&self, event: &KeyEvent<'_>) {
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }

    /// Reports a pair whose outcome needs no work.
    pub(crate) fn emit_pair(&self, pair: &Pair, outcome: Outcome) {
        if self.on_event.is_some() {
            let object = pair.source.as_ref().or(pair.target.as_ref());
            let size = object.map(|object| object.size);
            self.emit(&KeyEvent { key: pair.name(), outcome, size, error: None });
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Returns whether a filter may admit a name with an error, or what is below it. An empty name is
/// the whole side.
pub(crate) fn may_admit_at(filter: &Filter, name: &str, error: &Error) -> bool {
    // A disk has directories with invalid names, whose files are no objects.
    let is_directory =
        name.strip_suffix('/').is_some_and(|name| !matches!(name.chars().last(), None | Some('/')));
    let may_have_more = concerns_keys_below(error) || is_directory;
    let may_admit_below = || name.is_empty() || filter.may_admit_below(name.trim_end_matches('/'));
    filter.admits(name) || (may_have_more && may_admit_below())
}

/// Returns the error for an object of the destination that another program changed meanwhile.
pub(crate) fn target_changed() -> Error {
    let message = "the object of the destination was changed by another program during the run, so \
                   it was kept; run again";
    Error::new(ErrorKind::Conflict, message)
}
