//! Files without a name (`O_TMPFILE`), where the system has them.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Naming, Unnamed};
#[cfg(not(target_os = "linux"))]
pub(crate) use none::{Naming, Unnamed};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::sync::OnceLock;

    use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
    use rustix::io::Errno;

    /// How a file without a name is given one: see open(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Naming {
        /// By its descriptor, which older kernels let only the privileged do.
        ByDescriptor,
        /// Through `/proc`, which a container may lack.
        ThroughProc,
    }

    impl Naming {
        pub(crate) fn link(
            self,
            file: &File,
            directory: BorrowedFd<'_>,
            name: &str,
        ) -> Result<(), Errno> {
            match self {
                Self::ByDescriptor => fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
                Self::ThroughProc => {
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
                }
            }
        }
    }

    /// What has been found out about a root.
    #[derive(Debug, Default)]
    pub(crate) struct Unnamed {
        naming: OnceLock<Option<Naming>>,
    }

    impl Unnamed {
        /// Opens an empty file in one of the directories, the first that lets us; the last one is
        /// the root.
        pub(crate) fn open(
            &self,
            parent: Option<OwnedFd>,
            root: &OwnedFd,
            mode: u32,
        ) -> Result<Option<(OwnedFd, Naming)>, Errno> {
            if let Some(None) = self.naming.get() {
                return Ok(None);
            }
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let open =
                |directory: &OwnedFd| fs::openat(directory, ".", flags, Mode::from_raw_mode(mode));
            // Whatever is wrong with the parent (it may have been removed, it may be a mount) need
            // not be wrong with the root.
            let file =
                match parent.and_then(|parent| open(&parent).ok()).map_or_else(|| open(root), Ok) {
                    // The last two are what kernels say that do not know the flag.
                    Err(Errno::NOTSUP | Errno::ISDIR | Errno::NOENT) => {
                        self.naming.get_or_init(|| None);
                        return Ok(None);
                    }
                    opened => opened?,
                };
            let naming = self.naming.get_or_init(|| find_naming(&file, root));
            Ok(naming.map(|naming| (file, naming)))
        }
    }

    /// A link to a name that is taken fails, but by that only once all else has been found in
    /// order.
    fn find_naming(file: &OwnedFd, root: &OwnedFd) -> Option<Naming> {
        let file = File::from(file.try_clone().ok()?);
        let works = |naming: &Naming| naming.link(&file, root.as_fd(), ".") == Err(Errno::EXIST);
        [Naming::ByDescriptor, Naming::ThroughProc].into_iter().find(works)
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::fs::File;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::io::Errno;

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Naming {}

    impl Naming {
        pub(crate) fn link(
            self,
            _file: &File,
            _directory: BorrowedFd<'_>,
            _name: &str,
        ) -> Result<(), Errno> {
            match self {}
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Unnamed;

    impl Unnamed {
        pub(crate) fn open(
            &self,
            _parent: Option<OwnedFd>,
            _root: &OwnedFd,
            _mode: u32,
        ) -> Result<Option<(OwnedFd, Naming)>, Errno> {
            Ok(None)
        }
    }
}
