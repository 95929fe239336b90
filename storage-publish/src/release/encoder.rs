//! [`Encoder`]: compresses files on the blocking pool, one for each processor at a time.

use std::path::Path;
use std::thread;

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::digest::Sha256;
use super::encodings::{Encoding, is_worthwhile};
use crate::site::{Asset, Content};

/// Compresses files.
#[derive(Debug)]
pub(crate) struct Encoder {
    threads: Semaphore,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: Semaphore::new(threads) }
    }

    /// Returns the encoded bytes of a file, or `None` if they are not smaller than 95 % of the
    /// plain ones.
    ///
    /// # Errors
    /// `Integrity` if the file changed since the site was read, and errors of reading it.
    pub(crate) async fn encode(&self, asset: &Asset, encoding: Encoding) -> Result<Option<Bytes>> {
        let thread = self.threads.acquire().await;
        let _thread =
            thread.map_err(|error| Error::unexpected("compressing was stopped", error))?;
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
