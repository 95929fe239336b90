//! Multipart uploads. Both implementations share this code; [`Files`] is what each supplies.
//!
//! An upload is a directory `.anystorage/uploads/<id>`, where the id has 32 hexadecimal digits:
//!
//! | path | content |
//! |-|-|
//! | `upload` | the [`UploadRecord`]: key, plan, metadata and time of the beginning |
//! | `data` | the bytes of all parts, each at its offset: (number - 1) * part size |
//! | `parts/<number>` | the [`PartRecord`] of a part that was acknowledged |
//! | `beside/<number>-<random>` | the bytes of a part that are not in `data` yet |
//! | `lock` | the lock of the upload. Its length counts the completions that changed `data`. |
//! | `placing` | exists while a hard link puts `data` in its place, and after a kill at that time |
//! | `locks/` | at most 128 lock files of parts |
//!
//! The file `data` becomes the object: completion renames it into place, so that its duration does
//! not depend on the size.
//!
//! # Invariants
//!
//! - The rename of a part record is the step that makes a version of a part the stored one. Its
//!   bytes are complete before, and on the disk if the driver is `durable`.
//! - A record without `beside` means that `data` contains the bytes of the part. No other process
//!   then writes there. So a part that is sent again is written to a file in `beside`, and its
//!   record names that file. The bytes are then copied into `data`, and the record is replaced by
//!   one without `beside`. Until then the record is the redo record: if the process is killed, the
//!   completion copies the bytes.
//! - `data` is open for writing only while its process holds the lock of the upload, and only after
//!   it has seen under the lock that the upload is in progress. Completion and abort take the lock
//!   exclusively. So no process writes into a file that has become an object. A put holds the lock
//!   for one batch at a time: a client that stalls blocks no completion.
//! - An upload is in progress as long as `data` exists in its directory and has not become the
//!   object: `placing.rs` finds this where a file is put in a vacant place by a hard link. Hard
//!   links that other programs make change nothing.
//! - A process removes the directory of an upload only while it holds the lock of the upload, or
//!   after the upload has ended.
//!
//! | file | content |
//! |-|-|
//! | `files.rs` | [`Files`]: the operations on files that both implementations supply |
//! | `record.rs` | the formats of the records, and the ETag of the object |
//! | `upload.rs` | an open upload: its locks, its records, and its removal |
//! | `placing.rs` | whether `data` has become the object, also after a kill |
//! | `begin.rs`, `put.rs`, `complete.rs`, `list.rs` | the verbs |
//! | `driver.rs` | [`Uploads`], which implements [`Multipart`](storage_core::Multipart) |

mod begin;
mod complete;
mod driver;
mod files;
mod list;
mod placing;
mod put;
mod record;
mod upload;

pub(crate) use driver::Uploads;
pub(crate) use files::{CompletedData, Files, parents};
pub(crate) use list::sweep;
pub(crate) use placing::{Links, Placing};

/// The directory of all uploads, below the root.
pub(crate) const UPLOADS: &str = ".anystorage/uploads";

/// The name of the file that becomes the object.
pub(crate) const DATA: &str = "data";
