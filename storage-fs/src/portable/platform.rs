//! What differs between Unix and other systems: permissions, owners, and syncing directories.
//!
//! `other` uses only the standard library, so that the tests on Linux compile it too.

#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code, unused_imports))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;
