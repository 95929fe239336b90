//! One file of a site as it is published.

use std::path::PathBuf;

use bytes::Bytes;

/// One file of a site as it is published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asset {
    /// The path in the directory, with `/`: `css/app.css`.
    pub path: String,
    /// The key below the destination: `css/app.3f9a2c0d51b7e844.css`.
    pub name: String,
    /// How the name came about.
    pub naming: Naming,
    /// The SHA-256 of the final bytes.
    pub sha256: [u8; 32],
    /// The number of final bytes.
    pub size: u64,
    /// Where the final bytes are.
    pub content: Content,
}

/// How the published name of a file came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// The name has a hash of the final bytes, so that it never has other bytes.
    Hashed,
    /// The name is that of the file, which a bundler has hashed already.
    Bundled,
    /// The name is that of the file: a page, or what a rule names.
    Fixed,
}

/// Where the final bytes of a file are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// In the file, which is published as it is.
    File(PathBuf),
    /// In memory, because references were rewritten.
    Rewritten(Bytes),
}
