//! [`Sessions`]: one password for all users, and a signed cookie that names the user. There is no
//! table of sessions, so that a restart signs no user out.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;

/// How long a session lasts: a day, in seconds.
const LIFETIME: u64 = 24 * 60 * 60;

#[derive(Clone)]
pub(crate) struct Sessions {
    secret: Arc<str>,
    password: [u8; 32],
}

impl Sessions {
    pub(crate) fn new(password: &str, secret: &str) -> Self {
        // The secret also signs links, so each use has a name of its own.
        let secret = format!("session {secret}");
        Self { password: HMAC::mac(password, &secret), secret: secret.into() }
    }

    /// Returns the value of `Set-Cookie` for a user, or `None` if the name or the password is
    /// wrong.
    pub(crate) fn sign_in(&self, user: &str, password: &str) -> Option<String> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(1..=32).contains(&user.len())
            || !user.chars().all(is_name)
            || !HMAC::verify(password, &*self.secret, &self.password)
        {
            return None;
        }
        let session = format!("{user}.{}", seconds() + LIFETIME);
        let tag = URL_SAFE_NO_PAD.encode(HMAC::mac(&session, &*self.secret));
        // With `Lax`, a form of another site is sent without the cookie.
        let attributes = format!("Path=/; HttpOnly; SameSite=Lax; Max-Age={LIFETIME}");
        Some(format!("session={session}.{tag}; {attributes}"))
    }

    /// Returns the user that a request comes from.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = cookies.flat_map(|cookies| cookies.split(';'));
        let cookie = cookies.find_map(|cookie| cookie.trim().strip_prefix("session="))?;
        let (session, tag) = cookie.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?.try_into().ok()?;
        let (user, expiry) = session.split_once('.')?;
        let is_valid = HMAC::verify(session, &*self.secret, &tag);
        (is_valid && expiry.parse::<u64>().ok()? > seconds()).then(|| user.to_owned())
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
