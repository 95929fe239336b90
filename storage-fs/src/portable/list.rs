//! `list`: the [walk](crate::walk) over the files below the root.

use std::io;

use cap_std::fs::{Dir, DirEntry};
use storage_core::{Error, Key, ObjectEntry};

use super::io_error::{io_error, means_absent};
use super::root::Root;
use crate::walk::{Name, Tree};

impl Tree for Root {
    type Directory = Dir;
    type Error = io::Error;

    fn open_directory(&self, path: &str) -> io::Result<Dir> {
        Root::open_directory(self, path)
    }

    fn names_in(&self, directory: &Dir) -> io::Result<impl Iterator<Item = io::Result<Name>>> {
        let entries = directory.entries()?;
        Ok(entries.filter_map(|entry| entry.and_then(|entry| name_of(&entry)).transpose()))
    }

    fn entry(&self, directory: &Dir, key: &Key) -> io::Result<Option<ObjectEntry>> {
        let meta = directory.symlink_metadata(key.name())?;
        let mut entry = ObjectEntry::new(key.clone(), meta.len());
        entry.last_modified = Some(meta.modified()?.into_std());
        Ok(meta.is_file().then_some(entry))
    }

    fn means_absent(error: &io::Error) -> bool {
        means_absent(error)
    }

    fn means_forbidden(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied
    }

    fn error(error: io::Error, action: &'static str) -> Error {
        io_error(error, action)
    }
}

fn name_of(entry: &DirEntry) -> io::Result<Option<Name>> {
    let file_type = match entry.file_type() {
        // It was removed in the meantime.
        Err(error) if means_absent(&error) => return Ok(None),
        file_type => file_type?,
    };
    Ok((file_type.is_file() || file_type.is_dir())
        .then(|| Name::new(&entry.file_name(), file_type.is_dir()))
        .flatten())
}
