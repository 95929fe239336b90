//! The commands. Each file contains the arguments of a command and its implementation.

pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod drivers;
pub(crate) mod du;
pub(crate) mod exists;
pub(crate) mod get;
pub(crate) mod ls;
pub(crate) mod manual;
pub(crate) mod meta;
pub(crate) mod mirror;
pub(crate) mod mv;
pub(crate) mod publish;
pub(crate) mod put;
pub(crate) mod releases;
pub(crate) mod rm;
pub(crate) mod rollback;
pub(crate) mod serve;
pub(crate) mod stat;
pub(crate) mod sync;
pub(crate) mod transfer;
pub(crate) mod uploads;
pub(crate) mod url;
