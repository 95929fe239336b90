//! The signed texts in ids and URLs of these routes: what a client was granted.

use std::time::{Duration, SystemTime};

use storage_core::internal::{is_signature_of_text, sign_text, unix_seconds};
use storage_core::signed_url::SigningKey;

use crate::uploads::token::expiry_of_id;

/// The purposes of these signatures. Each differs from that of the URLs of tus.
const UPLOAD: &str = "directupload";
const FILE: &str = "uploadfile";
const PART: &str = "uploadpart";

/// What a ticket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An upload in parts.
    Parts,
    /// A file in one request.
    File,
}

impl Kind {
    fn purpose(self) -> &'static str {
        match self {
            Self::Parts => UPLOAD,
            Self::File => FILE,
        }
    }
}

/// An upload as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The id of the upload.
    pub(super) id: String,
    /// The last second in which the ticket works, in Unix time.
    pub(super) expires: u64,
}

impl Ticket {
    /// Returns the signed text for an upload.
    pub(super) fn sign(kind: Kind, key: &SigningKey, id: &str) -> String {
        sign(key, kind.purpose(), id)
    }

    /// Reads a signed text, or returns `None` if it is not one of this kind and key.
    pub(super) fn verify(kind: Kind, key: &SigningKey, text: &str) -> Option<Self> {
        let id = verified(key, kind.purpose(), text)?;
        Some(Self { id: id.to_owned(), expires: expiry_of_id(id)? })
    }

    pub(super) fn is_expired(&self) -> bool {
        is_past(self.expires)
    }
}

/// The right to store one part at this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartTicket {
    /// The id of the upload.
    pub(super) id: String,
    pub(super) number: u32,
    /// The largest size in bytes.
    pub(super) max_size: u64,
    /// The last second in which it works, in Unix time.
    pub(super) expires: u64,
}

impl PartTicket {
    pub(super) fn sign(&self, key: &SigningKey) -> String {
        let Self { id, number, max_size, expires } = self;
        sign(key, PART, &format!("{id}-{number}-{max_size}-{expires}"))
    }

    pub(super) fn verify(key: &SigningKey, text: &str) -> Option<Self> {
        let mut claims = verified(key, PART, text)?.split('-');
        let ticket = Self {
            id: claims.next()?.to_owned(),
            number: claims.next()?.parse().ok()?,
            max_size: claims.next()?.parse().ok()?,
            expires: claims.next()?.parse().ok()?,
        };
        claims.next().is_none().then_some(ticket)
    }

    pub(super) fn is_expired(&self) -> bool {
        is_past(self.expires)
    }
}

/// Returns the last second of a lifetime that begins now, in Unix time.
pub(super) fn expiry(lifetime: Duration) -> u64 {
    unix_seconds(SystemTime::now()).saturating_add(lifetime.as_secs())
}

fn is_past(expires: u64) -> bool {
    expires < unix_seconds(SystemTime::now())
}

fn sign(key: &SigningKey, purpose: &str, claims: &str) -> String {
    format!("{claims}-{}", sign_text(key, purpose, claims))
}

fn verified<'a>(key: &SigningKey, purpose: &str, text: &'a str) -> Option<&'a str> {
    let (claims, signature) = text.rsplit_once('-')?;
    is_signature_of_text(key, purpose, claims, signature).then_some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::token::Token;

    #[test]
    fn a_ticket_is_valid_for_its_kind_and_key_only() {
        let key = SigningKey::new("0123456789abcdef").unwrap();
        let other = SigningKey::new("fedcba9876543210").unwrap();
        let id = Token::new(Duration::from_secs(60)).unwrap().id;
        let text = Ticket::sign(Kind::Parts, &key, &id);
        let ticket = Ticket::verify(Kind::Parts, &key, &text).unwrap();
        assert!(ticket.id == id && !ticket.is_expired());
        assert_eq!(Ticket::verify(Kind::File, &key, &text), None);
        assert_eq!(Ticket::verify(Kind::Parts, &other, &text), None);
        assert_eq!(PartTicket::verify(&key, &text), None);
        assert_eq!(Token::verify(&key, &text), None);

        let part = PartTicket { id: "ab".to_owned(), number: 3, max_size: 7, expires: 5 };
        let text = part.sign(&key);
        assert_eq!(PartTicket::verify(&key, &text), Some(part));
        assert_eq!(Ticket::verify(Kind::Parts, &key, &text), None);
        for forged in [text.replacen("-3-", "-4-", 1), text.replacen("-7-", "-8-", 1)] {
            assert_eq!(PartTicket::verify(&key, &forged), None, "{forged}");
        }
    }
}
