//! What the user sees.

use std::fmt::Display;
use std::io::Write;

/// A line, by who has something to tell. That nobody reads it any more is no reason to stop.
pub(crate) fn say(who: &str, what: impl Display) {
    let _ = writeln!(std::io::stdout(), "{who:<8}{what}");
}
