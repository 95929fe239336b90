//! Archives and tables in a storage: written by [`writer`](anystorage::Storage::writer), read by
//! [`reader`](anystorage::Storage::reader).
//!
//! Each function streams: no archive and no object is in memory as a whole. If one fails, or its
//! future is dropped, the old archive stays, because only `finish` saves the new one.

pub mod csv;
pub mod parquet;
pub mod tar;
pub mod zip;

/// The error of a storage or of a format.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of each function.
pub type Result<T> = std::result::Result<T, Error>;
