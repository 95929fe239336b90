//! Errors in the terms of the contract.

use storage_core::{Error, ErrorKind};

pub(crate) fn name_too_long() -> Error {
    Error::new(
        ErrorKind::InvalidKey,
        "the file system cannot hold a name this long: segments have at most 255 bytes",
    )
}

pub(crate) fn parent_is_not_a_directory() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a beginning of this key is a file or a symlink, which cannot have files below it",
    )
}

pub(crate) fn is_a_directory() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "there are objects below this key, so that it is a directory and cannot be a file",
    )
}

pub(crate) fn already_exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "the object exists already")
}

pub(crate) fn not_a_regular_file() -> Error {
    let message = "a file that is not regular (a symlink, a device) has this name: remove it first";
    Error::new(ErrorKind::Conflict, message)
}

/// Returns the error for a directory that disappeared on every attempt. Empty directories come and
/// go as other processes remove them, but losing that race every time has another cause.
pub(crate) fn directory_removed() -> Error {
    let message = "the object's directory, or the root, was removed on every attempt";
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

/// Returns the error for an object that was replaced on every attempt to read it.
pub(crate) fn object_replaced() -> Error {
    Error::new(ErrorKind::Unexpected, "the object was replaced on every attempt")
        .with_retryable(true)
}
