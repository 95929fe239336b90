//! Assets for tests, without a directory that is read. Not part of the public API.

use bytes::Bytes;

use super::digest::Sha256;
use crate::site::{Asset, Content, Naming};

/// Returns a file with these bytes in memory.
#[must_use]
pub fn asset(path: &str, name: &str, naming: Naming, bytes: &[u8]) -> Asset {
    Asset {
        path: path.to_owned(),
        name: name.to_owned(),
        naming,
        sha256: Sha256::of(bytes).0,
        size: bytes.len() as u64,
        content: Content::Rewritten(Bytes::copy_from_slice(bytes)),
        level: 0,
    }
}

/// Returns a file with a hash in its name: `css/app.css` becomes `css/app.<hash>.css`.
#[must_use]
pub fn hashed(path: &str, bytes: &[u8]) -> Asset {
    let hash = &Sha256::of(bytes).to_string()[..16];
    let name = match path.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{hash}.{extension}"),
        None => format!("{path}.{hash}"),
    };
    asset(path, &name, Naming::Hashed, bytes)
}

/// Returns a page, which keeps its name.
#[must_use]
pub fn page(path: &str, bytes: &[u8]) -> Asset {
    asset(path, path, Naming::Fixed, bytes)
}
