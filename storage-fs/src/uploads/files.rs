//! [`Files`]: the operations on files that both implementations supply to uploads.

use std::fs::File;
use std::io;
use std::time::SystemTime;

use storage_core::{Checksums, Error, Key, Metadata, ObjectMeta, Result, SaveMode};

use super::placing::{Links, Placing};
use crate::blocking::CallerAlive;
use crate::version::Id;

/// The bytes of a completed upload, which become an object.
pub(crate) struct CompletedData<'a, D> {
    /// The directory that contains the file under the name [`DATA`](super::DATA).
    pub(crate) directory: D,
    pub(crate) file: File,
    /// What becomes the ETag of the object.
    pub(crate) id: Id,
    pub(crate) key: &'a Key,
    pub(crate) mode: &'a SaveMode,
    pub(crate) metadata: &'a Metadata,
    pub(crate) checksums: Checksums,
    /// Guards the hard link that puts the file in its place where it cannot be renamed there.
    pub(crate) placing: Placing,
}

/// Returns the paths of the directories of a key, from the root to its own.
pub(crate) fn parents(key: &Key) -> impl Iterator<Item = &str> {
    let parent = key.parent().unwrap_or_default();
    let outer = parent.match_indices('/').map(move |(end, _)| &parent[..end]);
    [""].into_iter().chain(outer).chain((!parent.is_empty()).then_some(parent))
}

/// The operations on files that uploads need. Every name is a single segment, and no operation
/// follows a symlink.
pub(crate) trait Files: Send + Sync + 'static {
    type Dir: Send + Sync + 'static;

    /// Returns whether a verb returns only when its changes are on the disk.
    fn is_durable(&self) -> bool;

    /// Returns the permission bits to create an object's file with.
    fn new_file_mode(&self) -> u32;

    /// Fails with `InvalidKey` for a key that is reserved.
    fn check(&self, key: &Key) -> Result<()>;

    /// Fails with `InvalidKey` for a key that is reserved or that the system cannot store.
    fn check_new(&self, key: &Key) -> Result<()>;

    /// Fails early if the commit would fail by the mode. The commit checks again.
    fn precheck(&self, key: &Key, mode: &SaveMode) -> Result<()>;

    /// Makes the bytes of an upload the object. If this fails, the file keeps its name.
    fn commit(
        &self,
        data: CompletedData<'_, Self::Dir>,
        caller: &CallerAlive,
    ) -> Result<ObjectMeta>;

    /// Returns the metadata of an object.
    fn stat(&self, key: &Key) -> Result<ObjectMeta>;

    /// Syncs the directory of an object and all above it, which a process that was killed may have
    /// created and not synced.
    fn sync_parents(&self, key: &Key) -> io::Result<()>;

    /// Reports an error of writing back a file since it was opened for reading, as far as the
    /// system reports it to such a file.
    fn sync_opened_first(&self, file: &File) -> io::Result<()>;

    /// Opens the directory of all uploads.
    fn uploads(&self) -> io::Result<Self::Dir>;

    /// Opens the directory of all uploads, and creates it if it is missing. Syncs the directories
    /// that it creates if the driver is durable.
    fn create_uploads(&self) -> Result<Self::Dir>;

    fn open_dir(&self, outer: &Self::Dir, name: &str) -> io::Result<Self::Dir>;

    /// Creates a directory that is closed to other users.
    fn create_dir(&self, outer: &Self::Dir, name: &str) -> io::Result<Self::Dir>;

    /// Opens another handle on a directory.
    fn clone_dir(&self, directory: &Self::Dir) -> io::Result<Self::Dir>;

    /// Returns the names in a directory. Leaves out those that are not Unicode.
    fn names(&self, directory: &Self::Dir) -> io::Result<Vec<String>>;

    /// Returns when a name in a directory was last added or removed.
    fn modified(&self, directory: &Self::Dir) -> io::Result<SystemTime>;

    fn sync_dir(&self, directory: &Self::Dir) -> io::Result<()>;

    /// Opens a regular file for reading. Fails with `NotFound` if it is not regular.
    fn open_file(&self, directory: &Self::Dir, name: &str) -> io::Result<File>;

    /// Opens a regular file for reading and writing, and gives its owner the permission first if
    /// that is missing.
    fn open_writable(&self, directory: &Self::Dir, name: &str) -> io::Result<File>;

    /// Creates a file. Fails with `AlreadyExists` if the name is taken.
    fn create_file(&self, directory: &Self::Dir, name: &str, mode: u32) -> io::Result<File>;

    /// Renames a file within a directory, over any file that is there.
    fn rename(&self, directory: &Self::Dir, from: &str, to: &str) -> io::Result<()>;

    fn remove_file(&self, directory: &Self::Dir, name: &str) -> io::Result<()>;

    fn remove_dir(&self, outer: &Self::Dir, name: &str) -> io::Result<()>;

    /// Returns what a hard link changes of an open file.
    fn links(&self, file: &File) -> io::Result<Links>;

    /// Returns whether an error of a lookup means that the file certainly does not exist.
    fn means_absent(&self, error: &io::Error) -> bool;

    /// Returns whether an error means that the file system has no locks.
    fn means_no_locks(&self, error: &io::Error) -> bool;

    /// Converts an error to one whose message contains the failed action.
    fn error(&self, error: io::Error, action: &'static str) -> Error;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_of_a_key_are_found_from_the_root() {
        let of = |key: &str| -> Vec<String> {
            parents(&Key::new(key).unwrap()).map(str::to_owned).collect()
        };
        assert_eq!(of("a"), [""]);
        assert_eq!(of("a/b"), ["", "a"]);
        assert_eq!(of("a/bc/d/e"), ["", "a", "a/bc", "a/bc/d"]);
    }
}
