//! Archives and tables in a storage. [`writer`](anystorage::Storage::writer) writes all of them.
//! [`reader`](anystorage::Storage::reader) reads zip and Parquet files, which have an index at
//! their end.
//!
//! Each function streams: no archive is in memory as a whole. If a function that writes fails, or
//! its future is dropped, the old archive stays, because only `finish` saves the new one.

pub mod csv;
pub mod parquet;
pub mod tar;
pub mod zip;

/// The error of a storage or of a format.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of each function.
pub type Result<T> = std::result::Result<T, Error>;
