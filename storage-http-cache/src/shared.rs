//! [`Shared`]: the state that all verbs share.

use std::sync::Arc;

use storage_core::{Driver, DriverInfo, Key};

use crate::link_policy::LinkPolicy;
use crate::mirror::Mirror;
use crate::origin_memo::OriginMemo;
use crate::rendezvous;
use crate::status::OriginCounts;

/// The state of a driver. Bodies keep it alive.
pub(crate) type Shared = Arc<Inner>;

/// See [`Shared`].
pub(crate) struct Inner {
    pub(crate) origin: Arc<dyn Driver>,
    pub(crate) info: DriverInfo,
    pub(crate) mirrors: Vec<Arc<Mirror>>,
    /// The seed of each mirror, for the order in which mirrors are tried.
    pub(crate) seeds: Vec<u64>,
    pub(crate) memo: OriginMemo,
    pub(crate) links: LinkPolicy,
    pub(crate) counts: OriginCounts,
}

impl Inner {
    /// Returns the mirrors in the order in which they are tried for a key.
    pub(crate) fn mirrors_for(&self, key: &Key) -> impl Iterator<Item = &Arc<Mirror>> + use<'_> {
        let order = rendezvous::order(&self.seeds, key);
        order.into_iter().map(|position| &self.mirrors[position])
    }
}
