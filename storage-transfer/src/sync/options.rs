//! [`SyncOptions`]: what a sync copies, keeps and deletes.

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;
use crate::copy::LostMetadata;
use crate::filter::Filter;
use crate::headers::HeaderRule;

/// What a sync copies, keeps and deletes. The defaults copy what is missing or different, and
/// delete nothing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SyncOptions {
    /// How objects are compared. Defaults to [`Comparison::Listing`].
    pub comparison: Comparison,
    /// What happens with objects that both sides have. Defaults to [`Existing::Replace`].
    pub existing: Existing,
    /// Which keys are compared, copied and deleted. Defaults to all.
    pub filter: Filter,
    /// Whether objects that the source lacks are deleted. Defaults to `None`: they stay.
    pub delete: Option<DeleteExtras>,
    /// The directory below that of the destination into which objects are moved before they are
    /// replaced or deleted. It is not compared. An object of the source below this name is a
    /// failure, unless the filter excludes it. Defaults to `None`: nothing is kept.
    pub backup: Option<String>,
    /// Metadata that copies get in place of that of their source. The last rule that matches wins
    /// for each field.
    pub headers: Vec<HeaderRule>,
    /// What happens with metadata that the destination cannot keep. Defaults to a failure of that
    /// key.
    pub lost_metadata: LostMetadata,
    /// Whether a source without objects is accepted although extras are deleted. Defaults to
    /// `false`: nothing is deleted then, because the source may have failed.
    pub allow_empty_source: bool,
    /// Whether nothing is changed, and only the comparison is made. Defaults to `false`.
    pub dry_run: bool,
}

/// What a sync does with objects that both sides have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Existing {
    /// Replaces objects that differ.
    #[default]
    Replace,
    /// Leaves all objects of the destination as they are.
    Ignore,
    /// Replaces objects that differ, unless that of the destination is newer.
    Update,
    /// Counts objects that differ as failures, and leaves them as they are.
    Immutable,
}

/// Which objects that the source lacks are deleted from the destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteExtras {
    /// The largest number of deletions. If there are more extras, none is deleted. Defaults to no
    /// limit.
    pub max: Option<MaxDelete>,
}

impl DeleteExtras {
    /// Returns the default: all extras are deleted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the largest number of deletions.
    #[must_use]
    pub fn max(mut self, max: MaxDelete) -> Self {
        self.max = Some(max);
        self
    }
}

/// A limit of deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MaxDelete {
    /// At most this many objects.
    Count(u64),
    /// At most this share of the objects of the destination that the filter selects, in percent.
    Percent(u8),
}

impl MaxDelete {
    /// Returns whether so many of these objects may be deleted.
    #[must_use]
    pub fn allows(self, extras: u64, objects: u64) -> bool {
        match self {
            Self::Count(max) => extras <= max,
            Self::Percent(percent) => {
                u128::from(extras) * 100 <= u128::from(objects) * u128::from(percent)
            }
        }
    }
}

impl SyncOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how objects are compared.
    #[must_use]
    pub fn comparison(mut self, comparison: Comparison) -> Self {
        self.comparison = comparison;
        self
    }

    /// Sets what happens with objects that both sides have.
    #[must_use]
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Sets which keys are compared, copied and deleted.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Deletes objects that the source lacks.
    #[must_use]
    pub fn delete(mut self, delete: DeleteExtras) -> Self {
        self.delete = Some(delete);
        self
    }

    /// Sets the directory into which objects are moved before they are replaced or deleted.
    #[must_use]
    pub fn backup(mut self, directory: impl Into<String>) -> Self {
        self.backup = Some(directory.into());
        self
    }

    /// Adds metadata for the copies of matching keys.
    #[must_use]
    pub fn header(mut self, rule: HeaderRule) -> Self {
        self.headers.push(rule);
        self
    }

    /// Sets what happens with metadata that the destination cannot keep.
    #[must_use]
    pub fn lost_metadata(mut self, lost: LostMetadata) -> Self {
        self.lost_metadata = lost;
        self
    }

    /// Deletes extras also if the source has no objects.
    #[must_use]
    pub fn allow_empty_source(mut self) -> Self {
        self.allow_empty_source = true;
        self
    }

    /// Changes nothing, and only compares.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Returns the backup directory with a slash at its end.
    pub(crate) fn backup_prefix(&self) -> Option<String> {
        self.backup.as_ref().map(|backup| format!("{}/", backup.trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_deletions_allows_exactly_its_number() {
        assert!(MaxDelete::Count(10).allows(10, 10));
        assert!(!MaxDelete::Count(10).allows(11, 1000));
        assert!(MaxDelete::Percent(50).allows(5, 10));
        assert!(!MaxDelete::Percent(50).allows(6, 11));
        assert!(MaxDelete::Percent(0).allows(0, 10) && !MaxDelete::Percent(0).allows(1, 10));
        assert!(MaxDelete::Percent(100).allows(u64::MAX, u64::MAX));
    }
}
