//! The errors of both implementations, with the kinds of the contract.

use storage_core::{Error, ErrorKind};

pub(crate) fn name_too_long() -> Error {
    Error::new(
        ErrorKind::InvalidKey,
        "a segment of the key is longer than the names of the file system: use at most 255 bytes",
    )
}

pub(crate) fn parent_is_not_a_directory() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a parent directory of this key is a file or a symlink, so nothing can be stored below it",
    )
}

pub(crate) fn is_a_directory() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "this key is a directory that is not empty, so it cannot be an object too",
    )
}

pub(crate) fn already_exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "the object exists already")
}

pub(crate) fn not_a_regular_file() -> Error {
    let message = "a file that is not regular (a symlink, a device) has this name: remove it first";
    Error::new(ErrorKind::Conflict, message)
}

/// Returns the error for a directory that disappeared on every attempt. Other processes may remove
/// an empty directory between two steps, but if that happens every time, there is another cause.
pub(crate) fn directory_removed() -> Error {
    let message = "the object's directory, .anystorage or the root was removed on every attempt";
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

/// Returns the error for an object that was replaced on every attempt to read it.
pub(crate) fn object_replaced() -> Error {
    Error::new(ErrorKind::Unexpected, "the object was replaced during every attempt to read it")
        .with_retryable(true)
}

/// Returns the error for a name that the file system does not distinguish from an existing one.
#[cfg_attr(target_os = "linux", allow(dead_code, reason = "for the portable implementation"))]
pub(crate) fn differs_in_case() -> Error {
    let message = "a file or directory exists whose name differs from this key only in case, and \
                   the file system treats both as one: choose another key";
    Error::new(ErrorKind::Conflict, message)
}

pub(crate) fn too_many_open_files() -> Error {
    let message = "too many open files: raise the limit (ulimit -n) or open fewer at a time";
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

pub(crate) fn locked_too_long() -> Error {
    let message = "another process of this user holds the object's lock in .anystorage/locks: it \
                   is stopped or stuck; continue or end that process, and try again";
    Error::new(ErrorKind::Timeout, message)
}

pub(crate) fn no_locks() -> Error {
    Error::unsupported(
        "if_match and if_source_match need file locks, which this file system does not support: \
         omit the condition, or move the root to another file system",
    )
}

pub(crate) fn other_file_system() -> Error {
    Error::unsupported(
        "the object's directory is on another file system than the root: configure that file \
         system as a separate storage",
    )
}

pub(crate) fn state_dir_forbidden() -> Error {
    let message = "this user cannot use the directory .anystorage below the root: run all programs \
                   that change the root as one user, who owns .anystorage or may create it";
    Error::new(ErrorKind::PermissionDenied, message)
}

pub(crate) fn state_dir_is_not_a_directory() -> Error {
    let message = ".anystorage below the root, or a path in it, is not a directory: remove what \
                   another program created there";
    Error::new(ErrorKind::Conflict, message)
}

pub(crate) fn no_such_upload() -> Error {
    let message = "the key has no unfinished upload of this id: it was completed and replaced, \
                   aborted or swept; begin another";
    Error::new(ErrorKind::NotFound, message)
}

pub(crate) fn upload_locked_too_long() -> Error {
    let message = "another process holds the lock of the upload in .anystorage/uploads: it is \
                   stopped or stuck; continue or end that process, and try again";
    Error::new(ErrorKind::Timeout, message)
}

pub(crate) fn no_locks_for_uploads() -> Error {
    Error::unsupported(
        "multipart uploads need file locks, which this file system does not support: save the \
         object in one piece",
    )
}

pub(crate) fn part_too_large(part_size: u64) -> Error {
    let message = format!("the part is larger than the part size, which is {part_size} bytes");
    Error::new(ErrorKind::TooLarge, message)
}

pub(crate) fn part_beyond_any_file(number: u32) -> Error {
    let message = format!("part {number} would end beyond the largest size of a file");
    Error::new(ErrorKind::TooLarge, message)
}

pub(crate) fn damaged_upload() -> Error {
    let message = "bytes of a part that was acknowledged are missing in .anystorage/uploads: \
                   another program changed them, or the machine failed while durable = false; \
                   abort the upload";
    Error::new(ErrorKind::Integrity, message)
}
