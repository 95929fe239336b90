//! One file of a site as it is published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

/// One file of a site as it is published.
///
/// The file of [`Content::File`] may change after it was hashed. **An upload must compare the bytes
/// that it sends with [`sha256`](Self::sha256)**, and fail if they differ.
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
    /// 0 for a file without references to other files. Otherwise one more than the highest level of
    /// the files that it refers to, pages excluded. All files of a cycle have one level.
    pub(crate) level: u32,
}

/// How the published name of a file came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// The name has a hash of the final bytes, so that it never has other bytes: the first 16
    /// hexadecimal digits of their SHA-256, before the last extension.
    ///
    /// Files that refer to each other in a cycle, or to themselves, share a hash of all of them, in
    /// which zeros stand for the hashes of their names.
    Hashed,
    /// The name is that of the file, which a bundler has hashed already. The bytes are those of the
    /// file too: what it refers to is [`Bundled`](Self::Bundled) or [`Fixed`](Self::Fixed).
    ///
    /// The default rules recognise these hashes, if they do not look like words or dates:
    /// - 8 to 32 hexadecimal digits between dots or after a hyphen, as of webpack, Parcel and
    ///   Next.js: `main.8e0d62a1.chunk.js`
    /// - 8 characters of base 32 after a hyphen, as of esbuild: `chunk-5KX2ABQ7.js`
    /// - 8 characters of base 64 after a hyphen or a dot, below a directory `assets`, `immutable`
    ///   or `_astro`, as of Vite, SvelteKit and Astro: `assets/index-BPx7kQ9z.js`
    ///
    /// The rules may be wrong. A publisher that knows an earlier release must refuse a file of this
    /// kind whose bytes differ from those of the same name in that release.
    Bundled,
    /// The name is that of the file:
    /// - pages (`*.html`, `*.htm`, `*.xhtml`), and all below `/.well-known/`
    /// - what browsers, robots and hosts look for: `robots.txt`, `favicon.ico`,
    ///   `/apple-touch-icon*.png`, `ads.txt`, `app-ads.txt`, `humans.txt`, `security.txt`,
    ///   `llms.txt`, `/llms-full.txt`, `crossdomain.xml`, `browserconfig.xml`, `BingSiteAuth.xml`,
    ///   `/CNAME`, `/_headers`, `/_redirects`
    /// - web manifests and service workers, which browsers know by their URLs: `*.webmanifest`,
    ///   `manifest.json`, `sw.js`, `*-sw.js`, `*service-worker*.js`, `*serviceworker*.js`,
    ///   `ngsw-worker.js`, `ngsw.json`, `OneSignalSDKWorker.js`
    /// - feeds and site maps: `sitemap*.xml`, `sitemap*.txt`, `feed*.xml`, `feed.json`, `rss*.xml`,
    ///   `atom*.xml`, `index.xml`, `*.rss`, `*.atom`, `opensearch.xml`
    /// - names that begin with a dot, if they are published
    /// - what [`keep_names`](crate::SiteOptions::keep_names) matches
    /// - what another file mentions in a way that cannot be rewritten: see
    ///   [`keep_mentioned`](crate::SiteOptions::keep_mentioned)
    /// - what a bundled file refers to
    Fixed,
}

/// Where the final bytes of a file are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// In this file of the directory.
    File(PathBuf),
    /// In memory, because references were rewritten.
    Rewritten(Bytes),
    /// In a temporary file, because references were rewritten, and because the rewritten files in
    /// memory have [`memory_bytes`](crate::SiteOptions::memory_bytes) already.
    Spooled(SpooledFile),
}

impl Content {
    /// Returns the file with the bytes, unless they are in memory. The file exists at least as long
    /// as this value.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Spooled(file) => Some(&file.path),
            Self::Rewritten(_) => None,
        }
    }
}

/// A temporary file with the bytes of a rewritten file. It exists as long as this value or a clone
/// of it, so an [`Asset`] may be moved out of its [`Site`](crate::Site).
#[derive(Clone, Debug)]
pub struct SpooledFile {
    path: PathBuf,
    /// Dropping the last clone removes the directory with all temporary files of the site.
    _directory: Arc<TempDir>,
}

impl SpooledFile {
    pub(crate) fn new(path: PathBuf, directory: Arc<TempDir>) -> Self {
        Self { path, _directory: directory }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
