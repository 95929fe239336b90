//! Writing a local file so that its old content stays until the new one is complete. For files of the
//! application, outside any storage.

use std::fs::{File, Permissions};
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, pin_mut};

use crate::error::{Error, ErrorKind, Result};
use crate::keys;

/// Writes all chunks to a temporary file beside `path`, syncs it and renames it over `path`.
pub(crate) async fn write(path: &Path, chunks: impl Stream<Item = Result<Bytes>>) -> Result<()> {
    let path = path.to_owned();
    let mut target = blocking(move || Target::open(&path)).await?;
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        target = blocking(move || {
            target.file.write_all(&chunk)?;
            Ok(target)
        })
        .await?;
    }
    blocking(move || target.commit()).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|join| Error::unexpected("writing the file did not finish", join))?
}

/// What is written to.
struct Target {
    file: File,
    /// For a regular file; what is none is written to directly.
    part: Option<Part>,
}

/// The unfinished file. Removed when it is dropped before its commit.
struct Part {
    part: PathBuf,
    path: PathBuf,
    permissions: Option<Permissions>,
    committed: bool,
}

impl Target {
    fn open(path: &Path) -> Result<Self> {
        // Where the name is a symlink, what it stands for is replaced, and not the link.
        let (path, permissions) = match std::fs::metadata(path) {
            Ok(old) if old.is_dir() => return Err(is_directory(path)),
            Ok(old) if !old.is_file() => {
                return Ok(Self { file: File::options().write(true).open(path)?, part: None });
            }
            Ok(old) => (std::fs::canonicalize(path)?, Some(old.permissions())),
            Err(error) if error.kind() == Io::NotFound => (path.to_owned(), None),
            Err(error) => return Err(error.into()),
        };
        if path.file_name().is_none() {
            return Err(is_directory(&path));
        }
        let part = path.with_file_name(format!(".{}.part", keys::random_text(16)?));
        let file = File::options().write(true).create_new(true).open(&part)?;
        Ok(Self { file, part: Some(Part { part, path, permissions, committed: false }) })
    }

    fn commit(self) -> Result<()> {
        let Some(mut part) = self.part else { return Ok(()) };
        if let Some(permissions) = part.permissions.take() {
            self.file.set_permissions(permissions)?;
        }
        self.file.sync_all()?;
        std::fs::rename(&part.part, &part.path)?;
        part.committed = true;
        Ok(())
    }
}

fn is_directory(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} names a directory, not a file", path.display()))
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing to tell anybody: the error that brought us here is on its way already.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
