//! Unnamed files (`O_TMPFILE`), where the file system has them.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// An empty file without a name.
pub(crate) struct UnnamedFile {
    pub(crate) file: OwnedFd,
    pub(crate) method: LinkMethod,
    /// The directory of the key's file, if the unnamed file is in it.
    pub(crate) parent: Option<OwnedFd>,
}

/// How an unnamed file gets its name: see open(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkMethod {
    /// By its descriptor. Older kernels require a privilege for this.
    Descriptor,
    /// Through `/proc`, which a container may not have.
    Proc,
}

impl LinkMethod {
    pub(crate) fn link(
        self,
        file: &File,
        directory: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Errno> {
        match self {
            Self::Descriptor => fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
            Self::Proc => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
            }
        }
    }
}

/// Opens unnamed files below a root, and caches the method to link them.
#[derive(Debug, Default)]
pub(crate) struct UnnamedFiles {
    method: OnceLock<Option<LinkMethod>>,
}

impl UnnamedFiles {
    /// Opens an empty file in the parent directory, or else in the root. Returns `None` if the
    /// system has no unnamed files.
    pub(crate) fn open(
        &self,
        parent: Option<OwnedFd>,
        root: &OwnedFd,
        mode: u32,
    ) -> Result<Option<UnnamedFile>, Errno> {
        if let Some(None) = self.method.get() {
            return Ok(None);
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let open =
            |directory: &OwnedFd| fs::openat(directory, ".", flags, Mode::from_raw_mode(mode));
        let in_parent = parent.and_then(|parent| Some((open(&parent).ok()?, Some(parent))));
        // The parent may have been removed or be a mount, so after a failure there, try the root.
        let (file, parent) = match in_parent.map_or_else(|| Ok((open(root)?, None)), Ok) {
            // Kernels without the flag return one of the last two.
            Err(Errno::NOTSUP | Errno::ISDIR | Errno::NOENT) => {
                self.method.get_or_init(|| None);
                return Ok(None);
            }
            opened => opened?,
        };
        let method = self.method.get_or_init(|| find_link_method(&file, root));
        Ok(method.map(|method| UnnamedFile { file, method, parent }))
    }
}

/// Returns the method that works here. Linking to a name that exists fails with `EXIST` only if
/// nothing else is wrong, so it tests a method without creating a name.
fn find_link_method(file: &OwnedFd, root: &OwnedFd) -> Option<LinkMethod> {
    let file = File::from(file.try_clone().ok()?);
    let works = |method: &LinkMethod| method.link(&file, root.as_fd(), ".") == Err(Errno::EXIST);
    [LinkMethod::Descriptor, LinkMethod::Proc].into_iter().find(works)
}
