//! [`Version`]: one version of an object, in the store or arriving.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use storage_core::ObjectMeta;

use super::progress::Progress;
use crate::store::{Entry, EntryMeta};

/// An object in the store, and its metadata at the time of the lookup.
#[derive(Debug, Clone)]
pub(crate) struct CachedObject {
    pub(crate) entry: Arc<Entry>,
    pub(crate) meta: Arc<EntryMeta>,
}

/// One version of an object. It can be read to its end after it is evicted or purged.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    Cached(CachedObject),
    Arriving(Arc<Progress>),
}

impl Version {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Cached(cached) => &cached.meta.object,
            Self::Arriving(progress) => &progress.meta,
        }
    }

    /// Returns the age of the version (`current_age`, RFC 9111 section 4.2.3).
    pub(crate) fn age(&self) -> Duration {
        match self {
            Self::Cached(cached) => cached.meta.age_at(SystemTime::now()),
            Self::Arriving(progress) => progress.age(),
        }
    }

    /// Returns the `Date` of the response that contained or confirmed the version (RFC 9110 section
    /// 6.6.1), or `None` if it is arriving without one.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        match self {
            Self::Cached(cached) => Some(cached.meta.response_date()),
            Self::Arriving(progress) => progress.meta.response.map(|response| response.date),
        }
    }
}
