//! What most applications import: `use storage_core::prelude::*;`.
//!
//! Contains the types that applications name in calls of [`Storage`] and in their results. No name
//! in it hides one of the standard library's prelude: write `storage_core::Result` and
//! `storage_core::Error`. Types for drivers and layers are not included.
//!
//! ```
//! use storage_core::prelude::*;
//!
//! async fn greeting(storage: &Storage) -> storage_core::Result<String> {
//!     match storage.open("greeting.txt").await {
//!         Ok(object) => object.text().await,
//!         Err(error) if error.is_not_found() => Ok("hello".to_owned()),
//!         Err(error) => Err(error),
//!     }
//! }
//! ```

pub use crate::{
    ByteRange, Checksum, ChecksumAlgorithm, CompleteOptions, CopyOptions, ETag, Entries, Entry,
    ErrorKind, Key, Link, ListOptions, Metadata, MultipartOptions, MultipartUpload, Object,
    ObjectEntry, ObjectMeta, OpenOptions, Part, PartUrlOptions, Payload, Prefix, RenameOptions,
    SaveOptions, Storage, UploadId, UrlMethod, UrlOptions,
};
