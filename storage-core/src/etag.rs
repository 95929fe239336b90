//! [`ETag`]: an entity tag, as in RFC 9110, section 8.8.3.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind, Result};

/// The validator of one version of an object.
///
/// Two versions with different bytes have different strong tags. They may have the same weak tag
/// (`W/"..."`), which is made of less, such as a size and a time. Two ranges with the same weak tag
/// must not be joined, and `if_match` never matches a weak tag.
///
/// ```
/// use storage_core::ETag;
///
/// let tag: ETag = "\"abc\"".parse()?;
/// assert_eq!(tag, ETag::strong("abc")?);
/// assert_eq!("abc".parse::<ETag>()?, tag);          // quotes may be omitted
/// assert_eq!(ETag::weak("abc")?.to_string(), "W/\"abc\"");
/// assert!(!ETag::weak("abc")?.strong_eq(&tag));
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag {
    opaque: Arc<str>,
    weak: bool,
}

impl ETag {
    /// Creates a strong tag from its text without quotes.
    ///
    /// # Errors
    /// `InvalidInput` if the text contains a quote, a space or a control character.
    pub fn strong(opaque: impl AsRef<str>) -> Result<Self> {
        Self::checked(opaque.as_ref(), false)
    }

    /// Creates a weak tag from its text without quotes.
    ///
    /// # Errors
    /// As [`strong`](Self::strong).
    pub fn weak(opaque: impl AsRef<str>) -> Result<Self> {
        Self::checked(opaque.as_ref(), true)
    }

    fn checked(opaque: &str, weak: bool) -> Result<Self> {
        let legal =
            |c: char| c == '!' || ('#'..='~').contains(&c) || (c > '\u{7f}' && !c.is_control());
        if opaque.chars().all(legal) {
            Ok(Self { opaque: Arc::from(opaque), weak })
        } else {
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{opaque:?} is not an entity tag: it must not contain quotes, spaces or \
                     control characters (RFC 9110, section 8.8.3)"
                ),
            ))
        }
    }

    /// Returns the text between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &str {
        &self.opaque
    }

    /// Returns whether the tag is weak.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Compares strongly (RFC 9110, section 8.8.3.2): the texts are equal, and neither tag is weak.
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Compares weakly (RFC 9110, section 8.8.3.2): the texts are equal.
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({self})")
    }
}

impl FromStr for ETag {
    type Err = Error;

    /// Parses the form of headers, and the text without quotes.
    fn from_str(text: &str) -> Result<Self> {
        let (weak, tag) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag);
        Self::checked(opaque, weak)
    }
}

impl Serialize for ETag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ETag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
