//! A staged file: the bytes and the metadata of an object that is not visible yet.
//!
//! If the file system supports it (`O_TMPFILE`), the file is unnamed until it is linked into its
//! place, so that a killed process leaves no file. Otherwise, and for the moment in which an object
//! is replaced, the file has a random name in the staging directory.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use storage_core::internal::{detach, hex};
use storage_core::{Key, Result, keys};

use super::errno::os_error;
use super::staging::Staging;
use super::state_dir::MAX_ATTEMPTS;
use super::unnamed::{LinkMethod, UnnamedFile};
use super::version::Id;
use crate::errors;
use crate::save_stream::write_chunks;
use crate::uploads::{DATA, Placing};

/// A file that is not visible yet. Dropping it removes the file unless it was put in its place.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    id: Id,
    state: State,
    /// The directory that the object gets into, if staging has opened it.
    parent: Option<OwnedFd>,
}

#[derive(Debug)]
enum State {
    Unnamed(LinkMethod),
    /// Named by its id in the staging directory.
    Named(Arc<OwnedFd>),
    /// The data of an upload, in this directory. It stays there unless it is put in its place.
    OfUpload(OwnedFd, Placing),
    Placed,
}

impl Staged {
    /// Creates an empty file for a key. Other users cannot open it, regardless of its mode: it has
    /// no name, or one in a directory that is closed to them.
    pub(crate) fn create(staging: &Staging, key: &Key, mode: u32) -> Result<Self> {
        let id: Id = keys::random_bytes()?;
        // Setting extended attributes requires the permission to write.
        let mode = mode | 0o600;
        match staging.open_unnamed(key, mode) {
            Ok(Some(UnnamedFile { file, method, parent })) => {
                Ok(Self { file: file.into(), id, state: State::Unnamed(method), parent })
            }
            Ok(None) => Self::create_named(staging, id, mode),
            Err(errno) => Err(os_error(errno, "staging the object")),
        }
    }

    fn create_named(staging: &Staging, id: Id, mode: u32) -> Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = hex(&id);
        let (file, directory) = in_staging(staging, |directory| {
            fs::openat(directory, &*name, flags, Mode::from_raw_mode(mode))
        })?;
        Ok(Self { file: file.into(), id, state: State::Named(directory), parent: None })
    }

    /// Takes the data of an upload. If it is not put in its place, it stays where it is.
    pub(crate) fn of_upload(file: File, directory: OwnedFd, id: Id, placing: Placing) -> Self {
        Self { file, id, state: State::OfUpload(directory, placing), parent: None }
    }

    /// Returns the directory that the object gets into, if staging has opened it. Returns it once.
    pub(crate) fn take_parent(&mut self) -> Option<OwnedFd> {
        self.parent.take()
    }

    /// Returns the directory that [`take_parent`](Self::take_parent) will return.
    pub(crate) fn parent(&self) -> Option<&OwnedFd> {
        self.parent.as_ref()
    }

    /// Prepares for a write that may take long. Locks the file so that no sweep removes it while
    /// the process lives. Closes the directory of the object, which other programs may move in the
    /// meantime.
    pub(crate) fn begin_long_write(&mut self) {
        self.parent = None;
        if let State::Named(_) = self.state {
            // Without locks, only the minimum age protects the file from a sweep.
            let _ = fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        }
    }

    /// Returns the unique id of this file.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all(bytes)?)
    }

    /// Writes chunks with as few system calls as possible.
    pub(crate) fn write_chunks(&mut self, chunks: &[Bytes]) -> Result<()> {
        match chunks {
            [chunk] => self.write(chunk),
            chunks => write_chunks(&self.file, chunks),
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        fs::fsync(self.fd()).map_err(|errno| os_error(errno, "syncing the file"))
    }

    /// Names the file in the staging directory if it has no name. Only a named file can be renamed.
    pub(crate) fn give_name(&mut self, staging: &Staging) -> Result<()> {
        if let State::Unnamed(method) = &self.state {
            let id = hex(&self.id);
            let ((), directory) =
                in_staging(staging, |directory| method.link(&self.file, directory.as_fd(), &id))?;
            self.state = State::Named(directory);
        }
        Ok(())
    }

    /// Puts a named file in its place, over any file that is there.
    pub(crate) fn place_over(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Errno> {
        let renamed = match &self.state {
            State::Named(staged_in) => fs::renameat(&**staged_in, hex(&self.id), directory, name),
            State::OfUpload(upload, _) => fs::renameat(upload, DATA, directory, name),
            State::Unnamed(_) | State::Placed => return Err(Errno::BADF),
        };
        renamed.or_else(|failed| unless_placed(&self.file, directory, name, failed))?;
        self.state = State::Placed;
        Ok(())
    }

    /// Puts the file in its place if that is vacant. Otherwise fails with `EXIST`, as one atomic
    /// step of the file system.
    pub(crate) fn place_new(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        match &self.state {
            State::Unnamed(method) => method.link(&self.file, directory, name)?,
            State::Named(staged_in) => {
                let id = hex(&self.id);
                match fs::renameat_with(&**staged_in, &*id, directory, name, RenameFlags::NOREPLACE)
                {
                    // Not every file system supports the flag. Linking is exclusive too, and `drop`
                    // removes the staged name.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        return link_new(&self.file, staged_in, &id, directory, name);
                    }
                    renamed => renamed?,
                }
            }
            State::OfUpload(upload, placing) => {
                match fs::renameat_with(upload, DATA, directory, name, RenameFlags::NOREPLACE) {
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        let link = || {
                            link_new(&self.file, upload, DATA, directory, name)
                                .map_err(io::Error::from)
                        };
                        placing.place(&self.file, link).map_err(|error| errno(&error))?;
                        let _ = fs::unlinkat(upload, DATA, AtFlags::empty());
                    }
                    renamed => renamed?,
                }
            }
            State::Placed => {}
        }
        self.state = State::Placed;
        Ok(())
    }
}

/// Puts a file that has a name in a vacant place by a hard link. The file keeps the other name.
fn link_new(
    file: &File,
    named_in: &OwnedFd,
    old_name: &str,
    directory: BorrowedFd<'_>,
    name: &str,
) -> Result<(), Errno> {
    fs::linkat(named_in, old_name, directory, name, AtFlags::empty())
        .or_else(|failed| unless_placed(file, directory, name, failed))
}

/// Returns success after a link or a rename that failed, if the file has the name.
///
/// NFS reports an error if the response was lost: EXIST (a link) and NOENT (a rename) for a request
/// that it sends again, or TIMEDOUT and IO on a soft mount.
fn unless_placed(
    file: &File,
    directory: BorrowedFd<'_>,
    name: &str,
    failed: Errno,
) -> Result<(), Errno> {
    match is_same_file(file, directory, name) {
        Ok(true) => Ok(()),
        // Whether the name is taken by another file is not known.
        Err(errno) if failed == Errno::EXIST => Err(errno),
        _ => Err(failed),
    }
}

fn is_same_file(file: &File, directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let (one, other) = (fs::fstat(file)?, fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Calls `work` with the staging directory. Calls it again if another process removed the directory
/// while it was empty.
fn in_staging<T>(
    staging: &Staging,
    work: impl Fn(&OwnedFd) -> Result<T, Errno>,
) -> Result<(T, Arc<OwnedFd>)> {
    for _ in 0..MAX_ATTEMPTS {
        let directory = staging.directory()?;
        match work(&directory) {
            Ok(done) => return Ok((done, directory)),
            Err(Errno::NOENT) => staging.reset(),
            Err(errno) => return Err(os_error(errno, "staging the object")),
        }
    }
    Err(errors::directory_removed())
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let State::Named(directory) = &self.state {
            let _ = fs::unlinkat(&**directory, hex(&self.id), AtFlags::empty());
        }
        // Closing the last handle of an unnamed file frees its blocks, which may take long if it is
        // large.
        if !matches!(self.state, State::Placed | State::OfUpload(..))
            && let Ok(file) = self.file.try_clone()
        {
            detach(move || drop(file));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

    use super::*;

    /// As NFS reports it after a lost response.
    #[test]
    fn a_link_or_a_rename_that_was_made_is_no_failure() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(File::open(scratch.path()).unwrap());
        let ours = File::create(scratch.path().join("ours")).unwrap();
        let other = File::create(scratch.path().join("other")).unwrap();
        let link = |file, old_name| link_new(file, &directory, old_name, directory.as_fd(), "key");
        link(&ours, "ours").unwrap();
        link(&ours, "ours").unwrap();
        assert_eq!(link(&other, "other"), Err(Errno::EXIST));
        let renamed = |file, name| unless_placed(file, directory.as_fd(), name, Errno::NOENT);
        renamed(&ours, "key").unwrap();
        assert_eq!(renamed(&other, "key"), Err(Errno::NOENT));
        assert_eq!(renamed(&ours, "absent"), Err(Errno::NOENT));
    }
}
