//! Sidecars: files with the records of all objects. [`SidecarEntry`] describes their format.

use std::io::Read;

use storage_core::{Key, Result};

use super::io_error::{io_error, is_missing, means_absent};
use super::metadata::version_of;
use super::platform;
use super::root::{MAX_ATTEMPTS, META};
use super::shared::Shared;
use super::staged::Staged;
use crate::errors;
use crate::record::{MAX_SIDECAR_BYTES, SidecarEntry, decode, encode, sidecar_name};
use crate::version::Version;

/// Writes the record of a staged file to the key's sidecar. The caller holds the key's lock.
///
/// If the writer is dropped before [`finish`](Self::finish), and there is no object in place, it
/// removes the sidecar.
pub(crate) struct SidecarWriter<'a> {
    shared: &'a Shared,
    key: &'a Key,
    new: &'a SidecarEntry,
    contains_only_new: bool,
}

impl<'a> SidecarWriter<'a> {
    pub(crate) fn new(shared: &'a Shared, key: &'a Key, new: &'a SidecarEntry) -> Self {
        Self { shared, key, new, contains_only_new: false }
    }

    /// Writes the new record and that of the file in place, so that the file in place always has a
    /// record.
    pub(crate) fn write(&mut self, has_file: bool) -> Result<()> {
        let present = if has_file { self.present_entry()? } else { None };
        if present.is_none() && self.contains_only_new {
            return Ok(());
        }
        self.contains_only_new = present.is_none();
        let entries: Vec<_> = std::iter::once(self.new).chain(&present).collect();
        write(self.shared, self.key, &encode(&entries)?)
    }

    fn present_entry(&self) -> Result<Option<SidecarEntry>> {
        match self.shared.root.open_file(self.key) {
            Ok((_, meta)) => entry_of(self.shared, self.key, &version_of(&meta)?),
            Err(error) if error.kind() == storage_core::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the record, because its file is in its place.
    pub(crate) fn finish(&mut self) {
        self.contains_only_new = false;
    }
}

impl Drop for SidecarWriter<'_> {
    fn drop(&mut self) {
        if self.contains_only_new {
            remove(self.shared, self.key);
        }
    }
}

fn write(shared: &Shared, key: &Key, bytes: &[u8]) -> Result<()> {
    let mut staged = Staged::create(&shared.staging, shared.file_mode.of_new_file())?;
    staged.write(&[bytes.to_vec().into()])?;
    if shared.durable {
        staged.file().sync_all().map_err(|error| io_error(error, "syncing the metadata"))?;
    }
    for _ in 0..MAX_ATTEMPTS {
        let meta = shared.root.own_directory(META)?;
        match staged.place_over(&meta, &sidecar_name(key)) {
            // Another process removed the directory while it was empty.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(io_error(error, "renaming the sidecar into place")),
            Ok(()) if shared.durable => {
                return platform::sync_dir(&meta)
                    .map_err(|error| io_error(error, "syncing the directory of sidecars"));
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(errors::directory_removed())
}

/// Returns the entry of exactly this version of a file.
pub(crate) fn entry_of(
    shared: &Shared,
    key: &Key,
    version: &Version,
) -> Result<Option<SidecarEntry>> {
    let path = format!("{META}/{}", sidecar_name(key));
    let mut bytes = Vec::new();
    let read = shared.root.open_directory(META).and_then(|meta| {
        let (file, _) = shared.root.open_file_in(&meta, &path)?;
        file.take(MAX_SIDECAR_BYTES as u64).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => {
            let entries: Vec<SidecarEntry> = decode(&bytes).unwrap_or_default();
            Ok(entries.into_iter().find(|entry| entry.is_of(version)))
        }
        Err(error) if means_absent(&error) => Ok(None),
        Err(error) => Err(io_error(error, "reading the metadata")),
    }
}

/// Removes a key's sidecar, if it has one. The caller holds the key's lock.
pub(crate) fn remove(shared: &Shared, key: &Key) {
    if let Ok(meta) = shared.root.open_directory(META) {
        // A sidecar that remains is harmless: its records match no later version.
        let _ = platform::retry_while_denied(|| meta.remove_file(sidecar_name(key)));
    }
}
