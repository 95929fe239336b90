//! [`Sources`]: the options about credentials.

use storage_core::config::Secret;

/// The options about credentials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) access_key_id: Option<Secret>,
    pub(crate) secret_access_key: Option<Secret>,
    pub(crate) session_token: Option<Secret>,
    /// The name of a profile. Environment variables with keys are then ignored.
    pub(crate) profile: Option<String>,
    /// Whether requests are sent without a signature.
    pub(crate) anonymous: bool,
    /// The option `region`, for requests to STS.
    pub(crate) region: Option<String>,
}
