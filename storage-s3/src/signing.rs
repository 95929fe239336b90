//! [`SigningWindow`]: the time during which a signed link or form is valid.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use storage_core::{Error, ErrorKind, Result, UrlOptions};

/// The longest lifetime of a signature of version 4 ("Authenticating Requests: Using Query
/// Parameters").
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The time during which a signature is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SigningWindow {
    pub(crate) from: Timestamp,
    pub(crate) lifetime: Duration,
    pub(crate) until: SystemTime,
}

impl SigningWindow {
    /// Returns the window that begins now, for the lifetime of the options.
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
        // A signature counts whole seconds.
        let lifetime = Duration::from_secs(lifetime.as_secs());
        let from = Timestamp::try_from(from)
            .map_err(|cause| Error::unexpected("this machine's clock is off", cause))?;
        let from = Timestamp::from_second(from.as_second()).unwrap_or(from);
        Ok(Self { from, lifetime, until: SystemTime::from(from) + lifetime })
    }
}
