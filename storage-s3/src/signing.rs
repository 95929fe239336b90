//! [`SigningWindow`]: the time during which a signed link or form is valid.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use storage_core::{Error, ErrorKind, Result, UrlOptions};

/// The longest lifetime of a signature of version 4 ("Authenticating Requests: Using Query
/// Parameters").
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const WRONG_CLOCK: &str =
    "a link cannot be signed, because the clock of this machine is wrong: set it (NTP)";

/// The time during which a signature is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SigningWindow {
    /// When the window begins, in whole seconds.
    pub(crate) from: DateTime<Utc>,
    pub(crate) lifetime: Duration,
    pub(crate) until: SystemTime,
}

impl SigningWindow {
    /// Returns the window that begins now, for the lifetime of the options.
    ///
    /// The format of the signature counts whole seconds. The beginning and the lifetime are rounded
    /// down, so the window may end up to one second early, and one more if the lifetime has a
    /// fraction of a second.
    ///
    /// # Errors
    /// `InvalidInput` if the lifetime exceeds 7 days.
    pub(crate) fn new(options: &UrlOptions) -> Result<Self> {
        let (from, lifetime) = options.signing_window(SystemTime::now())?;
        if lifetime > MAX_LIFETIME {
            let what = if options.stable_for.is_some() {
                "expires_in and stable_for together"
            } else {
                "expires_in"
            };
            let message = format!(
                "{what}: a link of S3 is valid for at most 7 days; use public_url for public objects"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let lifetime = Duration::from_secs(lifetime.as_secs());
        let from = from
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|cause| Error::unexpected(WRONG_CLOCK, cause))?;
        let from = i64::try_from(from.as_secs())
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, WRONG_CLOCK))?;
        Ok(Self { from, lifetime, until: SystemTime::from(from) + lifetime })
    }
}
