//! Error numbers of the operating system as errors of the contract.

use rustix::io::Errno;
use storage_core::{Error, ErrorKind};

use crate::errors::{name_too_long, parent_is_not_a_directory};

/// Converts an error number to an error with a message that contains the failed action and, where
/// one exists, the remedy.
pub(crate) fn os_error(errno: Errno, action: &'static str) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::MFILE | Errno::NFILE => {
            let message =
                "too many open files: raise the limit (ulimit -n) or open fewer at a time";
            Error::unexpected(message, cause).with_retryable(true)
        }
        Errno::WOULDBLOCK => {
            let message = "another process of this user holds the object's lock in \
                           .anystorage/locks: it is stopped or stuck";
            Error::new(ErrorKind::Timeout, message).with_source(cause)
        }
        Errno::NAMETOOLONG => name_too_long().with_source(cause),
        Errno::XDEV => {
            let message = "the object's directory is on another file system than the root: make \
                           it a storage of its own";
            Error::unsupported(message).with_source(cause)
        }
        // These concern a directory of the path: the last component was checked before.
        Errno::LOOP | Errno::NOTDIR => parent_is_not_a_directory().with_source(cause),
        _ => Error::from(cause),
    }
    .with_context(action)
}

/// Converts the error number of an operation on the directory `.anystorage` or on a file in it.
pub(crate) fn state_dir_error(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM => {
            let message = "this user cannot use the directory .anystorage below the root: run all \
                           programs that change the root as one user, who owns .anystorage or may \
                           create it";
            Error::new(ErrorKind::PermissionDenied, message)
                .with_source(std::io::Error::from(errno))
        }
        Errno::LOOP | Errno::NOTDIR => {
            let message = "the path .anystorage below the root, or one below it, is not a \
                           directory: another program created it; remove it";
            Error::new(ErrorKind::Conflict, message).with_source(std::io::Error::from(errno))
        }
        other => os_error(other, "opening the directory .anystorage"),
    }
}

/// Returns whether an error of a lookup means that the file certainly does not exist: there is no
/// entry, or the path leads through a file, through a symlink, or through a name longer than any
/// the file system holds.
pub(crate) fn means_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}
