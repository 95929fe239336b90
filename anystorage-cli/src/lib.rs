//! The `anystorage` command as a library, for programs that add drivers of their own to it.
//!
//! [`run`] is the whole command. The binary `anystorage` calls it with the drivers of the crate
//! `anystorage`. Another binary registers more drivers, and is otherwise the same command:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use anystorage::Memory;
//! use anystorage::config::NoOptions;
//!
//! fn main() -> ExitCode {
//!     let mut registry = anystorage::registry();
//!     registry.register("mine", |_: NoOptions, _context| Ok(Arc::new(Memory::new())));
//!     anystorage_cli::run(registry)
//! }
//! ```
//!
//! The arguments, the output and the exit codes are those of the [manual of the command][manual].
//! The modules are private, because programs that use storages depend on the crate `anystorage`.
//!
//! [manual]: https://github.com/anystorage/anystorage/blob/main/docs/command.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cli;
mod commands;
mod compare;
mod copy;
mod estimate;
mod exit;
mod headers;
mod links;
mod location;
mod metadata;
mod mirror_client;
mod move_check;
mod moves;
mod output;
mod pattern;
mod place;
mod progress;
mod publishing;
mod purging;
mod resolver;
mod server;
mod signals;
mod sizes;
mod source;
mod syncing;
mod transfer;
mod under_way;
mod usage;
mod verbosity;

use std::process::ExitCode;

use anystorage::Registry;
use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::exit::{ExitStatus, Failure};

/// Runs the command that the arguments of this process name, with the drivers of the registry.
///
/// Reads the arguments, the environment, the standard streams and the signals of the process. So
/// call it once, from `main`, outside of an asynchronous runtime. Reports every error itself, as
/// one line on standard error. After a signal it may end the process instead of returning: at a
/// second signal, or if the clean-up takes too long.
///
/// Returns the exit code: 0 success, 1 failure, 2 wrong usage or configuration, 75 run again (only
/// transfers and publishing), 130 or 143 after Ctrl-C or SIGTERM. After a signal, servers return 0,
/// and unfinished transfers and publishing 75.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     anystorage_cli::run(anystorage::registry())
/// }
/// ```
#[must_use = "the exit code belongs to the process: return it from main"]
pub fn run(registry: Registry) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A command without arguments prints its help to standard error.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = help.print();
            return ExitStatus::Usage.into();
        }
        Err(error) if error.use_stderr() => {
            return usage::failure(&error, std::env::args_os()).report().into();
        }
        Err(help) => {
            // If standard output is closed, there is nothing to report and nowhere to report it.
            let _ = help.print();
            return ExitStatus::Success.into();
        }
    };
    cli.run(registry).unwrap_or_else(Failure::report).into()
}

// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
