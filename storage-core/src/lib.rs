//! The storage contract of anystorage.
//!
//! Applications hold a [`Storage`] and save, open, check, delete and link to objects without
//! knowing where the objects are kept. Backends implement the small [`Driver`] trait, and so do
//! [`layers`], which wrap a driver to change one thing about it. A [`Registry`] builds storages
//! from configuration.
//!
//! Most applications depend on the `anystorage` crate, which re-exports this one and adds the
//! drivers.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::Memory;
//!
//! let storage = Memory::storage();
//! let meta = storage.save("avatars/ada.txt", "hello").create_new().await?;
//! assert_eq!(meta.content_type(), Some("text/plain; charset=utf-8"));
//! assert_eq!(storage.open("avatars/ada.txt").await?.text().await?, "hello");
//! # Ok(()) }
//! ```
//!
//! # Contents
//!
//! | module or type | purpose |
//! |---|---|
//! | [`Storage`], [`Save`], [`Open`], [`List`], [`DeleteMany`], [`DeletePrefix`] | the calls of applications |
//! | [`Key`], [`Prefix`], [`keys`] | names of objects, and functions that make them |
//! | [`ObjectMeta`], [`Metadata`], [`ETag`], [`Checksums`] | what describes an object |
//! | [`Payload`], [`Object`] | the bytes of a save and of an open |
//! | [`Writer`], [`PipeWriter`] | objects that are written piece by piece |
//! | [`Reader`] | objects that are read at any position |
//! | [`MultipartUpload`], [`Multipart`] | uploads that outlive a process |
//! | [`Error`], [`ErrorKind`] | the error type of all drivers |
//! | [`Link`], [`LinkBase`] | links to objects, and where they lead |
//! | [`prelude`] | what most applications import |
//! | [`Driver`], [`Capabilities`] | the trait that a backend implements |
//! | [`layers`] | prefix, read-only, timeout, retry, limit, observation |
//! | [`config`], [`Registry`] | storages from configuration |
//! | `blocking` | the API for synchronous code, with the feature `blocking` |
//! | [`Memory`] | the driver for tests, and the model of the contract |
//! | [`signed_url`] | the format of signed links to servers of this project |
//!
//! Everything runs on a Tokio runtime: files are read on its blocking pool, and timeouts use its
//! timers.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic_file;
#[cfg(feature = "blocking")]
pub mod blocking;
mod blocking_pool;
mod checksum;
#[cfg(feature = "checksums")]
mod composed_crc;
pub mod config;
pub mod content_type;
mod copy;
mod copy_to;
mod delete_many;
mod delete_prefix;
mod deletions;
mod driver;
mod driver_ref;
mod entry;
mod error;
mod etag;
mod file_stream;
mod forward;
mod forward_multipart;
#[cfg(feature = "checksums")]
mod hasher;
mod hashers;
mod hex;
mod inspect;
#[doc(hidden)]
pub mod internal;
mod key;
pub mod keys;
pub mod layers;
mod link;
mod link_verifier;
mod list;
mod memory;
mod metadata;
mod multipart;
mod named;
mod object;
mod open;
mod options;
mod payload;
mod pipe;
pub mod prelude;
mod promote;
mod random;
mod range;
mod read;
mod reader;
mod registry;
mod rename;
mod response;
mod rfc3339;
mod save;
pub mod signed_url;
mod storage;
mod text;
mod timestamp;
mod ttl_cache;
mod unknown_size;
mod url_builder;
mod version;
mod window;
mod writer;

pub use async_trait::async_trait;
pub use checksum::{Checksum, ChecksumAlgorithm, Checksums};
pub use copy::CopyObject;
pub use copy_to::CopyTo;
pub use delete_many::DeleteMany;
pub use delete_prefix::DeletePrefix;
pub use driver::{Capabilities, Driver, DriverInfo, MAX_DELETE_MANY, delete_one_by_one};
pub use driver_ref::DriverRef;
pub use entry::{Entry, EntryStream, ObjectEntry, roll_up};
pub use error::{BoxError, Error, ErrorKind, Operation, Result};
pub use etag::ETag;
#[cfg(feature = "checksums")]
pub use hasher::Hasher;
pub use inspect::BodyEvent;
pub use key::{IntoKey, IntoPrefix, Key, MAX_KEY_BYTES, Prefix};
pub use link::{Link, LinkBase};
pub use link_verifier::LinkVerifier;
pub use list::{Entries, List};
pub use memory::Memory;
pub use metadata::{MAX_HEADER_BYTES, MAX_USER_METADATA_BYTES, Metadata, ObjectMeta};
pub use multipart::{
    BeginMultipart, CheckedParts, CompleteOptions, Multipart, MultipartLimits, MultipartOptions,
    MultipartUpload, OtherParts, Part, PartStream, PartUrlOptions, UnfinishedUpload, UploadId,
    UploadPlan, UploadStream, check_completed, check_parts,
};
pub use object::{Object, ObjectReader, ObjectStream};
pub use open::Open;
pub use options::{
    CopyMode, CopyOptions, ListOptions, MetadataDirective, OpenOptions, RenameOptions, SaveMode,
    SaveOptions, UrlMethod, UrlOptions,
};
pub use payload::{InMemory, Payload, PayloadStream};
pub use pipe::PipeWriter;
pub use promote::Promote;
pub use range::ByteRange;
pub use read::Read;
pub use reader::{OpenReader, Reader};
pub use registry::{BuildContext, DriverDescription, Registry};
pub use rename::RenameObject;
pub use response::ResponseMeta;
pub use save::Save;
pub use storage::Storage;
pub use timestamp::{format_time, parse_time};
pub use unknown_size::UnknownSize;
pub use url::Url;
pub use url_builder::UrlBuilder;
pub use writer::Writer;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
