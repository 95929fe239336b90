//! The `anystorage` command: list, copy and link to files in any storage.

use std::process::ExitCode;

fn main() -> ExitCode {
    anystorage_cli::run(anystorage::registry())
}
