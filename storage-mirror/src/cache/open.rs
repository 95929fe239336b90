//! `open`: opens an object in the cache, or at origin.

use storage_core::{Error, Key, Object, OpenOptions, Result};

use super::shared::Shared;
use crate::engine::{CacheStatus, Engine, Lookup};

/// The maximum number of lookups. An unreadable entry is removed by the first one.
const ATTEMPTS: usize = 2;

pub(super) async fn open(shared: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let cached = match shared.engine_for(options).await {
        Some(engine) if options.range.is_some() => {
            open_range(shared, &engine, key, options).await?
        }
        Some(engine) => open_whole(shared, &engine, key, options).await?,
        None => None,
    };
    if let Some(object) = cached {
        return Ok(object);
    }
    shared.opens.bypassed.add(1);
    shared.origin.open(key, options).await
}

impl Shared {
    /// Returns the engine unless the open is conditional or the cache is off. A range of a given
    /// version is not conditional in this sense: the cache has this version or not.
    async fn engine_for(&self, options: &OpenOptions) -> Option<Engine> {
        let mut others = options.clone();
        if options.range.is_some() {
            others.if_match = None;
        }
        if others.is_conditional() { None } else { self.directory.engine().await }
    }
}

/// Opens a range of an object that is in the store and fresh, if it is the requested version.
/// Returns `None` otherwise.
async fn open_range(
    shared: &Shared,
    engine: &Engine,
    key: &Key,
    options: &OpenOptions,
) -> Result<Option<Object>> {
    let Some(version) = engine.find_fresh(key).await else { return Ok(None) };
    if let Some(wanted) = &options.if_match
        && !version.meta().etag.as_ref().is_some_and(|etag| etag.strong_eq(wanted))
    {
        return Ok(None);
    }
    let object = engine.try_read(&version, options).await?;
    if object.is_some() {
        shared.opens.hits.add(1);
    }
    Ok(object)
}

/// Opens an object in the store, or while it arrives from origin. Returns `None` if it is not
/// stored.
async fn open_whole(
    shared: &Shared,
    engine: &Engine,
    key: &Key,
    options: &OpenOptions,
) -> Result<Option<Object>> {
    for _ in 0..ATTEMPTS {
        let (version, status) = match engine.find(key).await {
            Lookup::Version(version, status) => (version, status),
            Lookup::Pass(reason) => {
                tracing::debug!(reason, "an open bypasses the cache");
                return Ok(None);
            }
            Lookup::Missing { .. } => return Err(Error::not_found()),
            Lookup::Failed { error, .. } => return Err(error),
        };
        if let Some(object) = engine.try_read(&version, options).await? {
            let opens = &shared.opens;
            match status {
                CacheStatus::Miss { .. } | CacheStatus::Replaced { .. } => opens.fetched.add(1),
                CacheStatus::StaleIfError => {
                    opens.hits.add(1);
                    opens.stale_hits.add(1);
                }
                _ => opens.hits.add(1),
            }
            return Ok(Some(object));
        }
    }
    Ok(None)
}
