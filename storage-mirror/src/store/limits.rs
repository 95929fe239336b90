//! The limits of a store and the figures that it reports.

/// The default of [`Limits::open_files`].
pub(crate) const OPEN_FILES: u64 = 512;

/// The default of [`Limits::memory`]: 64 MiB.
pub(crate) const DEFAULT_MEMORY: u64 = 64 << 20;
/// The default of [`Limits::index_memory`]: 512 MiB.
pub(crate) const DEFAULT_INDEX_MEMORY: u64 = 512 << 20;

/// The limits of a store.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The maximum disk use in bytes, in whole pages of 4 KiB: the files of entries and the space
    /// reserved for fills. The space of a removed file that is still being read is not counted.
    pub(crate) max_size: u64,
    /// The largest body that is stored, in bytes. Defaults to no limit.
    pub(crate) max_object_size: Option<u64>,
    /// The maximum memory for bodies and metadata in bytes.
    pub(crate) memory: u64,
    /// The maximum memory for the index in bytes, by the estimate of [`Entry::footprint`].
    ///
    /// [`Entry::footprint`]: super::entry::Entry::footprint
    pub(crate) index_memory: u64,
    /// The maximum number of open files in addition to those that are being read.
    pub(crate) open_files: u64,
}

impl Limits {
    /// Returns limits with this `max_size` and the defaults.
    #[cfg(test)]
    pub(crate) fn new(max_size: u64) -> Self {
        Self {
            max_size,
            max_object_size: None,
            memory: DEFAULT_MEMORY,
            index_memory: DEFAULT_INDEX_MEMORY,
            open_files: OPEN_FILES,
        }
    }
}

/// What the opening of a store found in its directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The number of restored entries.
    pub(crate) objects: u64,
    /// The bytes that the restored entries take on the disk.
    pub(crate) bytes: u64,
    /// The number of files that were removed because they were broken.
    pub(crate) dropped: u64,
    /// The number of files that were removed because a crash left them: files of unfinished fills,
    /// and of replaced versions.
    pub(crate) partial: u64,
}

/// The figures of a store. The counters start at zero when it is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The bytes that the entries take on the disk, in whole pages.
    pub(crate) bytes: u64,
    /// The number of entries.
    pub(crate) objects: u64,
    /// The bytes reserved for fills, and those of removed entries whose files still exist.
    pub(crate) reserved: u64,
    /// The number of entries evicted to make room.
    pub(crate) evicted_objects: u64,
    /// The bytes that the evicted entries took on the disk.
    pub(crate) evicted_bytes: u64,
    /// The number of entries removed because they were broken.
    pub(crate) corrupt: u64,
    /// The bytes of memory that bodies take.
    pub(crate) memory: u64,
    /// The bytes of memory that metadata takes.
    pub(crate) metadata: u64,
    /// The estimated bytes of memory that the index takes.
    pub(crate) index: u64,
    /// The number of files held open.
    pub(crate) open_files: u64,
}
