//! A staged file: all of an object but its name.
//!
//! Where the file system can (`O_TMPFILE`), the file has no name at all until it is linked into its
//! place, so a killed process leaves nothing behind. Elsewhere, and for the moment in which an
//! object is replaced, it has a random name in the staging directory.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use storage_core::{Key, Result, keys};

use crate::errors;
use crate::own::MAX_TRIES;
use crate::staging::Staging;
use crate::unnamed::Naming;

/// What tells one staged file from all others, here and elsewhere: 80 random bits.
pub(crate) type Id = [u8; 10];

/// Lower-case hexadecimal: a staged file's name, an ETag's text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// A file that is not visible yet. Dropped without having been put in its place, it is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    id: Id,
    state: State,
}

#[derive(Debug)]
enum State {
    Unnamed(Naming),
    /// Under its id in the staging directory.
    Named(Arc<OwnedFd>),
    Placed,
}

impl Staged {
    /// Makes an empty one for a key. Nobody else gets at it, whatever its mode: it has no name, or
    /// one in a directory that is closed to others.
    pub(crate) fn create(staging: &Staging, key: &Key, mode: u32) -> Result<Self> {
        let id: Id = keys::random_bytes()?;
        // Attributes can be added only by who may write.
        let mode = mode | 0o600;
        match staging.open_unnamed(key, mode) {
            Ok(Some((file, naming))) => {
                Ok(Self { file: file.into(), id, state: State::Unnamed(naming) })
            }
            Ok(None) => Self::create_named(staging, id, mode),
            Err(errno) => Err(errors::os(errno, "staging the object")),
        }
    }

    fn create_named(staging: &Staging, id: Id, mode: u32) -> Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = hex(&id);
        let (file, directory) = in_staging(staging, |directory| {
            fs::openat(directory, &*name, flags, Mode::from_raw_mode(mode))
        })?;
        Ok(Self { file: file.into(), id, state: State::Named(directory) })
    }

    /// Marks the file as alive for sweeps, for as long as it may take.
    pub(crate) fn lock(&self) {
        if let State::Named(_) = self.state {
            // Where locks do not work, the age guards alone.
            let _ = fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        }
    }

    /// What no other staged file ever has.
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

    /// Writes chunks that came one by one in as few calls as possible.
    pub(crate) fn write_chunks(&mut self, chunks: &[Bytes]) -> Result<()> {
        if let [chunk] = chunks {
            return self.write(chunk);
        }
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        fs::fsync(self.fd()).map_err(|errno| errors::os(errno, "syncing the file"))
    }

    /// Gives the file a name in the staging directory, if it has none: only then can it be renamed.
    pub(crate) fn give_name(&mut self, staging: &Staging) -> Result<()> {
        if let State::Unnamed(naming) = &self.state {
            let id = hex(&self.id);
            let ((), directory) =
                in_staging(staging, |directory| naming.link(&self.file, directory.as_fd(), &id))?;
            self.state = State::Named(directory);
        }
        Ok(())
    }

    /// Puts a file that has a name in its place, over whatever file is there.
    pub(crate) fn place_over(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Errno> {
        let State::Named(staged_in) = &self.state else { return Err(Errno::BADF) };
        fs::renameat(&**staged_in, hex(&self.id), directory, name)?;
        self.state = State::Placed;
        Ok(())
    }

    /// Puts the file in its place, if nothing is there: `EXIST` if something is, decided by the
    /// file system.
    pub(crate) fn place_new(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        match &self.state {
            State::Unnamed(naming) => naming.link(&self.file, directory, name)?,
            State::Named(staged_in) => {
                let id = hex(&self.id);
                match fs::renameat_with(&**staged_in, &*id, directory, name, RenameFlags::NOREPLACE)
                {
                    // Not every file system has it; a link is as exclusive. The staged name is
                    // removed by `drop`.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        return fs::linkat(&**staged_in, &*id, directory, name, AtFlags::empty());
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

/// Does something in the staging directory, which may be removed, empty as it is, by another
/// process that is done with it.
fn in_staging<T>(
    staging: &Staging,
    work: impl Fn(&OwnedFd) -> Result<T, Errno>,
) -> Result<(T, Arc<OwnedFd>)> {
    for _ in 0..MAX_TRIES {
        let directory = staging.directory()?;
        match work(&directory) {
            Ok(done) => return Ok((done, directory)),
            Err(Errno::NOENT) => staging.forget(),
            Err(errno) => return Err(errors::os(errno, "staging the object")),
        }
    }
    Err(errors::removed())
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let State::Named(directory) = &self.state {
            let _ = fs::unlinkat(&**directory, hex(&self.id), AtFlags::empty());
        }
        // Closing the last handle of a file without a name frees its blocks, which can take long
        // for a large one.
        if !matches!(self.state, State::Placed)
            && let (Ok(file), Ok(runtime)) =
                (self.file.try_clone(), tokio::runtime::Handle::try_current())
        {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}
