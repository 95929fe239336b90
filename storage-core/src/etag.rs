//! [`ETag`]: an entity tag, as in RFC 9110, section 8.8.3.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind, Result};

/// The validator of one version of an object.
///
/// A strong tag differs whenever the bytes differ. A weak one (`W/"..."`) only tells what its
/// driver could see, a size and a time say; no splice of two ranges may rely on it, and `if_match`
/// never matches it.
///
/// ```
/// use storage_core::ETag;
///
/// let tag: ETag = "\"abc\"".parse()?;
/// assert_eq!(tag, ETag::strong("abc")?);
/// assert_eq!("abc".parse::<ETag>()?, tag);          // quotes may be left out, as users do
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
    /// A strong tag from its text without quotes.
    ///
    /// # Errors
    /// `InvalidInput` if the text holds a quote, a space or a control character.
    pub fn strong(opaque: impl AsRef<str>) -> Result<Self> {
        Self::checked(opaque.as_ref(), false)
    }

    /// A weak tag from its text without quotes.
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
                format!("{opaque:?} is not an entity tag (RFC 9110, section 8.8.3)"),
            ))
        }
    }

    /// The text between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &str {
        &self.opaque
    }

    /// Whether the tag is weak.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The strong comparison of RFC 9110, section 8.8.3.2: equal, and neither weak.
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The weak comparison: equal text, weak or not.
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

    /// Reads the header form, and the bare text that people type.
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
