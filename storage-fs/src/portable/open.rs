//! `open`: finds the file and its metadata, and reads a small body at once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Key, Object, OpenOptions, Result};

use super::io_error::io_error;
use super::metadata;
use super::shared::Shared;

/// A body up to this size (128 KiB) is read in the same trip to the blocking pool that opens the
/// file.
const MAX_IMMEDIATE_READ: u64 = 128 * 1024;

pub(crate) async fn open(shared: &Arc<Shared>, key: &Key, options: &OpenOptions) -> Result<Object> {
    shared.root.check(key)?;
    let (key, options) = (key.clone(), options.clone());
    shared.run(move |shared, _| open_blocking(shared, &key, &options)).await
}

fn open_blocking(shared: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let (file, meta) = metadata::open_with_meta(shared, key)?;
    options.check(&meta)?;
    let range = options.positions_in_whole(meta.size)?;
    if range.end - range.start > MAX_IMMEDIATE_READ {
        return Ok(Object::from_file(meta, range, file));
    }
    let bytes = read(file, range.clone())?;
    Ok(Object::from_bytes(meta, range, bytes))
}

fn read(mut file: File, range: Range<u64>) -> Result<Bytes> {
    let len = range.end - range.start;
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.seek(SeekFrom::Start(range.start))
        .and_then(|_| file.take(len).read_to_end(&mut bytes))
        .map_err(|error| io_error(error, "reading the file"))?;
    if bytes.len() as u64 == len {
        return Ok(bytes.into());
    }
    let message = "another program truncated the file while it was read";
    Err(Error::new(ErrorKind::Integrity, message).with_retryable(true))
}
