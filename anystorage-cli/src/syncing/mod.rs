//! What `sync` and `check` share: both directories, filters, lists of keys, the files that record
//! what happened to each key, and the summary.

pub(crate) mod filters;
pub(crate) mod inventory;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod line_file;
pub(crate) mod options;
pub(crate) mod recorder;
pub(crate) mod sides;
pub(crate) mod specials;
pub(crate) mod summary;
