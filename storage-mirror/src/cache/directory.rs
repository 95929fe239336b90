//! [`Directory`]: the directory of the cache, which is opened on first use and may be unusable.
//!
//! The first `open` opens it. A write opens it if it exists, because it may contain versions from
//! an earlier process. While it is not open, reads go to origin, and written keys are recorded.
//! Opening it removes the recorded keys before any object is served.
//!
//! The file `origin` in the directory identifies the origin of the objects. If the cache has
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

/// How long a read waits for the directory to open before it goes to origin.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the cache stays off after a failure of its directory.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The maximum number of written keys that are recorded while the directory is not open. If there
/// are more, opening it removes all objects.
const MAX_UNPURGED: usize = 10_000;
/// The file with the SHA-256 of origin's location, in hexadecimal.
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
    /// A thread is opening it. The channel closes when the thread ends.
    Opening {
        ended: watch::Receiver<()>,
        /// Until when callers wait for it. Later ones do not wait.
        deadline: Instant,
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

    /// Adds keys back that were taken and could not be purged.
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

    /// Returns the engine, or `None` if the cache is off. Begins to open the directory if it is
    /// closed or the next attempt is due. Waits up to 2 seconds for the first attempt.
    pub(super) async fn engine(self: &Arc<Self>) -> Option<Engine> {
        let engine = self.opened().await?;
        if engine.is_off() {
            let error =
                Error::new(ErrorKind::Unexpected, "an object could not be removed from the cache");
            self.turn_off(&error);
            return None;
        }
        Some(engine)
    }

    async fn opened(self: &Arc<Self>) -> Option<Engine> {
        let (mut ended, deadline) = {
            let mut inner = self.lock();
            match &inner.state {
                State::Open(engine) => return Some(engine.clone()),
                State::Off { until } if Instant::now() < *until => return None,
                State::Off { .. } => {
                    self.begin_opening(&mut inner, true);
                    return None;
                }
                State::Opening { ended, deadline, is_retry } if ended.has_changed().is_ok() => {
                    if *is_retry {
                        return None;
                    }
                    (ended.clone(), *deadline)
                }
                // An attempt ends without a result if its runtime shuts down.
                State::Closed | State::Opening { .. } => self.begin_opening(&mut inner, false),
            }
        };
        // The channel closes without a change.
        let _ = tokio::time::timeout_at(deadline, ended.changed()).await;
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

    /// Begins to open the directory. Returns what reports the end, and until when callers wait.
    fn begin_opening(
        self: &Arc<Self>,
        inner: &mut Inner,
        is_retry: bool,
    ) -> (watch::Receiver<()>, Instant) {
        let (sender, ended) = watch::channel(());
        let deadline = Instant::now() + OPENING_TIMEOUT;
        inner.state = State::Opening { ended: ended.clone(), deadline, is_retry };
        let directory = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            directory.open();
            drop(sender);
        });
        (ended, deadline)
    }

    /// Opens the directory, and removes the keys that were written in the meantime. Blocks on the
    /// disk.
    fn open(&self) {
        let opened = Engine::open(&self.path, self.origin.clone(), (self.options)())
            .and_then(|engine| self.check_origin(&engine).map(|()| engine));
        match opened {
            Ok(engine) => self.publish(&engine),
            Err(error) => self.turn_off(&error),
        }
    }

    /// Removes all objects if they come from another origin.
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
            tracing::warn!(%cache_dir, "the cache contains objects of another origin, and is emptied");
            engine.purge_all()?;
        }
        // Synced before the first object of this origin is stored. A truncated file matches no
        // origin.
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

    /// Turns the cache off for a minute, and logs the reason the first time.
    fn turn_off(&self, error: &Error) {
        let replaced = {
            let mut inner = self.lock();
            if !std::mem::replace(&mut inner.has_warned, true) {
                let cache_dir = self.path.display();
                tracing::warn!(%cache_dir, %error, "the cache is off, and origin serves all reads");
            }
            // It is off because an object could not be removed. Which one is not known.
            if matches!(&inner.state, State::Open(engine) if engine.is_off()) {
                inner.unpurged = Unpurged::All;
            }
            let off = State::Off { until: Instant::now() + RETRY_AFTER };
            std::mem::replace(&mut inner.state, off)
        };
        // Dropping an engine writes to the disk.
        drop_off_thread(replaced);
    }

    /// Opens the directory if it exists and is not open. Waits up to 2 seconds, like
    /// [`engine`](Self::engine).
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

    /// Prepares a write of keys at origin. Start the write after this returns.
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

/// A running write at origin. If it is dropped before [`end`](Self::end), its outcome is uncertain.
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

/// Returns whether the outcome of a write is certain: it succeeded, or was refused before it
/// changed anything.
pub(super) fn is_certain<T>(written: &Result<T>) -> bool {
    match written {
        Ok(_) => true,
        Err(error) if error.took_effect() => false,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::AlreadyExists
                | ErrorKind::PreconditionFailed
                | ErrorKind::InvalidKey
                | ErrorKind::InvalidInput
        ),
    }
}

impl DirectoryWrite {
    /// Ends the write. `succeeded` states that its outcome is certain.
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
        // Ends the engine's write first, if this write was dropped.
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
        // The directory was opened during the write, and may contain a version that the write
        // replaces.
        if let Some(engine) = opened {
            engine.invalidate(&self.keys);
        }
    }
}
