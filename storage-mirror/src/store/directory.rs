//! The directory of a store: which file is where. Only one process has it at a time.
//!
//! ```text
//! lock                       held (flock) as long as the store is open
//! order                      which entries had proved their worth when it was closed
//! filling/<id>               the files of fills under way
//! 00/ ... ff/                <rest of the hash of the key>-<id>
//! ```
//!
//! Invariant: a name belongs to one version for ever. So a version that leaves is removed by its
//! name, whatever else happens to the key meanwhile, and one that is replaced is never read by
//! mistake.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Result};

use super::entry::Entry;
use super::sys;

const FILLING: &str = "filling";
const LOCK: &str = "lock";
const ORDER: &str = "order";

/// How often the lock is asked for before it is taken to be another's: half a second.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An open directory, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Closing it lets go of the lock.
    _lock: File,
}

impl Directory {
    /// Makes what is missing and takes the lock.
    ///
    /// # Errors
    /// `Conflict` if another process has the directory.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let in_context = |error: io::Error| {
            Error::from(error).with_context(&format!("cache_dir {}", path.display()))
        };
        sys::make_directory(path).map_err(in_context)?;
        let lock = sys::open_private(&path.join(LOCK)).map_err(in_context)?;
        if !take(&lock).map_err(in_context)? {
            let path = path.display();
            let message = format!(
                "cache_dir {path}: another process uses it: give each process its own directory"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let directory = Self { path: path.to_owned(), _lock: lock };
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

    /// Where the order of entries is written down.
    pub(super) fn order(&self) -> PathBuf {
        self.path.join(ORDER)
    }

    pub(super) fn filling(&self) -> PathBuf {
        self.path.join(FILLING)
    }

    /// The names of the directories that entries are in.
    pub(super) fn shelves(&self) -> impl Iterator<Item = String> {
        (0..=u8::MAX).map(|shelf| format!("{shelf:02x}"))
    }

    /// Where the file of a fill is.
    pub(super) fn fill_file(&self, id: u64) -> PathBuf {
        self.filling().join(format!("{id:016x}"))
    }

    /// Where the file of an entry is.
    pub(super) fn entry_file(&self, key: &str, id: u64) -> PathBuf {
        let (shelf, rest) = place(key);
        self.path.join(shelf).join(format!("{rest}-{id:016x}"))
    }

    /// Removes the file of an entry; that it is not there is fine. Whether it was there.
    pub(super) fn remove(&self, entry: &Entry) -> io::Result<bool> {
        match fs::remove_file(self.entry_file(entry.key(), entry.id())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts on the disk that the files of these keys were removed.
    pub(super) fn sync_removals<'a>(&self, keys: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let mut shelves: Vec<_> = keys.map(|key| place(key).0).collect();
        shelves.sort_unstable();
        shelves.dedup();
        shelves.iter().try_for_each(|shelf| sys::sync_directory(&self.path.join(shelf)))
    }
}

/// Takes a lock, with a little patience: what has just been closed is still held by a process that
/// another thread is starting, until that becomes another program.
fn take(lock: &File) -> io::Result<bool> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// The shelf of a key, and the beginning of its name there.
pub(super) fn place(key: &str) -> (String, String) {
    let mut shelf = Checksum::of(ChecksumAlgorithm::Sha256, key.as_bytes()).to_hex();
    let rest = shelf.split_off(2);
    (shelf, rest)
}

/// What the name of a file of ours says: the rest of the hash, and the number of the version.
/// `None` for another's file.
pub(super) fn parse_entry_name(name: &str) -> Option<(&str, u64)> {
    let (rest, id) = name.split_once('-')?;
    (rest.len() == 62 && is_hex(rest)).then_some((rest, parse_id(id)?))
}

/// The number of a fill out of the name of its file.
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
    fn a_name_tells_the_key_and_the_version() {
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
    fn the_files_of_others_have_other_names() {
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
    fn a_second_process_on_the_same_directory_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("another process"), "{error}");
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_other_user_can_take_the_lock() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        // As an earlier version left it.
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
    fn what_it_makes_is_nobody_elses_business() {
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
