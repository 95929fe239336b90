//! [`CredentialError`]: the reason why there are no credentials. It can be cloned, so that every
//! caller that waited for the same request receives it.

use std::fmt;

use storage_core::{Error, ErrorKind};

/// The advice at the end of a message.
const ADVICE: &str = "set the options access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY, or a profile; or anonymous = true for a public bucket";

/// The reason why there are no credentials. Contains no secret.
#[derive(Debug, Clone)]
pub(super) struct CredentialError {
    kind: ErrorKind,
    message: String,
    retryable: bool,
}

impl CredentialError {
    /// Creates a permanent error of a source.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unauthenticated, message: message.into(), retryable: false }
    }

    /// Creates an error of the configuration.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidConfig, ..Self::new(message) }
    }

    /// Marks the error as temporary.
    pub(super) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Converts the error to one of the contract, which lists the sources that were tried.
    pub(super) fn into_error(self, search_log: &SearchLog, source: &str) -> Error {
        let message = match self.kind {
            // The message names the mistake, so advice on other sources would distract.
            ErrorKind::InvalidConfig => self.message,
            _ => search_log.message(source, &self.message),
        };
        Error::new(self.kind, message).with_retryable(self.retryable)
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The sources that did not apply, in order, with the reasons.
#[derive(Debug, Clone, Default)]
pub(super) struct SearchLog(Vec<(String, String)>);

impl SearchLog {
    /// Records that a source does not apply.
    pub(super) fn note(&mut self, source: impl Into<String>, reason: impl Into<String>) {
        self.0.push((source.into(), reason.into()));
    }

    /// Returns the error of a search in which no source applied.
    pub(super) fn no_source_error(&self) -> Error {
        Error::new(
            ErrorKind::Unauthenticated,
            format!("no credentials were found: searched {}; {ADVICE}", self.list()),
        )
    }

    fn message(&self, source: &str, message: &str) -> String {
        if self.0.is_empty() {
            return format!("no credentials from {source}: {message}");
        }
        format!(
            "no credentials from {source}: {message}; searched before: {}; {ADVICE}",
            self.list()
        )
    }

    fn list(&self) -> String {
        let all: Vec<_> =
            self.0.iter().map(|(source, reason)| format!("{source} ({reason})")).collect();
        all.join(", ")
    }
}
