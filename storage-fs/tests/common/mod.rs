//! Shared by the tests of the driver: scratch directories, payloads that wait, and functions that
//! inspect the disk.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod payloads;
pub(crate) mod poll;
pub(crate) mod trace;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, XattrFlags};
use storage_core::{Entry, ErrorKind, Result, Storage};
use storage_fs::{Fs, FsBuilder, MetadataStore, NameRules};
use tempfile::TempDir;

pub(crate) const RESERVED: &str = ".anystorage";

/// An implementation of the driver, and the place of its metadata. They give the same guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Implementation {
    Linux(MetadataStore),
    Portable,
}

impl Implementation {
    pub(crate) const ALL: [Self; 3] =
        [Self::Linux(MetadataStore::Auto), Self::Linux(MetadataStore::Sidecar), Self::Portable];

    pub(crate) fn storage(self, builder: FsBuilder) -> Storage {
        match self {
            Self::Linux(store) => Storage::new(builder.metadata(store).build().unwrap()),
            Self::Portable => Storage::new(builder.build_portable(NameRules::default()).unwrap()),
        }
    }
}

/// A temporary directory with a root for the driver and room beside the root.
pub(crate) struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let scratch = Self::bare();
        fs::create_dir(scratch.root()).unwrap();
        scratch
    }

    /// Creates the directory without the root.
    pub(crate) fn bare() -> Self {
        Self::below(&scratch_parent())
    }

    /// Creates the directory on a file system in memory, if there is one with extended attributes.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let scratch = if keeps_attributes(memory) { Self::below(memory) } else { Self::bare() };
        fs::create_dir(scratch.root()).unwrap();
        scratch
    }

    fn below(parent: &Path) -> Self {
        Self { dir: tempfile::Builder::new().prefix("storage-fs-").tempdir_in(parent).unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Returns the path of a key.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root().join(key)
    }

    /// Writes a file into the tree as another program would.
    pub(crate) fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let file = self.file(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(crate) fn builder(&self) -> FsBuilder {
        Fs::builder(self.root()).durable(false)
    }

    /// Returns a storage with the defaults, except that it does not sync.
    pub(crate) fn storage(&self) -> Storage {
        Storage::new(self.builder().build().unwrap())
    }

    /// Returns all paths below the root, including the state directory. Paths of directories end in
    /// a slash.
    pub(crate) fn tree(&self) -> Vec<String> {
        tree(&self.root())
    }

    /// Returns all paths below the root, without the state directory.
    pub(crate) fn plain_tree(&self) -> Vec<String> {
        self.tree().into_iter().filter(|path| !path.starts_with(RESERVED)).collect()
    }

    /// Returns the names in the staging directory.
    pub(crate) fn staged(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("staging"))
    }

    /// Returns the names in the directory of lock files.
    pub(crate) fn locks(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("locks"))
    }

    /// Returns the names in the directory of sidecars.
    pub(crate) fn sidecars(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("meta"))
    }
}

impl Drop for Scratch {
    /// Tries again if it fails, because a driver that is dropped at the same time removes files
    /// too.
    fn drop(&mut self) {
        for _ in 0..1_000 {
            match fs::remove_dir_all(self.path()) {
                Err(_) if self.path().exists() => std::thread::yield_now(),
                _ => return,
            }
        }
    }
}

/// How long [`until`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition is true. `what` describes the opposite.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns the directory for scratch directories: on a file system with user attributes, if there
/// is one.
pub(crate) fn scratch_parent() -> PathBuf {
    let usual = std::env::temp_dir();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if !keeps_attributes(&usual) && keeps_attributes(&target) { target } else { usual }
}

pub(crate) fn keeps_attributes(directory: &Path) -> bool {
    let Ok(file) = tempfile::tempfile_in(directory) else { return false };
    rustix::fs::fsetxattr(&file, "user.storage-fs-probe", b"x", XattrFlags::empty()).is_ok()
}

pub(crate) fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(relative) = left.pop() {
        for entry in fs::read_dir(root.join(&relative)).unwrap() {
            let entry = entry.unwrap();
            let path = relative.join(entry.file_name());
            let is_dir = entry.file_type().unwrap().is_dir();
            found.push(format!("{}{}", path.to_string_lossy(), if is_dir { "/" } else { "" }));
            if is_dir {
                left.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

/// Returns whether a path of a tree is a lock file of the driver, which stays once it is created.
pub(crate) fn is_lock_file(path: &str) -> bool {
    path.strip_prefix(".anystorage/locks/").is_some_and(|name| name.len() == 2)
}

/// Returns whether a path of a tree is a directory or lock file of the driver. Earlier operations
/// determine which of them exist.
pub(crate) fn is_own(path: &str) -> bool {
    (path.starts_with(RESERVED) && path.ends_with('/')) || is_lock_file(path)
}

fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Returns the names of a listing, or its first error.
pub(crate) async fn names(storage: &Storage, prefix: &str) -> Result<Vec<String>> {
    let entries = storage.list(prefix).entries().collect().await?;
    Ok(entries.iter().map(|entry| entry.name().to_owned()).collect())
}

/// Returns the names of a listing of one level.
pub(crate) async fn level(storage: &Storage, prefix: &str) -> Result<Vec<String>> {
    let entries = storage.list(prefix).delimiter("/").entries().collect().await?;
    Ok(entries.iter().map(|entry| entry.name().to_owned()).collect())
}

/// Returns all items of a listing, errors by their kind and key.
pub(crate) async fn items(
    storage: &Storage,
    prefix: &str,
) -> Vec<std::result::Result<String, (ErrorKind, String)>> {
    let mut entries = storage.list(prefix).entries();
    let mut all = Vec::new();
    while let Some(item) = entries.next().await {
        let item = item.map(|entry: Entry| entry.name().to_owned());
        all.push(item.map_err(|error| (error.kind(), error.key().unwrap_or_default().to_owned())));
    }
    all
}

/// Returns the whole body of an object.
pub(crate) async fn read(storage: &Storage, key: &str) -> Result<Vec<u8>> {
    Ok(storage.open(key).await?.bytes().await?.to_vec())
}

/// Asserts that a call failed with a kind of error.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind) -> storage_core::Error {
    match result {
        Ok(_) => panic!("it succeeded, where {kind} was due"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}: {:?}", std::error::Error::source(&error));
            error
        }
    }
}

/// Returns whether this system has unnamed files, so that a staged file needs no name.
pub(crate) fn has_unnamed_files(directory: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, OFlags, linkat, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let Ok(file) = openat(CWD, directory, flags, Mode::RUSR) else { return false };
    // Linking to an existing name fails with `EXIST` only if nothing else is wrong.
    linkat(file, "", CWD, directory, AtFlags::EMPTY_PATH) == Err(rustix::io::Errno::EXIST)
}

/// Returns whether this process runs as the superuser, whom permissions do not bind.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Reports a skipped test on the real standard error, so that the capture of test output does not
/// hide it.
pub(crate) fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {reason}");
}

/// The user of [`as_unprivileged_user`] if the tests run as the superuser.
pub(crate) const UNPRIVILEGED_USER: u32 = 65534;

/// Runs a test whom permissions bind: the superuser drops its privileges, in a new thread and the
/// threads that it starts.
pub(crate) fn as_unprivileged_user(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        return test();
    }
    let thread = std::thread::spawn(move || {
        use rustix::thread::{Gid, Uid};
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(Gid::from_raw(UNPRIVILEGED_USER)).unwrap();
        rustix::thread::set_thread_uid(Uid::from_raw(UNPRIVILEGED_USER)).unwrap();
        test();
    });
    thread.join().unwrap();
}

pub(crate) fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)
        .unwrap();
}

/// Creates a device like `/dev/null`. Returns `false` if the system does not allow it.
pub(crate) fn device(path: &Path) -> bool {
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        null,
    )
    .is_ok()
}
