//! The operations on files that [uploads](crate::uploads) need.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::SystemTime;

use cap_fs_ext::{DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use storage_core::{Error, Key, ObjectMeta, Result, SaveMode};

use super::commit::Commit;
use super::io_error::{io_error, means_absent, state_dir_error};

use super::save::precheck;
use super::shared::Shared;
use super::staged::Staged;
use super::{metadata, platform};
use crate::blocking::CallerAlive;
use crate::uploads::{CompletedData, Files, Links, UPLOADS, parents};

impl Files for Shared {
    type Dir = Dir;

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

    fn commit(&self, data: CompletedData<'_, Dir>, caller: &CallerAlive) -> Result<ObjectMeta> {
        let CompletedData { directory, file, id, key, mode, metadata, checksums, placing } = data;
        let commit = Commit { shared: self, key, mode, metadata, checksums, caller };
        commit.run(Staged::of_upload(file, directory, id, placing))
    }

    fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        metadata::open_with_meta(self, key).map(|(_, meta)| meta)
    }

    fn sync_parents(&self, key: &Key) -> io::Result<()> {
        for directory in parents(key) {
            platform::sync_dir(&self.root.open_directory(directory)?)?;
        }
        Ok(())
    }

    fn sync_opened_first(&self, file: &File) -> io::Result<()> {
        // Windows syncs only files that are open for writing.
        if cfg!(unix) { file.sync_data() } else { Ok(()) }
    }

    fn uploads(&self) -> io::Result<Dir> {
        self.root.open_directory(UPLOADS)
    }

    fn create_uploads(&self) -> Result<Dir> {
        self.has_uploads.store(true, std::sync::atomic::Ordering::Relaxed);
        self.root.own_directory(UPLOADS)
    }

    fn open_dir(&self, outer: &Dir, name: &str) -> io::Result<Dir> {
        // Systems return different errors for a symlink, so check the type first.
        if !outer.symlink_metadata(name)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        outer.open_dir_nofollow(name)
    }

    fn create_dir(&self, outer: &Dir, name: &str) -> io::Result<Dir> {
        outer.create_dir_with(name, &platform::dir_builder(0o700))?;
        let created = self.open_dir(outer, name)?;
        // The umask may have removed bits.
        platform::set_dir_mode(&created, 0o700)?;
        platform::give_directory_to_owner_of(outer, &created);
        Ok(created)
    }

    fn clone_dir(&self, directory: &Dir) -> io::Result<Dir> {
        directory.try_clone()
    }

    fn names(&self, directory: &Dir) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in directory.entries()? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn modified(&self, directory: &Dir) -> io::Result<SystemTime> {
        Ok(directory.dir_metadata()?.modified()?.into_std())
    }

    fn sync_dir(&self, directory: &Dir) -> io::Result<()> {
        platform::sync_dir(directory)
    }

    fn open_file(&self, directory: &Dir, name: &str) -> io::Result<File> {
        open_regular(directory, name, OpenOptions::new().read(true))
    }

    fn open_writable(&self, directory: &Dir, name: &str) -> io::Result<File> {
        match open_regular(directory, name, OpenOptions::new().read(true).write(true)) {
            // A completion that failed has set the mode of the object.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let file = self.open_file(directory, name)?;
                if let Some(mode) = platform::mode_of(&Metadata::from_file(&file)?) {
                    platform::set_mode(&file, mode | 0o600)?;
                }
                open_regular(directory, name, OpenOptions::new().read(true).write(true))
            }
            opened => opened,
        }
    }

    fn create_file(&self, directory: &Dir, name: &str, mode: u32) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).follow(FollowSymlinks::No);
        platform::set_creation_mode(&mut options, mode);
        let file = directory.open_with(name, &options)?.into_std();
        platform::give_to_owner_of(directory, &file);
        Ok(file)
    }

    fn rename(&self, directory: &Dir, from: &str, to: &str) -> io::Result<()> {
        platform::retry_while_denied(|| directory.rename(from, directory, to))
    }

    fn remove_file(&self, directory: &Dir, name: &str) -> io::Result<()> {
        platform::retry_while_denied(|| directory.remove_file(name))
    }

    fn remove_dir(&self, outer: &Dir, name: &str) -> io::Result<()> {
        platform::retry_while_denied(|| outer.remove_dir(name))
    }

    fn links(&self, file: &File) -> io::Result<Links> {
        let status = Metadata::from_file(file)?;
        Ok(Links { count: status.nlink(), changed: platform::changed(&status) })
    }

    fn means_absent(&self, error: &io::Error) -> bool {
        means_absent(error)
    }

    fn means_no_locks(&self, error: &io::Error) -> bool {
        error.kind() == ErrorKind::Unsupported
    }

    fn error(&self, error: io::Error, action: &'static str) -> Error {
        match error.kind() {
            ErrorKind::NotADirectory => state_dir_error(error),
            _ => io_error(error, action),
        }
    }
}

/// Opens a regular file. The type is checked before opening, because systems return different
/// errors for a symlink, and again afterwards.
fn open_regular(directory: &Dir, name: &str, options: &mut OpenOptions) -> io::Result<File> {
    let absent = || io::Error::from(ErrorKind::NotFound);
    if !directory.symlink_metadata(name)?.is_file() {
        return Err(absent());
    }
    options.follow(FollowSymlinks::No);
    platform::do_not_block(options);
    let file = directory.open_with(name, options)?.into_std();
    if file.metadata()?.is_file() { Ok(file) } else { Err(absent()) }
}
