//! [`SyncSummary`]: the result of a sync.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use storage_core::Error;

use crate::compare::Evidence;
use crate::merge::Side;

/// How many keys had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Counts {
    /// Objects that are the same on both sides.
    pub same: u64,
    /// Objects that both sides have and that the options leave as they are, whether or not they
    /// are the same: see [`Existing::Ignore`] and [`Existing::Update`].
    ///
    /// [`Existing::Ignore`]: crate::Existing::Ignore
    /// [`Existing::Update`]: crate::Existing::Update
    pub left: u64,
    /// Objects that the destination lacked, and that were copied.
    pub new: u64,
    /// Objects that differed, and that were replaced.
    pub changed: u64,
    /// Objects of the destination that the source lacks.
    pub extra: u64,
    /// Extra objects that were deleted.
    pub deleted: u64,
    /// Extra objects that were kept although the options delete them, because deleting them was not
    /// safe.
    pub kept: u64,
    /// Keys that failed.
    pub failed: u64,
    /// Names at and below which one side is unknown.
    pub unknown: u64,
    /// Objects that were deleted from the source after they had been listed.
    pub vanished: u64,
    /// Objects of the source that were compared.
    pub source_objects: u64,
    /// Objects of the destination that were compared.
    pub target_objects: u64,
    /// Bytes of new and changed objects.
    pub bytes: u64,
    /// Bytes that passed through this process.
    pub bytes_sent: u64,
    /// Folder markers of other programs, which were skipped.
    pub folder_markers: u64,
    /// Copies that lack a part of the metadata, or a checksum that parts cannot keep.
    pub lost_metadata: u64,
    /// Objects that are the same by the ETags of their contents.
    pub same_by_etag: u64,
    /// Objects that are the same by size and time.
    pub same_by_time: u64,
    /// Objects that are the same by their size alone.
    pub same_by_size: u64,
    /// Objects that are the same by a checksum.
    pub same_by_checksum: u64,
}

impl Counts {
    pub(crate) fn count_same(&mut self, evidence: Evidence) {
        self.same += 1;
        match evidence {
            Evidence::ETag => self.same_by_etag += 1,
            Evidence::SizeAndTime => self.same_by_time += 1,
            Evidence::SizeAlone => self.same_by_size += 1,
            Evidence::Checksum => self.same_by_checksum += 1,
            Evidence::Size => {}
        }
    }

    /// Returns whether all numbers are below this one.
    pub(crate) fn are_below(mut self, bound: u64) -> bool {
        self.numbers().into_iter().all(|number| *number < bound)
    }

    /// Returns all numbers.
    fn numbers(&mut self) -> [&mut u64; 20] {
        // Names every field, so that a new one is not forgotten.
        let Self {
            same,
            left,
            new,
            changed,
            extra,
            deleted,
            kept,
            failed,
            unknown,
            vanished,
            source_objects,
            target_objects,
            bytes,
            bytes_sent,
            folder_markers,
            lost_metadata,
            same_by_etag,
            same_by_time,
            same_by_size,
            same_by_checksum,
        } = self;
        [
            same,
            left,
            new,
            changed,
            extra,
            deleted,
            kept,
            failed,
            unknown,
            vanished,
            source_objects,
            target_objects,
            bytes,
            bytes_sent,
            folder_markers,
            lost_metadata,
            same_by_etag,
            same_by_time,
            same_by_size,
            same_by_checksum,
        ]
    }
}

impl AddAssign for Counts {
    /// Adds up to the largest number: what a damaged document of a job contains never wraps.
    fn add_assign(&mut self, mut other: Self) {
        for (sum, added) in self.numbers().into_iter().zip(other.numbers()) {
            *sum = sum.saturating_add(*added);
        }
    }
}

/// The result of a sync.
#[derive(Debug)]
#[non_exhaustive]
pub struct SyncSummary {
    /// How many keys had which outcome.
    pub counts: Counts,
    /// How the run ended.
    pub ended: Ended,
    /// Why extras were kept although the options delete them, if that is the case.
    pub refused: Option<Refusal>,
    /// How many of the failed and of the unknown keys failed temporarily, so that another run may
    /// copy them. A job does not count them.
    pub failed_temporarily: u64,
}

impl SyncSummary {
    /// Returns whether the destination now has all that the source had, and every key is certain.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.ended, Ended::Complete)
            && self.refused.is_none()
            && self.counts.failed == 0
            && self.counts.kept == 0
            && self.counts.unknown == 0
    }
}

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// All keys were handled.
    Complete,
    /// [`Stop::stop`](crate::Stop::stop) was called.
    Interrupted,
    /// The listing of a side broke off. Keys after that were not handled, and nothing was deleted.
    Broken(Side, Error),
    /// Several keys in a row failed temporarily after all their attempts, the last one with this
    /// error. The rest was not handled, and nothing was deleted. Run again.
    Unavailable(Error),
}

/// Why a guard refused to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Refusal {
    /// The source has no objects.
    EmptySource,
    /// There are more extras than may be deleted. Contains the number of extras.
    TooManyExtras(u64),
}

impl Refusal {
    /// Returns the reason, as the end of a sentence.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::EmptySource => "the source has no objects",
            Self::TooManyExtras(_) => "there are more extras than may be deleted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_counts_do_not_wrap() {
        let mut sum = Counts { extra: u64::MAX, new: 1, ..Counts::default() };
        sum += Counts { extra: 2, new: 3, ..Counts::default() };
        assert_eq!((sum.extra, sum.new), (u64::MAX, 4));
    }
}
