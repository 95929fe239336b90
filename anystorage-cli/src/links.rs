//! Finds symlinks, FIFOs, sockets and devices in a local directory. They are not objects, and the
//! driver `fs` skips them, because a link may lead out of the storage. Recursive commands report
//! them, or follow the symlinks.

use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use anystorage::Error;
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

/// How many special files may wait to be handled.
const QUEUE_LENGTH: usize = 64;

/// The directory that the driver reserves for itself. It is not part of a storage.
const RESERVED: &str = ".anystorage";

/// The longest name of a file on common file systems. A longer one cannot exist.
const MAX_NAME_BYTES: usize = 255;

/// The options for symlinks of commands that may follow them.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LinkArgs {
    /// With -r from a local directory: copy the targets of symlinks
    #[arg(long, requires = "recursive")]
    follow: bool,
    /// With -r from a local directory: skip symlinks and special files without an error
    #[arg(long, requires = "recursive", conflicts_with = "follow")]
    skip_links: bool,
}

impl LinkArgs {
    pub(crate) fn policy(self) -> LinkPolicy {
        match (self.follow, self.skip_links) {
            (true, _) => LinkPolicy::Follow,
            (_, true) => LinkPolicy::Skip,
            _ => LinkPolicy::Refuse,
        }
    }
}

/// What a recursive command does with symlinks below a local directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkPolicy {
    /// Reports each symlink as a failure.
    Refuse,
    /// As `Refuse`, for commands that cannot follow symlinks.
    Keep,
    /// Copies the targets.
    Follow,
    /// Skips symlinks and other special files.
    Skip,
}

/// A file that is neither regular nor a directory.
#[derive(Debug)]
pub(crate) struct SpecialFile {
    /// Its path below the searched directory, with `/` between the names.
    pub(crate) name: String,
    pub(crate) kind: SpecialKind,
}

impl SpecialFile {
    /// Whether it is a link that leads to a directory. A link that leads nowhere may do so at
    /// another time, for example if a disk is not mounted.
    pub(crate) fn may_be_directory(&self) -> bool {
        match &self.kind {
            SpecialKind::Symlink(Ok(target)) => target.file_type.is_dir(),
            SpecialKind::Symlink(Err(_)) => true,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(crate) enum SpecialKind {
    Symlink(io::Result<LinkTarget>),
    Other(&'static str),
    /// A file whose name is not UTF-8, so it has no key.
    InvalidName,
}

/// The target of a symlink, with all links resolved.
#[derive(Debug)]
pub(crate) struct LinkTarget {
    pub(crate) path: PathBuf,
    pub(crate) file_type: FileType,
    /// The directory of the link, with all links resolved.
    pub(crate) link_directory: PathBuf,
}

impl LinkTarget {
    /// Whether the target contains the link, or one of the links that were followed before.
    pub(crate) fn is_loop(&self, link_directories: &[PathBuf]) -> bool {
        link_directories
            .iter()
            .chain([&self.link_directory])
            .any(|link_directory| link_directory.starts_with(&self.path))
    }
}

/// A part of a directory that could not be searched, so that it may contain special files.
#[derive(Debug)]
pub(crate) struct Unsearched {
    /// Its path below the searched directory, with `/` between the names and at the end of that of
    /// a directory. Empty for the searched directory itself.
    pub(crate) name: String,
    pub(crate) error: Error,
}

/// Finds all special files below a directory, in no particular order, on another thread. Memory is
/// bounded by the depth of the tree. The results contain each directory that cannot be read: the
/// listing of the storage reads it at another time, when that may succeed.
///
/// Dropping the receiver ends the search.
pub(crate) fn find_special_files(root: PathBuf) -> mpsc::Receiver<Result<SpecialFile, Unsearched>> {
    let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
    tokio::task::spawn_blocking(move || {
        let entries =
            WalkDir::new(&root).min_depth(1).into_iter().filter_entry(|entry| !is_reserved(entry));
        let mut directories = Vec::new();
        for entry in entries {
            let found = match entry {
                Ok(entry) => {
                    if entry.file_type().is_dir() {
                        directories.truncate(entry.depth() - 1);
                        directories.push(entry.path().to_owned());
                    }
                    special(&root, &entry).map(Ok)
                }
                Err(error) => unsearched(&root, &directories, error).map(Err),
            };
            if found.is_some_and(|found| sender.blocking_send(found).is_err()) {
                return;
            }
        }
    });
    receiver
}

/// Returns the special file that a name below a directory leads to: itself, or what is in the place
/// of a directory above it. The result has this name.
///
/// # Errors
/// Fails if the place cannot be looked up, so that it may be a special file.
pub(crate) fn special_file_at(root: &Path, name: &str) -> io::Result<Option<SpecialFile>> {
    let mut path = root.to_owned();
    for part in name.split('/') {
        path.push(part);
        let file_type = match path.symlink_metadata() {
            Ok(found) => found.file_type(),
            Err(error) if means_absent(&error) || part.len() > MAX_NAME_BYTES => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file_type.is_file() && !file_type.is_dir() {
            let kind = kind(&path, file_type);
            return Ok(Some(SpecialFile { name: name.to_owned(), kind }));
        }
    }
    Ok(None)
}

fn means_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidInput)
}

/// Returns the part that an error of the search concerns, or `None` if it is no directory any more.
/// `directories` are those that contain the next entry, the outermost first.
fn unsearched(root: &Path, directories: &[PathBuf], error: walkdir::Error) -> Option<Unsearched> {
    // An error within a directory has no path, but the depth of the entry that was to be next.
    let within = error.depth().checked_sub(2).and_then(|above| directories.get(above));
    let path = error.path().unwrap_or_else(|| within.map_or(root, PathBuf::as_path)).to_owned();
    let is_directory = path == root || directories.contains(&path);
    let names = path.strip_prefix(root).ok()?.iter().map(|name| name.to_string_lossy());
    let mut name = names.collect::<Vec<_>>().join("/");
    if is_directory && !name.is_empty() {
        name.push('/');
    }
    let error = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
    if means_absent(&error) {
        return None;
    }
    let error = Error::from(error).with_context("cannot be searched for symlinks");
    Some(Unsearched { name, error })
}

fn is_reserved(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().eq_ignore_ascii_case(RESERVED)
}

fn special(root: &Path, entry: &DirEntry) -> Option<SpecialFile> {
    let file_type = entry.file_type();
    if file_type.is_file() || file_type.is_dir() {
        return None;
    }
    let path = entry.path().strip_prefix(root).ok()?;
    let names: Option<Vec<_>> = path.iter().map(|name| name.to_str()).collect();
    let Some(names) = names else {
        return Some(SpecialFile {
            name: path.to_string_lossy().into_owned(),
            kind: SpecialKind::InvalidName,
        });
    };
    Some(SpecialFile { name: names.join("/"), kind: kind(entry.path(), file_type) })
}

fn kind(path: &Path, file_type: FileType) -> SpecialKind {
    match file_type.is_symlink() {
        true => SpecialKind::Symlink(resolve(path)),
        false => SpecialKind::Other(describe(file_type)),
    }
}

fn resolve(link: &Path) -> io::Result<LinkTarget> {
    let path = std::fs::canonicalize(link)?;
    let file_type = std::fs::metadata(&path)?.file_type();
    let link_directory = std::fs::canonicalize(link.parent().unwrap_or(Path::new(".")))?;
    Ok(LinkTarget { path, file_type, link_directory })
}

/// Describes a file that is neither regular nor a directory.
#[cfg(unix)]
pub(crate) fn describe(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match file_type {
        fifo if fifo.is_fifo() => "a FIFO",
        socket if socket.is_socket() => "a socket",
        device if device.is_block_device() || device.is_char_device() => "a device",
        _ => "a special file",
    }
}

/// Describes a file that is neither regular nor a directory.
#[cfg(not(unix))]
pub(crate) fn describe(_file_type: FileType) -> &'static str {
    "a special file"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn found(root: &Path) -> Vec<SpecialFile> {
        let mut receiver = find_special_files(root.to_owned());
        let mut found = Vec::new();
        while let Some(special) = receiver.recv().await {
            let Ok(special) = special else { panic!("{special:?}") };
            found.push(special);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    #[tokio::test]
    async fn links_are_found_with_their_targets_at_any_depth_and_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join(".anystorage")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("../../file", root.join("a/b/link")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        symlink("../file", root.join(".anystorage/link")).unwrap();
        let found = found(&root).await;
        let names: Vec<_> = found.iter().map(|special| &*special.name).collect();
        assert_eq!(names, ["a/b/link", "a/up", "broken"]);
        let SpecialKind::Symlink(Ok(target)) = &found[0].kind else { panic!("{found:?}") };
        assert!(
            target.file_type.is_file()
                && target.path.ends_with("root/file")
                && target.link_directory.ends_with("a/b")
        );
        let SpecialKind::Symlink(Ok(target)) = &found[1].kind else { panic!("{found:?}") };
        assert!(target.is_loop(&[]));
        assert!(matches!(found[2].kind, SpecialKind::Symlink(Err(_))), "{found:?}");
    }
}
