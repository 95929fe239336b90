//! What the driver's tests share: a scratch directory with a root and a canary beside it, jobs that
//! run in processes of their own, payloads that wait, and looking at what is really on the disk.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod jobs;
pub(crate) mod payloads;
pub(crate) mod poll;
pub(crate) mod trace;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};
use storage_core::{Entry, ErrorKind, Result, Storage};
use storage_fs::{Fs, FsBuilder};
use tempfile::TempDir;

pub(crate) const RESERVED: &str = ".anystorage";

/// A directory of a test's own, with a root for the driver in it and room beside the root.
pub(crate) struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let scratch = Self::bare();
        fs::create_dir(scratch.root()).unwrap();
        scratch
    }

    /// Without the root.
    pub(crate) fn bare() -> Self {
        Self::below(&scratch_parent())
    }

    /// Where syncing costs nothing, if there is such a place and it keeps attributes.
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

    /// A file below the root, by its key.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root().join(key)
    }

    /// Puts a file into the tree as another program would.
    pub(crate) fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let file = self.file(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(crate) fn builder(&self) -> FsBuilder {
        Fs::builder(self.root()).durable(false)
    }

    /// A storage with the defaults, but for syncing.
    pub(crate) fn storage(&self) -> Storage {
        Storage::new(self.builder().build().unwrap())
    }

    /// What is below the root, our own directory included: paths, those of directories with a slash
    /// at the end.
    pub(crate) fn tree(&self) -> Vec<String> {
        tree(&self.root())
    }

    /// What is below the root but for our own directory, which may be there or not.
    pub(crate) fn plain_tree(&self) -> Vec<String> {
        self.tree().into_iter().filter(|path| !path.starts_with(RESERVED)).collect()
    }

    /// The names in the staging directory.
    pub(crate) fn staged(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("staging"))
    }

    /// The names in the directory of lock files.
    pub(crate) fn locks(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("locks"))
    }

    /// The names in the directory of sidecars.
    pub(crate) fn sidecars(&self) -> Vec<String> {
        names_in(&self.root().join(RESERVED).join("meta"))
    }
}

impl Drop for Scratch {
    /// A driver that ends at the same time tidies up too, and what it takes away makes removing
    /// fail.
    fn drop(&mut self) {
        for _ in 0..1_000 {
            match fs::remove_dir_all(self.path()) {
                Err(_) if self.path().exists() => std::thread::yield_now(),
                _ => return,
            }
        }
    }
}

/// Where scratch directories are made: on a file system that keeps user attributes, if there is
/// one.
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

/// Whether a path of a tree is one of the driver's lock files, which stay when they have been
/// created.
pub(crate) fn is_lock_file(path: &str) -> bool {
    path.strip_prefix(".anystorage/locks/").is_some_and(|name| name.len() == 2)
}

/// Whether a path of a tree is one of the driver's own directories or lock files. Which of them are
/// there depends on what was done before.
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

/// The names that a listing yields; its first error, odd names included, fails it.
pub(crate) async fn names(storage: &Storage, prefix: &str) -> Result<Vec<String>> {
    let entries = storage.list(prefix).entries().collect().await?;
    Ok(entries.iter().map(|entry| entry.name().to_owned()).collect())
}

/// The names that a listing of one level yields.
pub(crate) async fn level(storage: &Storage, prefix: &str) -> Result<Vec<String>> {
    let entries = storage.list(prefix).delimiter("/").entries().collect().await?;
    Ok(entries.iter().map(|entry| entry.name().to_owned()).collect())
}

/// All items of a listing, errors by their kind and key.
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

/// The whole body of an object.
pub(crate) async fn read(storage: &Storage, key: &str) -> Result<Vec<u8>> {
    Ok(storage.open(key).await?.bytes().await?.to_vec())
}

/// Asserts that a call failed in this way.
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

/// Whether a staged file needs no name in the staging directory here.
pub(crate) fn has_unnamed_files(directory: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, OFlags, linkat, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let Ok(file) = openat(CWD, directory, flags, Mode::RUSR) else { return false };
    // A name that is taken fails only when all else is in order.
    linkat(file, "", CWD, directory, AtFlags::EMPTY_PATH) == Err(rustix::io::Errno::EXIST)
}

/// Whether this process is root, for whom permissions do not hold.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Tells of a test that proved nothing on this machine: past the capturing of test output, since a
/// skipped test that nobody sees is a hole in the proof.
pub(crate) fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {reason}");
}

/// The user that [`as_nobody`] runs as where the tests run as root.
pub(crate) const NOBODY: u32 = 65534;

/// Runs a test for which permissions hold: root gives its rights away, in a thread and those that
/// it starts.
pub(crate) fn as_nobody(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        return test();
    }
    let nobody = std::thread::spawn(move || {
        use rustix::thread::{Gid, Uid};
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(Gid::from_raw(NOBODY)).unwrap();
        rustix::thread::set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
        test();
    });
    nobody.join().unwrap();
}

pub(crate) fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)
        .unwrap();
}

/// Makes a device like `/dev/null`; `false` where that is not allowed.
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
