//! One file of a site as it is published.

use std::path::PathBuf;

use bytes::Bytes;

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
    /// In this file. It is that of the directory, or a temporary one that exists as long as the
    /// [`Site`](crate::Site).
    File(PathBuf),
    /// In memory, because references were rewritten.
    Rewritten(Bytes),
}
