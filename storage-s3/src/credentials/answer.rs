//! The credentials in the answers of containers, instances and STS, and what the server's clock
//! says of ours.

use std::time::{Duration, SystemTime};

use object_store::aws::AwsCredential;
use serde::Deserialize;
use storage_core::{format_time, parse_time};

use super::ask::{Answer, Asker, shown};
use super::failure::Failure;
use super::keys;
use super::provider::Fetched;

/// By how much the clocks of two machines may differ before it is told. S3 refuses requests from 15
/// minutes on.
const NOTABLE: Duration = Duration::from_secs(5 * 60);

/// The document that containers and instances answer: credentials, or what went wrong.
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

/// Credentials in the words of a server.
pub(super) struct Raw<'a> {
    pub(super) key_id: &'a str,
    pub(super) secret: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) expiration: Option<&'a str>,
}

/// Reads the document of a container or an instance. `secret` is what the question was authorised
/// with.
pub(super) fn read(asker: &Asker, answer: &Answer, secret: &str) -> Result<Fetched, Failure> {
    // A parser's own message may quote what it read.
    let document = serde_json::from_slice::<Document>(&answer.body);
    if !answer.status.is_success() {
        let Document { code, message, .. } = document.unwrap_or_default();
        return Err(asker.refused(answer, shown(&format!("{code} {message}"), secret).trim()));
    }
    let document = document.map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::new(format!(
            "{} answers something that is no credentials document ({place})",
            asker.place()
        ))
    })?;
    if document.access_key_id.is_empty() && !document.code.is_empty() {
        let said = shown(&format!("{} {}", document.code, document.message), secret);
        return Err(Failure::new(format!("{} answers {}", asker.place(), said.trim())));
    }
    let raw = Raw {
        key_id: &document.access_key_id,
        secret: &document.secret_access_key,
        token: document.token.as_deref(),
        expiration: document.expiration.as_deref(),
    };
    raw.fetched(asker, answer.server_time)
}

impl Raw<'_> {
    /// Checks them, and translates their end to the clock of this machine.
    pub(super) fn fetched(
        &self,
        asker: &Asker,
        server_time: Option<SystemTime>,
    ) -> Result<Fetched, Failure> {
        let wrong = |what: &str| {
            Failure::new(format!("{} answers credentials that are none: {what}", asker.place()))
        };
        let credential: AwsCredential =
            keys::credential(self.key_id, self.secret, self.token).map_err(|what| wrong(&what))?;
        let expiration = match self.expiration {
            None => return Ok(Fetched { credential, expires: None }),
            Some(text) => parse_time(text).map_err(|_| wrong("their expiration is no time"))?,
        };
        let now = SystemTime::now();
        let expires = match server_time.map(|server| Difference::between(now, server)) {
            Some(difference) => {
                difference.tell(asker.place());
                difference.to_local(expiration)
            }
            None => Some(expiration),
        };
        Ok(Fetched { credential, expires })
    }
}

/// How far the clock of this machine is from that of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Ahead(Duration),
    Behind(Duration),
}

impl Difference {
    pub(super) fn between(local: SystemTime, server: SystemTime) -> Self {
        match local.duration_since(server) {
            Ok(ahead) => Self::Ahead(ahead),
            Err(behind) => Self::Behind(behind.duration()),
        }
    }

    /// A time of the server by the local clock. A difference that the way of the answer explains is
    /// left alone. `None` lies outside what the clock can show.
    pub(super) fn to_local(self, time: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Ahead(by) if by > NOTABLE => time.checked_add(by),
            Self::Behind(by) if by > NOTABLE => time.checked_sub(by),
            _ => Some(time),
        }
    }

    fn tell(self, place: &str) {
        let (by, direction) = match self {
            Self::Ahead(by) => (by, "ahead of"),
            Self::Behind(by) => (by, "behind"),
        };
        if by > NOTABLE {
            tracing::warn!(
                seconds = by.as_secs(),
                now = format_time(SystemTime::now()),
                "the clock of this machine is {direction} that of {place}: S3 refuses what is signed with it"
            );
        }
    }
}
