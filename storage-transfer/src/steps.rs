//! [`Steps`]: the pairs of a transfer, from two listings or from a list of keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use storage_core::{Key, ObjectEntry, Result};

use crate::compare::entry;
use crate::directory::Directory;
use crate::listing::{Listing, NameRange};
use crate::merge::{Merge, Pair, Side, Step};
use crate::retry::Retry;

/// How many keys of a list are looked up at a time.
const LOOKUPS: usize = 32;

/// Where the pairs come from.
pub(crate) enum Steps {
    Listings(Box<Merge>, Limit),
    Keys(BoxStream<'static, Step>),
}

/// The last name of a range, which may become smaller while the range is read. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(Arc<RwLock<Option<String>>>);

impl Limit {
    pub(crate) fn set(&self, until: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(crate) fn is_behind(&self, name: &str) -> bool {
        let until = self.0.read().unwrap_or_else(PoisonError::into_inner);
        until.as_deref().is_some_and(|until| name > until)
    }
}

impl Steps {
    /// Begins both listings, or looks up the keys of a list if there is one.
    pub(crate) fn begin(
        source: &Directory,
        target: &Directory,
        keys: Option<BoxStream<'static, Result<Key>>>,
    ) -> Self {
        match keys {
            Some(keys) => Self::keys(source.clone(), target.clone(), keys),
            None => {
                let merge = Merge::begin(source, target, &NameRange::default());
                Self::listings_until(merge, Limit::default())
            }
        }
    }

    /// Begins the listing of the target, and takes the objects of the source from a stream.
    pub(crate) fn with_source_entries(
        source: &Directory,
        target: &Directory,
        entries: BoxStream<'static, Result<ObjectEntry>>,
    ) -> Self {
        let listings =
            [Listing::begin_with(source, entries), Listing::begin(target, NameRange::default())];
        Self::listings_until(Merge::join((source, target), listings), Limit::default())
    }

    /// Ends at the limit, although the listings go on.
    pub(crate) fn listings_until(merge: Merge, limit: Limit) -> Self {
        Self::Listings(Box::new(merge), limit)
    }

    /// Looks up each key of a list on both sides. The result has the order of the list.
    pub(crate) fn keys(
        source: Directory,
        target: Directory,
        keys: BoxStream<'static, Result<Key>>,
    ) -> Self {
        let patience = Arc::new(Patience::default());
        let steps = keys.map(move |key| {
            let (source, target) = (source.clone(), target.clone());
            let patience = Arc::clone(&patience);
            async move { step(&source, &target, key, &patience).await }
        });
        Self::Keys(steps.buffered(LOOKUPS).flat_map(stream::iter).boxed())
    }

    /// Returns the next step; `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Step> {
        match self {
            Self::Listings(merge, limit) => {
                let step = merge.next().await?;
                let is_behind = matches!(&step, Step::Pair(pair) if limit.is_behind(pair.name()));
                (!is_behind).then_some(step)
            }
            Self::Keys(steps) => steps.next().await,
        }
    }
}

/// How many lookups in a row have failed after all their attempts. After so many, further ones
/// have one attempt each, so that a long list ends soon while a service is unavailable.
#[derive(Default)]
struct Patience(AtomicUsize);

impl Patience {
    const FAILURES: usize = 64;

    fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed) < Self::FAILURES
    }
}

async fn step(
    source: &Directory,
    target: &Directory,
    key: Result<Key>,
    patience: &Patience,
) -> Option<Step> {
    let key = match key {
        Ok(key) => key,
        Err(error) => return Some(Step::Broken(Side::Source, error)),
    };
    let name = key.as_str();
    let unknown = |side, error| Some(Step::Unknown(side, name.to_owned(), error));
    match tokio::join!(find(source, name, patience), find(target, name, patience)) {
        (Ok(None), Ok(None)) => Some(Step::Missing(name.to_owned())),
        (Ok(of_source), Ok(of_target)) => {
            Some(Step::Pair(Pair::new((source, target), of_source, of_target)))
        }
        (Err(error), _) => unknown(Side::Source, error),
        (_, Err(error)) => unknown(Side::Target, error),
    }
}

async fn find(
    directory: &Directory,
    name: &str,
    patience: &Patience,
) -> Result<Option<ObjectEntry>> {
    let key = directory.key(name)?;
    let mut retry = Retry::default();
    loop {
        let error = match directory.storage().stat(&key).await {
            Ok(meta) => {
                patience.0.store(0, Ordering::Relaxed);
                return Ok(Some(entry(meta)));
            }
            Err(error) if error.is_not_found() => {
                patience.0.store(0, Ordering::Relaxed);
                return Ok(None);
            }
            Err(error) => error,
        };
        let waited = match patience.is_left() {
            true => retry.wait(error).await,
            false => Err(error),
        };
        waited.inspect_err(|_| {
            patience.0.fetch_add(1, Ordering::Relaxed);
        })?;
    }
}
