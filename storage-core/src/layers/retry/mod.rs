//! [`Retry`]: repeats calls that failed for a temporary reason.

mod backoff;
mod body;
mod listing;
mod multipart;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::backoff::{Backoff, is_retryable};
use self::body::Resuming;
use self::listing::Relisting;
use crate::driver::Driver;
use crate::entry::EntryStream;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::forward;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyMode, CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveMode, SaveOptions,
    UrlOptions,
};
use crate::payload::Payload;

/// Repeats a call when its error [is retryable](Error::is_retryable), up to a number of times.
///
/// Before the n-th retry it waits for as long as the backend
/// [requests](Error::retry_after), at most 60 s, and then for a random time of up to
/// 100 ms * 2^(n-1), at most 10 s. [`with_backoff`](Self::with_backoff) sets the last two. Other
/// errors, such as `NotFound`, are returned at once.
///
/// | verb | is retried |
/// |---|---|
/// | `stat`, `exists`, `delete`, `delete_folder_marker`, `url` | always |
/// | `delete_many` | for the keys whose error is retryable |
/// | `save` | if the payload [can be replayed](Payload::is_replayable), which a stream cannot |
/// | `save` in a mode other than `Overwrite`, `copy` with `create_new` | after `RateLimited` only |
/// | `copy` | if it may overwrite |
/// | `rename` | after `RateLimited` only |
/// | `open` | always; a body that breaks off resumes at the next byte |
/// | `put_part` of a multipart upload | if the payload can be replayed |
/// | the other verbs of multipart uploads | always, except the listings of parts and uploads |
/// | `list` | after the last entry, so that no entry is repeated or skipped |
/// | an error after which a listing continues | in the same way; yielded when no retries are left |
///
/// A conditional save is not retried, because its failure does not prove that nothing happened. If
/// the first attempt succeeded and its response was lost, the second would report the caller's own
/// object as another's. Only `RateLimited` proves that the backend did not begin. For the same
/// reason an unconditional save or a delete can happen twice, the second time after another
/// client's save. A second rename would report that the source does not exist, or replace the moved
/// object by one that was saved under the source since.
///
/// A body that breaks off or ends early is opened again at the next byte, if the object has a
/// strong ETag and the backend still has that version. Otherwise the error is returned. Bytes of
/// two versions are never mixed. After each chunk and each entry, the full number of retries is
/// available again.
///
/// Dropping the future stops the attempt or the wait. Each retry is an event at debug level of
/// `tracing`.
///
/// ```
/// use storage_core::{Memory, layers::Retry};
///
/// let storage = Memory::storage().layer(|inner| Retry::new(inner, 3));
/// ```
#[derive(Debug, Clone)]
pub struct Retry {
    inner: Arc<dyn Driver>,
    backoff: Backoff,
}

impl Retry {
    /// Wraps a driver and retries each call up to `retries` times. 0 disables retries.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, retries: u32) -> Self {
        let backoff =
            Backoff { retries, base: Duration::from_millis(100), cap: Duration::from_secs(10) };
        Self { inner, backoff }
    }

    /// Sets the bounds of the random wait. `base` is the longest wait before the first retry and
    /// doubles with each further one. `cap` bounds the wait before any retry. They default to
    /// `100ms` and `10s`.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.backoff.base, self.backoff.cap) = (base, cap);
        self
    }
}

/// Returns whether the error proves that the backend has changed nothing.
fn has_no_effect(error: &Error) -> bool {
    error.kind() == ErrorKind::RateLimited
}

#[async_trait]
impl Driver for Retry {
    forward! { to self.inner: info, innermost, link_verifier }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut attempts = self.backoff.attempts(Operation::Save);
        let mut payload = payload;
        loop {
            let replay = payload.replay();
            let error = match self.inner.save(key, payload, options).await {
                Ok(saved) => return Ok(saved),
                Err(error) => error,
            };
            payload = match replay {
                Some(replay) if options.mode == SaveMode::Overwrite || has_no_effect(&error) => {
                    replay
                }
                _ => return Err(error),
            };
            attempts.after(error).await?;
        }
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self.backoff.run(Operation::Open, || self.inner.open(key, options)).await?;
        match Resuming::new(&self.inner, key, &object, self.backoff.attempts(Operation::Open)) {
            Some(resuming) => Ok(object.map_stream(|chunks| resuming.body(chunks))),
            None => Ok(object),
        }
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.backoff.run(Operation::Stat, || self.inner.stat(key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.backoff.run(Operation::Exists, || self.inner.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.backoff.run(Operation::Delete, || self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let mut attempts = self.backoff.attempts(Operation::Delete);
        let mut results = self.inner.delete_many(keys).await;
        while attempts.after_all(&mut results).await {
            let failed: Vec<_> =
                results.iter_mut().zip(keys).filter(|(result, _)| is_retryable(result)).collect();
            let (failed, keys): (Vec<_>, Vec<_>) =
                failed.into_iter().map(|(result, key)| (result, key.clone())).unzip();
            let retried = self.inner.delete_many(&keys).await;
            failed.into_iter().zip(retried).for_each(|(result, retried)| *result = retried);
        }
        results
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.backoff.run(Operation::Delete, || self.inner.delete_folder_marker(marker)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        Relisting::new(&self.inner, prefix, options, self.backoff.attempts(Operation::List))
            .entries()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let mut attempts = self.backoff.attempts(Operation::Copy);
        loop {
            match self.inner.copy(from, to, options).await {
                Err(error) if options.mode == CopyMode::Overwrite || has_no_effect(&error) => {
                    attempts.after(error).await?;
                }
                result => return result,
            }
        }
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let mut attempts = self.backoff.attempts(Operation::Rename);
        loop {
            match self.inner.rename(from, to, options).await {
                Err(error) if has_no_effect(&error) => attempts.after(error).await?,
                result => return result,
            }
        }
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.backoff.run(Operation::Url, || self.inner.url(key, options)).await
    }
}
