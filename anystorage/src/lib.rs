//! One storage API for Rust applications. The configuration selects the backend.
//!
//! An application saves, opens, checks, lists, deletes and links to files. The configuration
//! decides where they are stored:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anystorage::Result<()> {
//! // Or "file:///var/lib/app/media", "s3://bucket", or the name of a configured storage.
//! let storage = anystorage::open("memory:")?;
//! storage.save("avatars/ada.txt", "hello").content_type("text/plain").await?;
//! assert_eq!(storage.open("avatars/ada.txt").range(0..4).await?.text().await?, "hell");
//! assert!(storage.exists("avatars/ada.txt").await?);
//! storage.delete("avatars/ada.txt").await?;
//! # Ok(()) }
//! ```
//!
//! The module [`prelude`] contains the names that most applications import.
//!
//! # Choosing the backend
//!
//! | | |
//! |---|---|
//! | one storage, by its URL or its name | [`open`] |
//! | all storages of an application, opened at start-up | [`Storages`] |
//! | storages in an application's own configuration | [`config::StoragesConfig`] and [`Storages::from_config`] |
//! | storages that are opened only when they are needed | [`Loader`] and [`Definitions`] |
//! | objects that rows of a database refer to | [`attachments`] |
//! | your own driver | [`registry`], [`Registry::register`], then [`Loader::with_registry`] |
//!
//! A configuration file has a table for each storage. `driver` selects the driver. The other keys
//! are the options of that driver and the common options: `prefix`, `read_only`, `public_url`,
//! `timeout`, `retries`, `default_headers`.
//!
//! ```toml
//! [storages.default]
//! driver = "s3"
//! bucket = "example-media"
//! region = "eu-west-1"
//! prefix = "media"
//! public_url = "https://media.example.com/"
//!
//! [storages.static]
//! driver = "fs"
//! root = "/var/lib/app/static"
//!
//! [storages.scratch]
//! driver = "memory"
//! ```
//!
//! | driver | URL | options of its own |
//! |---|---|---|
//! | `fs` | `file:///abs/path` | `root`, `create_root`, `durable`, `file_mode`, `dir_mode`, `respect_umask`, `remove_locks`, `signing_key`, `metadata` |
//! | `memory` | `memory:` | `signing_key` |
//! | `s3` | `s3://bucket/prefix` | `bucket`, `region`, `endpoint`, `path_style`, `access_key_id`, `secret_access_key`, `session_token`, `profile`, `anonymous`, `signing_endpoint`, `acl`, `sse`, `sse_kms_key_id`, `storage_class`, `checksum`, `part_size`, `concurrency`, `quirks`, `allow_http` |
//! | `http` | `http://host/dir/`, `https://host/dir/` | `base_url`, `writable`, `webdav`, `header_timeout`, `idle_timeout`, `max_spool_size`, `allow_http`, `headers` |
//! | `http-cache` | none | `mirror`, `origin`, `verify`, `memo`, `header_timeout`, `idle_timeout`, `token`, `allow_http`, `on_save`, `min_size`, `signing_key`, `public`, `breaker_failures`, `breaker_open`, `key_penalty`, `admin` |
//! | `cache` | none | `origin`, `cache_dir`, `max_size`, `max_object_size`, `ttl`, `memory`, `stale_if_error` |
//!
//! `anystorage drivers NAME` prints the type, default and purpose of each, and
//! [`Registry::describe`] returns them. Every driver also takes:
//!
//! <!-- options of every driver -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `prefix` | text | | The first segments of every key. Only the objects below them belong to the storage. |
//! | `read_only` | boolean | `false` | Whether the storage refuses everything that would change it. |
//! | `public_url` | URL or path | | The public address of the backend's root, which is the base of public links: a URL, or a path such as `/media/` on the host of the page that shows the links. A `prefix` is appended to it. |
//! | `timeout` | duration | | Time limit for each step of a call: the longest time without a response or progress. |
//! | `retries` | integer | `0` | How many times a call that failed for a temporary reason is repeated. |
//! | `default_headers` | table of texts | | Metadata of objects that are saved without it, by header name (`Cache-Control` or `cache_control`). |
//!
//! <!-- end of options -->
//!
//! The option of the driver `memory`; the pages of the other drivers list theirs:
//!
//! <!-- options of memory -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `signing_key` | secret | | The secret of signed links. Requires `public_url`. |
//!
//! <!-- end of options -->
//!
//! - An unknown, missing or invalid option and an unknown driver fail with `InvalidConfig`. The
//!   message names it, and if it is unknown, lists the known ones. It contains no values, which
//!   may be secrets.
//! - `${VAR}` in a string of the file is replaced with that environment variable. Write `$${` for a
//!   literal `${`. A `root` that begins with `~` or `$` is an error: write `"${HOME}/media"`.
//! - A chain of storages that refer to each other has at most 16 storages.
//! - The environment variable `STORAGE_CONFIG` names a configuration file. `STORAGE_<NAME>_URL`
//!   defines a storage or replaces one of the file: `STORAGE_DEFAULT_URL=file:///tmp/media`.
//! - The query of a URL contains options: `file:///var/lib/app/media?read_only=true`,
//!   `s3://example-media/media?region=eu-west-1`. A URL with a secret is an error: a user name, a
//!   password, or a secret option (`signing_key`, `secret_access_key`).
//! - The driver `s3` also uses the settings of AWS tools (`AWS_REGION`, `AWS_PROFILE`,
//!   `~/.aws/config`, ...). It reads these variables from the process, even if a [`Loader`] has
//!   another [`Environment`].
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `fs` (default) | the driver `fs` and `file:` URLs for the local file system; module `fs` |
//! | `s3` | the driver `s3` and `s3:` URLs for AWS S3 and compatible services; module `s3` |
//! | `http` | the driver `http` and `http:` and `https:` URLs for HTTP and WebDAV servers; module `http_driver` |
//! | `http-cache` | the driver `http-cache`, which reads from a mirror, or from origin if that fails; module `http_cache` |
//! | `cache` | the driver `cache`, a disk cache in the process of the application; module `cache` |
//! | `serve` | serving a storage over HTTP; module `serve` |
//! | `uploads` | resumable uploads into a storage; module `serve::uploads` |
//! | `mirror` | the mirror server; module `mirror`; [`Loader::mirror_file`] reads its configuration |
//! | `publish` | static files of a website with hashed names, in the right order; module `publish` |
//! | `publish-zstd` | for `publish`: the encoding zstd |
//! | `transfer` | copying, synchronising and verifying between any two storages; module `transfer` |
//! | `inventory` | S3 Inventory in CSV as a source of keys, for `transfer` |
//! | `inventory-parquet` | S3 Inventory in Parquet as a source of keys, for `transfer` |
//! | `publish-askama`, `publish-minijinja`, `publish-tera` | names of published files in templates of these engines; module `publish::templates` |
//! | `blocking` | [`Storage::blocking`], for synchronous code; module `blocking` |
//! | `aws-config` | AWS profiles with single sign-on, roles and credential processes for `s3` |
//! | `checksums` (default) | computing and verifying checksums |
//! | `metrics` (default) | counters and histograms of all calls, through the crate `metrics` |
//! | `sniff` (default) | guessing a content type from the first bytes of an object |
//! | `dates` (default) | times with an offset from UTC in configuration, and `strftime` directives in keys |
//! | `toml` (default) | configuration files and `STORAGE_CONFIG` |
//! | `tls-aws-lc` (default) | `https` for `s3`, `http` and `http-cache`, with rustls and AWS-LC |
//! | `tls-ring` | the same with ring, which builds faster; AWS-LC is used if both are on |
//!
//! The crate `storage-core` documents the contract that every driver fulfils. This crate re-exports
//! all of its types.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod attachments;
mod definitions;
mod environment;
mod loader;
#[cfg(feature = "mirror")]
mod mirror_setup;
pub mod prelude;
#[cfg(feature = "publish")]
pub mod publish;
mod storages;
mod toml_text;
#[cfg(feature = "transfer")]
pub mod transfer;

#[doc(inline)]
pub use storage_core::*;
/// The local file system driver, for programs that build it in code.
#[cfg(feature = "fs")]
pub use storage_fs as fs;
/// The driver `http`: any HTTP or WebDAV server as a storage.
#[cfg(feature = "http")]
pub use storage_http as http_driver;
/// The driver `http-cache`: reads from a mirror, or from origin if that fails.
#[cfg(feature = "http-cache")]
pub use storage_http_cache as http_cache;
/// The mirror server: a self-filling cache of an origin.
#[cfg(feature = "mirror")]
pub use storage_mirror as mirror;
/// The driver `cache`: a disk cache in the process of the application, in front of any storage.
#[cfg(feature = "cache")]
pub use storage_mirror::cache;
/// The S3 driver, for programs that build it in code or use methods beyond the contract, such as
/// [`S3::versions`](s3::S3::versions). [`Storage::driver_as`] returns the driver of a storage.
#[cfg(feature = "s3")]
pub use storage_s3 as s3;
/// The server side of HTTP: [`Serve`](serve::Serve) serves a storage as a `tower` service.
#[cfg(feature = "serve")]
pub use storage_serve as serve;

pub use definitions::Definitions;
pub use environment::Environment;
pub use loader::Loader;
#[cfg(feature = "mirror")]
pub use mirror_setup::MirrorSetup;
pub use storages::Storages;

/// Returns a registry with the drivers of the enabled features. Add your own drivers with
/// [`Registry::register`].
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_memory();
    #[cfg(feature = "fs")]
    storage_fs::register(&mut registry);
    #[cfg(feature = "s3")]
    storage_s3::register(&mut registry);
    #[cfg(feature = "http")]
    storage_http::register(&mut registry);
    #[cfg(feature = "http-cache")]
    storage_http_cache::register(&mut registry);
    #[cfg(feature = "cache")]
    storage_mirror::cache::register(&mut registry);
    note_missing_features(&mut registry);
    registry
}

/// Notes the drivers whose features are disabled, so that errors name the feature to enable.
fn note_missing_features(registry: &mut Registry) {
    let drivers: [(&str, &[&str]); 5] = [
        ("fs", &["file"]),
        ("s3", &["s3"]),
        ("http", &["http", "https"]),
        ("http-cache", &[]),
        ("cache", &[]),
    ];
    for (driver, schemes) in drivers {
        // Each driver has the name of its feature.
        let hint = format!(
            "this program is built without it; enable the feature {driver:?} of anystorage"
        );
        registry.note_missing(driver, schemes, &hint);
    }
}

/// Opens one storage by its URL, or by its name in the environment: `STORAGE_<NAME>_URL`, or a
/// table of the file in `STORAGE_CONFIG`. Text with a colon is a URL.
///
/// Builds only this storage and those that it refers to. To check a whole configuration at
/// start-up, use [`Storages`].
///
/// ```
/// let error = anystorage::open("ftp://example.com/").unwrap_err();
/// assert_eq!(error.kind(), anystorage::ErrorKind::InvalidConfig);
/// assert!(error.message().starts_with("unknown URL scheme ftp; known URL schemes: "));
/// ```
///
/// # Errors
/// `InvalidConfig` with the mistake and the known names, and the errors of the driver.
pub fn open(location: &str) -> Result<Storage> {
    Loader::new().open(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_disabled_driver_names_its_feature() {
        let mut registry = Registry::new();
        note_missing_features(&mut registry);
        for (url, driver) in
            [("file:///a", "fs"), ("s3://a", "s3"), ("http://a/", "http"), ("https://a/", "http")]
        {
            let error = registry.open_url(url).unwrap_err();
            let scheme = url.split(':').next().unwrap_or_default();
            let expected = format!(
                "unknown URL scheme {scheme}: this program is built without it; enable the feature"
            );
            assert!(error.message().starts_with(&expected), "{error}");
            assert!(
                error.message().contains(&format!("the feature {driver:?} of anystorage")),
                "{error}"
            );
        }
        for driver in ["fs", "s3", "http", "http-cache", "cache"] {
            let config = config::StorageConfig::new(driver, config::Options::new()).unwrap();
            let error = registry.open_config(&config).unwrap_err();
            assert!(
                error.message().contains(&format!("enable the feature {driver:?} of anystorage")),
                "{error}"
            );
        }
    }

    #[test]
    fn errors_of_enabled_drivers_name_no_feature() {
        let error = registry().open_url("tape:").unwrap_err();
        assert!(!error.message().contains("feature"), "{error}");
        for driver in registry().drivers() {
            let config = config::StorageConfig::new(driver, config::Options::new()).unwrap();
            if let Err(error) = registry().open_config(&config) {
                assert!(!error.message().contains("feature"), "{error}");
            }
        }
    }
}

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
