//! [`CacheBuilder`], the options of a configuration, and [`register`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use storage_core::config::{Value, byte_size, duration, local_path};
use storage_core::{BuildContext, Driver, DriverInfo, Error, Registry, Result, Storage};

use super::directory::Directory;
use super::driver::Cache;
use super::shared::Shared;
use crate::engine::{Clock, DEFAULT_TTL, EngineOptions, FreshnessPolicy, StalePolicy};
use crate::store::{DEFAULT_INDEX_MEMORY, DEFAULT_MEMORY, Limits, OPEN_FILES};

/// Builds a [`Cache`]. Returned by [`Cache::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CacheBuilder {
    origin: Storage,
    cache_dir: PathBuf,
    max_size: u64,
    max_object_size: Option<u64>,
    ttl: Duration,
    memory: u64,
    stale_if_error: Duration,
    clock: Clock,
}

impl CacheBuilder {
    pub(super) fn new(origin: Storage, cache_dir: PathBuf, max_size: u64) -> Self {
        Self {
            origin,
            cache_dir,
            max_size,
            max_object_size: None,
            ttl: DEFAULT_TTL,
            memory: DEFAULT_MEMORY,
            stale_if_error: Duration::ZERO,
            clock: Clock::new(SystemTime::now),
        }
    }

    /// Sets the size in bytes above which objects are not stored. Defaults to a tenth of
    /// `max_size`.
    pub fn max_object_size(mut self, bytes: u64) -> Self {
        self.max_object_size = Some(bytes);
        self
    }

    /// Sets how long an object is served without a request to origin. With zero, each open that
    /// does not share a fetch revalidates the object at origin. Defaults to `1h`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the upper bound in bytes for the memory of metadata and of objects that are read often.
    /// Defaults to `64MiB`.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets how long after its `ttl` an object is served if origin fails with a retryable error.
    /// Defaults to `0s`, which serves no stale object.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = time;
        self
    }

    #[cfg(test)]
    pub(super) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the driver. Does no I/O.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` and the name of the option if `max_size` is 0 or less than
    /// `max_object_size`, or if `cache_dir` is empty.
    pub fn build(self) -> Result<Cache> {
        let bad = |text: &'static str| Err(Error::config(text));
        if self.max_size == 0 {
            return bad(
                "option max_size: must be more than 0; set an upper bound, as in \"10GiB\"",
            );
        }
        if self.max_object_size.is_some_and(|size| size > self.max_size) {
            return bad("option max_object_size: must be at most max_size");
        }
        if self.cache_dir.as_os_str().is_empty() {
            return bad("option cache_dir: must not be empty; set a directory");
        }
        let of_origin = self.origin.info();
        let location = format!("{} -> {}", self.cache_dir.display(), of_origin.location);
        let info = DriverInfo::new("cache", location, of_origin.capabilities);
        let (path, origin) = (self.cache_dir.clone(), self.origin.clone());
        let driver = Arc::clone(self.origin.driver());
        let directory = Arc::new(Directory::new(path, origin, move || self.engine_options()));
        let shared = Shared { info, origin: driver, directory, opens: Default::default() };
        Ok(Cache(Arc::new(shared)))
    }

    fn engine_options(&self) -> EngineOptions {
        let limits = Limits {
            max_size: self.max_size,
            max_object_size: Some(self.max_object_size.unwrap_or(self.max_size / 10)),
            memory: self.memory,
            index_memory: DEFAULT_INDEX_MEMORY,
            open_files: OPEN_FILES,
        };
        let freshness = FreshnessPolicy {
            ttl: self.ttl,
            rules: Vec::new(),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: self.stale_if_error,
            is_upper_bound: true,
        };
        EngineOptions {
            limits,
            negative_ttl: Duration::ZERO,
            freshness,
            stale: StalePolicy::RetryableErrors,
            requires_strong_etag: true,
            logs_failures: false,
            passes_if_slow: true,
            clock: self.clock.clone(),
        }
    }
}

storage_core::options! {
    /// The options of the driver in a configuration.
    struct CacheOptions {
        /// The storage that holds the objects: the name of another storage, or a table.
        origin: Value => "name or table", required;
        /// The directory of the cache. Only one storage of one process can use it.
        #[serde(deserialize_with = "local_path::deserialize")]
        cache_dir: PathBuf => "path", required;
        /// Upper bound for the disk space of the objects.
        #[serde(deserialize_with = "byte_size::deserialize")]
        max_size: u64 => "size", required;
        /// Larger objects are read from origin and not stored.
        #[serde(default, deserialize_with = "byte_size::option")]
        max_object_size: Option<u64> => "size", otherwise "a tenth of `max_size`";
        /// How long an object is served without a request to origin, unless its `Cache-Control` or
        /// `Expires` sets a shorter time.
        #[serde(default, deserialize_with = "duration::option")]
        ttl: Option<Duration> => "duration", default "1h";
        /// Upper bound for the memory of metadata and of objects that are read often. The index
        /// takes up to 512 MiB more.
        #[serde(default, deserialize_with = "byte_size::option")]
        memory: Option<u64> => "size", default "64MiB";
        /// How long after its `ttl` an object is served if origin fails with a retryable error.
        #[serde(default, deserialize_with = "duration::option")]
        stale_if_error: Option<Duration> => "duration", default "0s";
    }
}

/// Registers the driver `cache`. It has no URL form, because it refers to another storage.
///
/// The driver takes its own [options](super#options) and those of every driver.
///
/// ```
/// use storage_core::config::StoragesConfig;
///
/// let mut registry = storage_core::Registry::with_memory();
/// storage_mirror::cache::register(&mut registry);
/// let config: StoragesConfig = serde_json::from_str(
///     r#"{
///         "default": {
///             "driver": "cache",
///             "origin": "media",
///             "cache_dir": "/var/cache/app",
///             "max_size": "10GiB"
///         },
///         "media": { "driver": "memory" }
///     }"#,
/// )?;
/// let storage = registry.open_named(&config, "default")?;
/// assert_eq!(storage.info().name, "cache");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.register("cache", build);
}

fn build(options: CacheOptions, context: &BuildContext<'_>) -> Result<Arc<dyn Driver>> {
    let origin =
        context.storage(&options.origin).map_err(|error| error.with_context("option origin"))?;
    let mut builder = Cache::builder(origin, options.cache_dir, options.max_size);
    builder.max_object_size = options.max_object_size;
    if let Some(ttl) = options.ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(memory) = options.memory {
        builder = builder.memory(memory);
    }
    if let Some(time) = options.stale_if_error {
        builder = builder.stale_if_error(time);
    }
    Ok(Arc::new(builder.build()?))
}
