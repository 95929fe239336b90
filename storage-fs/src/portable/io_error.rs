//! Converts errors of the standard library to errors of the contract.

use std::fmt;
use std::io::{self, ErrorKind};

use storage_core::Error;

use super::platform;
use crate::errors;

/// The cause of an error for a name that exists only in another case or as a short name.
#[derive(Debug)]
struct OtherName;

impl fmt::Display for OtherName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name exists in another case or as a short name")
    }
}

impl std::error::Error for OtherName {}

/// Returns the error for a name that exists only in another case or as a short name. Reads treat
/// the file as missing.
pub(crate) fn other_name() -> io::Error {
    io::Error::new(ErrorKind::NotFound, OtherName)
}

pub(crate) fn is_other_name(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(cause) if cause.is::<OtherName>())
}

/// Returns whether an error means that the file certainly does not exist.
pub(crate) fn means_absent(error: &io::Error) -> bool {
    let kinds = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::InvalidFilename];
    kinds.contains(&error.kind())
}

/// Returns whether a directory is missing, and its name does not exist in another case either.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && !is_other_name(error)
}

/// Converts an error to one with a message that contains the failed action and, where one exists,
/// the remedy.
pub(crate) fn io_error(error: io::Error, action: &'static str) -> Error {
    let converted = match error.kind() {
        _ if is_other_name(&error) => errors::differs_in_case(),
        _ if platform::means_too_many_open_files(&error) => errors::too_many_open_files(),
        ErrorKind::WouldBlock => errors::locked_too_long(),
        ErrorKind::InvalidFilename => errors::name_too_long(),
        ErrorKind::CrossesDevices => errors::other_file_system(),
        ErrorKind::NotADirectory => errors::parent_is_not_a_directory(),
        _ => return Error::from(error).with_context(action),
    };
    converted.with_source(error).with_context(action)
}

/// Converts the error of an operation on the directory `.anystorage` or on a file in it.
pub(crate) fn state_dir_error(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => errors::state_dir_forbidden().with_source(error),
        ErrorKind::NotADirectory => errors::state_dir_is_not_a_directory().with_source(error),
        _ => io_error(error, "opening the directory .anystorage"),
    }
}
