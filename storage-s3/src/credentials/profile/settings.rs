//! What a profile says: where its credentials come from, its region, its endpoint.

use std::path::PathBuf;
use std::time::SystemTime;

use object_store::aws::AwsCredential;
use storage_core::{Error, Result, parse_time};

use super::Profile;
use crate::credentials::environment::Environment;
use crate::credentials::keys;

/// The properties in which tools that log in note when the keys expire. AWS itself has none.
const EXPIRY: [&str; 3] = ["aws_expiration", "x_security_token_expires", "expiration"];

/// The properties that say how to get credentials and that need the SDK, in its order.
const OF_THE_SDK: [&str; 8] = [
    "role_arn",
    "credential_source",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "sso_role_name",
    "login_session",
    "credential_process",
];

/// Where a profile's credentials come from.
pub(in crate::credentials) enum Holds {
    /// Keys, in the file itself.
    Keys(StaticKeys),
    /// A role, for a token in a file.
    WebIdentity { token_file: PathBuf, role_arn: String, session_name: Option<String> },
    /// Something that the AWS SDK knows how to do: the property that says so.
    Sdk(&'static str),
    /// No credentials.
    Nothing,
}

/// Keys in a profile.
pub(in crate::credentials) struct StaticKeys {
    pub(in crate::credentials) credential: AwsCredential,
    /// When they end, if the tool that wrote them said so.
    pub(in crate::credentials) expires: Option<SystemTime>,
    pub(in crate::credentials) file: String,
}

/// What a profile sets beside credentials.
#[derive(Default)]
pub(in crate::credentials) struct Settings {
    pub(in crate::credentials) region: Option<String>,
    pub(in crate::credentials) s3_endpoint: Option<String>,
    pub(in crate::credentials) sts_endpoint: Option<String>,
}

impl Settings {
    /// The settings of a profile.
    pub(in crate::credentials) fn of(profile: Profile<'_>, env: &Environment) -> Result<Self> {
        let ignored = env.ignores_endpoints()?
            || profile
                .get("ignore_configured_endpoint_urls")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = |service| {
            let services = profile.get("services");
            let own =
                services.and_then(|services| profile.of_service(services, service, "endpoint_url"));
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
    /// Where the credentials come from, in the order of the AWS SDKs: what stands for a login goes
    /// before keys.
    ///
    /// # Errors
    /// `InvalidConfig` for half of what comes in pairs, and for keys that cannot be keys.
    pub(in crate::credentials) fn holds(&self) -> Result<Holds> {
        if let Some(token_file) = self.get("web_identity_token_file") {
            let role_arn = self
                .get("role_arn")
                .ok_or_else(|| self.half("web_identity_token_file", "role_arn"))?;
            return Ok(Holds::WebIdentity {
                token_file: PathBuf::from(token_file),
                role_arn: role_arn.to_owned(),
                session_name: self.get("role_session_name").map(str::to_owned),
            });
        }
        match OF_THE_SDK.into_iter().find(|property| self.get(property).is_some()) {
            Some(property) => Ok(Holds::Sdk(property)),
            None => self.keys(),
        }
    }

    fn keys(&self) -> Result<Holds> {
        const KEY_ID: &str = "aws_access_key_id";
        const SECRET: &str = "aws_secret_access_key";
        let (key_id, secret) = match (self.get(KEY_ID), self.get(SECRET)) {
            (Some(key_id), Some(secret)) => (key_id, secret),
            (Some(_), None) => return Err(self.half(KEY_ID, SECRET)),
            (None, Some(_)) => return Err(self.half(SECRET, KEY_ID)),
            (None, None) => return Ok(Holds::Nothing),
        };
        let file = self.file_of(SECRET);
        let credential =
            keys::credential(key_id, secret, self.get("aws_session_token")).map_err(|message| {
                Error::config(format!("profile {:?} in {file}: {message}", self.name))
            })?;
        let expires = EXPIRY.into_iter().find_map(|property| expiry(self.get(property)?));
        Ok(Holds::Keys(StaticKeys { credential, expires, file }))
    }

    fn half(&self, there: &str, missing: &str) -> Error {
        let file = self.file_of(there);
        keys::half(&format!("profile {:?} in {file}: {there}", self.name), missing)
    }
}

/// What tools write: `2026-12-01T00:00:00Z`, `2026-12-01T01:00:00+01:00`, and `2026-12-01
/// 00:00:00`, which is UTC. What is neither is somebody's own, and no reason to refuse the keys
/// beside it.
fn expiry(text: &str) -> Option<SystemTime> {
    parse_time(text).or_else(|_| parse_time(&format!("{text}Z"))).ok()
}
