//! The key that a request's path names.

use percent_encoding::percent_decode_str;
use storage_core::{Error, ErrorKind, Key, Result};

/// The key of a request's path: without its first `/`, percent-decoded once, and then whatever a
/// key may be.
///
/// Nothing is cleaned up: `//`, `..` (encoded or not), NUL and a trailing `/` are in no key, so
/// that they are refused here and never looked for.
///
/// # Errors
/// `InvalidKey` if no object can be there.
///
/// ```
/// use storage_serve::internal::key_from_path;
///
/// assert_eq!(key_from_path("/caf%C3%A9/a%20b.txt")?.as_str(), "café/a b.txt");
/// assert!(key_from_path("/a/%2e%2e/b").is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn key_from_path(path: &str) -> Result<Key> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let invalid = |reason| Error::new(ErrorKind::InvalidKey, reason);
    if !is_well_encoded(path) {
        return Err(invalid("a % in the path is not followed by two hexadecimal digits"));
    }
    let text =
        percent_decode_str(path).decode_utf8().map_err(|_| invalid("the path is not UTF-8"))?;
    Key::new(text)
}

/// A decoder would let a stray `%` through, so that two paths that differ would name one key.
fn is_well_encoded(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(key_from_path("/a%2520b").unwrap().as_str(), "a%20b");
        assert_eq!(key_from_path("/x.mp3%3Fv=1").unwrap().as_str(), "x.mp3?v=1");
        assert_eq!(key_from_path("/a+b").unwrap().as_str(), "a+b");
    }

    #[test]
    fn what_no_key_can_be_is_refused() {
        let paths = [
            "/",
            "",
            "//a",
            "/a/",
            "/a//b",
            "/.",
            "/a/../b",
            "/%2e%2e/b",
            "/a%00b",
            "/a%0ab",
            "/%ff",
            "/%",
            "/%zz",
            "/a%2",
        ];
        for path in paths {
            assert_eq!(key_from_path(path).unwrap_err().kind(), ErrorKind::InvalidKey, "{path}");
        }
    }

    #[test]
    fn cases_are_different_keys() {
        assert_ne!(key_from_path("/Foo.mp3").unwrap(), key_from_path("/foo.mp3").unwrap());
    }
}
