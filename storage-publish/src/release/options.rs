//! [`PublishOptions`]: how a site is published.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use storage_core::{Error, Result, keys};

use super::config::{DEFAULT_GRACE, DEFAULT_KEEP, PublishConfig};
use super::purge::Purge;
use super::rules::Rules;
use super::stop::Stop;

/// How long a claim is valid after it was renewed by default. It is renewed three times in that
/// time, so clocks that differ by less than two thirds of it do no harm.
const DEFAULT_CLAIM: Duration = Duration::from_secs(15 * 60);

/// The longest claim. It ends before the end of the times that `SystemTime` can represent.
const MAX_CLAIM: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of requests at a time by default.
const DEFAULT_CONCURRENCY: usize = 32;

/// A function that receives the key and the size of an object that was stored.
pub(crate) type OnStored = Arc<dyn Fn(&str, u64) + Send + Sync>;

/// How a site is published, and how long old releases are kept.
///
/// ```
/// use std::time::Duration;
/// use storage_publish::{PublishConfig, PublishOptions};
///
/// let options = PublishOptions::from_config(&PublishConfig::default())?
///     .keep(5)
///     .grace(Duration::from_secs(24 * 3600))
///     .publisher("ci@build-7");
/// # let _ = options;
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone)]
pub struct PublishOptions {
    pub(crate) rules: Rules,
    pub(crate) keep: u32,
    pub(crate) grace: Duration,
    pub(crate) publisher: Option<String>,
    pub(crate) purge: Option<Arc<dyn Purge>>,
    pub(crate) claim_for: Duration,
    pub(crate) concurrency: usize,
    pub(crate) stop: Stop,
    pub(crate) on_stored: Option<OnStored>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            keep: DEFAULT_KEEP,
            grace: DEFAULT_GRACE,
            publisher: None,
            purge: None,
            claim_for: DEFAULT_CLAIM,
            concurrency: DEFAULT_CONCURRENCY,
            stop: Stop::default(),
            on_stored: None,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl PublishOptions {
    /// Returns the defaults: no rules, no encodings, three releases, a grace of seven days.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the options of a table `[publish]` that concern releases. Set
    /// [`purge`](Self::purge) yourself: the table contains only the names of the mirrors.
    ///
    /// # Errors
    /// `InvalidConfig` if a rule is invalid, `keep` is 0, or this build lacks an encoding.
    pub fn from_config(config: &PublishConfig) -> Result<Self> {
        if config.keep == 0 {
            return Err(Error::config(
                "`keep` counts the current release too, so it is at least 1",
            ));
        }
        let rules = Rules::new(config)?;
        Ok(Self { rules, keep: config.keep, grace: config.grace, ..Self::default() })
    }

    /// Sets the number of releases that are kept, the current one included; 0 counts as 1. Defaults
    /// to 3.
    #[must_use]
    pub fn keep(mut self, releases: u32) -> Self {
        self.keep = releases.max(1);
        self
    }

    /// Sets how long the files of a release are kept after it stopped being current. Defaults to
    /// seven days.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the name that other publishers see while this one works, such as `ada@laptop`. The
    /// pointer contains it, which is public if the destination is. Defaults to random text.
    #[must_use]
    pub fn publisher(mut self, name: impl Into<String>) -> Self {
        self.publisher = Some(name.into());
        self
    }

    /// Sets what purges the mirrors after a release became current. Defaults to nothing.
    #[must_use]
    pub fn purge(mut self, purge: impl Purge + 'static) -> Self {
        self.purge = Some(Arc::new(purge));
        self
    }

    /// Sets how long a claim is valid after it was renewed, from one second to one day. After a
    /// crash, other publishers have to wait that long. Defaults to 15 minutes.
    #[must_use]
    pub fn claim_for(mut self, time: Duration) -> Self {
        self.claim_for = time.clamp(Duration::from_secs(1), MAX_CLAIM);
        self
    }

    /// Sets the number of requests at a time, at least 1. Defaults to 32.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Calls a function with the key and the size in bytes of each object that a publish has
    /// stored: files and their siblings, in no order. It must not block. Defaults to none.
    #[must_use]
    pub fn on_stored(mut self, function: impl Fn(&str, u64) + Send + Sync + 'static) -> Self {
        self.on_stored = Some(Arc::new(function));
        self
    }

    /// Ends a publish or a rollback early, in good order, when this future is ready: for example,
    /// on Ctrl-C. Defaults to never.
    ///
    /// Before the first page is written, the work is dropped, the claim is given back, and nothing
    /// visible has changed. Pages have 5 seconds to be written and made current. The error is a
    /// `Conflict`, which is [retryable](Error::is_retryable). What follows the switch, purge and
    /// clean-up, is left to the next publish.
    #[must_use]
    pub fn stop_on(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Stop::new(stop);
        self
    }

    /// Replaces the system's clock, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now);
        self
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Returns the name of the publisher, without control characters and with a bounded length.
    pub(crate) fn publisher_name(&self) -> Result<String> {
        match &self.publisher {
            Some(name) => Ok(name.chars().filter(|c| !c.is_control()).take(200).collect()),
            None => keys::random_text(12),
        }
    }
}

impl fmt::Debug for PublishOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishOptions")
            .field("keep", &self.keep)
            .field("grace", &self.grace)
            .field("publisher", &self.publisher)
            .field("claim_for", &self.claim_for)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
