//! `open`: finds the file and its metadata, and reads a small body at once.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use storage_core::{Error, ErrorKind, Key, Object, OpenOptions, Result};

use super::errno::os_error;
use super::shared::Shared;
use super::{cached, metadata};

/// A body up to this size (128 KiB) is read in the same trip to the blocking pool that opens the
/// file.
const MAX_IMMEDIATE_READ: u64 = 128 * 1024;

pub(crate) async fn open(shared: &Arc<Shared>, key: &Key, options: &OpenOptions) -> Result<Object> {
    shared.root.check(key)?;
    if let Some(opened) = cached::open(shared, key, options) {
        return opened;
    }
    let (key, options) = (key.clone(), options.clone());
    shared.run(move |shared, _| open_blocking(shared, &key, &options)).await
}

fn open_blocking(shared: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let (file, meta) = metadata::open_with_meta(shared, key)?;
    options.check(&meta)?;
    let range = options.positions_in_whole(meta.size)?;
    if range.end - range.start > MAX_IMMEDIATE_READ {
        return Ok(cached::streamed(shared, meta, range, file));
    }
    let bytes = read(&file, range.clone())?;
    Ok(Object::from_bytes(meta, range, bytes))
}

fn read(file: &OwnedFd, range: Range<u64>) -> Result<Bytes> {
    let len = usize::try_from(range.end - range.start).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let offset = range.start + bytes.len() as u64;
        // The vector may have more spare capacity than the range, so this may read too much.
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset) {
            Ok(0) => return Err(truncated()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(os_error(errno, "reading the file")),
        }
    }
    bytes.truncate(len);
    Ok(bytes.into())
}

fn truncated() -> Error {
    Error::new(ErrorKind::Integrity, "another program truncated the file while it was read")
        .with_retryable(true)
}
