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
//! - **Durable.** A save returns when the file, its metadata, its directory and the ancestors that
//!   this driver created are on the disk. [`FsBuilder::durable`] lists the steps and disables them.
//! - **Cancel safe.** If the future of a save or a copy is dropped before the rename, the old
//!   object stays and the staged file is removed. A delete continues in the background.
//! - **Multipart uploads** outlive the process. A part that was acknowledged survives a killed
//!   process, and a loss of power if the driver is `durable`. Completion renames a file, so its
//!   duration does not depend on the size of the object.
//! - **Confined.** No key leads out of the root, no symlink below the root is followed, and only
//!   regular files are opened.
//! - **Complete metadata.** Content type, headers, user metadata, checksums and ETag are stored in
//!   one extended attribute, or in a sidecar file if the file system has no extended attributes or
//!   the metadata is too large for one.
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
//! | `durable` | boolean | `true` | Whether to sync files and directories before a save, copy, rename or delete returns. |
//! | `file_mode` | text | `"0644"` | Permission bits of files, in octal and quoted. |
//! | `dir_mode` | text | `"0755"` | Permission bits of directories, including a new root, in octal and quoted. |
//! | `respect_umask` | boolean | `false` | Whether to apply the umask instead of `file_mode` and `dir_mode`. |
//! | `remove_locks` | boolean | `false` | Whether to remove unused lock files when the driver is dropped. |
//! | `signing_key` | secret | | The secret of signed links. Requires `public_url`. |
//! | `metadata` | `auto`, `xattr` or `sidecar` | `"auto"` | Where metadata is stored: in extended attributes, in sidecar files, or in sidecars where attributes are impossible (`auto`). |
//!
//! <!-- end of options -->
//!
//! The options that every driver takes apply too. `public_url` is also the base of signed links. It
//! is a URL, or a path such as `/media/`. The server at that place must verify signed links, as
//! `storage_serve::Serve::for_storage(&storage)` does.
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
//!   The ETag of the changed file is derived from its inode, size and times, and its checksums are
//!   dropped. Headers and user metadata in an extended attribute still apply; those in a sidecar do
//!   not. (The driver does not detect a change that keeps the size and restores the modification
//!   time to the nanosecond.) Replace files by renaming instead.
//! - A listing contains no ETags, because each would require opening the file.
//! - Extended attributes hold about 4 KiB on ext4. With `metadata = "auto"`, larger metadata is
//!   stored in a sidecar; with `"xattr"`, the save fails with `InvalidInput`.
//! - File systems without user extended attributes (older NFS, FAT) need sidecars. Other tools that
//!   copy the objects do not copy their sidecars.
//! - The root is opened once. If another directory takes its path, the driver continues to use the
//!   one that it opened.
//! - A durable save does not sync a parent directory that another process has created but not yet
//!   synced. A loss of power at that moment may remove the directory with the object.
//! - [Other systems](#platforms) than Linux use another implementation, which is tested only on
//!   Linux.
//!
//! # Platforms
//!
//! Linux has an implementation of its own. macOS, other Unix systems and Windows share a portable
//! one, which is built on cap-std. Both store objects in the same way, and each reads the sidecars
//! of the other. The tests run the portable implementation on Linux, with the conformance suite,
//! symlinks that lead out of the root, and killed processes. **It is not tested on macOS and
//! Windows.**
//!
//! | | Linux | macOS, other Unix | Windows |
//! |-|-|-|-|
//! | atomic saves, `create_new`, `if_match`, locks between processes | yes | yes | yes, with NTFS |
//! | metadata | attribute or sidecar | sidecar; `xattr` is refused | sidecar; `xattr` is refused |
//! | symlinks below the root | not followed | not followed | not followed, junctions neither |
//! | after a loss of power | file and directories synced | file and directories synced | file synced; a rename may be lost |
//! | modes, owner, umask | yes | yes | no effect: files inherit the rights of their directory |
//! | a killed process leaves | empty directories, unused sidecars; rarely staged files | empty directories, unused sidecars, staged files | empty directories, unused sidecars, staged files |
//!
//! On Windows, a key fails with `InvalidKey` if a segment contains a control character or one of
//! `<>:"|?*\`, ends in a dot or a space, is the name of a device (`CON`, `NUL`, `COM1`, with any
//! extension), or has more than 255 UTF-16 code units.
//!
//! If the file system ignores case (Windows, macOS) and a file or directory exists whose name
//! differs from a key only in case, reads treat the key as missing and a save fails with
//! `Conflict`. One case remains: two saves of such keys at the same moment may both succeed, so
//! that one object is lost, if they differ in letters that are not ASCII and the file system has no
//! hard links.
//!
//! Renaming over a file that another program has open without sharing it (virus scanners on
//! Windows) is repeated for about 0.5 s, and then fails with `PermissionDenied`. On file systems
//! without hard links (FAT, exFAT), `create_new` relies on the locks.
//!
//! # The directory `.anystorage`
//!
//! The driver keeps its own files in `.anystorage` below the root (mode 0700):
//!
//! - `staging` contains staged files: for the moment in which they replace an object, or from the
//!   beginning of a save if the system has no unnamed files.
//! - `meta` contains sidecars.
//! - `uploads` contains a directory for each unfinished multipart upload.
//! - `locks` contains at most 64 lock files, which are empty and have mode 0600.
//!
//! The directory is created when it is first needed. Dropping the driver removes it if it is empty.
//! A key with a segment of that name, in any case, fails with `InvalidKey`. Listings skip the
//! directory.
//!
//! A lock file is created when a key that maps to it is first replaced or deleted, or saved with a
//! sidecar, and stays unless `remove_locks` is set. Exclude the lock files from backups, and do not
//! remove them while programs use the root.
//!
//! # Multipart uploads
//!
//! An upload is a directory `.anystorage/uploads/<id>`. Its parts are written at their offset into
//! one file, which becomes the object. Each part that is acknowledged has a record. A part that is
//! sent again is written beside first and then copied into that file, so that the earlier one stays
//! until the new one is whole.
//!
//! - Parts have 1 byte to 5 GiB, and an upload has at most 10,000 of them. All modes are supported,
//!   and a declared CRC-64/NVME or CRC-32C is verified. Links to parts (`part_url`) are
//!   `Unsupported`.
//! - Any number of processes may use one upload at the same time. File systems without locks have
//!   no multipart uploads: the beginning fails with `Unsupported`.
//! - A part that is received in memory at once is written at once. A stream is written in batches
//!   of 1 MiB, of which two are in memory.
//! - A listing of uploads holds all uploads below the prefix in memory: about 500 bytes for each. A
//!   listing of parts holds those of one upload.
//! - Uploads have no age limit of their own. Call `Storage::abort_stale` once a day. The sweep of
//!   staged files ([`Fs::sweep`]) removes only what killed processes left of uploads that have
//!   ended.
//! - A completion with exactly some parts discards the others, also if it fails afterwards.
//! - The object has the ETag that follows from the id of its upload. So a completion that is
//!   repeated recognises it. If it was renamed meanwhile, only a handle that was resumed under its
//!   new key does.
//! - A completion takes time for each part, and none for the bytes. It removes the records of up to
//!   64 parts before it returns, and those of larger uploads afterwards, on the blocking pool.
//! - A copy of the root by hard links (`cp -al`) shares the bytes of unfinished uploads with the
//!   root: the parts that are sent later appear in it. Never continue an upload in such a copy.
//!   There, nothing shows that the upload was completed in the root: a part that is sent in the
//!   copy is written into the object of the root. Copy the bytes (`cp -a`) to continue uploads in a
//!   copy. An upload that is put back into its own root after its completion does not replace its
//!   object.
//! - Where the file system renames no file into a vacant place (NFS, and the portable
//!   implementation), a completion in a vacant place takes 20 ms longer.
//! - A verb waits up to 5 minutes for a lock that another process holds, for example because it is
//!   stopped, and then fails with `Timeout`. Dropping its future ends the wait.
//!
//! # Sharing a root
//!
//! - Any number of tasks, drivers and processes of one user may share a root. They must name the
//!   same directory as the root, because the locks are below it. They must run the same version of
//!   this crate, or one that its changelog names as compatible.
//! - A verb waits up to 30 s for the lock of an object that another process holds, for example
//!   because it is stopped, and then fails with `Timeout`.
//! - The superuser may use it too: what it creates in `.anystorage` is given to the owner of the
//!   root.
//! - Other users may read objects as far as the modes allow. On Linux, they may also save new
//!   objects in directories to which they may write, unless the metadata needs a sidecar. Replacing
//!   and deleting require the lock files, which are closed to them, so these fail with
//!   `PermissionDenied`. Run the programs of several users as one user, or give each its own
//!   root.
//! - The driver refuses `.anystorage` if it belongs to a user who is neither the user of the
//!   process nor the owner of the root. It removes the permissions of other users from it.
//!
//! # The source in reading order
//!
//! Shared by both implementations:
//!
//! | file | content |
//! |-|-|
//! | `settings.rs` | the settings that all verbs read, and the modes of new files |
//! | `config.rs` | options, [`FsBuilder`], [`register`] |
//! | `errors.rs` | the errors of both implementations, with the kinds of the contract |
//! | `names.rs` | reserved names and the names of lock files |
//! | `version.rs`, `record.rs` | what identifies a version of a file; the format of its metadata |
//! | `dirty_dirs.rs` | which new directories are not yet synced |
//! | `blocking.rs` | runs blocking work on Tokio's blocking pool, and stops it if its future is dropped |
//! | `save_stream.rs` | writing a stream in batches |
//! | `uploads/` | multipart uploads: the layout of their directories, and the verbs |
//! | `walk.rs` | listing a tree in byte order of the keys |
//! | `links.rs` | public and signed links |
//!
//! The implementation for Linux, in `unix/`:
//!
//! | file | content |
//! |-|-|
//! | `errno.rs` | error numbers of the system as errors of the contract |
//! | `root.rs` | opening, creating and removing paths below the root |
//! | `state_dir.rs` | the directory `.anystorage` and its owner |
//! | `locks.rs` | locks on keys between tasks and processes |
//! | `version.rs` | the version of a file from its status |
//! | `unnamed.rs`, `staging.rs`, `staged.rs` | files that are not visible yet, and removing those of killed processes |
//! | `shared.rs` | the state that all verbs share |
//! | `sidecar.rs`, `metadata.rs` | storing metadata in attributes or sidecars, and finding it |
//! | `commit.rs` | the step that makes a staged file the object |
//! | `uploads.rs` | the operations on files that multipart uploads need |
//! | `cached.rs` | reads that the page cache can serve without blocking |
//! | `save.rs`, `open.rs`, `stat.rs`, `list.rs`, `copy.rs`, `delete.rs` | the verbs |
//! | `driver.rs` | [`Fs`]: one line for each verb |
//!
//! The implementation for other systems, in `portable/`, which has the same files where it does the
//! same, and:
//!
//! | file | content |
//! |-|-|
//! | `platform.rs` | what differs between Unix and Windows |
//! | `windows_names.rs`, `name_rules.rs` | names that Windows cannot store; names that differ in case |
//! | `io_error.rs` | errors of the standard library as errors of the contract |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod config;
mod copy;
mod dirty_dirs;
mod errors;
mod links;
mod names;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod portable;
mod record;
mod save_stream;
mod settings;
#[cfg(target_os = "linux")]
mod unix;
mod uploads;
mod version;
mod walk;

pub use config::{FsBuilder, register};
#[cfg(not(target_os = "linux"))]
pub use portable::Fs;
#[cfg(all(target_os = "linux", feature = "portable"))]
#[doc(hidden)]
pub use portable::{Fs as PortableFs, NameRules};
pub use settings::MetadataStore;
#[cfg(target_os = "linux")]
pub use unix::Fs;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
