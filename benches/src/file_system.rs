//! The file system that is measured: its type, and whether it has a journal.
//!
//! A durable save waits for the journal of a file system that has one. ext4 can be without a
//! journal, which few users have.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub struct FileSystem {
    kind: String,
    /// The name of the device, as in `/proc/fs`.
    device: String,
    has_journal: Option<bool>,
}

impl FileSystem {
    /// Finds the file system of a directory. Needs no privilege.
    pub fn of(dir: &Path) -> std::io::Result<Self> {
        let number = std::fs::metadata(dir)?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let kind = mounts
            .lines()
            .filter_map(|line| line.split_once(" - "))
            .find(|(mount, _)| mount.split(' ').nth(2) == Some(&format!("{major}:{minor}")))
            .and_then(|(_, system)| system.split(' ').next())
            .unwrap_or("unknown")
            .to_owned();
        let device = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"))
            .ok()
            .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let has_journal = match kind.as_str() {
            "xfs" => Some(true),
            // Only with a journal there is a mode for what goes through it.
            "ext4" => std::fs::read_to_string(format!("/proc/fs/ext4/{device}/options"))
                .ok()
                .map(|options| options.lines().any(|option| option.starts_with("data="))),
            _ => None,
        };
        Ok(Self { kind, device, has_journal })
    }

    /// Returns the name for the titles of tables.
    pub fn name(&self) -> String {
        match (self.kind.as_str(), self.has_journal) {
            ("ext4", Some(true)) => "ext4 with a journal".to_owned(),
            ("ext4", Some(false)) => "ext4 without a journal".to_owned(),
            (kind, _) => kind.to_owned(),
        }
    }

    /// Returns how many transactions the journal has committed since the file system was mounted.
    /// Returns `None` unless it is the journal of ext4.
    pub fn commits(&self) -> Option<u64> {
        let entries = std::fs::read_dir("/proc/fs/jbd2").ok()?;
        let prefix = format!("{}-", self.device);
        let journal = entries
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))?;
        let info = std::fs::read_to_string(journal.path().join("info")).ok()?;
        info.split(' ').next()?.parse().ok()
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let journal = match self.has_journal {
            Some(true) => "with a journal",
            Some(false) => "without a journal",
            None => "it is not known whether with a journal",
        };
        write!(f, "{}, {journal}", self.kind)
    }
}
