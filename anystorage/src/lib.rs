//! One storage API for Rust applications; the backend is a line of configuration.
//!
//! An application saves, opens, checks, lists, deletes and links to files without knowing where
//! they live:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anystorage::Result<()> {
//! let storage = anystorage::open("memory:")?; // or "file:///var/lib/app/media", or the name of a configured storage
//! storage.save("avatars/ada.txt", "hello").content_type("text/plain").await?;
//! assert_eq!(storage.open("avatars/ada.txt").range(0..4).await?.text().await?, "hell");
//! assert!(storage.exists("avatars/ada.txt").await?);
//! storage.delete("avatars/ada.txt").await?;
//! # Ok(()) }
//! ```
//!
//! # Choosing the backend
//!
//! | | |
//! |---|---|
//! | one storage, by its URL or its name | [`open`] |
//! | all storages of an application, built at start-up | [`Storages`] |
//! | storages in an application's own configuration | [`config::StoragesConfig`] and [`Storages::from_config`] |
//! | storages that are built only when one is needed | [`Loader`] and [`Definitions`] |
//! | a driver of your own | [`registry`], [`Registry::register`], then [`Loader::with_registry`] |
//!
//! A configuration file has a table for each storage. `driver` chooses, the rest are that driver's
//! options and those that every driver takes: `prefix`, `read_only`, `public_url`, `timeout`,
//! `retries`, `default_headers`.
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
//! | `memory` | `memory:` | none |
//! | `s3` | `s3://bucket/prefix` | `bucket`, `region`, `endpoint`, `path_style`, `access_key_id`, `secret_access_key`, `session_token`, `profile`, `anonymous`, `signing_endpoint`, `acl`, `sse`, `sse_kms_key_id`, `storage_class`, `checksum`, `part_size`, `concurrency`, `quirks`, `allow_http` |
//! | `http` | `http://host/dir/`, `https://host/dir/` | `base_url`, `writable`, `header_timeout`, `idle_timeout`, `max_spool_size`, `allow_http`, `headers` |
//! | `http-cache` | none | `mirror`, `origin`, `verify`, `memo`, `header_timeout`, `idle_timeout`, `token`, `allow_http`, `on_save`, `min_size`, `signing_key`, `public`, `breaker_failures`, `breaker_open`, `key_penalty`, `admin` |
//!
//! `anystorage drivers NAME` prints the type, default and purpose of each, and [`Registry::describe`]
//! returns them. Every driver also takes:
//!
//! <!-- options of every driver -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `prefix` | text | | The first segments of every key. The storage shows the objects below them alone. |
//! | `read_only` | boolean | `false` | Whether the storage refuses everything that would change it. |
//! | `public_url` | URL | | The public address of the backend's root: the base of public links. A `prefix` comes after it. |
//! | `timeout` | duration | | The longest time without a response or progress. |
//! | `retries` | integer | `0` | How many times a failure that may pass is tried again. |
//! | `default_headers` | table of texts | | Metadata of objects that are saved without it, by header name (`Cache-Control` or `cache_control`). |
//!
//! <!-- end of options -->
//!
//! - An option that is unknown, missing or wrong and an unknown driver are `InvalidConfig`, which
//!   names it and lists the known ones. No value is ever shown: it may be a secret.
//! - `${VAR}` inside a string of the file stands for an environment variable; `$${` for `${`
//!   itself. A `root` that begins with `~` or `$` is refused: write `"${HOME}/media"`.
//! - At most 16 storages refer to each other in a row.
//! - `STORAGE_CONFIG` names a configuration file, and `STORAGE_<NAME>_URL` defines a storage or
//!   replaces one of the file: `STORAGE_DEFAULT_URL=file:///tmp/media`.
//! - A URL's query holds options by name: `file:///var/lib/app/media?read_only=true`,
//!   `s3://example-media/media?region=eu-west-1`. A URL holds no secrets: user name and password in
//!   it are refused, and so is every option that is a secret (`signing_key`, `secret_access_key`).
//! - The driver `s3` also reads what AWS tools read (`AWS_REGION`, `AWS_PROFILE`, `~/.aws/config`,
//!   ...). Those are variables of the process, whatever [`Environment`] a [`Loader`] is given.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `fs` (default) | the driver `fs` and `file:` URLs: the local file system, as module `fs` too |
//! | `s3` | the driver `s3` and `s3:` URLs: AWS S3 and every service that speaks its protocol, as module `s3` too |
//! | `http` | the driver `http` and `http:` and `https:` URLs: any HTTP file server, as module `http_driver` too |
//! | `serve` | serving a storage over HTTP, as module `serve` |
//! | `http-cache` | the driver `http-cache`: a mirror first, origin on any trouble, as module `http_cache` too |
//! | `mirror` | the mirror server, in module `mirror`; [`Loader::mirror_file`] reads its configuration |
//! | `aws-config` | for `s3`: AWS profiles with single sign-on, roles and processes |
//!
//! What this crate re-exports from `storage-core` is described there too, with the contract that
//! every driver holds.

mod definitions;
mod environment;
mod loader;
#[cfg(feature = "mirror")]
mod mirror_setup;
mod storages;
mod toml_text;

#[doc(inline)]
pub use storage_core::*;
/// The local file system driver, for programs that set it up themselves.
#[cfg(feature = "fs")]
pub use storage_fs as fs;
/// The driver `http`: any HTTP or WebDAV server as a storage.
#[cfg(feature = "http")]
pub use storage_http as http_driver;
/// The driver `http-cache`: mirror first, origin on any trouble.
#[cfg(feature = "http-cache")]
pub use storage_http_cache as http_cache;
/// The mirror server, which fills itself from origin.
#[cfg(feature = "mirror")]
pub use storage_mirror as mirror;
/// The S3 driver, for programs that set it up themselves, and for what is beyond the contract
/// ([`S3::abort_stale_uploads`](s3::S3::abort_stale_uploads)).
#[cfg(feature = "s3")]
pub use storage_s3 as s3;
/// The server side of HTTP: [`Serve`](serve::Serve) is a storage as a service.
#[cfg(feature = "serve")]
pub use storage_serve as serve;

pub use definitions::Definitions;
pub use environment::Environment;
pub use loader::Loader;
#[cfg(feature = "mirror")]
pub use mirror_setup::MirrorSetup;
pub use storages::Storages;

/// A registry with the drivers of the enabled features. Add drivers of your own with
/// [`Registry::register`].
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::with_memory();
    #[cfg(feature = "fs")]
    let registry = {
        let mut registry = registry;
        storage_fs::register(&mut registry);
        registry
    };
    #[cfg(feature = "s3")]
    let registry = {
        let mut registry = registry;
        storage_s3::register(&mut registry);
        registry
    };
    #[cfg(feature = "http")]
    let registry = {
        let mut registry = registry;
        storage_http::register(&mut registry);
        registry
    };
    #[cfg(feature = "http-cache")]
    let registry = {
        let mut registry = registry;
        storage_http_cache::register(&mut registry);
        registry
    };
    named_with_missing_features(registry)
}

/// Names the drivers whose features are off, for the errors of those who ask for one.
fn named_with_missing_features(mut registry: Registry) -> Registry {
    let drivers: [(&str, &[&str]); 4] =
        [("fs", &["file"]), ("s3", &["s3"]), ("http", &["http", "https"]), ("http-cache", &[])];
    for (driver, schemes) in drivers {
        // A driver has the name of its feature.
        let what_to_do = format!(
            "this program is built without it; enable the feature {driver:?} of anystorage"
        );
        registry.note_missing(driver, schemes, &what_to_do);
    }
    registry
}

/// Opens one storage: by its URL, or by its name in the environment (`STORAGE_<NAME>_URL`, or a
/// table of the file that `STORAGE_CONFIG` names). What has a colon is a URL.
///
/// Only what this storage needs is built; see [`Storages`] to check a whole configuration at
/// start-up.
///
/// ```
/// let error = anystorage::open("ftp://example.com/").unwrap_err();
/// assert_eq!(error.kind(), anystorage::ErrorKind::InvalidConfig);
/// assert!(error.message().starts_with("unknown URL scheme ftp; known are "));
/// ```
///
/// # Errors
/// `InvalidConfig` that says what is wrong and lists what is known; and what the driver says.
pub fn open(location: &str) -> Result<Storage> {
    Loader::new().open(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_whose_feature_is_off_is_named_with_the_feature() {
        let registry = named_with_missing_features(Registry::new());
        for (url, driver) in
            [("file:///a", "fs"), ("s3://a", "s3"), ("http://a/", "http"), ("https://a/", "http")]
        {
            let said = registry.open_url(url).unwrap_err();
            let scheme = url.split(':').next().unwrap_or_default();
            let expected = format!(
                "unknown URL scheme {scheme}: this program is built without it; enable the feature"
            );
            assert!(said.message().starts_with(&expected), "{said}");
            assert!(
                said.message().contains(&format!("the feature {driver:?} of anystorage")),
                "{said}"
            );
        }
        for driver in ["fs", "s3", "http", "http-cache"] {
            let config = config::StorageConfig::new(driver, config::Options::new()).unwrap();
            let said = registry.open_config(&config).unwrap_err();
            assert!(
                said.message().contains(&format!("enable the feature {driver:?} of anystorage")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_driver_that_is_there_is_not_said_to_be_missing() {
        let said = registry().open_url("tape:").unwrap_err();
        assert!(!said.message().contains("feature"), "{said}");
        for driver in registry().drivers() {
            let config = config::StorageConfig::new(driver, config::Options::new()).unwrap();
            if let Err(error) = registry().open_config(&config) {
                assert!(!error.message().contains("feature"), "{error}");
            }
        }
    }
}
