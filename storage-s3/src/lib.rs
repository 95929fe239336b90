//! The S3 driver of anystorage: AWS S3, and every service that speaks its protocol.
//!
//! ```no_run
//! # async fn example() -> storage_core::Result<()> {
//! use storage_core::Storage;
//! use storage_s3::S3Builder;
//!
//! let storage = Storage::new(S3Builder::new("example-media").region("eu-west-1").build()?);
//! storage.save("avatars/ada.png", &b"\x89PNG"[..]).create_new().await?;
//! # Ok(()) }
//! ```
//!
//! Most applications name the driver in their configuration ([`register`]); [`S3Builder`] is for
//! the others.
//!
//! # What each verb costs
//!
//! | verb | requests |
//! |---|---|
//! | save, up to `part_size` | 1 PUT |
//! | save, more than that | 2 POST and a PUT for each part |
//! | the first save with `storage_class`, not at AWS | 1 HEAD more, and 1 GET where that does not show the class |
//! | open | 1 GET; more for what is read over several connections, and where a connection breaks off |
//! | stat, exists | 1 HEAD; the first time that something is not there, 1 GET of a byte to be sure that the bucket is |
//! | delete | 1 DELETE; 1 POST for up to 1,000 keys of `delete_many` and `delete_prefix`; 1 HEAD and 1 DELETE for a folder marker |
//! | list | 1 GET for each 1,000 keys |
//! | copy | 1 PUT; a HEAD more with other metadata; above 5 GiB a HEAD, 2 POST, a PUT for each 512 MiB, and a PUT that is refused if the metadata is kept |
//! | url | none |
//! | `S3::probe`, `anystorage config check` | about 70 |
//!
//! # How promises are kept
//!
//! - **All or nothing**: an object becomes visible with the answer to its PUT, or to the completion
//!   of its upload. An upload that fails or whose save is dropped is aborted;
//!   [`S3::abort_stale_uploads`] finds those whose process died.
//! - **Conditions** (`create_new`, `if_match`) are S3's own, and as race-free as they are. A
//!   conditional request whose answer was lost is not repeated: the error says that the outcome is
//!   not known.
//! - **Checksums** go along with every body and are verified by the service ([`ChecksumMode`]);
//!   what S3 keeps of an object is verified when all of it is read. Checksums that the caller asks
//!   for are kept as user metadata `anystorage-...`.
//! - **Options** that every object is saved with are not lost silently: where a service does not
//!   confirm the encryption of `sse`, or does not show the `storage_class`, the save fails.
//! - **Reading** goes on at the next byte where a connection breaks off, on the condition that the
//!   object is the same version.
//! - **Memory**: the parts of all saves of a driver take at most 128 MiB, and so do those that are
//!   read ahead. A payload that stalls in the middle of a part does not count, lest it hold up
//!   others.
//! - **Listings** are in byte order, which is checked. What is no key of the contract (`a//b`,
//!   `a/`, `..`) is an error item that carries the raw name; a folder marker, the empty object
//!   `a/`, is told apart by its message.
//!
//! # Where to look
//!
//! A file for each verb (`save`, `open`, `stat`, `list`, `copy`, `delete`, `link`), above these:
//! `client` (signing, sending, trying again), `request`, `errors` (S3's codes in the contract's
//! kinds), `headers` (metadata, there and back), `xml` (documents), `endpoint` (URLs),
//! `credentials`, `quirks`.

mod body;
mod budget;
mod checksums;
mod client;
mod condition;
mod config;
mod copy;
mod credentials;
mod crypto;
mod delete;
mod driver;
mod endpoint;
mod errors;
mod headers;
mod info;
mod link;
mod list;
mod multipart;
mod open;
mod parts;
mod post_form;
mod probe;
mod quirks;
mod request;
mod save;
mod shared;
mod signing;
mod spool;
mod stale_uploads;
mod stat;
mod stored;
mod transport;
mod version;
mod xml;

pub use checksums::ChecksumMode;
pub use config::{S3Builder, register};
pub use driver::S3;
pub use probe::{ProbeFinding, ProbeOutcome, ProbeReport};
pub use quirks::Quirks;
