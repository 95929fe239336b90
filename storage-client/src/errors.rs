//! Errors of connections and of responses. No message contains a URL, because a URL may contain a
//! signature.

use std::error::Error as StdError;
use std::time::Duration;

use storage_core::{Error, ErrorKind};

/// Returns the message of the innermost source of an error. It names the cause, while the outer
/// messages only state that a request failed.
///
/// ```
/// let error = storage_core::Error::unexpected("saving failed", "connection refused");
/// assert_eq!(storage_client::root_cause(&error), "connection refused");
/// ```
#[must_use]
pub fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Converts an error of sending a request to `place`, a name of the server for people. `address`
/// and `limit_name` name the settings of the address and of the time limit for connections, such as
/// `option base_url`. `limit_name` may be empty.
///
/// The result is retryable. It is `Timeout` if a time limit of the client was exceeded, and
/// `Unexpected` otherwise. Its source is the [`root_cause`] without the URL.
#[must_use]
pub fn send_error(cause: reqwest::Error, place: &str, address: &str, limit_name: &str) -> Error {
    let (kind, message) = match (cause.is_connect(), cause.is_timeout()) {
        (true, true) => (
            ErrorKind::Timeout,
            format!("no connection to {place} in time{}", in_brackets(limit_name)),
        ),
        (true, false) => (
            ErrorKind::Unexpected,
            format!("no connection to {place}: check {address}, network and TLS"),
        ),
        (false, true) => (ErrorKind::Timeout, format!("{place} did not respond in time")),
        (false, false) => (
            ErrorKind::Unexpected,
            format!("the connection to {place} broke off before a response arrived"),
        ),
    };
    Error::new(kind, message).with_retryable(true).with_source(root_cause(&cause.without_url()))
}

/// Returns the error for a response whose headers did not arrive within a limit: `Timeout`.
/// `limit_name` names the setting of the limit, such as `option header_timeout`, and may be empty.
#[must_use]
pub fn timeout_error(place: &str, limit: Duration, limit_name: &str) -> Error {
    let message = format!("{place} did not respond within {limit:?}{}", in_brackets(limit_name));
    Error::new(ErrorKind::Timeout, message)
}

/// Converts the error of a request for the rest of a version.
///
/// `PreconditionFailed` and `RangeNotSatisfiable` become `PreconditionFailed` with the message that
/// the object was replaced while it was read; `NotFound` gets the message that it was deleted.
/// Returns any other error unchanged.
#[must_use]
pub fn changed_while_read(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable => replaced_while_read(),
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "the object was deleted while it was read")
        }
        _ => error,
    }
}

pub(crate) fn replaced_while_read() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "the object was replaced while it was read: open it again",
    )
}

pub(crate) fn broken_off(cause: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the response broke off")
        .with_retryable(true)
        .with_source(root_cause(&cause.without_url()))
}

pub(crate) fn stalled(limit: Duration, limit_name: &str) -> Error {
    let message = format!("the response stalled for {limit:?}{}", in_brackets(limit_name));
    Error::new(ErrorKind::Timeout, message)
}

pub(crate) fn ended_early(missing: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the response ended {missing} bytes early"))
        .with_retryable(true)
}

pub(crate) fn too_long() -> Error {
    Error::new(ErrorKind::Integrity, "the response has more bytes than its headers state")
}

pub(crate) fn other_bytes() -> Error {
    Error::new(ErrorKind::Unexpected, "the server sent other bytes than the request asked for")
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
