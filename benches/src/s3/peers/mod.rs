//! The peers, as far as the workloads need them: each as its users would set it up, with as many
//! parts of the same size on their way where that can be chosen.

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

/// The size of a part, and how many are on their way at once: the driver's defaults.
const PART: usize = 8 << 20;
const PARTS: usize = 8;

/// Whatever moves files to the server and back.
#[async_trait]
pub trait Files: Send + Sync {
    fn name(&self) -> &'static str;

    async fn upload(&self, key: &str, file: &Path) -> Result<()>;

    async fn download(&self, key: &str, file: &Path) -> Result<()>;
}

/// A library.
#[async_trait]
pub trait Peer: Files {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Opens a small object into memory, by the peer's shortest way; answers its length.
    async fn read_small(&self, key: &str) -> Result<usize>;

    /// Saves a stream whose size nobody knows.
    async fn save_stream(&self, key: &str, chunks: Chunks) -> Result<()>;

    /// Opens an object and reads it chunk by chunk; answers its length.
    async fn read(&self, key: &str) -> Result<u64>;

    /// Lists what begins with a prefix.
    async fn list(&self, prefix: &str) -> Result<Listed>;
}

/// What a listing brought.
#[derive(Default)]
pub struct Listed {
    pub count: usize,
    /// When the first entry was there.
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

/// For uploads, whose checksums differ: the libraries, and ours with another checksum.
pub fn uploaders(server: &Server) -> Result<Vec<Arc<dyn Peer>>> {
    let mut all = libraries(server)?;
    all.insert(1, ours::with_crc(server)?);
    Ok(all)
}

/// All libraries, ours first.
pub fn libraries(server: &Server) -> Result<Vec<Arc<dyn Peer>>> {
    Ok(vec![
        ours::peer(server)?,
        object_store::peer(server)?,
        opendal::peer(server)?,
        aws::peer(server),
    ])
}
