//! How a command ends: its exit code, and the line that says why.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anystorage::{Error, ErrorKind, Operation};

use crate::output::one_line;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done; for `exists`, yes.
    Done = 0,
    /// The operation failed; for `exists`, no.
    Failed = 1,
    /// The command line or the configuration is wrong; for `exists`, any trouble.
    Usage = 2,
    /// Ctrl-C, by the number that a shell would give it.
    Interrupted = 130,
    /// SIGTERM, likewise.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    absent: bool,
    /// `None`: there is nothing to say, or it has been said.
    line: Option<String>,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, absent: false, line: Some(line.into()) }
    }

    /// A storage refused, or could not be built.
    pub(crate) fn at(place: &impl std::fmt::Display, error: &Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidConfig | ErrorKind::InvalidInput => Exit::Usage,
            _ => Exit::Failed,
        };
        let absent = error.kind() == ErrorKind::NotFound;
        let mut line = described(&place.to_string(), error);
        if let Some(hint) = way_out(error.kind()) {
            let _ = write!(line, "; {hint}");
        }
        Self { exit, absent, line: Some(line) }
    }

    /// Something outside any storage failed: a local file, standard input or output.
    pub(crate) fn local(what: &str, error: &Error) -> Self {
        Self { exit: Exit::Failed, absent: false, line: Some(described(what, error)) }
    }

    /// Whoever read our output has gone: nothing is wrong, and nobody is left to tell.
    pub(crate) fn closed() -> Self {
        Self::told(Exit::Done)
    }

    /// All has been said before.
    pub(crate) fn told(exit: Exit) -> Self {
        Self { exit, absent: false, line: None }
    }

    /// Whether something is certainly not there.
    pub(crate) fn means_absent(&self) -> bool {
        self.absent
    }

    /// With another exit code, unless nothing is wrong.
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        if self.exit != Exit::Done {
            self.exit = exit;
        }
        self
    }

    /// Prints the line and answers the exit code.
    pub(crate) fn tell(self) -> Exit {
        if let Some(line) = self.line {
            say(&line);
        }
        self.exit
    }
}

/// Writes one line to standard error, whatever is in it. Nobody is left to tell if that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "anystorage: {}", one_line(line));
}

/// Place, message, causes, and what a program would want to know.
fn described(place: &str, error: &Error) -> String {
    let colon = if place.ends_with(':') { "" } else { ":" };
    // Of a file that cannot be read the message names the place itself.
    let message = error.message();
    let message =
        message.strip_prefix(place).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
    let mut line = format!("{place}{colon} {message}");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(line, ": {cause}");
        source = cause.source();
    }
    let _ = write!(line, " ({}", error.kind());
    if let Some(operation) =
        error.operation().filter(|operation| *operation != Operation::Configure)
    {
        let _ = write!(line, ", {operation}");
    }
    if let Some(driver) = error.driver() {
        let _ = write!(line, " on {driver}");
    }
    line.push(')');
    line
}

/// What to do about it, where the message does not say so.
fn way_out(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("anystorage ls shows what is there"),
        ErrorKind::AlreadyExists => Some("leave --create-new out to replace it"),
        ErrorKind::PreconditionFailed => Some("anystorage stat shows its present ETag"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_message_names_is_shown_once() {
        let error = Error::config("mirror.toml: cannot be read");
        assert_eq!(described("mirror.toml", &error), "mirror.toml: cannot be read (InvalidConfig)");
        assert_eq!(
            described("other", &error),
            "other: mirror.toml: cannot be read (InvalidConfig)"
        );
    }
}
