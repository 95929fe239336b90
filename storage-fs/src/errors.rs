//! What the operating system says, in the contract's words.

use rustix::io::Errno;
use storage_core::{Error, ErrorKind};

/// Turns an error number into an error that says what was being done and what to do about it.
pub(crate) fn os(errno: Errno, doing: &'static str) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::MFILE | Errno::NFILE => {
            let message = "too many open files: raise the limit (ulimit -n) or open fewer at a time";
            Error::unexpected(message, cause).with_retryable(true)
        }
        Errno::WOULDBLOCK => {
            let message =
                "another process of this user holds the object's lock in .anystorage/locks: it is stopped or stuck";
            Error::new(ErrorKind::Timeout, message).with_source(cause)
        }
        Errno::NAMETOOLONG => invalid_name().with_source(cause),
        Errno::XDEV => {
            let message =
                "the object's directory is on another file system than the root: make it a storage of its own";
            Error::unsupported(message).with_source(cause)
        }
        // Only ever answered for a component of a path, since the last one is looked at before.
        Errno::LOOP | Errno::NOTDIR => not_a_directory().with_source(cause),
        _ => Error::from(cause),
    }
    .with_context(doing)
}

/// Returns the error of an operation on the directory `.anystorage` or on a file in it.
pub(crate) fn own_directory(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM => {
            let message = "this user cannot use the directory .anystorage below the root: run all programs that change \
                           the root as one user, who owns .anystorage or may create it";
            Error::new(ErrorKind::PermissionDenied, message)
                .with_source(std::io::Error::from(errno))
        }
        Errno::LOOP | Errno::NOTDIR => {
            let message = "another program has put something else in the place of .anystorage below the root: remove it";
            Error::new(ErrorKind::Conflict, message).with_source(std::io::Error::from(errno))
        }
        other => os(other, "opening the directory .anystorage"),
    }
}

/// Whether an error of looking something up means that it is certainly not there: no entry, or no
/// way to one that this driver would go (through a file, a symlink, or a name longer than any the
/// file system holds).
pub(crate) fn means_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

pub(crate) fn invalid_name() -> Error {
    Error::new(
        ErrorKind::InvalidKey,
        "the file system cannot hold a name this long: segments have at most 255 bytes",
    )
}

pub(crate) fn not_a_directory() -> Error {
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
    Error::new(ErrorKind::AlreadyExists, "there is an object already")
}

/// Empty directories of ours come and go as other processes prune them; that one is gone time after
/// time is no race.
pub(crate) fn removed() -> Error {
    let message = "the object's directory, or the root, was removed again and again";
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

pub(crate) fn in_the_way() -> Error {
    let message =
        "something that is no regular file (a symlink, a device) has this name: remove it first";
    Error::new(ErrorKind::Conflict, message)
}

pub(crate) fn replaced() -> Error {
    Error::new(ErrorKind::Unexpected, "the object is being replaced all the time")
        .with_retryable(true)
}
