//! `rename`: one atomic rename of the file, with its metadata.
//!
//! An extended attribute moves with the file. A record in a sidecar is written to the sidecar of
//! the destination before the file is renamed, as for a save. Both happen under the locks of both
//! keys.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, RenameFlags, Stat};
use rustix::io::Errno;
use storage_core::{CopyMode, Error, Key, RenameOptions, Result};

use super::commit::{MAX_ATTEMPTS, ensure_vacant, lookup, remove_empty_dir, with_parent_dir};
use super::errno::{means_absent, os_error};
use super::metadata;
use super::root::is_regular;
use super::shared::Shared;
use super::sidecar::{self, RecordPlace, SidecarWriter};
use crate::blocking::CallerAlive;
use crate::errors;
use crate::settings::MetadataStore;

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
    if !shared.root.lookup(from)?.is_some_and(|stat| is_regular(&stat)) {
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
    if shared.durable {
        // Another program may have written the file without syncing it.
        fs::fsync(&file).map_err(|errno| os_error(errno, "syncing the file"))?;
    }
    let stat = fs::fstat(&file).map_err(|errno| os_error(errno, "looking up the file"))?;
    let record = record_of(shared, from, &stat)?;
    let source = match shared.root.open_parent(from) {
        Err(errno) if means_absent(errno) => return Err(Error::not_found()),
        source => source.map_err(|errno| os_error(errno, "opening the object's directory"))?,
    };
    let mut step =
        Step { from, to, source, stat, sidecar: SidecarWriter::new(shared, to, &record), caller };
    with_parent_dir(shared, to, None, |directory| match options.mode {
        CopyMode::CreateNew => step.take_vacant_place(directory),
        _ => step.replace(directory),
    })?;
    let source = step.source;
    if matches!(record, RecordPlace::ForSidecar(_)) {
        sidecar::remove(shared, from);
    }
    drop((locks, file));
    if shared.durable && from.parent() != to.parent() {
        let message =
            "the object has its new name, but the directory of its old one was not synced";
        fs::fsync(&source).map_err(|errno| os_error(errno, message))?;
    }
    drop(source);
    shared.root.remove_empty_parents(from);
    Ok(())
}

/// Returns where the record of the source is stored.
fn record_of(shared: &Shared, from: &Key, stat: &Stat) -> Result<RecordPlace> {
    if shared.metadata == MetadataStore::Xattr {
        return Ok(RecordPlace::InFile);
    }
    let entry = sidecar::entry_of(shared, from, stat)?;
    Ok(entry.map_or(RecordPlace::InFile, |entry| RecordPlace::ForSidecar(Box::new(entry))))
}

/// Whether the file has its old name beside the new one. A process that is killed then leaves both.
struct HasOldName(bool);

/// How the file gets its new name.
#[derive(Clone, Copy)]
enum NameStep {
    Rename,
    /// The file keeps its old name at first.
    Link,
}

/// The step that gives the file its new name.
struct Step<'a> {
    from: &'a Key,
    to: &'a Key,
    /// The directory of the source.
    source: OwnedFd,
    stat: Stat,
    sidecar: SidecarWriter<'a>,
    caller: &'a CallerAlive,
}

impl Step<'_> {
    /// Renames the file over any file that is there.
    fn replace(&mut self, directory: &OwnedFd) -> Result<Result<(), Errno>> {
        self.caller.check()?;
        let present = lookup(directory, self.to)?;
        if let Some(stat) = &present {
            remove_empty_dir(directory, self.to, stat)?;
        }
        if present.is_some_and(|present| self.is_other_name_of_source(&present)) {
            // A rename would do nothing (rename(2)).
            self.sidecar.write(present.as_ref())?;
            self.remove_old_name()?;
            return Ok(self.sidecar.finish(Ok(())));
        }
        self.sidecar.write(present.as_ref())?;
        let renamed = fs::renameat(&self.source, self.from.name(), directory, self.to.name())
            .or_else(|failed| self.unless_done(NameStep::Rename, directory, failed));
        let renamed = self.sidecar.finish(renamed);
        self.unless_source_is_gone(renamed)
    }

    /// Renames the file to a vacant name. Fails with `AlreadyExists` if an object is there.
    fn take_vacant_place(&mut self, directory: &OwnedFd) -> Result<Result<(), Errno>> {
        self.caller.check()?;
        for _ in 0..MAX_ATTEMPTS {
            ensure_vacant(directory, self.to)?;
            self.sidecar.write(None)?;
            let taken = self.take_vacant_name(directory);
            match self.sidecar.finish(taken) {
                Err(Errno::EXIST) => {}
                Ok(HasOldName(true)) => return self.remove_old_name().map(Ok),
                taken => return self.unless_source_is_gone(taken.map(drop)),
            }
        }
        Err(errors::already_exists())
    }

    fn take_vacant_name(&self, directory: &OwnedFd) -> Result<HasOldName, Errno> {
        let (from, to) = (self.from.name(), self.to.name());
        match fs::renameat_with(&self.source, from, directory, to, RenameFlags::NOREPLACE) {
            // Not every file system supports the flag. Linking is exclusive too.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::linkat(&self.source, from, directory, to, AtFlags::empty())
                    .or_else(|failed| self.unless_done(NameStep::Link, directory, failed))?;
                Ok(HasOldName(true))
            }
            renamed => renamed.map(|()| HasOldName(false)),
        }
    }

    fn remove_old_name(&self) -> Result<()> {
        match fs::unlinkat(&self.source, self.from.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let message = "the object has its new name, but its old one was not removed";
                Err(os_error(errno, message))
            }
        }
    }

    /// Returns success after a rename or a link that failed, if the file has the new name, and the
    /// old one as well only after a link. NFS reports an error if the response was lost.
    fn unless_done(&self, step: NameStep, directory: &OwnedFd, failed: Errno) -> Result<(), Errno> {
        let look = |directory: &OwnedFd, key: &Key| {
            fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW)
        };
        let present = match look(directory, self.to) {
            Ok(present) if self.is_source(&present) => present,
            _ => return Err(failed),
        };
        // On a file system that ignores case, both names may denote one directory entry.
        let is_done = match step {
            NameStep::Rename => matches!(look(&self.source, self.from), Err(Errno::NOENT)),
            NameStep::Link => present.st_nlink > 1 && !self.is_same_name(),
        };
        if is_done { Ok(()) } else { Err(failed) }
    }

    fn is_source(&self, present: &Stat) -> bool {
        (present.st_dev, present.st_ino) == (self.stat.st_dev, self.stat.st_ino)
    }

    fn is_same_name(&self) -> bool {
        self.from.as_str().eq_ignore_ascii_case(self.to.as_str())
    }

    /// Returns whether the file in the place of the destination is a second hard link to the
    /// source. On a file system that ignores case it may also be the source itself.
    fn is_other_name_of_source(&self, present: &Stat) -> bool {
        self.is_source(present) && present.st_nlink > 1 && !self.is_same_name()
    }

    /// Distinguishes a source that another program removed from a directory that is to be created
    /// again.
    fn unless_source_is_gone(&self, renamed: Result<(), Errno>) -> Result<Result<(), Errno>> {
        match renamed {
            Err(Errno::NOENT) if lookup(&self.source, self.from)?.is_none() => {
                Err(Error::not_found())
            }
            renamed => Ok(renamed),
        }
    }
}
