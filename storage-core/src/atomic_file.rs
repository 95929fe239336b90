//! Writing a local file so that its old content stays until the new one is complete. For files of
//! the application, outside any storage.
//!
//! Invariant: until the rename, the new content is readable by its owner alone. A private file is
//! replaced by a private one, and at no moment lies beside it in a file that others may read.

use std::fs::File;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, future, pin_mut};

use crate::blocking_pool::run_blocking;
use crate::error::{Error, ErrorKind, Result};
use crate::keys;

/// How many bytes are written in one trip to the blocking pool (1 MiB).
const BATCH_BYTES: usize = 1024 * 1024;

/// The number of instances of [`Part`].
static PARTS: AtomicUsize = AtomicUsize::new(0);

/// Returns how many temporary files of this process are neither renamed nor removed. If a write is
/// dropped, its file is removed when the blocking work under way ends.
pub fn unfinished_files() -> usize {
    PARTS.load(Ordering::Acquire)
}

/// Writes all chunks to a temporary file beside `path`, syncs it and renames it over `path`.
///
/// The file gets the permissions and, as far as the process may set them, the owner and the group
/// of the file that it replaces; a new file gets those that any program's new file in this
/// directory gets (umask, default ACL). Two batches of 1 MiB and a chunk each are in memory.
pub(crate) async fn write(path: &Path, chunks: impl Stream<Item = Result<Bytes>>) -> Result<()> {
    let path = path.to_owned();
    let mut target = run_blocking(move || Target::open(&path)).await?;
    let chunks = chunks.fuse();
    pin_mut!(chunks);
    let mut batch = next_batch(&mut chunks).await?;
    while !batch.is_empty() {
        let write = run_blocking(move || target.write(&batch));
        // The next chunks arrive while these are written.
        let (written, next) = future::join(write, next_batch(&mut chunks)).await;
        (target, batch) = (written?, next?);
    }
    run_blocking(move || target.commit()).await
}

/// Gathers chunks until they are worth a trip to the blocking pool. Returns none at the end.
async fn next_batch(
    chunks: &mut (impl Stream<Item = Result<Bytes>> + Unpin),
) -> Result<Vec<Bytes>> {
    let (mut batch, mut size) = (Vec::new(), 0);
    while size < BATCH_BYTES
        && let Some(chunk) = chunks.next().await.transpose()?
    {
        size += chunk.len();
        batch.push(chunk);
    }
    batch.retain(|chunk| !chunk.is_empty());
    Ok(batch)
}

/// The file that is written.
struct Target {
    file: File,
    /// For a regular file; any other file is written directly.
    part: Option<Part>,
}

/// A temporary file. Removed when it is dropped before its commit.
struct Part {
    part: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Target {
    fn open(path: &Path) -> Result<Self> {
        // If the name is a symlink, its target is replaced, and not the link.
        let path = match std::fs::metadata(path) {
            Ok(old) if old.is_dir() => return Err(is_directory(path)),
            Ok(old) if !old.is_file() => {
                return Ok(Self { file: File::options().write(true).open(path)?, part: None });
            }
            Ok(_) => std::fs::canonicalize(path)?,
            Err(error) if error.kind() == Io::NotFound => path.to_owned(),
            Err(error) => return Err(error.into()),
        };
        if path.file_name().is_none() {
            return Err(is_directory(&path));
        }
        let part = Part::beside(path)?;
        let file = permissions::create_private(&part.part)?;
        Ok(Self { file, part: Some(part) })
    }

    fn write(mut self, batch: &[Bytes]) -> Result<Self> {
        for chunk in batch {
            self.file.write_all(chunk)?;
        }
        Ok(self)
    }

    fn commit(self) -> Result<()> {
        let Some(mut part) = self.part else { return Ok(()) };
        // Read now and not when the write began: since then another process may have created the
        // file or made it private.
        match std::fs::metadata(&part.path) {
            Ok(old) if old.is_file() => permissions::set_as(&self.file, &old)?,
            Ok(old) if old.is_dir() => return Err(is_directory(&part.path)),
            _ => permissions::set_as_new(&self.file, &part.path)?,
        }
        self.file.sync_all()?;
        std::fs::rename(&part.part, &part.path)?;
        part.committed = true;
        Ok(())
    }
}

impl Part {
    /// Chooses an unused name in the directory of `path`. The caller creates the file.
    fn beside(path: PathBuf) -> Result<Self> {
        let part = path.with_file_name(format!(".{}.part", keys::random_text(16)?));
        PARTS.fetch_add(1, Ordering::AcqRel);
        Ok(Self { part, path, committed: false })
    }
}

fn is_directory(path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} names a directory, not a file", path.display()))
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.committed {
            // A failure here adds nothing: the caller already receives the error that led here.
            let _ = std::fs::remove_file(&self.part);
        }
        PARTS.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(unix)]
mod permissions {
    use std::fs::{File, Metadata, Permissions};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
    use std::path::Path;

    use super::{Part, Result};

    /// Creates a file that its owner alone can open, from the first moment.
    pub(super) fn create_private(path: &Path) -> Result<File> {
        Ok(File::options().write(true).create_new(true).mode(0o600).open(path)?)
    }

    /// Gives a file the owner, the group and the permission bits of the one that it is to replace.
    pub(super) fn set_as(file: &File, old: &Metadata) -> Result<()> {
        // No set-user-ID and the like: these were granted to the old content.
        let mut mode = old.mode() & 0o777;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only root can give a file away. A user can set a group of their own.
            let given = fchown(file, Some(old.uid()), Some(old.gid()));
            let grouped = given.or_else(|_| fchown(file, None, Some(old.gid()))).is_ok();
            if !grouped && new.gid() != old.gid() {
                // The bits were meant for another group: this one gets no more than others get.
                mode = (mode & !0o070) | ((mode & 0o007) << 3);
            }
        }
        Ok(file.set_permissions(Permissions::from_mode(mode))?)
    }

    /// Gives a file the permission bits of any new file in its directory.
    ///
    /// An empty file shows which these are. The umask alone can be read only by changing it for all
    /// threads, and does not count where the directory has a default ACL.
    pub(super) fn set_as_new(file: &File, path: &Path) -> Result<()> {
        let sample = Part::beside(path.to_owned())?;
        let mode =
            File::options().write(true).create_new(true).open(&sample.part)?.metadata()?.mode()
                & 0o777;
        Ok(file.set_permissions(Permissions::from_mode(mode))?)
    }
}

#[cfg(not(unix))]
mod permissions {
    use std::fs::{File, Metadata};
    use std::path::Path;

    use super::Result;

    pub(super) fn create_private(path: &Path) -> Result<File> {
        Ok(File::options().write(true).create_new(true).open(path)?)
    }

    pub(super) fn set_as(file: &File, old: &Metadata) -> Result<()> {
        Ok(file.set_permissions(old.permissions())?)
    }

    pub(super) fn set_as_new(_file: &File, _path: &Path) -> Result<()> {
        Ok(())
    }
}
