//! Converts error numbers of the operating system to errors of the contract.

use rustix::io::Errno;
use storage_core::Error;

use crate::errors;

/// Converts an error number to an error with a message that contains the failed action and, where
/// one exists, the remedy.
pub(crate) fn os_error(errno: Errno, action: &'static str) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::MFILE | Errno::NFILE => errors::too_many_open_files().with_source(cause),
        Errno::WOULDBLOCK => errors::locked_too_long().with_source(cause),
        Errno::NAMETOOLONG => errors::name_too_long().with_source(cause),
        Errno::XDEV => errors::other_file_system().with_source(cause),
        // These concern a directory of the path: the last component was checked before.
        Errno::LOOP | Errno::NOTDIR => errors::parent_is_not_a_directory().with_source(cause),
        _ => Error::from(cause),
    }
    .with_context(action)
}

/// Converts the error number of an operation on the directory `.anystorage` or on a file in it.
pub(crate) fn state_dir_error(errno: Errno) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::ACCESS | Errno::PERM => errors::state_dir_forbidden().with_source(cause),
        Errno::LOOP | Errno::NOTDIR => errors::state_dir_is_not_a_directory().with_source(cause),
        other => os_error(other, "opening the directory .anystorage"),
    }
}

/// Returns whether an error of a lookup means that the file certainly does not exist: there is no
/// entry, or the path leads through a file, through a symlink, or through a name longer than any
/// the file system holds.
pub(crate) fn means_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}
