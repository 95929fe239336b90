//! [`Flight`]: one request to origin for an object, whoever and however many wait for it.
//!
//! The task that flies belongs to nobody: that the client who was first leaves does not stop it.
//! Readers follow the file as it is written. A flight that breaks off is told to its readers, who
//! go on at origin; the next request begins another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Key, Object, ObjectMeta, ObjectStream, Result, Storage};
use tokio::sync::watch;

use super::freshness;
use super::mirror::Mirror;
use super::off_thread::off_thread;
use super::store::{EntryMeta, Fill, Filling, Tail};
use super::version::Kept;

/// How long origin may take to begin an answer, whatever its own driver thinks of it.
const ORIGIN_PATIENCE: Duration = Duration::from_secs(60);
/// How often a body that breaks off is taken up again.
const RESUMPTIONS: u32 = 3;
/// How many chunks, of what is there already, are written together.
const CHUNKS_AT_A_TIME: usize = 16;

/// What a flight has come to.
#[derive(Debug, Clone)]
pub(crate) enum Landing {
    /// Bytes are arriving.
    Filling(Arc<Progress>),
    /// The object is kept: it has arrived, or origin says that the old version is still current.
    Kept(Kept, Arrival),
    /// Origin has an object that is not kept here.
    NotKept(&'static str),
    /// Origin has none.
    Missing,
    /// Origin failed.
    Failed(Arc<Error>),
}

/// How what is kept has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Fetched,
    NotModified,
}

/// An object that is arriving.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) meta: Arc<ObjectMeta>,
    pub(crate) tail: Tail,
    received_at: Instant,
    written: watch::Receiver<Written>,
}

/// How much has arrived.
#[derive(Debug, Clone, Copy)]
struct Written {
    bytes: u64,
    is_broken: bool,
    /// What was written is not what origin's checksum tells of. Nobody may take it for whole, or go
    /// on with it.
    is_wrong: bool,
}

impl Progress {
    /// Waits until a position has been written. How much has been, or `None` if it never will.
    ///
    /// # Errors
    /// `Integrity` if what has been written is wrong.
    pub(crate) async fn reaches(&self, position: u64) -> Result<Option<u64>> {
        let mut written = self.written.clone();
        let reached = written
            .wait_for(|written| written.bytes > position || written.is_broken || written.is_wrong)
            .await;
        let written = match reached {
            Ok(written) => *written,
            // Whoever wrote is gone.
            Err(_) => *self.written.borrow(),
        };
        if written.is_wrong {
            return Err(Error::new(
                ErrorKind::Integrity,
                "origin's bytes are not what its checksum tells of",
            ));
        }
        Ok((written.bytes > position).then_some(written.bytes))
    }

    /// Returns how old the object is: the age of origin's response, and the time since.
    pub(crate) fn age(&self) -> Duration {
        let came_with = self.meta.response.map_or(Duration::ZERO, |response| response.age);
        came_with.saturating_add(self.received_at.elapsed())
    }

    /// How much has been written.
    pub(crate) fn written(&self) -> u64 {
        self.written.borrow().bytes
    }
}

/// A flight under way, as those see it who wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    number: u64,
    /// `None` until origin has answered.
    landing: watch::Receiver<Option<Landing>>,
}

impl Flight {
    /// Sets out for an object. `known` is the version that is here, to be fetched only if origin
    /// has another.
    pub(crate) fn begin(mirror: &Arc<Mirror>, key: &Key, known: Option<Kept>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, landing) = watch::channel(None);
        let pilot = Pilot { mirror: Arc::clone(mirror), key: key.clone(), number, known, sender };
        let fill = mirror.store.begin(key.as_str());
        tokio::spawn(pilot.fly(fill));
        Self { number, landing }
    }

    /// Tells flights for the same key apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until it is known what origin has.
    pub(crate) async fn landing(mut self) -> Landing {
        let known =
            self.landing.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone());
        known.unwrap_or_else(|| {
            Landing::Failed(Arc::new(Error::new(
                ErrorKind::Unexpected,
                "the request to origin was given up",
            )))
        })
    }

    /// Whether the one who flies is gone without a word.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.landing.has_changed().is_err() && self.landing.borrow().is_none()
    }
}

/// Whoever carries a flight out.
struct Pilot {
    mirror: Arc<Mirror>,
    key: Key,
    number: u64,
    known: Option<Kept>,
    sender: watch::Sender<Option<Landing>>,
}

/// Takes the flight off the board, however it ends.
struct OnBoard<'a>(&'a Pilot);

impl Drop for OnBoard<'_> {
    fn drop(&mut self) {
        self.0.mirror.landed(&self.0.key, self.0.number);
    }
}

impl Pilot {
    async fn fly(self, fill: Fill) {
        let _on_board = OnBoard(&self);
        let landing = match self.ask().await {
            Ok(object) => self.receive(object, fill).await,
            Err(error) => self.refused(error).await,
        };
        if landing.is_some() {
            self.sender.send_replace(landing);
        }
    }

    async fn ask(&self) -> Result<Object> {
        self.mirror.counters.origin_requests.add(1);
        let mut open = self.mirror.origin.open(&self.key).allow_unknown_size();
        if let Some(known) = &self.known {
            let object = &known.meta.object;
            match (&object.etag, object.last_modified) {
                (Some(etag), _) => open = open.if_none_match(etag.clone()),
                (None, Some(modified)) => open = open.if_modified_since(modified),
                (None, None) => {}
            }
        }
        match tokio::time::timeout(ORIGIN_PATIENCE, open).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::Timeout, "origin did not answer in time")),
        }
    }

    async fn refused(&self, error: Error) -> Option<Landing> {
        let mirror = &self.mirror;
        Some(match (error.kind(), &self.known) {
            (ErrorKind::NotModified, Some(known)) => {
                let mut meta = (*known.meta).clone();
                // The word that nothing has changed is of the bytes. Whether they may still be
                // kept, and for how long, the metadata says, and how old that is. Where it cannot
                // be had, the age is taken to be the one of before.
                let mut response = meta.response();
                if let Ok(Ok(now)) =
                    tokio::time::timeout(ORIGIN_PATIENCE, mirror.origin.stat(&self.key)).await
                    && (now.size, &now.etag) == (meta.object.size, &meta.object.etag)
                {
                    if !freshness::may_keep(&now) {
                        self.forget().await;
                        return Some(self.not_kept("origin forbids it"));
                    }
                    response = now.response;
                    meta.object.metadata = now.metadata;
                }
                meta.validated(SystemTime::now(), response);
                let kept = Kept { entry: Arc::clone(&known.entry), meta: Arc::new(meta.clone()) };
                let (store, entry) = (mirror.store.clone(), Arc::clone(&known.entry));
                // What cannot be written down is known as long as it is in memory.
                if let Err(error) = off_thread(move || store.refresh(&entry, meta)).await {
                    tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "the cache could not be told that an entry is current");
                }
                Landing::Kept(kept, Arrival::NotModified)
            }
            (ErrorKind::NotFound, _) => {
                self.forget().await;
                mirror.learn_missing(&self.key, self.number);
                Landing::Missing
            }
            _ => {
                mirror.counters.origin_failures.add(1);
                log_failure(&self.key, &error, None);
                Landing::Failed(Arc::new(error))
            }
        })
    }

    /// Lets go of the version that origin has no longer.
    async fn forget(&self) {
        if let Some(known) = &self.known {
            let (store, known) = (self.mirror.store.clone(), Arc::clone(&known.entry));
            // Origin has said that it is gone: what stays on the disk is asked about again before
            // it is served.
            if let Err(error) = off_thread(move || store.remove(&known)).await {
                tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "an entry could not be removed");
            }
        }
    }

    /// `None` if the end has been told.
    async fn receive(&self, mut object: Object, fill: Fill) -> Option<Landing> {
        // The age of the response counts from here, also where its body is received before it is
        // kept.
        let (received_at, fetched_at) = (Instant::now(), SystemTime::now());
        if !freshness::may_keep(object.meta()) {
            self.forget().await;
            return Some(self.not_kept("origin forbids it"));
        }
        if object.meta().known_size().is_none() {
            // Nothing is served of it before it is whole, since only then its size is known.
            object = match self.spooled(object).await {
                Ok(object) => object,
                Err(error)
                    if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::StorageFull) =>
                {
                    self.forget().await;
                    return Some(self.not_kept(why_not(&error)));
                }
                Err(error) => return self.refused(error).await,
            };
        }
        let meta = Arc::new(object.meta().clone());
        if object.content_length() != meta.size {
            self.forget().await;
            return Some(self.not_kept("origin sent a part"));
        }
        let entry_meta = EntryMeta::fetched((*meta).clone(), fetched_at);
        let filling = match off_thread(move || fill.create(entry_meta)).await {
            Ok(filling) => filling,
            Err(error) => {
                tracing::debug!(key = &*escape_invisible(self.key.as_str()), %error, "not kept");
                // What is here is not what origin has any more.
                self.forget().await;
                return Some(self.not_kept(why_not(&error)));
            }
        };
        let (told, written) =
            watch::channel(Written { bytes: 0, is_broken: false, is_wrong: false });
        let tail = filling.tail();
        let progress = Arc::new(Progress { meta: Arc::clone(&meta), tail, received_at, written });
        self.sender.send_replace(Some(Landing::Filling(progress)));
        match self.fill(object, filling, &told).await {
            // One that has left already was read to its end by those who wait for it.
            Ok(kept) => kept.map(|kept| Landing::Kept(kept, Arrival::Fetched)),
            Err(error) => {
                self.mirror.counters.broken_fills.add(1);
                tracing::warn!(key = &*escape_invisible(self.key.as_str()), %error, "a fill broke off");
                told.send_modify(|written| {
                    written.is_broken = true;
                    written.is_wrong = error.kind() == ErrorKind::Integrity;
                });
                None
            }
        }
    }

    /// Receives an object of unknown size. Those who wait for it wait until it is whole.
    async fn spooled(&self, object: Object) -> Result<Object> {
        let meta = object.meta().clone();
        let store = self.mirror.store.clone();
        let mut spool = off_thread(move || store.spool()).await?;
        let mut chunks = object.into_stream().ready_chunks(CHUNKS_AT_A_TIME);
        while let Some(ready) = chunks.next().await {
            let ready = ready.into_iter().collect::<Result<Vec<Bytes>>>()?;
            spool = off_thread(move || {
                ready.iter().try_for_each(|chunk| spool.write(chunk))?;
                Ok(spool)
            })
            .await?;
        }
        spool.into_object(meta)
    }

    fn not_kept(&self, why: &'static str) -> Landing {
        self.mirror.learn_passing(&self.key, self.number, why);
        Landing::NotKept(why)
    }

    /// Receives the body and keeps it. `None` if what is kept has left already.
    async fn fill(
        &self,
        object: Object,
        mut filling: Filling,
        told: &watch::Sender<Written>,
    ) -> Result<Option<Kept>> {
        let meta = object.meta().clone();
        let mut chunks = object.into_stream().ready_chunks(CHUNKS_AT_A_TIME);
        let mut resumed = 0;
        while let Some(mut ready) = chunks.next().await {
            // What came before the failure is good.
            let failed = ready.iter().position(Result::is_err);
            let failure = failed.and_then(|at| ready.split_off(at).into_iter().next());
            let good: Vec<Bytes> = ready.into_iter().filter_map(Result::ok).collect();
            let received: usize = good.iter().map(Bytes::len).sum();
            self.mirror.counters.origin_bytes.add(received as u64);
            filling = written(filling, good).await?;
            // Where there is a checksum, nobody has the last byte before it is known to hold.
            let end =
                if meta.checksums.is_empty() { meta.size } else { meta.size.saturating_sub(1) };
            told.send_modify(|written| written.bytes = filling.written().min(end));
            if let Some(Err(error)) = failure {
                resumed += 1;
                if resumed > RESUMPTIONS || !error.is_retryable() {
                    return Err(error);
                }
                tracing::debug!(key = &*escape_invisible(self.key.as_str()), %error, "taken up again");
                chunks = rest(&self.mirror.origin, &meta, filling.written())
                    .await?
                    .ready_chunks(CHUNKS_AT_A_TIME);
            }
        }
        let is_whole = filling.written() == meta.size;
        let committed = off_thread(move || filling.commit()).await;
        let is_wrong = committed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Integrity);
        if is_whole && !is_wrong {
            // Kept or not, it is right.
            told.send_modify(|written| written.bytes = meta.size);
        }
        let (store, entry) = (self.mirror.store.clone(), committed?);
        // A newer version may have come first: then its metadata counts, not this one's.
        let kept = off_thread(move || store.meta(&entry).map(|meta| Kept { entry, meta })).await;
        Ok(kept.inspect_err(|error| tracing::debug!(%error, "not kept for long")).ok())
    }
}

/// Logs that origin failed: one line for all who wait for the same, and the status if one client
/// alone did.
pub(crate) fn log_failure(key: &Key, error: &Error, status: Option<u16>) {
    // As text, which subscribers escape: it may quote what a stranger sent.
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(key = &*escape_invisible(key.as_str()), %error, cause, status, "origin failed");
}

fn why_not(error: &Error) -> &'static str {
    if error.kind() == ErrorKind::TooLarge { "too large" } else { "no room" }
}

/// Writes chunks, away from the threads that serve.
async fn written(mut filling: Filling, chunks: Vec<Bytes>) -> Result<Filling> {
    off_thread(move || {
        for chunk in &chunks {
            filling.write(chunk)?;
        }
        Ok(filling)
    })
    .await
}

/// The rest of a version, from origin. Never of another version: without a strong ETag there is no
/// rest.
pub(crate) async fn rest(origin: &Storage, meta: &ObjectMeta, from: u64) -> Result<ObjectStream> {
    part(origin, meta, from, meta.size).await
}

/// A part of a version, from origin.
pub(crate) async fn part(
    origin: &Storage,
    meta: &ObjectMeta,
    from: u64,
    to: u64,
) -> Result<ObjectStream> {
    let Some(etag) = meta.strong_etag() else {
        return Err(Error::new(
            ErrorKind::Unexpected,
            "without a strong ETag nobody can tell whether origin has the rest",
        ));
    };
    let object = origin.open(&meta.key).if_match(etag.clone()).range(from..to).await?;
    if object.meta().size != meta.size || object.range() != (from..to) {
        return Err(Error::new(
            ErrorKind::Integrity,
            "origin has another object under the same ETag",
        ));
    }
    Ok(object.into_stream())
}
