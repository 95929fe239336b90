//! The command `anystorage` with one more driver, `generated`: a storage of up to a thousand
//! million objects that nothing stores. For tests of jobs with very many keys.
//!
//! ```console
//! $ export STORAGE_OBJECTS_URL="generated:?count=1000000&size=4KiB"
//! $ anystorage-generated ls objects:000/001/ | head -1
//! 000/001/000001000.bin
//! $ anystorage-generated drivers generated
//! ```

mod bodies;
mod driver;
mod listing;
mod objects;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut registry = anystorage::registry();
    driver::register(&mut registry);
    anystorage_cli::run(registry)
}
