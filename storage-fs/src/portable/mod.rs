//! The portable implementation, for all systems but Linux. The feature `portable` builds it on
//! Linux too, for tests. The crate's documentation lists the files in reading order.

mod commit;
mod copy;
mod delete;
mod driver;
mod io_error;
mod list;
mod locks;
mod metadata;
mod name_rules;
mod open;
mod platform;
mod rename;
mod root;
mod save;
mod shared;
mod sidecar;
mod staged;
mod stat;
mod uploads;
mod windows_names;

pub use driver::Fs;
pub use name_rules::NameRules;
