//! The libraries and programs to compare, each configured as its users would, with the same size
//! and number of concurrent parts where that is possible.

pub mod aws;
mod object_store;
mod opendal;
mod ours;
mod programs;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

pub use programs::programs;

use super::server::{Chunks, Server};
use crate::peers::Result;

/// The size of a part in bytes, and the number of concurrent parts: the defaults of the driver.
const PART: usize = 8 << 20;
const PARTS: usize = 8;

/// A library or a program that copies files to the server and back.
#[async_trait]
pub trait Files: Send + Sync {
    fn name(&self) -> &'static str;

    async fn upload(&self, key: &str, file: &Path) -> Result<()>;

    async fn download(&self, key: &str, file: &Path) -> Result<()>;
}

/// A library that saves, opens and lists objects.
#[async_trait]
pub trait Peer: Files {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Opens a small object and reads it into memory, in the fastest way of the peer. Returns its
    /// length in bytes.
    async fn read_small(&self, key: &str) -> Result<usize>;

    /// Saves a stream of unknown size.
    async fn save_stream(&self, key: &str, chunks: Chunks) -> Result<()>;

    /// Opens an object and reads it in chunks. Returns its length in bytes.
    async fn read(&self, key: &str) -> Result<u64>;

    /// Lists the objects with a prefix.
    async fn list(&self, prefix: &str) -> Result<Listed>;
}

/// The result of a listing.
#[derive(Default)]
pub struct Listed {
    pub count: usize,
    /// The time at which the first entry arrived.
    pub first: Option<Instant>,
}

impl Listed {
    fn add(&mut self, entries: usize) {
        if entries > 0 {
            self.first.get_or_insert_with(Instant::now);
        }
        self.count += entries;
    }
}

/// Returns the libraries for uploads, and anystorage with another checksum in addition.
pub fn uploaders(server: &Server) -> Result<Vec<Arc<dyn Peer>>> {
    let mut all = libraries(server)?;
    all.insert(1, ours::with_crc(server)?);
    Ok(all)
}

/// Returns all libraries, anystorage first.
pub fn libraries(server: &Server) -> Result<Vec<Arc<dyn Peer>>> {
    Ok(vec![
        ours::peer(server)?,
        object_store::peer(server)?,
        opendal::peer(server)?,
        aws::peer(server),
    ])
}
