//! [`Directory`]: the cache's directory, which is opened on first use and may be off.
//!
//! While it is not open, reads go to origin, and the keys that are written are remembered: the
//! directory may hold versions of them from an earlier run. They are removed when it is opened,
//! before anything is served.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Error, Key, Result, Storage};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{Engine, EngineOptions, Write};

/// How long a read waits for the first opening before origin serves it.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the cache stays off after trouble with its directory.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How many written keys are remembered while the directory is not open. If there are more, all
/// objects are removed when it is opened.
const MAX_UNPURGED: usize = 10_000;

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
    Keys(HashSet<Key>),
    All,
}

impl Unpurged {
    fn add(&mut self, keys: &[Key]) {
        if let Self::Keys(unpurged) = self {
            unpurged.extend(keys.iter().cloned());
            if unpurged.len() > MAX_UNPURGED {
                *self = Self::All;
            }
        }
    }

    /// Takes the keys, or returns `None` if there are none.
    fn take(&mut self) -> Option<Self> {
        let is_empty = matches!(self, Self::Keys(keys) if keys.is_empty());
        (!is_empty).then(|| std::mem::replace(self, Self::Keys(HashSet::new())))
    }

    /// Removes the keys from a store. Blocks on the disk.
    fn purge(&self, engine: &Engine) -> Result<()> {
        match self {
            Self::Keys(keys) => engine.purge_keys(&keys.iter().cloned().collect::<Vec<_>>()),
            Self::All => engine.purge_all(),
        }
    }
}

impl Directory {
    pub(super) fn new(
        path: PathBuf,
        origin: Storage,
        options: impl Fn() -> EngineOptions + Send + Sync + 'static,
    ) -> Self {
        let unpurged = Unpurged::Keys(HashSet::new());
        let inner = Inner { state: State::Closed, unpurged, has_warned: false };
        Self { path, origin, options: Box::new(options), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the engine, or `None` if the cache is off. Begins to open the directory if that is
    /// due, and waits for the first opening for up to 2 seconds.
    pub(super) async fn engine(self: &Arc<Self>) -> Option<Engine> {
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
        match Engine::open(&self.path, self.origin.clone(), (self.options)()) {
            Ok(engine) => self.publish(&engine),
            Err(error) => self.turn_off(&error),
        }
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
                match unpurged {
                    Unpurged::Keys(keys) => {
                        self.lock().unpurged.add(&keys.into_iter().collect::<Vec<_>>());
                    }
                    Unpurged::All => self.lock().unpurged = Unpurged::All,
                }
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
        drop(replaced);
    }

    /// Begins a write of keys at origin. The write may begin when this returns.
    pub(super) async fn begin_write(directory: &Arc<Self>, keys: Vec<Key>) -> DirectoryWrite {
        let engine = {
            let mut inner = directory.lock();
            match &inner.state {
                State::Open(engine) => Some(engine.clone()),
                _ => {
                    inner.unpurged.add(&keys);
                    None
                }
            }
        };
        let mut write =
            DirectoryWrite { directory: Arc::clone(directory), keys, engine, at_engine: None };
        if let Some(engine) = &write.engine {
            match Write::begin(engine, write.keys.clone()).await {
                Ok(at_engine) => write.at_engine = Some(at_engine),
                Err(error) => {
                    directory.lock().unpurged.add(&write.keys);
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
}

impl DirectoryWrite {
    /// Ends the write. `succeeded` if its outcome is certain.
    pub(super) async fn end(mut self, succeeded: bool) {
        if let Some(write) = self.at_engine.take()
            && let Err(error) = write.end(succeeded).await
        {
            self.directory.lock().unpurged.add(&self.keys);
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
                    inner.unpurged.add(&self.keys);
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
