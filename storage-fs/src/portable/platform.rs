//! What differs between Unix and other systems: permissions, owners, and syncing directories.
//!
//! `other` uses no system's own interface, so Linux compiles it too, and tests what it can.

#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code, unused_imports))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;
