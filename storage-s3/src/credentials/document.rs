//! The credentials in the responses of containers, instances and STS, and the skew between the
//! server's clock and that of this machine.

use std::time::{Duration, SystemTime};

use object_store::aws::AwsCredential;
use serde::Deserialize;
use storage_core::format_time;

use super::error::CredentialError;
use super::http_source::{HttpSource, Response, excerpt};
use super::keys;
use super::provider::Fetched;
use crate::time::parse_time;

/// The largest clock skew that is ignored (5 minutes). S3 refuses requests if the skew exceeds 15
/// minutes.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The document of containers and instances: credentials, or an error.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
    #[serde(alias = "code")]
    code: String,
    #[serde(alias = "message")]
    message: String,
}

/// Credentials as a response contains them.
pub(super) struct RawCredentials<'a> {
    pub(super) key_id: &'a str,
    pub(super) secret: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) expiration: Option<&'a str>,
}

/// Parses the document of a container or an instance. `secret` authorised the request and is
/// removed from messages.
pub(super) fn parse(
    http: &HttpSource,
    response: &Response,
    secret: &str,
) -> Result<Fetched, CredentialError> {
    // The parser's message may quote the document.
    let document = serde_json::from_slice::<Document>(&response.body);
    if !response.status.is_success() {
        let Document { code, message, .. } = document.unwrap_or_default();
        return Err(http.rejection(response, excerpt(&format!("{code} {message}"), secret).trim()));
    }
    let document = document.map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        CredentialError::new(format!(
            "{} returned a document without credentials ({place})",
            http.place()
        ))
    })?;
    if document.access_key_id.is_empty() && !document.code.is_empty() {
        let text = excerpt(&format!("{} {}", document.code, document.message), secret);
        return Err(CredentialError::new(format!("{} returned {}", http.place(), text.trim())));
    }
    let credentials = RawCredentials {
        key_id: &document.access_key_id,
        secret: &document.secret_access_key,
        token: document.token.as_deref(),
        expiration: document.expiration.as_deref(),
    };
    credentials.checked(http, response.server_time)
}

impl RawCredentials<'_> {
    /// Checks the credentials and converts their expiry to the clock of this machine.
    pub(super) fn checked(
        &self,
        http: &HttpSource,
        server_time: Option<SystemTime>,
    ) -> Result<Fetched, CredentialError> {
        let wrong = |what: &str| {
            CredentialError::new(format!("{} returned invalid credentials: {what}", http.place()))
        };
        let credential: AwsCredential =
            keys::credential(self.key_id, self.secret, self.token).map_err(|what| wrong(&what))?;
        let expiration = match self.expiration {
            None => return Ok(Fetched { credential, expires: None }),
            Some(text) => {
                parse_time(text).ok_or_else(|| wrong("their expiration is not a time"))?
            }
        };
        let now = SystemTime::now();
        let expires = match server_time.map(|server| ClockSkew::between(now, server)) {
            Some(skew) => {
                skew.log(http.place());
                skew.to_local(expiration)
            }
            None => Some(expiration),
        };
        Ok(Fetched { credential, expires })
    }
}

/// How far the clock of this machine is from that of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockSkew {
    Ahead(Duration),
    Behind(Duration),
}

impl ClockSkew {
    pub(super) fn between(local: SystemTime, server: SystemTime) -> Self {
        match local.duration_since(server) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        }
    }

    /// Converts a time of the server to the local clock. A skew within the tolerance is ignored.
    /// Returns `None` if the clock cannot express the time.
    pub(super) fn to_local(self, time: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Ahead(by) if by > TOLERANCE => time.checked_add(by),
            Self::Behind(by) if by > TOLERANCE => time.checked_sub(by),
            _ => Some(time),
        }
    }

    fn log(self, place: &str) {
        let (by, direction) = match self {
            Self::Ahead(by) => (by, "ahead of"),
            Self::Behind(by) => (by, "behind"),
        };
        if by > TOLERANCE {
            tracing::warn!(
                seconds = by.as_secs(),
                now = format_time(SystemTime::now()),
                "the clock of this machine is {direction} that of {place}: S3 refuses requests if they differ by more than 15 minutes"
            );
        }
    }
}
