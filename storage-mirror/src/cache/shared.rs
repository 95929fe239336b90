//! [`Shared`]: the state that all verbs share.

use std::sync::Arc;

use storage_core::{Driver, DriverInfo};

use super::directory::Directory;
use super::status::{Opens, Status};
use crate::engine::Engine;

/// The state of a cache.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) info: DriverInfo,
    pub(super) origin: Arc<dyn Driver>,
    pub(super) directory: Arc<Directory>,
    pub(super) opens: Opens,
}

impl Shared {
    pub(super) fn status(&self) -> Status {
        let engine = self.directory.open_engine();
        let usage = engine.as_ref().map(Engine::usage);
        Status {
            is_open: engine.is_some(),
            hits: self.opens.hits.get(),
            stale_hits: self.opens.stale_hits.get(),
            fetched: self.opens.fetched.get(),
            bypassed: self.opens.bypassed.get(),
            fetching: engine.as_ref().map_or(0, |engine| engine.in_flight() as u64),
            objects: usage.map_or(0, |usage| usage.objects),
            bytes: usage.map_or(0, |usage| usage.bytes),
        }
    }
}
