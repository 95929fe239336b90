//! Placeholder until the branch with the filters is merged.

/// Selects keys.
#[derive(Debug, Clone, Default)]
pub struct Filter;

impl Filter {
    pub(crate) fn admits(&self, _key: &str) -> bool {
        true
    }

    pub(crate) fn may_admit_below(&self, _prefix: &str) -> bool {
        true
    }

    pub(crate) fn rules(&self) -> &[String] {
        &[]
    }
}
