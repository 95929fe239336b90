//! Reads and hashes files.

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};
use storage_core::{Error, ErrorKind, Result};

use super::walk::{Source, failed};

/// Reads a whole file of at most `limit` bytes. Returns `None` if it is larger.
pub(crate) fn read(source: &Source, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = open(source)?;
    let size = file.metadata().map_err(|error| failed(error, &source.path))?.len();
    if size > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut limited = file.take(limit.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(|error| failed(error, &source.path))?;
    let is_larger = u64::try_from(bytes.len()).is_ok_and(|length| length > limit);
    Ok((!is_larger).then_some(bytes))
}

/// Reads a file again, and fails if it is no longer what it was.
pub(crate) fn read_again(source: &Source, size: u64, sha256: &[u8; 32]) -> Result<Vec<u8>> {
    match read(source, size)? {
        Some(bytes) if self::sha256(&bytes) == *sha256 => Ok(bytes),
        _ => {
            let message = "the file changed while the site was built: build it again";
            Err(Error::new(ErrorKind::Conflict, message).with_key(&source.path))
        }
    }
}

/// Returns whether a file begins as a text in UTF-8 does. Images and the like do not.
pub(crate) fn begins_as_text(source: &Source) -> Result<bool> {
    const LENGTH: u64 = 4096;
    let mut bytes = Vec::new();
    let read = open(source)?.take(LENGTH).read_to_end(&mut bytes);
    read.map_err(|error| failed(error, &source.path))?;
    let is_utf8 = match std::str::from_utf8(&bytes) {
        Ok(_) => true,
        // The last character may go on.
        Err(error) => error.error_len().is_none(),
    };
    Ok(is_utf8 && !bytes.contains(&0))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns the SHA-256 and the size of a file, which is read in parts.
pub(crate) fn hash(source: &Source) -> Result<([u8; 32], u64)> {
    let (digest, size) = hash_as::<Sha256>(source)?;
    let digest = digest.try_into().map_err(|_| unexpected_length())?;
    Ok((digest, size))
}

/// Returns a hash and the size of a file, which is read in parts.
pub(crate) fn hash_as<D: Digest>(source: &Source) -> Result<(Vec<u8>, u64)> {
    let mut file = open(source)?;
    let mut digest = D::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(|error| failed(error, &source.path))? {
            0 => return Ok((digest.finalize().to_vec(), size)),
            length => {
                digest.update(&buffer[..length]);
                size += u64::try_from(length).unwrap_or_default();
            }
        }
    }
}

fn open(source: &Source) -> Result<File> {
    File::open(&source.location).map_err(|error| failed(error, &source.path))
}

fn unexpected_length() -> Error {
    Error::new(ErrorKind::Unexpected, "SHA-256 has another length than 32 bytes")
}
