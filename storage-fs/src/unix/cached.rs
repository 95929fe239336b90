//! Reads from the system's cache, which do not block.
//!
//! Small files that are read often are opened and read on the calling thread, which takes less time
//! than a trip to the blocking pool. Every step that could block is a system call that fails with
//! `EAGAIN` instead: `openat2` with `RESOLVE_CACHED`, `preadv2` with `RWF_NOWAIT`. On any failure,
//! the caller falls back to the blocking pool. The chunks of a large file are read in the same way,
//! each when the stream is polled.
//!
//! This applies only to local file systems, because on others even a file whose inode is in memory
//! may need another machine or process. Mounts below the root are not entered.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use storage_core::internal::with_cached_read;
use storage_core::{Key, Object, ObjectMeta, OpenOptions, Result};

use super::metadata;
use super::root::is_regular;
use super::shared::Shared;

/// A body up to this size (64 KiB) is read at once. A larger one is a stream.
const MAX_BODY: u64 = 64 * 1024;

/// Opens an object, or returns `None` if that could block.
pub(crate) fn open(shared: &Shared, key: &Key, options: &OpenOptions) -> Option<Result<Object>> {
    let (file, meta) = open_with_meta(shared, key)?;
    if let Err(error) = options.check(&meta) {
        return Some(Err(error));
    }
    let range = match options.positions_in_whole(meta.size) {
        Ok(range) => range,
        Err(error) => return Some(Err(error)),
    };
    if range.end - range.start > MAX_BODY {
        return Some(Ok(streamed(shared, meta, range, file)));
    }
    let bytes = read(&file, range.clone())?;
    Some(Ok(Object::from_bytes(meta, range, bytes)))
}

/// Returns an object in an open file, whose stream reads from the system's cache first.
pub(crate) fn streamed(
    shared: &Shared,
    meta: ObjectMeta,
    range: Range<u64>,
    file: OwnedFd,
) -> Object {
    let object = Object::from_file(meta, range, File::from(file));
    match shared.root.local() {
        Some(_) => with_cached_read(object, |file, bytes, offset| {
            sys::read_cached(file.as_fd(), bytes, offset)
        }),
        None => object,
    }
}

/// Returns the metadata of an object, or `None` if that could block.
pub(crate) fn stat(shared: &Shared, key: &Key) -> Option<ObjectMeta> {
    open_with_meta(shared, key).map(|(_, meta)| meta)
}

/// Returns `true` if the object certainly exists. `false` means that a blocking lookup must decide.
pub(crate) fn exists(shared: &Shared, key: &Key) -> bool {
    shared.root.local().is_some_and(|root| sys::lookup(root, key.as_str()).is_some())
}

fn open_with_meta(shared: &Shared, key: &Key) -> Option<(OwnedFd, ObjectMeta)> {
    let (file, stat) = sys::open(shared.root.local()?, key.as_str())?;
    let meta = metadata::meta_in_file(key, &file, &stat).ok()??;
    Some((file, meta))
}

fn read(file: &OwnedFd, range: Range<u64>) -> Option<Bytes> {
    let len = usize::try_from(range.end - range.start).ok()?;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let offset = range.start + filled as u64;
        match sys::read_cached(file.as_fd(), &mut bytes[filled..], offset)? {
            0 => return None,
            n => filled += n,
        }
    }
    Some(bytes.into())
}

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

    /// Opens a regular file whose path and inode are in memory. Looks it up first, for the reason
    /// given at `Root::open_file`.
    pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> Option<(OwnedFd, Stat)> {
        lookup(root, path)?;
        open_with(root, path, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Finds a regular file without opening its content.
    pub(super) fn lookup(root: BorrowedFd<'_>, path: &str) -> Option<(OwnedFd, Stat)> {
        open_with(root, path, OFlags::PATH)
    }

    fn open_with(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Option<(OwnedFd, Stat)> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat2(root, path, flags, Mode::empty(), BENEATH).ok()?;
        let stat = fs::fstat(&file).ok()?;
        is_regular(&stat).then_some((file, stat))
    }

    pub(super) fn read_cached(
        file: BorrowedFd<'_>,
        bytes: &mut [u8],
        offset: u64,
    ) -> Option<usize> {
        let slices = &mut [IoSliceMut::new(bytes)];
        rustix::io::preadv2(file, slices, offset, ReadWriteFlags::NOWAIT).ok()
    }
}
