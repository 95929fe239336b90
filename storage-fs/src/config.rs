//! The driver's options: for programs ([`FsBuilder`]) and for configuration ([`register`]).

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use storage_core::config::{Options, Secret, local_path};
use storage_core::signed_url::SigningKey;
use storage_core::{Error, LinkBase, Registry, Result};
use url::Url;

/// Where metadata is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetadataStore {
    /// In an extended attribute; in a sidecar where the file system has none or the metadata is too
    /// large for one.
    #[default]
    Auto,
    /// In an extended attribute. Where that is impossible, saves are `Unsupported`.
    Xattr,
    /// In a sidecar.
    Sidecar,
}

/// The permission bits of what the driver creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateMode {
    /// Exactly these, whatever the umask.
    Exact(u32),
    /// Those that the system gives any new file or directory (umask, default ACL).
    Umask,
}

impl CreateMode {
    /// Returns the bits to create a file with. Of these, the umask removes some.
    pub(crate) fn of_new_file(self) -> u32 {
        match self {
            Self::Exact(mode) => mode,
            Self::Umask => 0o666,
        }
    }

    /// Returns the bits to create a directory with. Of these, the umask removes some.
    pub(crate) fn of_new_directory(self) -> u32 {
        match self {
            Self::Exact(mode) => mode,
            Self::Umask => 0o777,
        }
    }
}

/// How to set up the driver. See [`build`](Self::build).
#[derive(Debug, Clone)]
pub struct FsBuilder {
    pub(crate) root: PathBuf,
    pub(crate) create_root: bool,
    pub(crate) durable: bool,
    pub(crate) file_mode: u32,
    pub(crate) dir_mode: u32,
    pub(crate) respect_umask: bool,
    pub(crate) remove_locks: bool,
    pub(crate) public_url: Option<LinkBase>,
    pub(crate) signing_key: Option<SigningKey>,
    pub(crate) metadata: MetadataStore,
}

impl FsBuilder {
    /// The defaults: the root is created, saves are durable, files have mode 0644 and
    /// directories 0755.
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

    /// Whether a root that is missing is created, its parents included.
    #[must_use]
    pub fn create_root(mut self, create: bool) -> Self {
        self.create_root = create;
        self
    }

    /// Whether file, directory and newly made ancestors are synced before a save answers. Without
    /// it a save is still atomic against crashes of the program, but not against a loss of power.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The permission bits of files, whatever the umask.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode & 0o777;
        self
    }

    /// The permission bits of directories, whatever the umask.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.dir_mode = mode & 0o777;
        self
    }

    /// Whether files and directories get their permission bits as those of other programs do, in
    /// place of [`file_mode`](Self::file_mode) and [`dir_mode`](Self::dir_mode). Defaults to
    /// `false`.
    ///
    /// A new file gets 0666 and a new directory 0777, less the umask of the process (or the default
    /// ACL of the directory). An object that replaces another keeps its permission bits, and its
    /// owner and group as far as the process may set them; where it may not set the group, the
    /// group gets the permissions of others.
    #[must_use]
    pub fn respect_umask(mut self, respect: bool) -> Self {
        self.respect_umask = respect;
        self
    }

    /// Whether the driver, when it is dropped, removes the lock files that no other driver or
    /// process holds, and `.anystorage` if that is then empty. Defaults to `false`, because a root
    /// that is used again needs them again.
    ///
    /// For directories that are no permanent storage, as those that a command is pointed at. Only
    /// on local file systems, where a process that waits for a lock can see that its file has been
    /// removed.
    #[must_use]
    pub fn remove_locks(mut self, remove: bool) -> Self {
        self.remove_locks = remove;
        self
    }

    pub(crate) fn create_modes(&self) -> (CreateMode, CreateMode) {
        match self.respect_umask {
            true => (CreateMode::Umask, CreateMode::Umask),
            false => (CreateMode::Exact(self.file_mode), CreateMode::Exact(self.dir_mode)),
        }
    }

    /// Where a web server shows the root: the base of public and of signed links.
    #[must_use]
    pub fn public_url(mut self, base: LinkBase) -> Self {
        self.public_url = Some(base);
        self
    }

    /// The secret for signed links, in the format of [`storage_core::signed_url`]. They are served
    /// by whoever verifies that format, not by a plain web server.
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// Where metadata is kept.
    #[must_use]
    pub fn metadata(mut self, store: MetadataStore) -> Self {
        self.metadata = store;
        self
    }

    /// Opens the root. Blocks for a moment.
    ///
    /// # Errors
    /// `InvalidConfig` if the root is missing and not to be created, or is no directory;
    /// `PermissionDenied`.
    #[cfg(unix)]
    pub fn build(self) -> Result<crate::Fs> {
        crate::Fs::open(self)
    }
}

/// The options as configuration has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FsOptions {
    #[serde(deserialize_with = "local_path::deserialize")]
    root: PathBuf,
    #[serde(default = "yes")]
    create_root: bool,
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default)]
    file_mode: Option<FileMode>,
    #[serde(default)]
    dir_mode: Option<FileMode>,
    #[serde(default)]
    respect_umask: bool,
    #[serde(default)]
    remove_locks: bool,
    #[serde(default)]
    signing_key: Option<Secret>,
    #[serde(default)]
    metadata: MetadataStore,
}

fn yes() -> bool {
    true
}

/// Permission bits, in octal and quoted: a number would be read as decimal, and 440 be 0670.
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
/// Options: `root`, `create_root`, `durable`, `file_mode`, `dir_mode`, `respect_umask`,
/// `remove_locks`, `signing_key`, `metadata`, and those of every driver, of which `public_url` is
/// the base of signed links too.
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
    registry.register("fs", |options, context| build(options, context.common().public_url.clone()));
    registry.register_scheme("file", "fs", |url| Ok(Options::new().with("root", root_of(url)?)));
}

fn root_of(url: &Url) -> Result<String> {
    let bad = || Error::config("a file URL is file:///absolute/path, of this machine and in UTF-8");
    // The host "localhost" is what RFC 8089 lets stand for this machine; the URL parser drops it.
    if url.host().is_some() {
        return Err(bad());
    }
    url.to_file_path()
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok())
        .ok_or_else(bad)
}

#[cfg(unix)]
fn build(
    options: Options,
    public_url: Option<LinkBase>,
) -> Result<std::sync::Arc<dyn storage_core::Driver>> {
    let options: FsOptions = options.read("fs")?;
    let mut builder = FsBuilder::new(options.root)
        .create_root(options.create_root)
        .durable(options.durable)
        .respect_umask(options.respect_umask)
        .remove_locks(options.remove_locks)
        .metadata(options.metadata);
    if options.respect_umask && (options.file_mode.is_some() || options.dir_mode.is_some()) {
        return Err(Error::config(
            "option respect_umask takes the place of file_mode and dir_mode: leave one or the other out",
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
                "option signing_key needs public_url too: signed links begin with it",
            ));
        }
        builder = builder.signing_key(SigningKey::new(secret.expose())?);
    }
    builder.public_url = public_url;
    Ok(std::sync::Arc::new(builder.build()?))
}

#[cfg(not(unix))]
fn build(
    _options: Options,
    _public_url: Option<LinkBase>,
) -> Result<std::sync::Arc<dyn storage_core::Driver>> {
    Err(Error::unsupported("the fs driver does not support this operating system yet"))
}
