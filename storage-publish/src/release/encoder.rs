//! [`Encoder`]: compresses files on the blocking pool, in parallel and in bounded memory.

use std::path::Path;
use std::thread;

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::digest::Sha256;
use super::encodings::{Encoding, is_worthwhile};
use crate::site::{Asset, Content};

/// The memory for files that are compressed at a time, in KiB. One large file may need more.
const BUDGET: u32 = 64 * 1024;

/// The largest window of a compressor in bytes.
const MAX_WINDOW: u64 = 4 * 1024 * 1024;

/// Compresses files.
#[derive(Debug)]
pub(crate) struct Encoder {
    threads: Semaphore,
    memory: Semaphore,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: Semaphore::new(threads), memory: Semaphore::new(BUDGET as usize) }
    }

    /// Returns the encoded bytes of a file, or `None` if they are not smaller than 95 % of the
    /// plain ones.
    ///
    /// # Errors
    /// `Integrity` if the file changed since the site was read, and errors of reading it.
    pub(crate) async fn encode(&self, asset: &Asset, encoding: Encoding) -> Result<Option<Bytes>> {
        let closed = |error| Error::unexpected("compressing was stopped", error);
        let _memory = self.memory.acquire_many(share(asset.size)).await.map_err(closed)?;
        let _thread = self.threads.acquire().await.map_err(closed)?;
        let (path, content) = (asset.path.clone(), asset.content.clone());
        let sha256 = Sha256(asset.sha256);
        let encoded = tokio::task::spawn_blocking(move || {
            let plain = read(content)?;
            if Sha256::of(&plain) != sha256 {
                return Err(changed(&path));
            }
            let encoded = encoding.encode(&plain)?;
            let is_kept = is_worthwhile(plain.len() as u64, encoded.len() as u64);
            Ok(is_kept.then(|| Bytes::from(encoded)))
        });
        encoded.await.map_err(|join| Error::unexpected("compressing did not finish", join))?
    }
}

/// Returns the memory that compressing a file takes, in KiB.
fn share(size: u64) -> u32 {
    let window = size.checked_next_power_of_two().unwrap_or(MAX_WINDOW).min(MAX_WINDOW);
    let kib = (window.saturating_mul(8).saturating_add(size.saturating_mul(2))) / 1024 + 512;
    u32::try_from(kib).unwrap_or(BUDGET).min(BUDGET)
}

fn read(content: Content) -> Result<Bytes> {
    match content {
        Content::Rewritten(bytes) => Ok(bytes),
        Content::File(path) => read_file(&path),
        Content::Spooled(file) => read_file(file.path()),
    }
}

fn read_file(path: &Path) -> Result<Bytes> {
    let read = std::fs::read(path);
    let bytes = read.map_err(|error| Error::from(error).with_context(&path.display().to_string()));
    bytes.map(Bytes::from)
}

/// Returns the error of a file that has other bytes than when the site was read.
pub(crate) fn changed(path: &str) -> Error {
    let message = format!(
        "the file {path:?} changed while it was published; nothing visible was changed: publish \
         again when no program writes to the directory"
    );
    Error::new(ErrorKind::Integrity, message)
}
