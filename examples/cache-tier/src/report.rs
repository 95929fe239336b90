//! The output of the program.

use std::fmt::Display;
use std::io::Write;

/// Prints a row. Ignores a closed standard output.
pub(crate) fn print_row(who: &str, what: impl Display) {
    let _ = writeln!(std::io::stdout(), "{who:<8}{what}");
}
