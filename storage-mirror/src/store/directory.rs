//! The directory of a store and the names of its files. A lock keeps a second process out.
//!
//! ```text
//! lock                       locked (flock) while the store is open
//! order                      the entries of the main queue when the store was closed
//! filling/<id>               the files of running fills
//! 00/ ... ff/                <rest of the hash of the key>-<id>
//! ```
//!
//! Invariant: a file name belongs to one version and is never reused. Removing a version by its
//! name cannot remove a newer one of the same key, and a reader of a replaced version cannot read
//! the newer one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Result};

use super::entry::Entry;
use super::sys;

const FILLING: &str = "filling";
const LOCK: &str = "lock";
const ORDER: &str = "order";

/// How often the lock is tried, once every `LOCK_PAUSE`: for half a second in total. Tests, which
/// start many child processes on a busy machine, try for half a minute.
const LOCK_TRIES: u32 = if cfg!(test) { 3_000 } else { 50 };
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An open, locked directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// For each shelf, whether a power cut may restore a file that was removed from it. At the
    /// start, an earlier process may have removed files. The lock is held while a file is removed
    /// and while the shelf is synced.
    unsynced: Vec<Mutex<bool>>,
    /// Closing the file releases the lock.
    _lock: File,
}

impl Directory {
    /// Creates the directories that are missing and takes the lock.
    ///
    /// # Errors
    /// `Conflict` if another process has locked the directory.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, LOCK_TRIES)
    }

    /// Does the same as [`open`](Self::open), and tries the lock this often.
    pub(super) fn open_with(path: &Path, lock_tries: u32) -> Result<Self> {
        let in_context = |error: io::Error| {
            Error::from(error).with_context(&format!("cache_dir {}", path.display()))
        };
        sys::make_directory(path).map_err(in_context)?;
        let lock = sys::open_private(&path.join(LOCK)).map_err(in_context)?;
        if !take(&lock, lock_tries).map_err(in_context)? {
            let path = path.display();
            let message = format!(
                "cache_dir {path}: another process uses it: give each process its own directory"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let unsynced = (0..=u8::MAX).map(|_| Mutex::new(true)).collect();
        let directory = Self { path: path.to_owned(), unsynced, _lock: lock };
        directory.make_tree().map_err(in_context)?;
        Ok(directory)
    }

    fn make_tree(&self) -> io::Result<()> {
        sys::make_directory(&self.filling())?;
        self.shelves().try_for_each(|shelf| sys::make_directory(&self.path.join(shelf)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the file with the eviction order.
    pub(super) fn order(&self) -> PathBuf {
        self.path.join(ORDER)
    }

    pub(super) fn filling(&self) -> PathBuf {
        self.path.join(FILLING)
    }

    /// Returns the names of the directories that contain entries.
    pub(super) fn shelves(&self) -> impl Iterator<Item = String> {
        (0..=u8::MAX).map(|shelf| format!("{shelf:02x}"))
    }

    /// Returns the path of the file of a fill.
    pub(super) fn fill_file(&self, id: u64) -> PathBuf {
        self.filling().join(format!("{id:016x}"))
    }

    /// Returns the path of the file of an entry.
    pub(super) fn entry_file(&self, key: &str, id: u64) -> PathBuf {
        let (shelf, rest) = place(key);
        self.version_file(&shelf, &rest, id)
    }

    fn version_file(&self, shelf: &str, rest: &str, id: u64) -> PathBuf {
        self.path.join(shelf).join(format!("{rest}-{id:016x}"))
    }

    /// Removes the file of an entry and returns whether it existed.
    pub(super) fn remove(&self, entry: &Entry) -> io::Result<bool> {
        self.remove_version(entry.key(), entry.id())
    }

    /// Removes the file of one version of a key and returns whether it existed.
    pub(super) fn remove_version(&self, key: &str, id: u64) -> io::Result<bool> {
        let (shelf, rest) = place(key);
        let mut unsynced = self.unsynced(&shelf);
        match fs::remove_file(self.version_file(&shelf, &rest, id)) {
            Ok(()) => {
                *unsynced = true;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Syncs the shelves of these keys from which files were removed.
    pub(super) fn sync_removals<'a>(&self, keys: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let mut shelves: Vec<_> = keys.map(|key| place(key).0).collect();
        shelves.sort_unstable();
        shelves.dedup();
        shelves.iter().try_for_each(|shelf| self.sync_shelf(shelf))
    }

    /// Syncs all shelves from which files were removed.
    pub(super) fn sync_all_removals(&self) -> io::Result<()> {
        self.shelves().try_for_each(|shelf| self.sync_shelf(&shelf))
    }

    fn sync_shelf(&self, shelf: &str) -> io::Result<()> {
        let mut unsynced = self.unsynced(shelf);
        if *unsynced {
            sys::sync_directory(&self.path.join(shelf))?;
            *unsynced = false;
        }
        Ok(())
    }

    fn unsynced(&self, shelf: &str) -> MutexGuard<'_, bool> {
        let number = usize::from_str_radix(shelf, 16).unwrap_or_default();
        self.unsynced[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a lock, and tries again for a while: a child process that another thread has forked holds
/// an already closed lock until it executes its program.
fn take(lock: &File, tries: u32) -> io::Result<bool> {
    for _ in 0..tries {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Returns the directory of a key and the first part of its file name.
pub(super) fn place(key: &str) -> (String, String) {
    let mut shelf = Checksum::of(ChecksumAlgorithm::Sha256, key.as_bytes()).to_hex();
    let rest = shelf.split_off(2);
    (shelf, rest)
}

/// Parses the file name of an entry into the rest of the hash and the id of the version. Returns
/// `None` for files that the store did not create.
pub(super) fn parse_entry_name(name: &str) -> Option<(&str, u64)> {
    let (rest, id) = name.split_once('-')?;
    (rest.len() == 62 && is_hex(rest)).then_some((rest, parse_id(id)?))
}

/// Parses the id of a fill from its file name.
pub(super) fn parse_id(name: &str) -> Option<u64> {
    (name.len() == 16 && is_hex(name)).then(|| u64::from_str_radix(name, 16).ok())?
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_contains_the_hash_of_the_key_and_the_version() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let file = directory.entry_file("a/b.mp3", 0xfeed);
        let name = file.file_name().unwrap().to_str().unwrap();
        let (rest, id) = parse_entry_name(name).unwrap();
        let shelf = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert_eq!((shelf.to_owned(), rest.to_owned()), place("a/b.mp3"));
        assert_eq!(id, 0xfeed);
        assert_eq!(
            parse_id(directory.fill_file(77).file_name().unwrap().to_str().unwrap()),
            Some(77)
        );
    }

    #[test]
    fn the_names_of_foreign_files_do_not_parse() {
        for name in [
            "",
            "-",
            "notes.txt",
            "order",
            &"a".repeat(79),
            &format!("{}-{}", "A".repeat(62), "0".repeat(16)),
        ] {
            assert_eq!(parse_entry_name(name), None, "{name}");
        }
        for name in ["", "lock", "+000000000000001", "00000000000000001"] {
            assert_eq!(parse_id(name), None, "{name}");
        }
    }

    #[test]
    fn opening_a_locked_directory_reports_the_other_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let error = Directory::open_with(dir.path(), 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("another process"), "{error}");
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn the_lock_file_is_accessible_to_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        // An earlier version created it with this mode.
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Directory::open(dir.path()).unwrap());
        assert_eq!(mode(&lock), 0o600);
        fs::remove_file(&lock).unwrap();
        drop(Directory::open(dir.path()).unwrap());
        assert_eq!(mode(&lock), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn created_directories_are_accessible_to_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/cache");
        let _directory = Directory::open(&path).unwrap();
        for made in [path.clone(), path.join("filling"), path.join("00"), path.join("ff")] {
            assert_eq!(
                fs::metadata(&made).unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                made.display()
            );
        }
    }
}
