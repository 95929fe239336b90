//! Systems other than Unix, which means Windows. Files inherit the access rights of their
//! directory, so modes and owners have no effect. Directories cannot be synced.

use std::fs::File;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use cap_std::fs::{Dir, DirBuilder, Metadata, OpenOptions};

pub(crate) const SYNCS_DIRECTORIES: bool = false;

/// How often a step is tried while another program has the file open without sharing it, as virus
/// scanners do for moments. The pauses add up to about 0.5 s.
const MAX_ATTEMPTS: u32 = 10;

pub(crate) fn set_creation_mode(_options: &mut OpenOptions, _mode: u32) {}

pub(crate) fn do_not_block(_options: &mut OpenOptions) {}

pub(crate) fn dir_builder(_mode: u32) -> DirBuilder {
    DirBuilder::new()
}

pub(crate) fn mode_of(_meta: &Metadata) -> Option<u32> {
    None
}

pub(crate) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn set_dir_mode(_directory: &Dir, _mode: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn sync_dir(_directory: &Dir) -> io::Result<()> {
    Ok(())
}

/// Returns the modification time, because the standard library has no stable access to the time of
/// the last change.
pub(crate) fn changed(meta: &Metadata) -> (i64, i64) {
    let modified = meta.modified().map_or(UNIX_EPOCH, cap_std::time::SystemTime::into_std);
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs().cast_signed(), since.subsec_nanos().into())
}

/// `ERROR_TOO_MANY_OPEN_FILES`.
pub(crate) fn means_too_many_open_files(error: &io::Error) -> bool {
    error.raw_os_error() == Some(4)
}

pub(crate) fn close_to_others(_root: &Dir, _state_dir: &Dir) -> io::Result<()> {
    Ok(())
}

pub(crate) fn give_to_owner_of(_directory: &Dir, _file: &File) {}

pub(crate) fn give_directory_to_owner_of(_root: &Dir, _directory: &Dir) {}

pub(crate) fn inherit_ownership(_file: &File, _new: &Metadata, _present: &Metadata) -> Option<u32> {
    None
}

/// Calls `step`, which renames or removes a file. Repeats it while access is denied
/// (`ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION`).
pub(crate) fn retry_while_denied<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = Duration::from_millis(1);
    for _ in 1..MAX_ATTEMPTS {
        match step() {
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    || error.raw_os_error() == Some(32) => {}
            done => return done,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    step()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_repeated_while_access_is_denied() {
        let mut calls = 0;
        let done = retry_while_denied(|| {
            calls += 1;
            if calls < 4 { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(calls) }
        });
        assert_eq!(done.unwrap(), 4);
    }

    #[test]
    fn a_step_that_fails_for_another_reason_is_not_repeated() {
        let mut calls = 0;
        let failed: io::Result<()> = retry_while_denied(|| {
            calls += 1;
            Err(io::ErrorKind::NotFound.into())
        });
        assert_eq!((failed.unwrap_err().kind(), calls), (io::ErrorKind::NotFound, 1));
    }
}
