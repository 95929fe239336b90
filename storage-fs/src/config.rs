//! The driver's options: [`FsBuilder`] for code, [`register`] for configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};
use storage_core::config::{Options, Secret, local_path};
use storage_core::signed_url::SigningKey;
use storage_core::{Driver, Error, LinkBase, Registry, Result};
use url::Url;

use crate::Fs;
use crate::links::Links;
use crate::settings::{CreateMode, MetadataStore, Settings};

/// Sets the options of the driver and opens it.
///
/// ```
/// # let scratch = tempfile::tempdir().unwrap();
/// # let root = scratch.path().join("media");
/// use storage_fs::{Fs, MetadataStore};
///
/// let driver = Fs::builder(&root)
///     .file_mode(0o640)
///     .metadata(MetadataStore::Sidecar)
///     .public_url("https://media.example.com/".parse().unwrap())
///     .build()?;
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FsBuilder {
    root: PathBuf,
    create_root: bool,
    durable: bool,
    file_mode: u32,
    dir_mode: u32,
    respect_umask: bool,
    remove_locks: bool,
    public_url: Option<LinkBase>,
    signing_key: Option<SigningKey>,
    metadata: MetadataStore,
}

impl Fs {
    /// Returns a builder for a driver on a root directory.
    #[must_use]
    pub fn builder(root: impl Into<PathBuf>) -> FsBuilder {
        FsBuilder::new(root)
    }
}

impl FsBuilder {
    /// Returns a builder with the default of every option.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            create_root: true,
            durable: true,
            file_mode: 0o644,
            dir_mode: 0o755,
            respect_umask: false,
            remove_locks: false,
            public_url: None,
            signing_key: None,
            metadata: MetadataStore::Auto,
        }
    }

    /// Sets whether a missing root and its missing parents are created, with the mode
    /// [`dir_mode`](Self::dir_mode). Defaults to `true`.
    #[must_use]
    pub fn create_root(mut self, create: bool) -> Self {
        self.create_root = create;
        self
    }

    /// Sets whether changes are synced to the disk before the verb returns. Defaults to `true`.
    ///
    /// - A save or a copy syncs the file before it is renamed into place, then its directory and
    ///   the ancestors that this driver created. A sidecar is synced, with its directory, before
    ///   the rename.
    /// - A rename syncs the file before it gets its new name, and then the directories of both
    ///   keys.
    /// - A delete syncs the directory of the object. The removal of empty directories is not
    ///   synced.
    ///
    /// If only the sync of a directory fails, the object is in its place, but a loss of power may
    /// undo the save. The save then fails with an error that reports this.
    ///
    /// With `false`, a save is still atomic if the program crashes, but not if the machine loses
    /// power.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets the permission bits of files, regardless of the umask. Only the bits of `0o777` count.
    /// Defaults to `0o644`.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode & 0o777;
        self
    }

    /// Sets the permission bits of directories, regardless of the umask. Only the bits of `0o777`
    /// count. Defaults to `0o755`.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.dir_mode = mode & 0o777;
        self
    }

    /// Sets whether the umask determines the permission bits, instead of
    /// [`file_mode`](Self::file_mode) and [`dir_mode`](Self::dir_mode). Defaults to `false`.
    ///
    /// A new file gets 0666 and a new directory 0777, less the umask of the process (or the default
    /// ACL of the directory). An object that replaces another gets the permission bits of that
    /// object, and its owner and group as far as the process may set them. If the process may not
    /// set the group, the group gets the permissions of others.
    #[must_use]
    pub fn respect_umask(mut self, respect: bool) -> Self {
        self.respect_umask = respect;
        self
    }

    /// Sets whether dropping the driver removes the lock files that no other driver or process
    /// holds, and then `.anystorage` if it is empty. Defaults to `false`, because a permanent
    /// storage needs the lock files again.
    ///
    /// Use it for a directory that a command uses once. On Linux, it has an effect only on ext2 to
    /// ext4, XFS, Btrfs, F2FS, tmpfs and overlayfs: on a network file system, a process that waits
    /// for a lock cannot detect that its file was removed.
    #[must_use]
    pub fn remove_locks(mut self, remove: bool) -> Self {
        self.remove_locks = remove;
        self
    }

    /// Sets the URL at which a web server serves the root, which is the base of public and signed
    /// links. Defaults to none, so that [`Driver::url`] fails with `Unsupported`.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// Sets the secret for signed links, in the format of [`storage_core::signed_url`]. Defaults to
    /// none, so that signed links fail with `Unsupported`.
    ///
    /// The server at the public URL must verify that format, as `storage-serve` does:
    /// `Serve::for_storage` takes the key from here. A plain web server does not verify links.
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// Sets where metadata is stored. Defaults to [`MetadataStore::Auto`].
    #[must_use]
    pub fn metadata(mut self, store: MetadataStore) -> Self {
        self.metadata = store;
        self
    }

    /// Opens the root, and removes files older than one hour that killed processes left in the
    /// staging directory. Blocks the thread for these system calls.
    ///
    /// # Errors
    /// - `InvalidConfig` if the path of the root is empty, if the root is not a directory, or if it
    ///   is missing and may not or cannot be created. On other systems than Linux, also if
    ///   [`metadata`](Self::metadata) is [`MetadataStore::Xattr`].
    /// - `PermissionDenied` if this process may not open the root.
    pub fn build(self) -> Result<Fs> {
        Fs::open(self.into_settings())
    }

    /// Opens the root with the portable implementation, for its tests on Linux.
    #[cfg(all(target_os = "linux", feature = "portable"))]
    #[doc(hidden)]
    pub fn build_portable(self, names: crate::NameRules) -> Result<crate::PortableFs> {
        crate::PortableFs::open_with(self.into_settings(), names)
    }

    pub(crate) fn into_settings(self) -> Settings {
        let (file_mode, dir_mode) = match self.respect_umask {
            true => (CreateMode::Umask, CreateMode::Umask),
            false => (CreateMode::Exact(self.file_mode), CreateMode::Exact(self.dir_mode)),
        };
        Settings {
            root: self.root,
            create_root: self.create_root,
            durable: self.durable,
            file_mode,
            dir_mode,
            remove_locks: self.remove_locks,
            metadata: self.metadata,
            links: Links { public_url: self.public_url, signing_key: self.signing_key },
        }
    }
}

storage_core::options! {
    /// The options as a configuration contains them.
    #[derive(Debug)]
    struct FsOptions {
        /// The directory of the objects.
        #[serde(deserialize_with = "local_path::deserialize")]
        root: PathBuf => "path", required;
        /// Whether to create a missing root and its parents.
        #[serde(default = "enabled")]
        create_root: bool => "boolean", default true;
        /// Whether to sync files and directories before a save, copy, rename or delete returns.
        #[serde(default = "enabled")]
        durable: bool => "boolean", default true;
        /// Permission bits of files, in octal and quoted.
        file_mode: Option<FileMode> => "text", default "0644";
        /// Permission bits of directories, including a new root, in octal and quoted.
        dir_mode: Option<FileMode> => "text", default "0755";
        /// Whether to apply the umask instead of `file_mode` and `dir_mode`.
        #[serde(default)]
        respect_umask: bool => "boolean", default false;
        /// Whether to remove unused lock files when the driver is dropped.
        #[serde(default)]
        remove_locks: bool => "boolean", default false;
        /// The secret of signed links. Requires `public_url`.
        signing_key: Option<Secret> => "secret";
        /// Where metadata is stored: in extended attributes, in sidecar files, or in sidecars where
        /// attributes are impossible (`auto`).
        #[serde(default)]
        metadata: MetadataStore => "`auto`, `xattr` or `sidecar`", default "auto";
    }
}

fn enabled() -> bool {
    true
}

/// Permission bits, written in octal and quoted. TOML would read an unquoted 440 as a decimal
/// number, which is 0670 in octal.
#[derive(Debug, Clone, Copy)]
struct FileMode(u32);

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FileModeVisitor)
    }
}

struct FileModeVisitor;

impl de::Visitor<'_> for FileModeVisitor {
    type Value = FileMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permission bits in octal and quoted, as in \"0640\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
        let mode = u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok();
        mode.filter(|mode| *mode <= 0o777).map(FileMode).ok_or_else(|| {
            E::custom("expected permission bits in octal and quoted, as in \"0640\"")
        })
    }
}

/// Registers the driver `fs` and its scheme `file` (`file:///abs/path?durable=false`).
///
/// The [crate's documentation](crate#options) lists the options. The options that every driver
/// takes apply too; `public_url` is also the base of signed links.
///
/// ```
/// # let scratch = tempfile::tempdir().unwrap();
/// let mut registry = storage_core::Registry::new();
/// storage_fs::register(&mut registry);
/// let storage = registry.open_url(&format!("file://{}?durable=false", scratch.path().display()))?;
/// assert_eq!(storage.info().name, "fs");
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.register("fs", |options: FsOptions, context| {
        open_driver(builder_from(options, context.common().public_url.clone())?)
    });
    registry.register_scheme("file", "fs", "file:///abs/path", |url| {
        Ok(Options::new().with("root", root_of(url)?))
    });
}

/// Returns the root that a `file:` URL names.
fn root_of(url: &Url) -> Result<String> {
    let invalid = || {
        Error::config("invalid file URL: write file:///absolute/path, without a host and in UTF-8")
    };
    // RFC 8089 section 2 allows the host "localhost" for this machine; the URL parser removes it.
    if url.host().is_some() {
        return Err(invalid());
    }
    url.to_file_path()
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok())
        .ok_or_else(invalid)
}

/// Returns a builder with the options of a configuration.
fn builder_from(options: FsOptions, public_url: Option<LinkBase>) -> Result<FsBuilder> {
    let mut builder = FsBuilder::new(options.root)
        .create_root(options.create_root)
        .durable(options.durable)
        .respect_umask(options.respect_umask)
        .remove_locks(options.remove_locks)
        .metadata(options.metadata);
    if options.respect_umask && (options.file_mode.is_some() || options.dir_mode.is_some()) {
        return Err(Error::config(
            "option respect_umask excludes file_mode and dir_mode: remove respect_umask, or remove \
             file_mode and dir_mode",
        ));
    }
    if let Some(FileMode(mode)) = options.file_mode {
        builder = builder.file_mode(mode);
    }
    if let Some(FileMode(mode)) = options.dir_mode {
        builder = builder.dir_mode(mode);
    }
    if let Some(secret) = options.signing_key {
        if public_url.is_none() {
            return Err(Error::config(
                "option signing_key needs the option public_url, with which signed links begin",
            ));
        }
        builder = builder.signing_key(SigningKey::new(secret.expose())?);
    }
    builder.public_url = public_url;
    Ok(builder)
}

fn open_driver(builder: FsBuilder) -> Result<Arc<dyn Driver>> {
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use storage_core::config::DeclaredOptions;

    use super::*;

    #[test]
    fn the_declared_defaults_are_those_of_the_driver() {
        let declared = Options::new().with("root", "/srv").with("respect_umask", false);
        let declared = declared.with_declared_defaults(FsOptions::SPECS).read("fs").unwrap();
        let declared = builder_from(declared, None).unwrap();
        assert_eq!(format!("{declared:?}"), format!("{:?}", FsBuilder::new("/srv")));
    }
}
