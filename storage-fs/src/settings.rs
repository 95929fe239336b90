//! The settings that all verbs read. [`FsBuilder`](crate::FsBuilder) creates them.

use std::path::PathBuf;

use serde::Deserialize;

use crate::links::Links;

/// How many names a save under a unique name tries.
pub(crate) const MAX_NAMES: u32 = 100;

/// Where metadata is stored. Metadata that another setting stored is read in each case, except that
/// [`Xattr`](Self::Xattr) ignores sidecars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetadataStore {
    /// In an extended attribute, or in a sidecar file if the file system has no extended attributes
    /// or the metadata is too large for one. On other systems than Linux, always in a sidecar file.
    /// This is the default.
    #[default]
    Auto,
    /// In an extended attribute. A save fails with `Unsupported` if the file system has no extended
    /// attributes, and with `InvalidInput` if the metadata is too large for one. Linux only:
    /// elsewhere, opening the driver fails with `InvalidConfig`.
    Xattr,
    /// In a sidecar file below `.anystorage/meta`.
    Sidecar,
}

/// The permission bits of new files or directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateMode {
    /// Exactly these bits, regardless of the umask.
    Exact(u32),
    /// The bits that the system gives any new file or directory (umask, default ACL).
    Umask,
}

impl CreateMode {
    /// Returns the bits to create a file with. The umask removes some of them.
    pub(crate) fn of_new_file(self) -> u32 {
        match self {
            Self::Exact(mode) => mode,
            Self::Umask => 0o666,
        }
    }

    /// Returns the bits to create a directory with. The umask removes some of them.
    pub(crate) fn of_new_directory(self) -> u32 {
        match self {
            Self::Exact(mode) => mode,
            Self::Umask => 0o777,
        }
    }
}

/// The checked settings of a driver.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) create_root: bool,
    pub(crate) durable: bool,
    pub(crate) file_mode: CreateMode,
    pub(crate) dir_mode: CreateMode,
    pub(crate) remove_locks: bool,
    pub(crate) metadata: MetadataStore,
    pub(crate) links: Links,
}
