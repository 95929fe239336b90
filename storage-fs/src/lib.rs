//! The local file system driver of anystorage.
//!
//! [`Fs`] stores each object as a plain file at the path that its key names below a root
//! directory, so that any web server can serve the files.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let root = scratch.path().join("media");
//! use storage_core::Storage;
//! use storage_fs::Fs;
//!
//! let storage = Storage::new(Fs::builder(&root).build()?);
//! storage.save("avatars/ada.png", &b"\x89PNG"[..]).cache_control("public, max-age=60").await?;
//! assert_eq!(std::fs::read(root.join("avatars/ada.png"))?, b"\x89PNG");
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! - **Atomic.** A save writes a staged file with its metadata and renames it into place. Readers
//!   see the old version or the new one. A crash at any instant leaves one of them.
//! - **Durable.** A save returns when the file, its directory and newly created ancestors are on
//!   the disk. [`durable(false)`](FsBuilder::durable) turns this off.
//! - **Confined.** No key leads out of the root, no symlink below the root is followed, and only
//!   regular files are opened.
//! - **Complete metadata.** Content type, headers, user metadata, checksums and ETag are stored in
//!   one extended attribute, or in a sidecar file where the file system has no extended attributes.
//! - **Strong ETags** for files that this driver wrote. For a file of another program, the ETag is
//!   derived from its inode, size and times. It is weak for two seconds after a change, because
//!   another change within that time may leave the same times.
//! - **Files of other programs are objects too**, if they are regular and their path is a valid
//!   key.
//!
//! # Options
//!
//! <!-- options of fs -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `root` | path | required | The directory of the objects. |
//! | `create_root` | boolean | `true` | Whether to create a missing root and its parents. |
//! | `durable` | boolean | `true` | Whether to sync files and directories before a save returns. |
//! | `file_mode` | text | `"0644"` | Permission bits of files, in octal and quoted. |
//! | `dir_mode` | text | `"0755"` | Permission bits of directories, in octal and quoted. |
//! | `respect_umask` | boolean | `false` | Whether to apply the umask instead of `file_mode` and `dir_mode`. |
//! | `remove_locks` | boolean | `false` | Whether to remove unused lock files when the driver is dropped. |
//! | `signing_key` | secret | | The secret of signed links. Requires `public_url`. |
//! | `metadata` | `auto`, `xattr` or `sidecar` | `"auto"` | Where metadata is stored: in extended attributes, in sidecar files, or in sidecars where attributes are impossible (`auto`). |
//!
//! <!-- end of options -->
//!
//! `public_url` is the base URL of public and signed links.
//!
//! [`register`] adds the driver `fs` and the scheme `file` to a registry. [`FsBuilder`] sets the
//! same options in code.
//!
//! # Limits
//!
//! - `a` and `a/b` cannot both be files: the second save fails with `Conflict` and changes nothing.
//! - Deleting the last object of a directory removes the directory, and its parents as far as they
//!   are empty.
//! - Roots inside each other have separate locks: `if_match` through one may miss a concurrent save
//!   through the other.
//! - A program that changes a file in place breaks the guarantee that a reader sees one version.
//!   The file keeps its headers, but its ETag is then derived from size and times, and its
//!   checksums are dropped. (The driver does not detect a change that keeps the size and restores
//!   the modification time to the nanosecond.) Replace files by renaming instead.
//! - A listing contains no ETags, because each would require opening the file.
//! - Extended attributes hold about 4 KB on ext4. With `metadata = "auto"`, larger metadata is
//!   stored in a sidecar; with `"xattr"`, the save fails with `InvalidInput`.
//! - File systems without user extended attributes (older NFS, FAT) need sidecars. Other tools that
//!   copy the objects do not copy their sidecars.
//! - The root is opened once. The driver does not notice a new directory of the same name.
//! - Linux is tested. Other Unix systems use the same calls except `openat2`, which is replaced by
//!   opening one directory after the other; they are not tested. On Windows, opening the driver
//!   fails with `Unsupported`.
//!
//! # The directory `.anystorage`
//!
//! The driver keeps its own files in `.anystorage` below the root (mode 0700): staged files that
//! are about to replace an object in `staging` (all staged files, where the system has no unnamed
//! files), sidecars in `meta`, lock files in `locks`. The directory is created when it is needed
//! and removed when it is empty. A key with a segment of that name fails with `InvalidKey`, and
//! listings skip the directory.
//!
//! A lock file is created when an object is first replaced or deleted, and stays unless
//! `remove_locks` is set. There are at most 64 of them, empty, with mode 0600. Exclude them from
//! backups, and do not remove them while programs use the root.
//!
//! # Sharing a root
//!
//! - Any number of tasks, drivers and processes of one user may share a root. They must name the
//!   same directory as the root, because the locks are below it. They must run the same version of
//!   this crate, or one that its changelog names as compatible.
//! - The superuser may use it too: what it creates in `.anystorage` is given to the owner of the
//!   root.
//! - Other users may read objects as far as the modes allow, and save new objects where they may
//!   write. Replacing and deleting require the lock files, which are closed to them, so these fail
//!   with `PermissionDenied`. Run the programs of several users as one user, or give each its own
//!   root.
//! - The driver refuses `.anystorage` if it belongs to a user who is neither the user of the
//!   process nor the owner of the root. It removes the permissions of other users from it.
//!
//! # The source in reading order
//!
//! Independent of the operating system:
//!
//! | file | content |
//! |-|-|
//! | `settings.rs` | the settings that all verbs read, and the modes of new files |
//! | `config.rs` | options, [`FsBuilder`], [`register`] |
//! | `errors.rs` | errors in the terms of the contract |
//! | `blocking.rs` | blocking work on Tokio's blocking pool, cancelled with its future |
//! | `links.rs` | public and signed links |
//!
//! The implementation for Unix, in `unix/`:
//!
//! | file | content |
//! |-|-|
//! | `errno.rs` | error numbers of the system as errors of the contract |
//! | `dirty_dirs.rs` | which new directories are not yet synced |
//! | `root.rs` | opening, creating and removing paths below the root |
//! | `state_dir.rs` | the directory `.anystorage` and its owner |
//! | `locks.rs` | locks on keys between tasks and processes |
//! | `version.rs` | what identifies a version of a file; derived ETags |
//! | `unnamed.rs`, `staging.rs`, `staged.rs` | files that are not visible yet; removing old ones |
//! | `shared.rs` | the state that all verbs share |
//! | `record.rs`, `sidecar.rs`, `metadata.rs` | metadata: its format, its places, finding it |
//! | `commit.rs` | the step that makes a staged file the object |
//! | `cached.rs` | reads that the page cache can serve without blocking |
//! | `save.rs`, `open.rs`, `stat.rs`, `list.rs`, `copy.rs`, `delete.rs` | the verbs |
//! | `driver.rs` | [`Fs`]: one line for each verb |
#![cfg_attr(not(unix), allow(dead_code, reason = "no driver exists for this system yet"))]

mod blocking;
mod config;
mod errors;
mod links;
mod settings;
#[cfg(unix)]
mod unix;

pub use config::{FsBuilder, register};
pub use settings::MetadataStore;
#[cfg(unix)]
pub use unix::Fs;
