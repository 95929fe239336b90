//! [`Failure`]: why there are no credentials, in a form that all who waited for the same attempt can have.

use std::fmt;

use storage_core::{Error, ErrorKind};

/// What else can be done, for the end of a message.
const WAY_OUT: &str = "set the options access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY, or a profile; or anonymous = true for a public bucket";

/// Why there are no credentials. No secret is in it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: ErrorKind,
    message: String,
    passing: bool,
}

impl Failure {
    /// Whoever should give credentials does not, and will not without a change.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unauthenticated, message: message.into(), passing: false }
    }

    /// What is set up cannot work.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidConfig, ..Self::new(message) }
    }

    /// The same, but it may work a moment later.
    pub(super) fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// As an error that tells where credentials were looked for.
    pub(super) fn into_error(self, tried: &Tried, source: &str) -> Error {
        let message = match self.kind {
            // Advice where else to put credentials would lead away from the mistake.
            ErrorKind::InvalidConfig => self.message,
            _ => tried.told(source, &self.message),
        };
        Error::new(self.kind, message).with_retryable(self.passing)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The sources that did not apply, in the order in which they were looked at, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried(Vec<(String, String)>);

impl Tried {
    /// Notes that a source does not apply.
    pub(super) fn note(&mut self, source: impl Into<String>, reason: impl Into<String>) {
        self.0.push((source.into(), reason.into()));
    }

    /// The error of a search in which no source applied.
    pub(super) fn nothing_found(&self) -> Error {
        Error::new(
            ErrorKind::Unauthenticated,
            format!("no credentials: looked at {}; {WAY_OUT}", self.list()),
        )
    }

    fn told(&self, source: &str, message: &str) -> String {
        if self.0.is_empty() {
            return format!("no credentials from {source}: {message}");
        }
        format!(
            "no credentials from {source}: {message}; before it, looked at {}; {WAY_OUT}",
            self.list()
        )
    }

    fn list(&self) -> String {
        let all: Vec<_> =
            self.0.iter().map(|(source, reason)| format!("{source} ({reason})")).collect();
        all.join(", ")
    }
}
