//! Sidecars: files with the records of objects that do not contain their record themselves.
//! [`SidecarEntry`] describes their format.

use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, OFlags, Stat};
use rustix::io::Errno;
use storage_core::{Key, Result};

use super::errno::{means_absent, os_error};
use super::shared::Shared;
use super::staged::Staged;
use super::state_dir::{MAX_ATTEMPTS, META};
use super::version::Version;
use crate::errors;
use crate::record::{MAX_SIDECAR_BYTES, SidecarEntry, decode, encode, sidecar_name};

/// Where the record of a staged file is stored.
pub(crate) enum RecordPlace {
    /// In the file, as an extended attribute.
    InFile,
    /// Not stored yet. It must be written to the key's sidecar right before the file is renamed.
    ForSidecar(Box<SidecarEntry>),
}

/// Writes the record of a staged file to the key's sidecar. Does nothing if the record is in the
/// file.
///
/// The caller holds the key's lock exclusively. If the writer is dropped before
/// [`finish`](Self::finish) succeeded, it removes the record.
pub(crate) struct SidecarWriter<'a> {
    shared: &'a Shared,
    key: &'a Key,
    new: Option<&'a SidecarEntry>,
    state: SidecarState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SidecarState {
    Untouched,
    /// The sidecar contains only the new record.
    NewOnly,
    /// The sidecar contains the new record and that of the object in place.
    NewAndPresent,
    /// The new record belongs to the object in place.
    Finished,
}

impl<'a> SidecarWriter<'a> {
    pub(crate) fn new(shared: &'a Shared, key: &'a Key, record: &'a RecordPlace) -> Self {
        let new = match record {
            RecordPlace::InFile => None,
            RecordPlace::ForSidecar(entry) => Some(&**entry),
        };
        Self { shared, key, new, state: SidecarState::Untouched }
    }

    /// Writes the new record and that of the file in place.
    ///
    /// Does not write again if this is a retry and there is still no file in place. This shortens
    /// the time in which the object's directory is empty and other processes may remove it.
    pub(crate) fn write(&mut self, present: Option<&Stat>) -> Result<()> {
        let Some(new) = self.new else { return Ok(()) };
        let old = present.map(|stat| entry_of(self.shared, self.key, stat)).transpose()?.flatten();
        if old.is_none() && self.state == SidecarState::NewOnly {
            return Ok(());
        }
        self.state =
            if old.is_none() { SidecarState::NewOnly } else { SidecarState::NewAndPresent };
        write(self.shared, self.key, new, old.as_ref())
    }

    /// Keeps the record if the file was put in its place.
    pub(crate) fn finish<T>(&mut self, placed: Result<T, Errno>) -> Result<T, Errno> {
        if placed.is_ok() {
            self.state = SidecarState::Finished;
        }
        placed
    }
}

impl Drop for SidecarWriter<'_> {
    fn drop(&mut self) {
        if self.state == SidecarState::NewOnly {
            remove(self.shared, self.key);
        }
    }
}

/// Writes a sidecar with one or two records. The caller holds the key's lock exclusively.
fn write(
    shared: &Shared,
    key: &Key,
    new: &SidecarEntry,
    present: Option<&SidecarEntry>,
) -> Result<()> {
    let entries: Vec<_> = std::iter::once(new).chain(present).collect();
    let mut staged = Staged::create(&shared.staging, key, shared.file_mode.of_new_file())?;
    staged.write(&encode(&entries)?)?;
    if shared.durable {
        staged.sync()?;
    }
    staged.give_name(&shared.staging)?;
    for _ in 0..MAX_ATTEMPTS {
        let meta = shared.staging.meta_directory()?;
        match staged.place_over(meta.as_fd(), &sidecar_name(key)) {
            // Another process removed the directory while it was empty.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(os_error(errno, "renaming the sidecar into place")),
            Ok(()) if shared.durable => {
                return fs::fsync(&meta)
                    .map_err(|errno| os_error(errno, "syncing the directory of sidecars"));
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(errors::directory_removed())
}

/// Returns the entry of exactly this version of a file.
pub(crate) fn entry_of(shared: &Shared, key: &Key, stat: &Stat) -> Result<Option<SidecarEntry>> {
    let version = Version::of(stat);
    Ok(read(shared, key)?.into_iter().find(|entry| entry.is_of(&version)))
}

/// Returns whether a key has a sidecar. The caller holds the key's lock.
pub(crate) fn exists(shared: &Shared, key: &Key) -> Result<bool, Errno> {
    let meta = shared.root.open_directory(META);
    match meta.and_then(|meta| fs::statat(&meta, sidecar_name(key), AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(_) => Ok(true),
        Err(errno) if means_absent(errno) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a key's sidecar, if it has one. The caller holds the key's lock.
pub(crate) fn remove(shared: &Shared, key: &Key) {
    if let Ok(meta) = shared.root.open_directory(META) {
        // A sidecar that remains is harmless: its records match no later version.
        let _ = fs::unlinkat(&meta, sidecar_name(key), AtFlags::empty());
    }
}

fn read(shared: &Shared, key: &Key) -> Result<Vec<SidecarEntry>> {
    let path = format!("{}/{}", META, sidecar_name(key));
    let mut bytes = Vec::with_capacity(MAX_SIDECAR_BYTES);
    let read =
        shared.root.open_below(&path, OFlags::RDONLY | OFlags::NONBLOCK).and_then(|sidecar| {
            rustix::io::pread(&sidecar, rustix::buffer::spare_capacity(&mut bytes), 0)
        });
    match read {
        Ok(_) => Ok(decode(&bytes).unwrap_or_default()),
        Err(errno) if means_absent(errno) => Ok(Vec::new()),
        Err(errno) => Err(os_error(errno, "reading the metadata")),
    }
}
