//! The local file system driver of anystorage.
//!
//! - **What is saved is a plain file at the plain path** below the root, so that any web server can
//!   serve it; and any regular file below the root whose name is a valid key is an object, whoever
//!   wrote it.
//! - **Atomic**: a save is staged beside the objects, with its metadata, and renamed into place.
//!   Readers see the old version or the new one; a crash at any instant leaves one of them.
//! - **Durable**, unless turned off: file, directory and newly made ancestors are on the disk
//!   before a save answers.
//! - **Confined**: nothing leads out of the root, no symlink is followed, nothing but regular files
//!   is opened.
//! - **Metadata** (content type, headers, user metadata, checksums, ETag) is kept in one extended
//!   attribute, or in a sidecar where the file system has none.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
//! # Options
//!
//! <!-- options of fs -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `root` | path | required | The directory that holds the objects. |
//! | `create_root` | boolean | `true` | Whether a missing root is created, with its parents. |
//! | `durable` | boolean | `true` | Whether a save is synced to the disk before it returns. |
//! | `file_mode` | text | `"0644"` | Permission bits of files, in octal and quoted, whatever the umask. |
//! | `dir_mode` | text | `"0755"` | Permission bits of directories, in octal and quoted, whatever the umask. |
//! | `respect_umask` | boolean | `false` | Whether files and directories get the permission bits of the umask, in place of `file_mode` and `dir_mode`. |
//! | `remove_locks` | boolean | `false` | Whether the driver removes its lock files when it is dropped. |
//! | `signing_key` | secret | | The key of signed links, which begin with `public_url`. |
//! | `metadata` | `auto`, `xattr` or `sidecar` | `"auto"` | Where metadata is kept: extended attributes, files beside the objects (`sidecar`), or sidecars where attributes are impossible (`auto`). |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).
//!
//! # What is ours below the root
//!
//! One directory, `.anystorage` (mode 0700), made when it is needed and removed when it is empty:
//! in `staging` the files that are about to replace an object (and all staged files, where the
//! system has none without a name), sidecars in `meta`, lock files in `locks`. A key with a segment
//! of that name is refused, and none shows in a listing.
//!
//! Lock files are created when an object is first replaced or deleted, and stay (unless
//! `remove_locks` is set): at most 64, empty, with mode 0600. Leave them out of backups, and do not
//! remove them while programs use the root.
//!
//! # Who may share a root
//!
//! - Any number of tasks, drivers and processes of one user. They have to name the same directory
//!   as the root, because their locks are below it, and run the same version of this crate, or one
//!   that its changelog names as compatible.
//! - The superuser too: what it creates in `.anystorage` is handed over to the owner of the root.
//! - Other users may read objects, as far as modes allow, and save new ones where they may write.
//!   To replace or delete an object they would need the lock files, which are closed to them: that
//!   is `PermissionDenied`. Run the programs of several users as one, or give each a root of its
//!   own. `.anystorage` is not used if it belongs to a user who is neither the one of the process
//!   nor the owner of the root, and it is closed to others if it is open to them.
//!
//! # Behaviour to know of
//!
//! - `a` and `a/b` cannot both be files: the second save is a `Conflict` and changes nothing.
//! - Deleting the last object of a directory removes the directory, and its parents as far as they
//!   are empty.
//! - Two drivers whose roots are inside each other do not lock each other out: `if_match` through
//!   one does not see a save through the other in time.
//! - Another program that changes a file in place keeps its headers, but the ETag becomes one that
//!   is derived from size and times, and checksums are dropped (unless it puts back the old time to
//!   the nanosecond). It also breaks the promise that a reader sees one version: replace files by
//!   renaming.
//! - ETags of what we saved are strong. A file of another program gets one from its inode, size and
//!   times, which is weak during the two seconds in which a change could go unnoticed.
//! - A listing tells no ETags, since each would cost opening the file.
//! - Extended attributes hold about 4 KB on ext4. Larger metadata goes to a sidecar (`metadata =
//!   "auto"`) or is refused (`"xattr"`).
//! - On file systems without user extended attributes (older NFS, FAT), `"auto"` uses sidecars;
//!   those belong to this driver and are not copied along by other tools.
//! - The root is opened once. A directory that takes its name later is not noticed.
//!
//! Linux is where all this is proved. Other Unix systems use the same calls but for `openat2`,
//! which is replaced by a walk from directory to directory; they are not tested. Windows is not
//! supported: building the driver there is an error that says so.

#[cfg(unix)]
mod blocking;
#[cfg(unix)]
mod cached;
#[cfg(unix)]
mod commit;
mod config;
#[cfg(unix)]
mod copy;
#[cfg(unix)]
mod delete;
#[cfg(unix)]
mod driver;
#[cfg(unix)]
mod errors;
#[cfg(unix)]
mod list;
#[cfg(unix)]
mod locks;
#[cfg(unix)]
mod metadata;
#[cfg(unix)]
mod open;
#[cfg(unix)]
mod own;
#[cfg(unix)]
mod root;
#[cfg(unix)]
mod save;
#[cfg(unix)]
mod staged;
#[cfg(unix)]
mod staging;
#[cfg(unix)]
mod unnamed;
#[cfg(unix)]
mod unsynced;
#[cfg(unix)]
mod version;

pub use config::{FsBuilder, MetadataStore, register};
#[cfg(unix)]
pub use driver::Fs;
