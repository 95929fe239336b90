//! Functions that differ between operating systems: reading and writing at an offset, allocating
//! space, creating private files and directories.

use std::fs::{DirBuilder, File};
use std::io;
use std::path::Path;

/// Creates a directory and its missing parents with mode 0700. An existing directory is left as it
/// is.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Creates a file with mode 0600 for writing and reading. Fails if it exists.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create_new(true).read(true).write(true).open(path)
}

/// Opens a file for writing that other users cannot open, and therefore cannot lock. Creates it if
/// it is missing. Changes the mode of an existing file to 0600 if others could open it.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Syncs the names in a directory to the disk.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Does nothing where a directory cannot be opened to sync it.
#[cfg(not(unix))]
pub(super) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Fills the buffer from an offset. Fails with `UnexpectedEof` if the file is shorter.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(unix)]
pub(super) fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = &mut buffer[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(windows)]
pub(super) fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => {
                bytes = &bytes[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Fills the buffer from an offset and returns `true` if the kernel has all of it in memory.
/// Returns `false` otherwise, and for errors, which a blocking read then reports.
#[cfg(target_os = "linux")]
pub(super) fn read_now(file: &File, buffer: &mut [u8], at: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut filled = 0;
    while filled < buffer.len() {
        let mut rest = [io::IoSliceMut::new(&mut buffer[filled..])];
        match preadv2(file, &mut rest, at + filled as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) => return false,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_now(_file: &File, _buffer: &mut [u8], _at: u64) -> bool {
    false
}

/// Allocates contiguous space for a new file, so that a full disk is an error before the first
/// write. File systems that cannot allocate report a full disk later.
#[cfg(target_os = "linux")]
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(full.into()),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Returns whether an error means that the file is broken, rather than that a resource is missing.
pub(super) fn means_broken(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(EIO) {
        return true;
    }
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The number of the error on every Unix.
#[cfg(unix)]
const EIO: i32 = 5;
