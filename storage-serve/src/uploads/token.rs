//! The last segment of an upload's URL: a signed grant that contains the id.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::internal::{is_signature_of_text, sign_text, unix_seconds};
use storage_core::keys;
use storage_core::signed_url::SigningKey;
use storage_core::{Result, internal};

const PURPOSE: &str = "upload";
/// The characters of an expiry in an id: 5 bytes in hexadecimal.
const EXPIRY_CHARS: usize = 10;
/// The end of the year 9999, which is the last one that an HTTP date can contain.
const LAST_EXPIRY: u64 = 253_402_300_799;
/// The random bytes in an id.
const RANDOM_BYTES: usize = 12;

/// What a valid URL of an upload contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The id of the upload: its expiry in Unix time, and random characters. The ids of uploads
    /// sort by their expiry.
    pub(super) id: String,
    /// The last second in which the URL works, in Unix time.
    expires: u64,
}

/// Returns the last second in which the URL of an upload works, in Unix time. `None` if the text is
/// no id.
pub(super) fn expiry_of_id(id: &str) -> Option<u64> {
    let is_id = id.len() == EXPIRY_CHARS + 2 * RANDOM_BYTES
        && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u64::from_str_radix(&id[..EXPIRY_CHARS], 16).ok()).flatten()
}

impl Token {
    /// Creates the token of a new upload.
    pub(super) fn new(lifetime: Duration) -> Result<Self> {
        let random = internal::hex(&keys::random_bytes::<RANDOM_BYTES>()?);
        let expires = unix_seconds(SystemTime::now()).saturating_add(lifetime.as_secs());
        let expires = expires.min(LAST_EXPIRY);
        Ok(Self { id: format!("{expires:0EXPIRY_CHARS$x}{random}"), expires })
    }

    /// Returns the signed text.
    pub(super) fn sign(&self, key: &SigningKey) -> String {
        format!("{}-{}", self.id, sign_text(key, PURPOSE, &self.id))
    }

    /// Reads a signed text, or returns `None` if it is not one of this key.
    pub(super) fn verify(key: &SigningKey, text: &str) -> Option<Self> {
        let (id, signature) = text.split_once('-')?;
        if !is_signature_of_text(key, PURPOSE, id, signature) {
            return None;
        }
        Some(Self { id: id.to_owned(), expires: expiry_of_id(id)? })
    }

    /// Returns how long the URL works.
    pub(super) fn seconds_left(&self) -> u64 {
        self.expires.saturating_sub(unix_seconds(SystemTime::now()))
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expires < unix_seconds(SystemTime::now())
    }

    /// Returns when the URL stops working, if the clock can represent it.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_signed_is_accepted() {
        let key = SigningKey::new("0123456789abcdef").unwrap();
        let token = Token::new(Duration::from_secs(60)).unwrap();
        let text = token.sign(&key);
        assert_eq!(Token::verify(&key, &text), Some(token));
        let other = SigningKey::new("fedcba9876543210").unwrap();
        assert_eq!(Token::verify(&other, &text), None);
        for index in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[index] = if forged[index] == b'0' { b'1' } else { b'0' };
            assert_eq!(Token::verify(&key, std::str::from_utf8(&forged).unwrap()), None);
        }
        for text in ["", "-", "--", &text.to_uppercase(), &text[1..], &format!("{text}0")] {
            assert_eq!(Token::verify(&key, text), None, "{text}");
        }
    }
}
