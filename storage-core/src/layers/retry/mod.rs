//! [`Retry`]: tries again what failed for a reason that passes.

mod backoff;
mod body;
mod listing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::backoff::{Backoff, is_to_be_repeated};
use self::body::Resuming;
use self::listing::Relisting;
use crate::driver::Driver;
use crate::entry::EntryStream;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::forward;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::object::Object;
use crate::options::{
    CopyMode, CopyOptions, ListOptions, OpenOptions, SaveMode, SaveOptions, UrlOptions,
};
use crate::payload::Payload;

/// Tries a call again when its error [is retryable](Error::is_retryable), up to a number of times.
///
/// Before the n-th further attempt it waits a random time of up to 100 ms * 2^(n-1), at most 10 s
/// ([`with_backoff`](Self::with_backoff) sets both); and before that for as long as the backend
/// [asked](Error::retry_after), at most a minute. Errors that no waiting helps against, `NotFound`
/// for one, pass through at once.
///
/// | verb | is tried again |
/// |---|---|
/// | `stat`, `exists`, `delete`, `url` | always |
/// | `delete_many` | for the keys whose error is retryable, alone |
/// | `save` | if the payload [can be replayed](Payload::is_replayable), which a stream cannot |
/// | `save` in another mode than overwriting, `copy` with `create_new` | after `RateLimited` only |
/// | `copy` | if it may overwrite |
/// | `open` | always; and a body that breaks off goes on where it did |
/// | `list` | from after the last entry, so that none is told twice or left out |
/// | an error after which a listing continues | likewise; passed on when the attempts are used up |
///
/// A conditional save is left alone because a failure does not say that nothing happened: if the
/// first attempt has succeeded and its answer was lost, the second would report the caller's own
/// object as another's. Only `RateLimited` says that the backend did not even begin. For the same
/// reason an unconditional save or a delete can happen twice, the second time after somebody else's
/// save.
///
/// A body that streams and breaks off, or ends early, is opened again at the next byte, if the
/// object has a strong ETag and the backend still has that very version; else the error is passed
/// on. Two versions are never spliced. Each chunk and each entry is progress, after which the full
/// number of attempts is there again.
///
/// Dropping the future stops the attempt or the waiting. Each new attempt is told at debug level
/// through `tracing`.
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
    /// Wraps a driver; up to `retries` further attempts, none for 0.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, retries: u32) -> Self {
        let backoff =
            Backoff { retries, base: Duration::from_millis(100), cap: Duration::from_secs(10) };
        Self { inner, backoff }
    }

    /// Sets the longest wait before the first further attempt, which doubles with each, and the
    /// longest before any.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.backoff.base, self.backoff.cap) = (base, cap);
        self
    }
}

/// Whether the backend has refused to begin, so that certainly nothing happened.
fn not_begun(error: &Error) -> bool {
    error.kind() == ErrorKind::RateLimited
}

#[async_trait]
impl Driver for Retry {
    forward! { to self.inner: info, innermost }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut attempts = self.backoff.attempts(Operation::Save);
        let mut payload = payload;
        loop {
            let again = payload.replay();
            let error = match self.inner.save(key, payload, options).await {
                Ok(saved) => return Ok(saved),
                Err(error) => error,
            };
            payload = match again {
                Some(again) if options.mode == SaveMode::Overwrite || not_begun(&error) => again,
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
        let mut answers = self.inner.delete_many(keys).await;
        while attempts.after_all(&mut answers).await {
            let failed: Vec<_> = answers
                .iter_mut()
                .zip(keys)
                .filter(|(answer, _)| is_to_be_repeated(answer))
                .collect();
            let (answers, keys): (Vec<_>, Vec<_>) =
                failed.into_iter().map(|(answer, key)| (answer, key.clone())).unzip();
            let again = self.inner.delete_many(&keys).await;
            answers.into_iter().zip(again).for_each(|(answer, again)| *answer = again);
        }
        answers
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
                Err(error) if options.mode == CopyMode::Overwrite || not_begun(&error) => {
                    attempts.after(error).await?
                }
                answer => return answer,
            }
        }
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.backoff.run(Operation::Url, || self.inner.url(key, options)).await
    }
}
