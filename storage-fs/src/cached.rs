//! The short cut for what the kernel has in memory: small files that are read often are opened and
//! read right on the calling thread, which takes less time than the hop to the blocking pool.
//!
//! Every step is one that answers "not without waiting" (`EAGAIN`) rather than wait: `openat2` with
//! `RESOLVE_CACHED`, `preadv2` with `RWF_NOWAIT`. On any such answer, and on any error, the caller
//! takes the long way. Only on local file systems, where opening a file whose inode is in memory
//! asks nobody; a mount below the root is not entered.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use storage_core::{Key, Object, ObjectMeta, OpenOptions, Result};

use crate::driver::Shared;
use crate::metadata;
use crate::root::is_regular;

/// A body up to this size is copied here; for a larger one, reading on the blocking pool pays.
const MAX_BODY: u64 = 64 * 1024;

/// As [`crate::open::open`], or `None` if that would have to wait.
pub(crate) fn open(fs: &Shared, key: &Key, options: &OpenOptions) -> Option<Result<Object>> {
    let (file, meta) = open_with_meta(fs, key)?;
    if let Err(error) = options.check(&meta) {
        return Some(Err(error));
    }
    let range = match options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size)) {
        Ok(range) => range,
        Err(error) => return Some(Err(error)),
    };
    if range.end - range.start > MAX_BODY {
        return Some(Ok(Object::from_file(meta, range, File::from(file))));
    }
    let bytes = read(&file, range.clone())?;
    Some(Ok(Object::from_bytes(meta, range, bytes)))
}

/// As [`crate::open::stat`], or `None` if that would have to wait.
pub(crate) fn stat(fs: &Shared, key: &Key) -> Option<ObjectMeta> {
    open_with_meta(fs, key).map(|(_, meta)| meta)
}

/// Whether there certainly is an object; `false` tells nothing.
pub(crate) fn exists(fs: &Shared, key: &Key) -> bool {
    fs.root.local().is_some_and(|root| sys::look(root, key.as_str()).is_some())
}

fn open_with_meta(fs: &Shared, key: &Key) -> Option<(OwnedFd, ObjectMeta)> {
    let (file, stat) = sys::open(fs.root.local()?, key.as_str())?;
    let meta = metadata::meta_in_file(key, &file, &stat).ok()??;
    Some((file, meta))
}

fn read(file: &OwnedFd, range: Range<u64>) -> Option<Bytes> {
    let len = usize::try_from(range.end - range.start).ok()?;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match sys::read_now(file.as_fd(), &mut bytes[filled..], range.start + filled as u64)? {
            0 => return None,
            n => filled += n,
        }
    }
    Some(bytes.into())
}

#[cfg(target_os = "linux")]
mod sys {
    use std::io::IoSliceMut;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{self, Mode, OFlags, ResolveFlags, Stat};
    use rustix::io::ReadWriteFlags;

    use super::is_regular;

    const BENEATH: ResolveFlags = ResolveFlags::BENEATH
        .union(ResolveFlags::NO_SYMLINKS)
        .union(ResolveFlags::NO_MAGICLINKS)
        .union(ResolveFlags::NO_XDEV)
        .union(ResolveFlags::CACHED);

    /// Opens a regular file whose path and inode are in memory. Looked at first: see
    /// `Root::open_file`.
    pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> Option<(OwnedFd, Stat)> {
        look(root, path)?;
        open_as(root, path, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Finds a regular file without opening it for anything.
    pub(super) fn look(root: BorrowedFd<'_>, path: &str) -> Option<(OwnedFd, Stat)> {
        open_as(root, path, OFlags::PATH)
    }

    fn open_as(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Option<(OwnedFd, Stat)> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat2(root, path, flags, Mode::empty(), BENEATH).ok()?;
        let stat = fs::fstat(&file).ok()?;
        is_regular(&stat).then_some((file, stat))
    }

    pub(super) fn read_now(file: BorrowedFd<'_>, bytes: &mut [u8], at: u64) -> Option<usize> {
        rustix::io::preadv2(file, &mut [IoSliceMut::new(bytes)], at, ReadWriteFlags::NOWAIT).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::Stat;

    pub(super) fn open(_root: BorrowedFd<'_>, _path: &str) -> Option<(OwnedFd, Stat)> {
        None
    }

    pub(super) fn look(_root: BorrowedFd<'_>, _path: &str) -> Option<(OwnedFd, Stat)> {
        None
    }

    pub(super) fn read_now(_file: BorrowedFd<'_>, _bytes: &mut [u8], _at: u64) -> Option<usize> {
        None
    }
}
