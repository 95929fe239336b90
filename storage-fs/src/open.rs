//! `open`, `stat` and `exists`.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::Stat;
use rustix::io::Errno;
use storage_core::{ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result};

use crate::driver::Shared;
use crate::errors;
use crate::metadata::{self, Found};
use crate::root::is_regular;
use crate::version::Version;

/// A body up to this size is read when it is opened, in the same trip to the blocking pool.
const READ_AT_ONCE: u64 = 128 * 1024;

/// How often a file may be replaced between being opened and its sidecar being read.
const MAX_TRIES: usize = 1000;

pub(crate) fn open(fs: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let (file, meta) = open_with_meta(fs, key)?;
    options.check(&meta)?;
    let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
    if range.end - range.start > READ_AT_ONCE {
        return Ok(Object::from_file(meta, range, File::from(file)));
    }
    let bytes = read(&file, range.clone())?;
    Ok(Object::from_bytes(meta, range, bytes))
}

pub(crate) fn stat(fs: &Shared, key: &Key) -> Result<ObjectMeta> {
    open_with_meta(fs, key).map(|(_, meta)| meta)
}

pub(crate) fn exists(fs: &Shared, key: &Key) -> Result<bool> {
    Ok(fs.root.look(key)?.as_ref().is_some_and(is_regular))
}

pub(crate) fn check_version(fs: &Shared, key: &Key, wanted: &ETag) -> Result<()> {
    let present = match stat(fs, key) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        present => present?.etag,
    };
    if present.is_some_and(|etag| etag.strong_eq(wanted)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PreconditionFailed,
        format!("the object is not the version {wanted}"),
    ))
}

/// Opens a file and finds the metadata of exactly this version of it.
pub(crate) fn open_with_meta(fs: &Shared, key: &Key) -> Result<(OwnedFd, ObjectMeta)> {
    let mut before: Option<Stat> = None;
    for _ in 0..MAX_TRIES {
        let (file, stat) = fs.root.open_file(key)?;
        match metadata::find_meta(fs, key, &file, &stat)? {
            Found::Meta(meta) => return Ok((file, meta)),
            // The same version twice without a record: there is none. Else the file was replaced in
            // between, and its record with it.
            Found::Unsure if before.as_ref().is_none_or(|before| !is_same(before, &stat)) => {
                before = Some(stat)
            }
            Found::NoRecord | Found::Unsure => {
                let meta = metadata::foreign_meta(key, &file, &stat)?;
                return Ok((file, meta));
            }
        }
    }
    Err(errors::replaced())
}

fn is_same(before: &Stat, now: &Stat) -> bool {
    Version::of(before) == Version::of(now)
}

fn read(file: &OwnedFd, range: Range<u64>) -> Result<Bytes> {
    let len = usize::try_from(range.end - range.start).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = range.start + bytes.len() as u64;
        // The spare capacity may be more than was asked for, and so may what is read.
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(shortened()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errors::os(errno, "reading the file")),
        }
    }
    bytes.truncate(len);
    Ok(bytes.into())
}

fn shortened() -> Error {
    Error::new(ErrorKind::Integrity, "another program made the file shorter while it was read")
        .with_retryable(true)
}
