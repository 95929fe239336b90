//! [`key_from_path`]: converts the path of a request to a key. [`is_upload_state`]: the objects that
//! no server shows.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use storage_core::{Error, ErrorKind, Key, Result};

/// The directory of the state of unfinished uploads.
const UPLOADS_DIRECTORY: &str = ".uploads";

/// Converts the path of a request to a key: removes the first `/` and decodes percent escapes once.
///
/// The path is not normalised. A path with `//`, `..` (encoded or not), NUL or a trailing `/` fails
/// here and never reaches the storage, because no valid key contains them. The state of unfinished
/// uploads has no path either ([`is_upload_state`]).
///
/// # Errors
/// `InvalidKey` if the path is not a valid key, or is that of the state of an upload.
///
/// ```
/// use storage_serve::internal::key_from_path;
///
/// assert_eq!(key_from_path("/caf%C3%A9/a%20b.txt")?.as_str(), "café/a b.txt");
/// assert!(key_from_path("/a/%2e%2e/b").is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn key_from_path(path: &str) -> Result<Key> {
    Key::new(path_text(path)?)
}

/// Converts the path of a request to text: removes the first `/` and decodes percent escapes once.
///
/// # Errors
/// `InvalidKey` if the path is not well encoded, or is that of the state of an upload.
pub(crate) fn path_text(path: &str) -> Result<Cow<'_, str>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let invalid = |reason| Error::new(ErrorKind::InvalidKey, reason);
    if !is_well_encoded(path) {
        return Err(invalid("a % in the path is not followed by two hexadecimal digits"));
    }
    let text =
        percent_decode_str(path).decode_utf8().map_err(|_| invalid("the path is not UTF-8"))?;
    if is_upload_state(&text) {
        return Err(invalid("the path is that of the state of an upload"));
    }
    Ok(text)
}

/// Returns whether a key or a prefix belongs to the state of unfinished uploads, which contains
/// bytes that no client has finished. This is everything below a directory `.uploads`, at any
/// level, because a server may receive uploads into a part of the storage.
///
/// ```
/// use storage_serve::internal::is_upload_state;
///
/// assert!(is_upload_state(".uploads/0123/state.json") && is_upload_state("videos/.Uploads/"));
/// assert!(is_upload_state(".upload\u{17f}/signing-key"));
/// assert!(!is_upload_state("videos/my.uploads/a") && !is_upload_state(".uploads.txt"));
/// ```
pub fn is_upload_state(key: &str) -> bool {
    key.split('/').any(|segment| folded(segment).eq(UPLOADS_DIRECTORY.chars()))
}

/// Returns the characters without their case, which some file systems ignore, also that of letters
/// such as `\u{17f}`, whose upper case is `S`.
fn folded(segment: &str) -> impl Iterator<Item = char> {
    segment.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Returns whether each `%` begins an escape. The decoder passes other ones through, so that two
/// different paths would name one key.
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
    fn a_path_is_percent_decoded_once() {
        assert_eq!(key_from_path("/a%2520b").unwrap().as_str(), "a%20b");
        assert_eq!(key_from_path("/x.mp3%3Fv=1").unwrap().as_str(), "x.mp3?v=1");
        assert_eq!(key_from_path("/a+b").unwrap().as_str(), "a+b");
    }

    #[test]
    fn a_path_that_is_not_a_valid_key_is_refused() {
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
            "/.uploads",
            "/.uploads/a/state.json",
            "/%2euploads/a",
            "/videos/.uploads/a",
        ];
        for path in paths {
            assert_eq!(key_from_path(path).unwrap_err().kind(), ErrorKind::InvalidKey, "{path}");
        }
    }

    #[test]
    fn paths_that_differ_in_case_name_different_keys() {
        assert_ne!(key_from_path("/Foo.mp3").unwrap(), key_from_path("/foo.mp3").unwrap());
    }
}
