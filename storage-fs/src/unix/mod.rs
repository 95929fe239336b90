//! The implementation for Linux. The crate's documentation lists the files in reading order.

mod cached;
mod commit;
mod copy;
mod delete;
mod driver;
mod errno;
mod list;
mod locks;
mod metadata;
mod open;
mod rename;
mod root;
mod save;
mod shared;
mod sidecar;
mod staged;
mod staging;
mod stat;
mod state_dir;
mod unnamed;
mod uploads;
mod version;

pub use driver::Fs;
