//! [`UnknownSize`]: the cause of an error of `stat` if a backend states no size.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;

/// The cause of an `Unsupported` error of `stat`: the backend states no size, and the object would
/// have to be read to its end to determine it. A caller that needs no size opens the object with
/// [`OpenOptions::allow_unknown_size`](crate::OpenOptions::allow_unknown_size).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSize;

impl UnknownSize {
    /// Returns whether this is the direct cause of an error.
    #[must_use]
    pub fn is_cause_of(error: &Error) -> bool {
        error.source().is_some_and(<dyn StdError>::is::<Self>)
    }
}

impl fmt::Display for UnknownSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the size is not known before the last byte")
    }
}

impl StdError for UnknownSize {}
