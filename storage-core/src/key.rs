//! [`Key`] and [`Prefix`]: the names of objects, checked once, here.
//!
//! Drivers receive only these types, so no driver has to handle a `..`, an empty segment or a
//! control character. The rules come from what every backend can hold without rewriting (S3
//! object keys are at most 1024 bytes of UTF-8; a file system has no empty, `.` or `..` names).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a key or a prefix, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The name of an object: 1 to 1024 bytes of UTF-8, in segments separated by `/`.
///
/// No segment is empty, `.` or `..`, so there is no leading, trailing or doubled `/`. Control
/// characters (Unicode category Cc) are not allowed. Every other character is allowed and has no
/// special meaning: keys are compared byte by byte and are never normalised, trimmed or rewritten.
///
/// Cloning is cheap (a reference count). The order is byte order, the order of every listing.
///
/// ```
/// use storage_core::{ErrorKind, Key};
///
/// let key = Key::new("avatars/ada.png")?;
/// assert_eq!(key.name(), "ada.png");
/// assert_eq!(key.segments().collect::<Vec<_>>(), ["avatars", "ada.png"]);
/// assert_eq!(Key::new("a/../b").unwrap_err().kind(), ErrorKind::InvalidKey);
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Converts a text to a key.
    ///
    /// # Errors
    /// `InvalidKey`; the message names the broken rule, and [`Error::key`] returns the text.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self> {
        // The text is converted first, so that the checked text is the one that is kept.
        let text = text.into();
        match broken_key_rule(&text) {
            None => Ok(Self(text)),
            Some(rule) => Err(invalid(&text, rule)),
        }
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the parts between the slashes, at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the last segment: `"ada.png"` of `"avatars/ada.png"`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// Returns all but the last segment, without the slash: `Some("avatars")` of
    /// `"avatars/ada.png"`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Returns what follows the last dot of the name, unchanged: `Some("PNG")` of `"a/b.PNG"`. A
    /// name that begins with its only dot has no extension.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        match self.name().rsplit_once('.') {
            Some(("", _)) | None => None,
            Some((_, extension)) => Some(extension),
        }
    }
}

/// The beginning of keys, compared byte by byte, as on S3.
///
/// `avatars/a` matches `avatars/ada.png`. `avatars` matches `avatars-old/x` too: write `avatars/`
/// for the directory. Wildcards have no meaning. The empty prefix matches every key.
///
/// A text with which no key can begin (`/x`, `a//`, `../`, more than 1024 bytes) is an error and
/// not an empty listing, because it is always a mistake.
///
/// ```
/// use storage_core::{Key, Prefix};
///
/// let prefix = Prefix::new("avatars/a")?;
/// assert!(prefix.matches(&Key::new("avatars/ada.png")?));
/// assert!(Prefix::new("/avatars").is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Converts a text to a prefix.
    ///
    /// # Errors
    /// `InvalidKey` if no key can begin with it; the message names the broken rule.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self> {
        let text = text.into();
        match broken_prefix_rule(&text) {
            None => Ok(Self(text)),
            Some(rule) => Err(invalid(&text, rule)),
        }
    }

    /// Returns the prefix of every key.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Returns the prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the prefix of every key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the key begins with this prefix.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        key.as_str().starts_with(self.as_str())
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self::empty()
    }
}

fn invalid(text: &str, rule: &'static str) -> Error {
    // A hostile name may have megabytes.
    let shown: String = text.chars().take(MAX_KEY_BYTES).collect();
    Error::new(ErrorKind::InvalidKey, rule).with_key(shown)
}

fn broken_key_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("a key needs at least one character");
    }
    if text.ends_with('/') {
        return Some("a key does not end with '/': name a file, not a directory");
    }
    broken_prefix_rule(text).or_else(|| bad_segment(text.rsplit('/').next()?))
}

fn broken_prefix_rule(text: &str) -> Option<&'static str> {
    if text.len() > MAX_KEY_BYTES {
        return Some("a key has at most 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("a key does not begin with '/': keys are relative to the storage");
    }
    if text.chars().any(char::is_control) {
        return Some("a key has no control characters");
    }
    // The last segment of a prefix may be incomplete, so only those before it are checked.
    let (whole, _unfinished) = text.rsplit_once('/')?;
    whole.split('/').find_map(bad_segment)
}

fn bad_segment(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("a key has no empty segment ('//')"),
        "." | ".." => Some("a key has no '.' or '..' segment"),
        _ => None,
    }
}

macro_rules! checked_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = Error;
            fn try_from(text: &String) -> Result<Self> {
                Self::new(text.as_str())
            }
        }

        impl From<&$name> for $name {
            fn from(checked: &$name) -> Self {
                checked.clone()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(de::Error::custom)
            }
        }
    };
}

checked_text!(Key);
checked_text!(Prefix);

/// A key is also a prefix, which matches the key itself.
impl From<Key> for Prefix {
    fn from(key: Key) -> Self {
        Self(key.0)
    }
}

/// A value that names an object: a [`Key`], or text that is checked when the verb runs.
pub trait IntoKey {
    /// Converts the value to a key.
    ///
    /// # Errors
    /// `InvalidKey` if the text breaks a rule of [`Key`].
    fn into_key(self) -> Result<Key>;
}

impl<T> IntoKey for T
where
    T: TryInto<Key>,
    T::Error: Into<Error>,
{
    fn into_key(self) -> Result<Key> {
        self.try_into().map_err(Into::into)
    }
}

/// A value with which keys begin: a [`Prefix`], a [`Key`], or text that is checked when the verb
/// runs.
pub trait IntoPrefix {
    /// Converts the value to a prefix.
    ///
    /// # Errors
    /// `InvalidKey` if no key can begin with the text.
    fn into_prefix(self) -> Result<Prefix>;
}

impl<T> IntoPrefix for T
where
    T: TryInto<Prefix>,
    T::Error: Into<Error>,
{
    fn into_prefix(self) -> Result<Prefix> {
        self.try_into().map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_but_legal_names_are_keys() {
        for text in [
            "a",
            "...",
            "a/.hidden",
            " leading space",
            "trailing ",
            "a\\b",
            "%2e%2e",
            "ünï/☺",
            "-",
            "a?b#c",
            "*",
        ] {
            assert_eq!(Key::new(text).unwrap(), text);
        }
        assert!(Key::new("k".repeat(MAX_KEY_BYTES)).is_ok());
    }

    #[test]
    fn names_that_no_backend_can_hold_unchanged_are_refused() {
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        for text in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "../a", "a/../b", "./a", "a\0b",
            "a\nb", "a\u{7f}", "a\u{85}b", &long,
        ] {
            let error = Key::new(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_may_stop_anywhere_in_a_key() {
        for text in ["", "a", "a/", "a/.", "a/..", ".", "..", "a/b"] {
            assert!(Prefix::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_that_no_key_can_begin_with_is_refused() {
        for text in ["/", "/a", "a//", "../", "a/../", "./", "a\n"] {
            assert_eq!(Prefix::new(text).unwrap_err().kind(), ErrorKind::InvalidKey, "{text:?}");
        }
    }

    #[test]
    fn the_error_of_a_hostile_name_is_bounded() {
        let error = Key::new("x".repeat(10_000_000)).unwrap_err();
        assert!(error.to_string().len() < 2 * MAX_KEY_BYTES);
    }

    #[test]
    fn an_extension_is_what_follows_the_last_dot() {
        let extension = |text: &str| Key::new(text).unwrap().extension().map(str::to_owned);
        assert_eq!(extension("a.b/c.tar.gz").as_deref(), Some("gz"));
        assert_eq!(extension("a.b/c"), None);
        assert_eq!(extension(".env"), None);
    }
}
