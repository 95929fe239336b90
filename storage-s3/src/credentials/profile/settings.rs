//! The content of a profile: its credentials or how to get them, its region, and its endpoints.

use std::path::PathBuf;
use std::time::SystemTime;

use object_store::aws::AwsCredential;
use storage_core::{Error, Result};

use super::Profile;
use crate::credentials::environment::Environment;
use crate::credentials::keys;
use crate::time::parse_time;

/// The properties in which login tools store the expiry of keys. AWS defines none.
const EXPIRY_PROPERTIES: [&str; 3] = ["aws_expiration", "x_security_token_expires", "expiration"];

/// The properties that require the SDK, in its order.
const SDK_PROPERTIES: [&str; 8] = [
    "role_arn",
    "credential_source",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "sso_role_name",
    "login_session",
    "credential_process",
];

/// The credentials of a profile, or how to get them.
pub(in crate::credentials) enum ProfileContent {
    /// Keys in the file.
    Keys(StaticKeys),
    /// A role, with a token in a file.
    WebIdentity { token_file: PathBuf, role_arn: String, session_name: Option<String> },
    /// A property that requires the AWS SDK.
    Sdk(&'static str),
    /// No credentials.
    None,
}

/// Keys in a profile.
pub(in crate::credentials) struct StaticKeys {
    pub(in crate::credentials) credential: AwsCredential,
    /// When they expire, if the file contains it.
    pub(in crate::credentials) expires: Option<SystemTime>,
    pub(in crate::credentials) file: String,
}

/// The settings of a profile besides credentials.
#[derive(Default)]
pub(in crate::credentials) struct Settings {
    pub(in crate::credentials) region: Option<String>,
    pub(in crate::credentials) s3_endpoint: Option<String>,
    pub(in crate::credentials) sts_endpoint: Option<String>,
}

impl Settings {
    /// Reads the settings of a profile.
    pub(in crate::credentials) fn of(profile: Profile<'_>, env: &Environment) -> Result<Self> {
        let ignored = env.ignores_endpoints()?
            || profile
                .get("ignore_configured_endpoint_urls")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = |service| {
            let services = profile.get("services");
            let own = services
                .and_then(|services| profile.service_setting(services, service, "endpoint_url"));
            own.or_else(|| profile.get("endpoint_url")).filter(|_| !ignored).map(str::to_owned)
        };
        Ok(Self {
            region: profile.get("region").map(str::to_owned),
            s3_endpoint: endpoint("s3"),
            sts_endpoint: endpoint("sts"),
        })
    }
}

impl Profile<'_> {
    /// Returns the credentials in the order of the AWS SDKs, in which the properties of a login
    /// precede keys.
    ///
    /// # Errors
    /// `InvalidConfig` for half of a pair, and for invalid keys.
    pub(in crate::credentials) fn content(&self) -> Result<ProfileContent> {
        if let Some(token_file) = self.get("web_identity_token_file") {
            let role_arn = self
                .get("role_arn")
                .ok_or_else(|| self.missing_half("web_identity_token_file", "role_arn"))?;
            return Ok(ProfileContent::WebIdentity {
                token_file: PathBuf::from(token_file),
                role_arn: role_arn.to_owned(),
                session_name: self.get("role_session_name").map(str::to_owned),
            });
        }
        match SDK_PROPERTIES.into_iter().find(|property| self.get(property).is_some()) {
            Some(property) => Ok(ProfileContent::Sdk(property)),
            None => self.keys(),
        }
    }

    fn keys(&self) -> Result<ProfileContent> {
        const KEY_ID: &str = "aws_access_key_id";
        const SECRET: &str = "aws_secret_access_key";
        let (key_id, secret) = match (self.get(KEY_ID), self.get(SECRET)) {
            (Some(key_id), Some(secret)) => (key_id, secret),
            (Some(_), None) => return Err(self.missing_half(KEY_ID, SECRET)),
            (None, Some(_)) => return Err(self.missing_half(SECRET, KEY_ID)),
            (None, None) => return Ok(ProfileContent::None),
        };
        let file = self.file_of(SECRET);
        let credential =
            keys::credential(key_id, secret, self.get("aws_session_token")).map_err(|message| {
                Error::config(format!("profile {:?} in {file}: {message}", self.name))
            })?;
        let expires =
            EXPIRY_PROPERTIES.into_iter().find_map(|property| expiry(self.get(property)?));
        Ok(ProfileContent::Keys(StaticKeys { credential, expires, file }))
    }

    fn missing_half(&self, there: &str, missing: &str) -> Error {
        let file = self.file_of(there);
        keys::missing_half(&format!("profile {:?} in {file}: {there}", self.name), missing)
    }
}

/// Parses the forms that tools write: `2026-12-01T00:00:00Z`, `2026-12-01T01:00:00+01:00`, and
/// `2026-12-01 00:00:00`, which is UTC. Any other text is ignored, so that the keys remain usable.
fn expiry(text: &str) -> Option<SystemTime> {
    parse_time(text).or_else(|| parse_time(&format!("{text}Z")))
}
