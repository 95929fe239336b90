//! [`FetchTask`]: one request to origin for an object.
//!
//! If a fetch fails, or receives nothing for a minute, it ends the [`Progress`] of its readers,
//! which continue at origin. The next request begins another fetch. The minute bounds the wait at
//! an origin that has no timeouts.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::ReadyChunks;
use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Key, Object, ObjectMeta, ObjectStream, Result};
use tokio::sync::watch;

use super::fetches::{Arrival, Fetch, FetchState};
use super::freshness;
use super::off_thread::{drop_off_thread, off_thread};
use super::origin::{log_failure, rest};
use super::progress::{Progress, ProgressSender};
use super::shared::Shared;
use super::version::CachedObject;
use crate::store::{EntryMeta, Fill, Filling};

/// How long a fetch waits for the response of origin, and for each chunk of its body.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The reason not to store an object if origin does not respond within [`ORIGIN_TIMEOUT`].
pub(super) const SLOW: &str = "origin is slow";
/// The maximum number of times that an interrupted body is resumed.
const MAX_RESUMPTIONS: u32 = 3;
/// The maximum number of available chunks that are written together.
const CHUNKS_AT_A_TIME: usize = 16;

/// Begins a fetch. With `cached`, the version in the store, origin sends the object only if it has
/// another version.
pub(super) fn begin(shared: &Arc<Shared>, key: &Key, cached: Option<CachedObject>) -> Fetch {
    let (sender, fetch) = Fetch::new();
    let task = FetchTask {
        shared: Arc::clone(shared),
        key: key.clone(),
        number: fetch.number(),
        cached,
        requested_at: (Instant::now(), shared.options.clock.now()),
        sender,
    };
    let fill = shared.store.begin(key.as_str());
    tokio::spawn(task.run(fill));
    fetch
}

/// The task of a fetch.
struct FetchTask {
    shared: Arc<Shared>,
    key: Key,
    number: u64,
    cached: Option<CachedObject>,
    /// The time before the request. Ages count from it if origin is no HTTP server, because the
    /// object may change at origin at any time after. The age of an HTTP response already contains
    /// the time since the request (RFC 9111 section 4.2.3).
    requested_at: (Instant, SystemTime),
    sender: watch::Sender<Option<FetchState>>,
}

/// Deregisters the fetch when it ends or is cancelled.
struct DeregisterOnDrop<'a>(&'a FetchTask);

impl Drop for DeregisterOnDrop<'_> {
    fn drop(&mut self) {
        self.0.shared.fetches.remove_ended(&self.0.key, self.0.number);
    }
}

impl FetchTask {
    async fn run(self, fill: Fill) {
        let _registered = DeregisterOnDrop(&self);
        let state = match tokio::time::timeout(ORIGIN_TIMEOUT, self.request()).await {
            Ok(Ok(object)) => self.receive(object, fill).await,
            Ok(Err(error)) => self.refused(error).await,
            Err(_) => self.timed_out().await,
        };
        if state.is_some() {
            self.sender.send_replace(state);
        }
    }

    /// Sends the request, on the condition that origin has another version than the store.
    async fn request(&self) -> Result<Object> {
        self.shared.counters.origin_requests.add(1);
        let mut open = self.shared.origin.open(&self.key).allow_unknown_size();
        if let Some(cached) = &self.cached {
            let object = &cached.meta.object;
            match (&object.etag, object.last_modified) {
                (Some(etag), _) => open = open.if_none_match(etag.clone()),
                (None, Some(modified)) => open = open.if_modified_since(modified),
                (None, None) => {}
            }
        }
        open.await
    }

    /// Handles an origin that has not responded in time.
    async fn timed_out(&self) -> Option<FetchState> {
        if self.shared.options.passes_if_slow {
            self.shared.counters.origin_failures.add(1);
            return Some(self.not_cached(SLOW));
        }
        let message = "origin did not respond within 60 seconds";
        self.refused(Error::new(ErrorKind::Timeout, message)).await
    }

    /// Handles an error instead of an object: not modified, missing, or a failure.
    async fn refused(&self, error: Error) -> Option<FetchState> {
        let shared = &self.shared;
        Some(match (error.kind(), &self.cached) {
            (ErrorKind::NotModified, Some(cached)) => {
                let mut meta = (*cached.meta).clone();
                // The response confirms only the bytes. Whether they may still be stored, and for
                // how long, depends on the metadata and its age. If `stat` fails, the stored age is
                // used.
                let (mut response, mut aged_from) = (meta.response(), self.requested_at.1);
                if let Ok(Ok(now)) =
                    tokio::time::timeout(ORIGIN_TIMEOUT, shared.origin.stat(&self.key)).await
                    && (now.size, &now.etag) == (meta.object.size, &meta.object.etag)
                {
                    if !freshness::may_store(&now) {
                        self.remove_cached().await;
                        return Some(self.not_cached("origin forbids it"));
                    }
                    response = now.response;
                    aged_from = self.aged_from(&now).1;
                    meta.object.metadata = now.metadata;
                }
                meta.validated(aged_from, response);
                let current =
                    CachedObject { entry: Arc::clone(&cached.entry), meta: Arc::new(meta.clone()) };
                let (store, entry) = (shared.store.clone(), Arc::clone(&cached.entry));
                // Metadata that cannot be written is used while it is in memory.
                if let Err(error) = off_thread(move || store.refresh(&entry, meta)).await {
                    tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "the new metadata of a cache entry could not be written");
                }
                FetchState::Cached(current, Arrival::NotModified)
            }
            (ErrorKind::NotFound, _) => {
                self.remove_cached().await;
                shared.remember_missing(&self.key, self.number);
                FetchState::Missing
            }
            _ => {
                shared.counters.origin_failures.add(1);
                if shared.options.logs_failures {
                    log_failure(&self.key, &error, None);
                }
                FetchState::Failed(Arc::new(error))
            }
        })
    }

    /// Removes the stored version, which origin no longer has.
    async fn remove_cached(&self) {
        if let Some(cached) = &self.cached {
            let (store, entry) = (self.shared.store.clone(), Arc::clone(&cached.entry));
            // A file that stays on the disk is not fresh. It is revalidated before it is served.
            if let Err(error) = off_thread(move || store.remove(&entry)).await {
                tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "an entry could not be removed");
            }
        }
    }

    /// Receives an object and stores it. Returns `None` if it failed after the readers got its
    /// progress, which then reports the error.
    async fn receive(&self, mut object: Object, fill: Fill) -> Option<FetchState> {
        let received_at = Instant::now();
        let aged_from = self.aged_from(object.meta());
        if !freshness::may_store(object.meta()) {
            self.remove_cached().await;
            return Some(self.not_cached("origin forbids it"));
        }
        if self.shared.options.requires_strong_etag && object.meta().strong_etag().is_none() {
            self.remove_cached().await;
            return Some(self.not_cached("no strong ETag"));
        }
        if object.meta().known_size().is_none() {
            // It is served once it is complete, because its size is not known before.
            object = match self.spool(object).await {
                Ok(object) => object,
                Err(SpoolError::Origin(error)) => return self.refused(error).await,
                Err(SpoolError::Stalled) => return self.timed_out().await,
                Err(SpoolError::Store(error)) => {
                    self.remove_cached().await;
                    return Some(self.not_cached(reason(&error)));
                }
            };
        }
        let meta = Arc::new(object.meta().clone());
        if object.content_length() != meta.size {
            self.remove_cached().await;
            return Some(self.not_cached("origin sent a part"));
        }
        let entry_meta = EntryMeta::fetched((*meta).clone(), aged_from.1);
        let filling = match off_thread(move || fill.create(entry_meta)).await {
            Ok(filling) => filling,
            Err(error) => {
                tracing::debug!(key = &*escape_invisible(self.key.as_str()), %error, "not kept");
                // Origin now has another version than the store.
                self.remove_cached().await;
                return Some(self.not_cached(reason(&error)));
            }
        };
        let (sender, progress) = Progress::new(meta, filling.tail(), aged_from.0, received_at);
        self.sender.send_replace(Some(FetchState::Filling(Arc::new(progress))));
        match self.fill(object, filling, &sender).await {
            // If the entry was removed already, its readers use the progress.
            Ok(cached) => cached.map(|cached| FetchState::Cached(cached, Arrival::Fetched)),
            Err(error) => {
                self.shared.counters.broken_fills.add(1);
                tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "a fetch broke off");
                sender.fail(&error);
                None
            }
        }
    }

    /// Returns the time from which the age of metadata counts that has just arrived.
    fn aged_from(&self, meta: &ObjectMeta) -> (Instant, SystemTime) {
        match meta.response {
            Some(_) => (Instant::now(), self.shared.options.clock.now()),
            None => self.requested_at,
        }
    }

    /// Receives an object of unknown size. Requests for it wait until it is complete.
    async fn spool(&self, object: Object) -> std::result::Result<Object, SpoolError> {
        let meta = object.meta().clone();
        let store = self.shared.store.clone();
        let mut spool = off_thread(move || store.spool()).await.map_err(SpoolError::Store)?;
        let mut chunks = object.into_stream().ready_chunks(CHUNKS_AT_A_TIME);
        loop {
            let ready = match tokio::time::timeout(ORIGIN_TIMEOUT, chunks.next()).await {
                Ok(Some(ready)) => ready.into_iter().collect::<Result<Vec<Bytes>>>(),
                Ok(None) => break,
                Err(_) => {
                    drop_off_thread(spool);
                    return Err(SpoolError::Stalled);
                }
            };
            let ready = match ready {
                Ok(ready) => ready,
                Err(error) => {
                    drop_off_thread(spool);
                    return Err(SpoolError::Origin(error));
                }
            };
            let written = off_thread(move || {
                ready.iter().try_for_each(|chunk| spool.write(chunk))?;
                Ok(spool)
            });
            spool = written.await.map_err(SpoolError::Store)?;
        }
        spool.into_object(meta).map_err(SpoolError::Store)
    }

    fn not_cached(&self, reason: &'static str) -> FetchState {
        self.shared.remember_uncached(&self.key, self.number, reason);
        FetchState::NotCached(reason)
    }

    /// Receives the body and stores it. Returns `None` if the entry was removed from the store
    /// already.
    async fn fill(
        &self,
        object: Object,
        mut filling: Filling,
        sender: &ProgressSender,
    ) -> Result<Option<CachedObject>> {
        let meta = object.meta().clone();
        let mut chunks = object.into_stream().ready_chunks(CHUNKS_AT_A_TIME);
        let mut resumed = 0;
        while let Some(mut ready) = next_chunks(&mut chunks).await {
            // The chunks before the failure are valid.
            let failed = ready.iter().position(Result::is_err);
            let failure = failed.and_then(|at| ready.split_off(at).into_iter().next());
            let good: Vec<Bytes> = ready.into_iter().filter_map(Result::ok).collect();
            let received: usize = good.iter().map(Bytes::len).sum();
            self.shared.counters.origin_bytes.add(received as u64);
            filling = write(filling, good).await?;
            // If there is a checksum, readers get the last byte after the comparison.
            let end =
                if meta.checksums.is_empty() { meta.size } else { meta.size.saturating_sub(1) };
            sender.advance(filling.written().min(end));
            if let Some(Err(error)) = failure {
                resumed += 1;
                let resumption = if resumed > MAX_RESUMPTIONS || !error.is_retryable() {
                    Err(error)
                } else {
                    tracing::debug!(key = &*escape_invisible(self.key.as_str()), %error, "a fetch is resumed");
                    let rest = rest(&self.shared.origin, &meta, filling.written());
                    tokio::time::timeout(ORIGIN_TIMEOUT, rest)
                        .await
                        .unwrap_or_else(|_| Err(stalled()))
                };
                match resumption {
                    Ok(rest) => chunks = rest.ready_chunks(CHUNKS_AT_A_TIME),
                    Err(error) => {
                        // Removing a large file takes time.
                        drop_off_thread(filling);
                        return Err(error);
                    }
                }
            }
        }
        let is_whole = filling.written() == meta.size;
        let committed = off_thread(move || filling.commit()).await;
        let is_wrong = committed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Integrity);
        if is_whole && !is_wrong {
            // The bytes are valid, whether they were stored or not.
            sender.advance(meta.size);
        }
        let (store, entry) = (self.shared.store.clone(), committed?);
        // If a newer version was committed first, this returns its metadata.
        let cached =
            off_thread(move || store.meta(&entry).map(|meta| CachedObject { entry, meta })).await;
        Ok(cached.inspect_err(|error| tracing::debug!(%error, "the entry was removed again")).ok())
    }
}

/// The reason why an object of unknown size could not be received.
enum SpoolError {
    Origin(Error),
    /// Origin sent nothing for [`ORIGIN_TIMEOUT`].
    Stalled,
    /// The object is too large, or the disk failed.
    Store(Error),
}

/// Returns the next chunks of a body. If none arrive within [`ORIGIN_TIMEOUT`], returns an error
/// that is not retryable, so that the readers continue at origin with its own timeouts.
async fn next_chunks(chunks: &mut ReadyChunks<ObjectStream>) -> Option<Vec<Result<Bytes>>> {
    let next = tokio::time::timeout(ORIGIN_TIMEOUT, chunks.next()).await;
    next.unwrap_or_else(|_| Some(vec![Err(stalled())]))
}

fn stalled() -> Error {
    Error::new(ErrorKind::Timeout, "origin sent nothing for 60 seconds").with_retryable(false)
}

/// Returns the reason why an object is not stored, for `Cache-Status`.
fn reason(error: &Error) -> &'static str {
    if error.kind() == ErrorKind::TooLarge { "too large" } else { "no room" }
}

/// Writes chunks on a thread that may block.
async fn write(mut filling: Filling, chunks: Vec<Bytes>) -> Result<Filling> {
    off_thread(move || {
        for chunk in &chunks {
            filling.write(chunk)?;
        }
        Ok(filling)
    })
    .await
}
