//! What a local directory holds that is no object: symlinks, FIFOs, sockets, devices. The driver
//! `fs` passes over them, since nothing may lead out of a storage; a copy of a directory names
//! them, or follows the links when it is asked to.

use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

/// How many findings wait to be copied.
const AHEAD: usize = 64;

/// The directory of the driver itself, which is no part of a storage.
const RESERVED: &str = ".anystorage";

/// What `cp -r` does with symlinks below a local directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Names each as a failure.
    Refuse,
    /// Copies what they lead to.
    Follow,
    /// Leaves them out, and other special files too.
    Skip,
}

/// Something that is neither a regular file nor a directory.
#[derive(Debug)]
pub(crate) struct Special {
    /// Its path below the directory that was searched, with `/` between the names.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Symlink(io::Result<Target>),
    Other(&'static str),
    /// Its name is not UTF-8 text, so no key can be made of it.
    Unnameable,
}

/// Where a symlink leads to, all links on the way resolved.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    pub(crate) file_type: FileType,
    /// The directory that the link lies in, likewise.
    pub(crate) holder: PathBuf,
}

impl Target {
    /// Whether following the link leads back to where it lies, or where one of the links lies that
    /// led here.
    pub(crate) fn is_loop(&self, holders: &[PathBuf]) -> bool {
        holders.iter().chain([&self.holder]).any(|holder| holder.starts_with(&self.path))
    }
}

/// Finds everything special below a directory, in no particular order, on a thread of its own.
/// Memory is bounded by the depth of the tree. What cannot be read is passed over: the listing of
/// the storage names it.
///
/// Dropping the receiver ends the search.
pub(crate) fn specials(root: PathBuf) -> mpsc::Receiver<Special> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let entries =
            WalkDir::new(&root).min_depth(1).into_iter().filter_entry(|entry| !is_reserved(entry));
        for special in entries.flatten().filter_map(|entry| special(&root, &entry)) {
            if sender.blocking_send(special).is_err() {
                return;
            }
        }
    });
    receiver
}

fn is_reserved(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().eq_ignore_ascii_case(RESERVED)
}

fn special(root: &Path, entry: &DirEntry) -> Option<Special> {
    let file_type = entry.file_type();
    if file_type.is_file() || file_type.is_dir() {
        return None;
    }
    let path = entry.path().strip_prefix(root).ok()?;
    let names: Option<Vec<_>> = path.iter().map(|name| name.to_str()).collect();
    let Some(names) = names else {
        return Some(Special { name: path.to_string_lossy().into_owned(), kind: Kind::Unnameable });
    };
    let kind = match file_type.is_symlink() {
        true => Kind::Symlink(resolve(entry.path())),
        false => Kind::Other(described(file_type)),
    };
    Some(Special { name: names.join("/"), kind })
}

fn resolve(link: &Path) -> io::Result<Target> {
    let path = std::fs::canonicalize(link)?;
    let file_type = std::fs::metadata(&path)?.file_type();
    let holder = std::fs::canonicalize(link.parent().unwrap_or(Path::new(".")))?;
    Ok(Target { path, file_type, holder })
}

/// What a file is that is neither regular nor a directory.
#[cfg(unix)]
pub(crate) fn described(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match file_type {
        fifo if fifo.is_fifo() => "a FIFO",
        socket if socket.is_socket() => "a socket",
        device if device.is_block_device() || device.is_char_device() => "a device",
        _ => "a special file",
    }
}

/// What a file is that is neither regular nor a directory.
#[cfg(not(unix))]
pub(crate) fn described(_file_type: FileType) -> &'static str {
    "a special file"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn found(root: &Path) -> Vec<Special> {
        let mut receiver = specials(root.to_owned());
        let mut found = Vec::new();
        while let Some(special) = receiver.recv().await {
            found.push(special);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    #[tokio::test]
    async fn links_are_found_at_any_depth_with_what_they_lead_to_and_none_is_entered() {
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
        let Kind::Symlink(Ok(target)) = &found[0].kind else { panic!("{found:?}") };
        assert!(
            target.file_type.is_file()
                && target.path.ends_with("root/file")
                && target.holder.ends_with("a/b")
        );
        let Kind::Symlink(Ok(target)) = &found[1].kind else { panic!("{found:?}") };
        assert!(target.is_loop(&[]));
        assert!(matches!(found[2].kind, Kind::Symlink(Err(_))), "{found:?}");
    }
}
