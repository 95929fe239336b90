//! `rename`: one rename of the file. Its record is written to the sidecar of the destination
//! before, as for a save. Both happen under the locks of both keys.

use std::io;
use std::sync::Arc;

use cap_fs_ext::MetadataExt;
use cap_std::fs::{Dir, Metadata as Status};
use storage_core::{CopyMode, Error, ErrorKind, Key, RenameOptions, Result};

use super::commit::{ensure_vacant, entry, remove_empty_dir, with_parent_dir};
use super::io_error::{io_error, is_missing, means_absent};
use super::metadata::{self, version_of};
use super::platform;
use super::root::MAX_ATTEMPTS;
use super::shared::Shared;
use super::sidecar::{self, SidecarWriter};
use crate::blocking::CallerAlive;
use crate::errors;

pub(crate) async fn rename(
    shared: &Arc<Shared>,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
) -> Result<()> {
    shared.root.check(from)?;
    shared.root.check_new(to)?;
    let (from, to, options) = (from.clone(), to.clone(), options.clone());
    shared.run(move |shared, caller| rename_blocking(shared, &from, &to, &options, caller)).await
}

fn rename_blocking(
    shared: &Shared,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
    caller: &CallerAlive,
) -> Result<()> {
    // Looking without the locks creates no lock files for a missing object.
    if !shared.root.lookup(from)?.is_some_and(|present| present.is_file()) {
        return Err(Error::not_found());
    }
    if from == to {
        let (_, meta) = metadata::open_with_meta(shared, from)?;
        return options.rename_onto_itself(&meta);
    }
    let locks = shared.locks.lock_both(from, to)?;
    if locks.is_none() && options.if_source_match.is_some() {
        return Err(errors::no_locks());
    }
    let (file, meta) = metadata::open_with_meta(shared, from)?;
    options.check_source(&meta)?;
    if shared.durable && platform::SYNCS_DIRECTORIES {
        // Another program may have written the file without syncing it.
        file.sync_all().map_err(|error| io_error(error, "syncing the file"))?;
    }
    let status =
        Status::from_file(&file).map_err(|error| io_error(error, "looking up the file"))?;
    // Windows may refuse to rename an open file.
    drop(file);
    let record = sidecar::entry_of(shared, from, &version_of(&status)?)?;
    let source = match shared.root.open_parent(from) {
        Err(error) if means_absent(&error) => return Err(Error::not_found()),
        source => source.map_err(|error| io_error(error, "opening the object's directory"))?,
    };
    let sidecar = record.as_ref().map(|record| SidecarWriter::new(shared, to, record));
    let mut step = Step { shared, from, to, source, status, sidecar, caller };
    with_parent_dir(shared, to, |directory| {
        for _ in 0..MAX_ATTEMPTS {
            match step.take(directory, options.mode)? {
                // The next attempt looks at the object that has taken the name.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                taken => return Ok(taken),
            }
        }
        Err(errors::object_replaced())
    })?;
    let source = step.source;
    if record.is_some() {
        sidecar::remove(shared, from);
    }
    drop(locks);
    if shared.durable && from.parent() != to.parent() {
        let message =
            "the object has its new name, but the directory of its old one was not synced";
        platform::sync_dir(&source).map_err(|error| io_error(error, message))?;
    }
    // Windows removes no directory that is open.
    drop(source);
    shared.root.remove_empty_parents(from);
    Ok(())
}

/// The step that gives the file its new name.
struct Step<'a> {
    shared: &'a Shared,
    from: &'a Key,
    to: &'a Key,
    /// The directory of the source.
    source: Dir,
    status: Status,
    /// `None` if another program wrote the file, so that it has no record.
    sidecar: Option<SidecarWriter<'a>>,
    caller: &'a CallerAlive,
}

impl Step<'_> {
    fn write_sidecar(&mut self, has_file: bool) -> Result<()> {
        self.sidecar.as_mut().map_or(Ok(()), |sidecar| sidecar.write(has_file))
    }

    fn finish_sidecar(&mut self) {
        if let Some(sidecar) = &mut self.sidecar {
            sidecar.finish();
        }
    }

    /// Renames the file, over any file that is there if the mode permits it.
    fn take(&mut self, directory: &Dir, mode: CopyMode) -> Result<io::Result<()>> {
        self.caller.check()?;
        let mut has_file = false;
        if mode == CopyMode::CreateNew {
            ensure_vacant(self.shared, directory, self.to)?;
        } else if let Some(present) = entry(self.shared, directory, self.to)? {
            remove_empty_dir(directory, self.to, &present)?;
            has_file = present.is_file();
        }
        if has_file && self.is_other_name_of_source()? {
            // A rename would do nothing (rename(2)).
            self.write_sidecar(has_file)?;
            self.remove_old_name()?;
            self.finish_sidecar();
            return Ok(Ok(()));
        }
        self.write_sidecar(has_file)?;
        let (from, to) = (self.from.name(), self.to.name());
        let taken = match has_file {
            true => platform::retry_while_denied(|| self.source.rename(from, directory, to))
                .or_else(|failed| self.unless_renamed(failed))
                .map(|()| false),
            false => self.take_vacant_name(directory),
        };
        if taken.is_ok() {
            self.finish_sidecar();
        }
        match taken {
            Ok(true) => self.remove_old_name().map(Ok),
            Err(error)
                if is_missing(&error) && entry(self.shared, &self.source, self.from)?.is_none() =>
            {
                Err(Error::not_found())
            }
            taken => Ok(taken.map(drop)),
        }
    }

    /// Gives the file a vacant name. Returns whether it has the old one too.
    ///
    /// A link is one exclusive step of the file system. File systems without links (FAT) rely on
    /// the key's lock.
    fn take_vacant_name(&self, directory: &Dir) -> io::Result<bool> {
        let (from, to) = (self.from.name(), self.to.name());
        match self.source.hard_link(from, directory, to) {
            Ok(()) => Ok(true),
            // NFS reports an error if it made the link and the response was lost.
            Err(_) if self.is_other_name_of_source().unwrap_or(false) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) =>
            {
                Err(error)
            }
            Err(_) => match directory.symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    platform::retry_while_denied(|| self.source.rename(from, directory, to))?;
                    Ok(false)
                }
                Err(error) => Err(error),
            },
        }
    }

    fn remove_old_name(&self) -> Result<()> {
        match platform::retry_while_denied(|| self.source.remove_file(self.from.name())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = "the object has its new name, but its old one was not removed";
                Err(io_error(error, message))
            }
            _ => Ok(()),
        }
    }

    /// Returns success after a rename that failed, if the file has the new name alone. NFS reports
    /// an error if the response was lost.
    fn unless_renamed(&self, failed: io::Error) -> io::Result<()> {
        let present = self.shared.root.open_file(self.to);
        let has_new_name = present.is_ok_and(|(_, present)| self.is_source(&present));
        let old_name = self.source.symlink_metadata(self.from.name());
        let has_old_name = !old_name.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if has_new_name && !has_old_name { Ok(()) } else { Err(failed) }
    }

    fn is_source(&self, present: &Status) -> bool {
        (present.dev(), present.ino()) == (self.status.dev(), self.status.ino())
    }

    /// Returns whether the destination is a second hard link to the source.
    fn is_other_name_of_source(&self) -> Result<bool> {
        let present = match self.shared.root.open_file(self.to) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            present => present?.1,
        };
        Ok(self.is_source(&present) && present.nlink() > 1)
    }
}
