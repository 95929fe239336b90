//! Writing a local file so that its old content stays until the new one is complete. For files of the
//! application, outside any storage.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, pin_mut};

use crate::error::{Error, ErrorKind, Result};
use crate::keys;

/// Writes all chunks to a temporary file beside `path`, syncs it and renames it over `path`.
pub(crate) async fn write(path: &Path, chunks: impl Stream<Item = Result<Bytes>>) -> Result<()> {
    let mut part = PartFile::create(path.to_owned()).await?;
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        part = blocking(move || {
            part.file.write_all(&chunk)?;
            Ok(part)
        })
        .await?;
    }
    blocking(move || part.commit()).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|join| Error::unexpected("writing the file did not finish", join))?
}

/// The unfinished file. Removed when it is dropped before its commit.
struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl PartFile {
    async fn create(path: PathBuf) -> Result<Self> {
        blocking(move || {
            let name = path.file_name().ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, format!("{} names a directory, not a file", path.display()))
            })?;
            let mut part_name = OsString::from(".");
            part_name.push(name);
            part_name.push(format!(".{}.part", keys::random_text(8)?));
            let part = path.with_file_name(part_name);
            let file = File::options().write(true).create_new(true).open(&part)?;
            Ok(Self { file, part, path, committed: false })
        })
        .await
    }

    fn commit(mut self) -> Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.path)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing to tell anybody: the error that brought us here is on its way already.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
