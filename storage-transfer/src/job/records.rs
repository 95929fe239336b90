//! The files of a shard with failures and with extras.

/// What a file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Extra,
}

impl Kind {
    /// Returns the name of a file below the directory of the job.
    pub(crate) fn path(self, id: &str, number: u64) -> String {
        let directory = match self {
            Self::Failed => "failed",
            Self::Extra => "extra",
        };
        format!("{directory}/{id}/{number:08}.jsonl")
    }
}
