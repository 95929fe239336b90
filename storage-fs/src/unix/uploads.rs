//! The operations on files that [uploads](crate::uploads) need.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{Error, Key, ObjectMeta, Result, SaveMode};

use super::commit::Commit;
use super::errno::{means_absent, os_error, state_dir_error};
use super::metadata;
use super::root::{DIRECTORY, is_regular};
use super::save::precheck;
use super::shared::Shared;
use super::staged::Staged;
use super::state_dir;
use super::version::time;
use crate::blocking::CallerAlive;
use crate::uploads::{CompletedData, Files, Links, UPLOADS, parents};

const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Files for Shared {
    type Dir = OwnedFd;

    fn is_durable(&self) -> bool {
        self.durable
    }

    fn new_file_mode(&self) -> u32 {
        self.file_mode.of_new_file()
    }

    fn check(&self, key: &Key) -> Result<()> {
        self.root.check(key)
    }

    fn check_new(&self, key: &Key) -> Result<()> {
        self.root.check_new(key)
    }

    fn precheck(&self, key: &Key, mode: &SaveMode) -> Result<()> {
        precheck(self, key, mode)
    }

    fn commit(&self, data: CompletedData<'_, OwnedFd>, caller: &CallerAlive) -> Result<ObjectMeta> {
        let CompletedData { directory, file, id, key, mode, metadata, checksums, placing } = data;
        let commit = Commit { shared: self, key, mode, metadata, checksums, caller };
        commit.run(Staged::of_upload(file, directory, id, placing))
    }

    fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        metadata::open_with_meta(self, key).map(|(_, meta)| meta)
    }

    fn sync_parents(&self, key: &Key) -> io::Result<()> {
        for directory in parents(key) {
            fs::fsync(self.root.open_directory(directory)?)?;
        }
        Ok(())
    }

    fn sync_opened_first(&self, file: &File) -> io::Result<()> {
        Ok(fs::fdatasync(file)?)
    }

    fn uploads(&self) -> io::Result<OwnedFd> {
        Ok(self.root.open_directory(UPLOADS)?)
    }

    fn create_uploads(&self) -> Result<OwnedFd> {
        self.has_uploads.store(true, std::sync::atomic::Ordering::Relaxed);
        let prepared = state_dir::open_directory(&self.root, UPLOADS)?;
        if prepared.is_new {
            self.root.sync(&prepared).map_err(state_dir_error)?;
        }
        Ok(prepared.directory)
    }

    fn open_dir(&self, outer: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        Ok(fs::openat(outer, name, DIRECTORY, Mode::empty())?)
    }

    fn create_dir(&self, outer: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        fs::mkdirat(outer, name, Mode::RWXU)?;
        let created = self.open_dir(outer, name)?;
        // The umask may have removed bits.
        fs::fchmod(&created, Mode::RWXU)?;
        give_to_owner_of(outer, &created)?;
        Ok(created)
    }

    fn clone_dir(&self, directory: &OwnedFd) -> io::Result<OwnedFd> {
        directory.try_clone()
    }

    fn names(&self, directory: &OwnedFd) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            names.extend(name_of(entry?.file_name()));
        }
        Ok(names)
    }

    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
    fn modified(&self, directory: &OwnedFd) -> io::Result<SystemTime> {
        let stat = fs::fstat(directory)?;
        Ok(time(stat.st_mtime as i64, stat.st_mtime_nsec as i64))
    }

    fn sync_dir(&self, directory: &OwnedFd) -> io::Result<()> {
        Ok(fs::fsync(directory)?)
    }

    fn open_file(&self, directory: &OwnedFd, name: &str) -> io::Result<File> {
        open_regular(directory, name, OFlags::RDONLY)
    }

    fn open_writable(&self, directory: &OwnedFd, name: &str) -> io::Result<File> {
        match open_regular(directory, name, OFlags::RDWR) {
            // A completion that failed has set the mode of the object.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let file = open_regular(directory, name, OFlags::RDONLY)?;
                let mode = Mode::from_raw_mode(fs::fstat(&file)?.st_mode);
                fs::fchmod(&file, mode | Mode::RUSR | Mode::WUSR)?;
                open_regular(directory, name, OFlags::RDWR)
            }
            opened => opened,
        }
    }

    fn create_file(&self, directory: &OwnedFd, name: &str, mode: u32) -> io::Result<File> {
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = fs::openat(directory, name, flags, Mode::from_raw_mode(mode))?;
        give_to_owner_of(directory, &file)?;
        Ok(file.into())
    }

    fn rename(&self, directory: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(directory, from, directory, to)?)
    }

    fn remove_file(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(directory, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, outer: &OwnedFd, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(outer, name, AtFlags::REMOVEDIR)?)
    }

    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
    fn links(&self, file: &File) -> io::Result<Links> {
        let stat = fs::fstat(file)?;
        let changed = (stat.st_ctime as i64, stat.st_ctime_nsec as i64);
        Ok(Links { count: stat.st_nlink as u64, changed })
    }

    fn means_absent(&self, error: &io::Error) -> bool {
        Errno::from_io_error(error).is_some_and(means_absent)
    }

    fn means_no_locks(&self, error: &io::Error) -> bool {
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::NOLCK | Errno::NOTSUP | Errno::INVAL))
    }

    fn error(&self, error: io::Error, action: &'static str) -> Error {
        match Errno::from_io_error(&error) {
            Some(errno @ (Errno::LOOP | Errno::NOTDIR)) => state_dir_error(errno),
            Some(errno) => os_error(errno, action),
            None => Error::from(error).with_context(action),
        }
    }
}

fn name_of(name: &CStr) -> Option<String> {
    name.to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned)
}

fn open_regular(directory: &OwnedFd, name: &str, access: OFlags) -> io::Result<File> {
    let file = fs::openat(directory, name, FILE | access, Mode::empty())?;
    match is_regular(&fs::fstat(&file)?) {
        true => Ok(file.into()),
        false => Err(Errno::NOENT.into()),
    }
}

/// Gives what the superuser created to the owner of its directory, who otherwise could not continue
/// the upload.
fn give_to_owner_of(directory: &OwnedFd, created: impl AsFd) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        state_dir::chown_from_root(created, fs::fstat(directory)?.st_uid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

    use std::sync::Arc;

    use super::*;
    use crate::FsBuilder;
    use crate::uploads::{DATA, Placing};

    /// A directory with the data of an upload, and the names in it after a placing has failed.
    fn names_after_failed(place: impl FnOnce(&OwnedFd) -> io::Result<()>) -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        let builder = FsBuilder::new(scratch.path()).durable(true);
        let shared = Shared::open(builder.into_settings()).unwrap();
        let uploads = shared.create_uploads().unwrap();
        let dir = shared.create_dir(&uploads, "upload").unwrap();
        let data = shared.create_file(&dir, DATA, 0o600).unwrap();
        let placing = Placing::new(&Arc::clone(&shared), &dir).unwrap();
        let place = || place(&dir).and(Err(Errno::TIMEDOUT.into()));
        let error = placing.place(&data, place).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut names = shared.names(&dir).unwrap();
        names.sort();
        names
    }

    #[test]
    fn the_record_of_a_placing_stays_if_the_link_was_made_and_an_error_is_reported() {
        let link = |dir: &OwnedFd| Ok(fs::linkat(dir, DATA, dir, "object", AtFlags::empty())?);
        assert_eq!(names_after_failed(link), ["data", "object", "placing"]);
        assert_eq!(names_after_failed(|_| Ok(())), ["data"]);
    }
}
