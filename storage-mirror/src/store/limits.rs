//! What a store may take, and what it tells about itself.

/// How many files are kept open, unless a test chooses otherwise.
pub(crate) const OPEN_FILES: u64 = 512;

/// How much memory bodies and metadata that are read again take, unless configured.
pub(crate) const DEFAULT_MEMORY: u64 = 64 << 20;
/// How much memory the index takes, unless configured.
pub(crate) const DEFAULT_INDEX_MEMORY: u64 = 512 << 20;

/// The bounds of a store.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The most bytes on the disk: bodies, what is kept beside them, and what fills under way have
    /// been promised, in whole pages of 4 KiB. What leaves while it is still being read comes on
    /// top until its last reader is done.
    pub(crate) max_size: u64,
    /// The largest body that is kept.
    pub(crate) max_object_size: Option<u64>,
    /// The most bytes of memory for bodies and metadata that are asked for again.
    pub(crate) memory: u64,
    /// The most bytes of memory for the index, in which each entry has a place, whatever is asked
    /// for.
    pub(crate) index_memory: u64,
    /// The most files kept open beyond those that are being read.
    pub(crate) open_files: u64,
}

impl Limits {
    /// This much on the disk, 64 MiB of memory for what is asked for again, 512 MiB for the index,
    /// 512 open files.
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

/// What was found when a store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Entries that are there again, ...
    pub(crate) objects: u64,
    /// ... and what they take on the disk.
    pub(crate) bytes: u64,
    /// Files that were removed since they were broken.
    pub(crate) dropped: u64,
    /// Files that were removed since they were left over: of fills that never ended, and versions
    /// that had been replaced.
    pub(crate) partial: u64,
}

/// What is in a store, and what has happened since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What the entries take on the disk, in whole pages.
    pub(crate) bytes: u64,
    /// How many entries there are.
    pub(crate) objects: u64,
    /// What is promised to fills under way, and what has left but is not removed yet.
    pub(crate) reserved: u64,
    /// Entries that left to make room, ...
    pub(crate) evicted_objects: u64,
    /// ... and what they took.
    pub(crate) evicted_bytes: u64,
    /// Entries that were removed since they were broken.
    pub(crate) corrupt: u64,
    /// What the bodies in memory take, ...
    pub(crate) memory: u64,
    /// ... and what the metadata does.
    pub(crate) metadata: u64,
    /// What the index takes in memory, as an estimate.
    pub(crate) index: u64,
    /// Files that are kept open.
    pub(crate) open_files: u64,
}
