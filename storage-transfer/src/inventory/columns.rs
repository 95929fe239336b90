//! [`Columns`]: which columns of an inventory are read.

/// Which columns must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    Key,
    KeyAndSize,
}
