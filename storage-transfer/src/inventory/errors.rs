//! Errors of data files.

use storage_core::{Error, ErrorKind, Key};

/// Adds the name of a data file to an error. A panic of a decoder is an error too.
pub(super) fn file_context(error: Error, file: &Key) -> Error {
    let context = format!("the data file {:?} of the inventory", file.as_str());
    error.with_context(&context)
}

/// The error of a data file that cannot be decoded.
pub(super) fn damaged(reason: impl std::fmt::Display) -> Error {
    let message = format!("it cannot be decoded: {reason}; wait for the next inventory");
    Error::new(ErrorKind::Integrity, message)
}
