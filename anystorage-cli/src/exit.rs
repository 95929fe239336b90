//! How a command ends: its exit code, and the line on standard error that reports a failure.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anystorage::internal::escape_invisible;
use anystorage::{Error, ErrorKind, Operation};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The command succeeded. For `exists`: the object exists.
    Success = 0,
    /// The operation failed. For `exists`: the object does not exist.
    Failed = 1,
    /// The command line or the configuration is wrong. For `exists`: any error.
    Usage = 2,
    /// For transfers and publishing: interrupted, or a service is unavailable. Run the command
    /// again.
    RunAgain = 75,
    /// Ctrl-C interrupted the command. The code is the one that a shell reports.
    Interrupted = 130,
    /// SIGTERM ended the command. The code is the one that a shell reports.
    Terminated = 143,
}

impl ExitStatus {
    /// Returns this status, or the other one if this is success.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Success { other } else { self }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit as u8)
    }
}

/// The failure of a command: its exit code and the line to print.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: ExitStatus,
    not_found: bool,
    /// `None` if there is nothing to print, or if it was printed before.
    line: Option<String>,
}

impl Failure {
    /// Returns the failure for a wrong command line.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { exit: ExitStatus::Usage, not_found: false, line: Some(line.into()) }
    }

    /// Returns the failure for an error of a storage, or for one that cannot be built.
    pub(crate) fn at(place: &impl std::fmt::Display, error: &Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidConfig | ErrorKind::InvalidInput => ExitStatus::Usage,
            _ => ExitStatus::Failed,
        };
        let not_found = error.kind() == ErrorKind::NotFound;
        let mut line = describe(&place.to_string(), error);
        if let Some(hint) = hint(error.kind()) {
            let _ = write!(line, "; {hint}");
        }
        Self { exit, not_found, line: Some(line) }
    }

    /// Returns the failure for an error outside of storages: a local file, standard output.
    pub(crate) fn local(what: &str, error: &Error) -> Self {
        Self { exit: ExitStatus::Failed, not_found: false, line: Some(describe(what, error)) }
    }

    /// Returns the failure of a transfer that a signal ended.
    pub(crate) fn interrupted() -> Self {
        Self::usage("interrupted; run again").with_exit(ExitStatus::RunAgain)
    }

    /// Returns the failure of a transfer that did not end in good order after a signal.
    pub(crate) fn cut_off() -> Self {
        Self::usage("interrupted before all work was finished or aborted; run again")
            .with_exit(ExitStatus::RunAgain)
    }

    /// Creates the failure of an error that ended the transfer engine, or what it needs to begin:
    /// "run again" if it is temporary.
    pub(crate) fn of_engine(place: &impl std::fmt::Display, error: &Error) -> Self {
        let failure = Self::at(place, error);
        match error.is_retryable() {
            true => failure.with_exit(ExitStatus::RunAgain),
            false => failure,
        }
    }

    /// Adds what to do.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        if let Some(line) = &mut self.line {
            let _ = write!(line, "; {hint}");
        }
        self
    }

    /// Returns the silent, successful end of a command whose output was closed by its reader.
    pub(crate) fn output_closed() -> Self {
        Self::silent(ExitStatus::Success)
    }

    /// Returns a failure without a line, for errors that were printed before.
    pub(crate) fn silent(exit: ExitStatus) -> Self {
        Self { exit, not_found: false, line: None }
    }

    /// Whether an object or a directory certainly does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.not_found
    }

    /// Whether this is the silent end of a command whose output was closed by its reader.
    pub(crate) fn is_output_closed(&self) -> bool {
        self.exit == ExitStatus::Success
    }

    /// Sets the exit code if it is that of success.
    pub(crate) fn instead_of_success(mut self, exit: ExitStatus) -> Self {
        self.exit = self.exit.or(exit);
        self
    }

    /// Sets the exit code, unless it is that of success.
    pub(crate) fn with_exit(mut self, exit: ExitStatus) -> Self {
        if self.exit != ExitStatus::Success {
            self.exit = exit;
        }
        self
    }

    /// Prints the line and returns the exit code.
    pub(crate) fn report(self) -> ExitStatus {
        if let Some(line) = self.line {
            print_line(&line);
        }
        self.exit
    }
}

/// Writes text as one line to standard error, with invisible characters escaped. Ignores errors,
/// because there is nowhere to report them.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(io::stderr(), "anystorage: {}", escape_invisible(line));
}

/// Returns the place, the message, its causes, and in parentheses kind, operation and driver.
fn describe(place: &str, error: &Error) -> String {
    let colon = if place.ends_with(':') { "" } else { ":" };
    // The message for a file that cannot be read already begins with the place.
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

/// Returns what to do, for kinds whose messages do not contain it.
fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("anystorage ls lists the objects that exist"),
        ErrorKind::AlreadyExists => Some("omit --create-new to replace it"),
        ErrorKind::PreconditionFailed => Some("anystorage stat shows its current ETag"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_message_contains_is_printed_once() {
        let error = Error::config("mirror.toml: cannot be read");
        assert_eq!(describe("mirror.toml", &error), "mirror.toml: cannot be read (InvalidConfig)");
        assert_eq!(describe("other", &error), "other: mirror.toml: cannot be read (InvalidConfig)");
    }
}
