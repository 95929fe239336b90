//! Unix systems: modes, owners, and syncing directories.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};

use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata, MetadataExt, OpenOptions};
use cap_std::fs::{OpenOptionsExt, PermissionsExt as CapPermissionsExt};

/// Whether directories can be synced.
pub(crate) const SYNCS_DIRECTORIES: bool = true;

pub(crate) fn set_creation_mode(options: &mut OpenOptions, mode: u32) {
    options.mode(mode);
}

/// Makes opening a FIFO return at once.
pub(crate) fn do_not_block(options: &mut OpenOptions) {
    options.nonblock(true);
}

pub(crate) fn dir_builder(mode: u32) -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(mode);
    builder
}

pub(crate) fn mode_of(meta: &Metadata) -> Option<u32> {
    Some(meta.mode() & 0o777)
}

pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

pub(crate) fn set_dir_mode(directory: &Dir, mode: u32) -> io::Result<()> {
    directory.set_permissions(".", CapPermissionsExt::from_mode(mode))
}

pub(crate) fn sync_dir(directory: &Dir) -> io::Result<()> {
    directory.open(".")?.sync_all()
}

/// Returns when the inode last changed: seconds and nanoseconds.
pub(crate) fn changed(meta: &Metadata) -> (i64, i64) {
    (meta.ctime(), meta.ctime_nsec())
}

pub(crate) fn means_too_many_open_files(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// Checks that `.anystorage` belongs to the user of this process or to the owner of the root, and
/// closes it to other users. A user who can open a file can lock it, list it or read it.
pub(crate) fn close_to_others(root: &Dir, state_dir: &Dir) -> io::Result<()> {
    let (owner, meta) = (root.dir_metadata()?.uid(), state_dir.dir_metadata()?);
    if meta.uid() != owner && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if meta.mode() & 0o077 != 0 {
        set_dir_mode(state_dir, 0o700)?;
    }
    Ok(())
}

/// Gives a file that the superuser created to the owner of its directory, who otherwise could not
/// open it.
pub(crate) fn give_to_owner_of(directory: &Dir, file: &File) {
    let user = rustix::process::geteuid();
    if user.is_root()
        && let Ok(meta) = directory.dir_metadata()
        && meta.uid() != user.as_raw()
    {
        // If this fails, a later operation of the owner fails and names the directory.
        let _ = fchown(file, Some(meta.uid()), None);
    }
}

/// Gives a new directory that the superuser created to the owner of the root.
pub(crate) fn give_directory_to_owner_of(root: &Dir, directory: &Dir) {
    if let Ok(file) = directory.open(".") {
        give_to_owner_of(root, &file.into_std());
    }
}

/// Gives a staged file the owner and the group of the file that it replaces, as far as the process
/// may set them. Returns the permission bits for it. If the group could not be set, the group bits
/// are those of others.
pub(crate) fn inherit_ownership(file: &File, new: &Metadata, present: &Metadata) -> Option<u32> {
    let mode = present.mode() & 0o777;
    if (new.uid(), new.gid()) == (present.uid(), present.gid()) {
        return Some(mode);
    }
    let (owner, group) = (Some(present.uid()), Some(present.gid()));
    let is_set = fchown(file, owner, group).or_else(|_| fchown(file, None, group)).is_ok();
    match is_set || new.gid() == present.gid() {
        true => Some(mode),
        false => Some((mode & !0o070) | ((mode & 0o007) << 3)),
    }
}

/// Calls `step`, which renames or removes a file. On Unix, an open file does not prevent that.
pub(crate) fn retry_while_denied<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    step()
}
