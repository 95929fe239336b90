//! `list`: the [walk](crate::walk) over the files below the root.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, Dir, DirEntry, FileType};
use rustix::io::Errno;
use storage_core::{Error, Key, ObjectEntry};

use super::errno::{means_absent, os_error};
use super::root::{Root, is_directory, is_regular};
use super::version::Version;
use crate::walk::{Name, Tree};

impl Tree for Root {
    type Directory = OwnedFd;
    type Error = Errno;

    fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        Root::open_directory(self, path)
    }

    fn names_in(
        &self,
        directory: &OwnedFd,
    ) -> Result<impl Iterator<Item = Result<Name, Errno>>, Errno> {
        let entries = Dir::read_from(directory)?;
        Ok(entries
            .filter_map(move |entry| entry.map(|entry| name_of(directory, &entry)).transpose()))
    }

    fn entry(&self, directory: &OwnedFd, key: &Key) -> Result<Option<ObjectEntry>, Errno> {
        let stat = fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let version = Version::of(&stat);
        let mut entry = ObjectEntry::new(key.clone(), version.size);
        entry.last_modified = Some(version.modified_time());
        Ok(is_regular(&stat).then_some(entry))
    }

    fn means_absent(errno: &Errno) -> bool {
        means_absent(*errno)
    }

    fn means_forbidden(errno: &Errno) -> bool {
        *errno == Errno::ACCESS
    }

    fn error(errno: Errno, action: &'static str) -> Error {
        os_error(errno, action)
    }
}

fn name_of(directory: &OwnedFd, entry: &DirEntry) -> Option<Name> {
    let raw = entry.file_name();
    if matches!(raw.to_bytes(), b"." | b"..") {
        return None;
    }
    let is_directory = match entry.file_type() {
        FileType::RegularFile => false,
        FileType::Directory => true,
        // Some file systems do not report the type.
        FileType::Unknown => match fs::statat(directory, raw, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_regular(&stat) => false,
            Ok(stat) if is_directory(&stat) => true,
            Ok(_) | Err(Errno::NOENT) => return None,
            // The listing looks it up again, and reports the error.
            Err(_) => false,
        },
        _ => return None,
    };
    Name::new(OsStr::from_bytes(raw.to_bytes()), is_directory)
}
