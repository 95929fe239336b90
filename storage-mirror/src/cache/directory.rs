//! [`Directory`]: the cache's directory, which is opened on first use and may be off.
//!
//! The first `open` opens it. A write opens it if it exists, because it may hold versions from an
//! earlier process. While it is not open, reads go to origin, and the keys that are written are
//! remembered. They are removed when it is opened, before anything is served.
//!
//! The file `origin` in the directory names the origin that the objects come from. If the cache has
//! another origin, all objects are removed.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Key, Result, Storage};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{Engine, EngineOptions, Write, drop_off_thread};

/// How long a read waits for the first opening before origin serves it.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the cache stays off after trouble with its directory.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How many written keys are remembered while the directory is not open. If there are more, all
/// objects are removed when it is opened.
const MAX_UNPURGED: usize = 10_000;
/// The file that holds the SHA-256 of origin's location, in hex.
const ORIGIN_FILE: &str = "origin";

/// Creates the options of the engine.
type MakeOptions = Box<dyn Fn() -> EngineOptions + Send + Sync>;

pub(super) struct Directory {
    path: PathBuf,
    origin: Storage,
    options: MakeOptions,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    unpurged: Unpurged,
    /// Whether it was logged that the cache is off.
    has_warned: bool,
}

#[derive(Debug)]
enum State {
    Closed,
    /// A thread opens it. The channel closes when that ends.
    Opening {
        ended: watch::Receiver<()>,
        is_retry: bool,
    },
    Open(Engine),
    Off {
        until: Instant,
    },
}

/// The keys that were written while the directory was not open.
#[derive(Debug)]
enum Unpurged {
    /// Each key, and whether its state at origin is uncertain because a write failed or was
    /// dropped.
    Keys(HashMap<Key, bool>),
    All,
}

impl Default for Unpurged {
    fn default() -> Self {
        Self::Keys(HashMap::new())
    }
}

impl Unpurged {
    fn add(&mut self, keys: &[Key], is_uncertain: bool) {
        if let Self::Keys(unpurged) = self {
            for key in keys {
                *unpurged.entry(key.clone()).or_default() |= is_uncertain;
            }
            if unpurged.len() > MAX_UNPURGED {
                *self = Self::All;
            }
        }
    }

    /// Adds keys again that were taken and could not be purged.
    fn put_back(&mut self, taken: Self) {
        match taken {
            Self::Keys(keys) => {
                for (key, is_uncertain) in keys {
                    self.add(&[key], is_uncertain);
                }
            }
            Self::All => *self = Self::All,
        }
    }

    /// Takes the keys, or returns `None` if there are none.
    fn take(&mut self) -> Option<Self> {
        let is_empty = matches!(self, Self::Keys(keys) if keys.is_empty());
        (!is_empty).then(|| std::mem::take(self))
    }

    /// Removes the keys from a store. Those whose state is uncertain bypass the cache for a minute,
    /// because origin may still carry out writes that failed or were dropped. Blocks on the disk.
    fn purge(&self, engine: &Engine) -> Result<()> {
        let keys = match self {
            Self::Keys(keys) => keys,
            Self::All => return engine.purge_all_uncertain(),
        };
        let with = |uncertain: bool| -> Vec<Key> {
            let keys = keys.iter().filter(|(_, is_uncertain)| **is_uncertain == uncertain);
            keys.map(|(key, _)| key.clone()).collect()
        };
        engine.purge_uncertain_keys(&with(true))?;
        engine.purge_keys(&with(false))
    }
}

impl Directory {
    pub(super) fn new(
        path: PathBuf,
        origin: Storage,
        options: impl Fn() -> EngineOptions + Send + Sync + 'static,
    ) -> Self {
        let inner =
            Inner { state: State::Closed, unpurged: Unpurged::default(), has_warned: false };
        Self { path, origin, options: Box::new(options), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the engine, or `None` if the cache is off. Begins to open the directory if that is
    /// due, and waits for the first opening for up to 2 seconds.
    pub(super) async fn engine(self: &Arc<Self>) -> Option<Engine> {
        let engine = self.opened().await?;
        if engine.is_off() {
            self.lock().unpurged = Unpurged::All;
            let error = Error::new(ErrorKind::Unexpected, "an object could not be removed from it");
            self.turn_off(&error);
            return None;
        }
        Some(engine)
    }

    async fn opened(self: &Arc<Self>) -> Option<Engine> {
        let mut ended = {
            let mut inner = self.lock();
            match &inner.state {
                State::Open(engine) => return Some(engine.clone()),
                State::Off { until } if Instant::now() < *until => return None,
                State::Off { .. } => {
                    self.begin_opening(&mut inner, true);
                    return None;
                }
                State::Opening { ended, is_retry } if ended.has_changed().is_ok() => {
                    if *is_retry {
                        return None;
                    }
                    ended.clone()
                }
                // An opening can be lost with the runtime that it began on.
                State::Closed | State::Opening { .. } => self.begin_opening(&mut inner, false),
            }
        };
        // The channel never changes. It closes.
        let _ = tokio::time::timeout(OPENING_TIMEOUT, ended.changed()).await;
        match &self.lock().state {
            State::Open(engine) => Some(engine.clone()),
            _ => None,
        }
    }

    /// Returns the engine if the directory is open. Does not open it.
    pub(super) fn open_engine(&self) -> Option<Engine> {
        match &self.lock().state {
            State::Open(engine) => Some(engine.clone()),
            _ => None,
        }
    }

    fn begin_opening(self: &Arc<Self>, inner: &mut Inner, is_retry: bool) -> watch::Receiver<()> {
        let (sender, ended) = watch::channel(());
        inner.state = State::Opening { ended: ended.clone(), is_retry };
        let directory = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            directory.open();
            drop(sender);
        });
        ended
    }

    /// Opens the directory, and removes what was written meanwhile. Blocks on the disk.
    fn open(&self) {
        let opened = Engine::open(&self.path, self.origin.clone(), (self.options)())
            .and_then(|engine| self.check_origin(&engine).map(|()| engine));
        match opened {
            Ok(engine) => self.publish(&engine),
            Err(error) => self.turn_off(&error),
        }
    }

    /// Removes all objects unless they come from this origin.
    fn check_origin(&self, engine: &Engine) -> Result<()> {
        let location = self.origin.info().location.as_bytes();
        let hash = Checksum::of(ChecksumAlgorithm::Sha256, location).to_hex();
        let file = self.path.join(ORIGIN_FILE);
        let in_context =
            |error: io::Error| Error::from(error).with_context(&file.display().to_string());
        match fs::read(&file) {
            Ok(found) if found == hash.as_bytes() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(in_context(error)),
            _ => {}
        }
        if engine.usage().objects > 0 {
            let cache_dir = self.path.display();
            tracing::warn!(%cache_dir, "the cache was filled from another origin, and is emptied");
            engine.purge_all()?;
        }
        // On the disk before the first object of this origin is. A file that is cut off is that of
        // no origin.
        let mut written = File::create(&file).map_err(in_context)?;
        written.write_all(hash.as_bytes()).map_err(in_context)?;
        written.sync_all().map_err(in_context)
    }

    fn publish(&self, engine: &Engine) {
        loop {
            let unpurged = {
                let mut inner = self.lock();
                let Some(unpurged) = inner.unpurged.take() else {
                    if std::mem::take(&mut inner.has_warned) {
                        tracing::info!(cache_dir = %self.path.display(), "the cache is used again");
                    }
                    inner.state = State::Open(engine.clone());
                    return;
                };
                unpurged
            };
            if let Err(error) = unpurged.purge(engine) {
                self.lock().unpurged.put_back(unpurged);
                return self.turn_off(&error);
            }
        }
    }

    /// Lets origin serve everything for a minute, and logs the reason unless it was logged.
    fn turn_off(&self, error: &Error) {
        let replaced = {
            let mut inner = self.lock();
            if !std::mem::replace(&mut inner.has_warned, true) {
                let cache_dir = self.path.display();
                tracing::warn!(%cache_dir, %error, "the cache is off, and origin serves all reads");
            }
            let off = State::Off { until: Instant::now() + RETRY_AFTER };
            std::mem::replace(&mut inner.state, off)
        };
        // An engine that is dropped writes to the disk.
        drop_off_thread(replaced);
    }

    /// Opens the directory if it exists and is not open. As [`engine`](Self::engine), waits for up
    /// to 2 seconds.
    async fn open_existing(self: &Arc<Self>) {
        match &self.lock().state {
            State::Open(_) => return,
            State::Off { until } if Instant::now() < *until => return,
            _ => {}
        }
        let path = self.path.clone();
        let exists = tokio::task::spawn_blocking(move || path.try_exists()).await;
        if let Ok(Ok(true) | Err(_)) = exists {
            let _ = self.engine().await;
        }
    }

    /// Begins a write of keys at origin. The write may begin when this returns.
    pub(super) async fn begin_write(directory: &Arc<Self>, keys: Vec<Key>) -> DirectoryWrite {
        directory.open_existing().await;
        let engine = {
            let mut inner = directory.lock();
            match &inner.state {
                State::Open(engine) => Some(engine.clone()),
                _ => {
                    inner.unpurged.add(&keys, false);
                    None
                }
            }
        };
        let mut write = DirectoryWrite {
            directory: Arc::clone(directory),
            keys,
            engine,
            at_engine: None,
            has_succeeded: false,
        };
        if let Some(engine) = &write.engine {
            match Write::begin(engine, write.keys.clone()).await {
                Ok(at_engine) => write.at_engine = Some(at_engine),
                Err(error) => {
                    directory.lock().unpurged.add(&write.keys, false);
                    directory.turn_off(&error);
                    write.engine = None;
                }
            }
        }
        write
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A write at origin that is under way. Dropped before [`end`](Self::end), its outcome is
/// uncertain.
#[derive(Debug)]
pub(super) struct DirectoryWrite {
    directory: Arc<Directory>,
    keys: Vec<Key>,
    /// The engine that was open when the write began.
    engine: Option<Engine>,
    at_engine: Option<Write>,
    /// Whether its outcome is certain.
    has_succeeded: bool,
}

impl DirectoryWrite {
    /// Ends the write. `succeeded` if its outcome is certain.
    pub(super) async fn end(mut self, succeeded: bool) {
        self.has_succeeded = succeeded;
        if let Some(write) = self.at_engine.take()
            && let Err(error) = write.end(succeeded).await
        {
            self.directory.lock().unpurged.add(&self.keys, !succeeded);
            self.directory.turn_off(&error);
        }
    }
}

impl Drop for DirectoryWrite {
    fn drop(&mut self) {
        // First the engine's part, if the write was dropped.
        self.at_engine = None;
        let opened = {
            let mut inner = self.directory.lock();
            match &inner.state {
                State::Open(engine) if self.engine.as_ref().is_some_and(|e| e.is(engine)) => None,
                State::Open(engine) => Some(engine.clone()),
                _ => {
                    inner.unpurged.add(&self.keys, !self.has_succeeded);
                    None
                }
            }
        };
        // The directory was opened during the write, and may have what it replaces.
        if let Some(engine) = opened {
            engine.invalidate(&self.keys);
        }
    }
}
