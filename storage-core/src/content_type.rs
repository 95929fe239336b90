//! Guessing content types: from the key's extension, then from the first bytes.

use crate::error::Result;
use crate::key::Key;
use crate::payload::Payload;

/// How many first bytes tell a type.
pub const SNIFF_BYTES: usize = 512;

/// What is said of bytes that nobody can tell.
const UNKNOWN: &str = "application/octet-stream";

/// The content type that a key's extension tells; `application/octet-stream` if none.
///
/// ```
/// # use storage_core::{content_type, Key};
/// assert_eq!(content_type::of_key(&Key::new("a/b.PNG")?), "image/png");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[must_use]
pub fn of_key(key: &Key) -> String {
    by_extension(key).unwrap_or(UNKNOWN).to_owned()
}

/// The content type of an object that was saved without one: by extension, else by the first bytes (at most
/// [`SNIFF_BYTES`] of them are looked at).
///
/// Types that a browser executes (HTML, SVG, XML, scripts) are never read out of the bytes, since that
/// would let whoever uploads a file without an extension choose one: such bytes are `text/plain`.
///
/// ```
/// # use storage_core::{content_type, Key};
/// let key = Key::new("upload")?;
/// assert_eq!(content_type::of_bytes(&key, b"\x89PNG\r\n\x1a\n"), "image/png");
/// assert_eq!(content_type::of_bytes(&key, b"<script>alert(1)</script>"), "text/plain");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[must_use]
pub fn of_bytes(key: &Key, start: &[u8]) -> String {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    by_extension(key).unwrap_or_else(|| by_first_bytes(start)).to_owned()
}

/// Whether the key alone tells the type, so that no bytes need to be read.
#[must_use]
pub fn is_told_by_key(key: &Key) -> bool {
    by_extension(key).is_some()
}

pub(crate) async fn of_payload(key: &Key, payload: &mut Payload) -> Result<String> {
    match by_extension(key) {
        Some(known) => Ok(known.to_owned()),
        None => Ok(by_first_bytes(&payload.peek(SNIFF_BYTES).await?).to_owned()),
    }
}

fn by_extension(key: &Key) -> Option<&'static str> {
    mime_guess::from_ext(key.extension()?).first_raw()
}

fn by_first_bytes(start: &[u8]) -> &'static str {
    if let Some(kind) = infer::get(start)
        && kind.matcher_type() != infer::MatcherType::Text
    {
        return kind.mime_type();
    }
    if !start.is_empty() && is_text(start) { "text/plain" } else { UNKNOWN }
}

/// UTF-8 without the control characters that text does not have; the last character may be cut off.
fn is_text(start: &[u8]) -> bool {
    let whole = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    whole.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(key: &str, start: &[u8]) -> String {
        of_bytes(&Key::new(key).unwrap(), start)
    }

    #[test]
    fn the_extension_decides_before_the_bytes() {
        assert_eq!(guess("site.css", b"\x89PNG\r\n\x1a\n"), "text/css");
        assert_eq!(guess("Episode.MP3", b""), "audio/mpeg");
    }

    #[test]
    fn bytes_tell_the_type_of_a_name_that_does_not() {
        assert_eq!(guess("cover", b"\xff\xd8\xff\xe0\x00\x10JFIF"), "image/jpeg");
        assert_eq!(guess("notes", "héllo\n".as_bytes()), "text/plain");
        assert_eq!(guess("data.unheard-of", b"\x00\x01\x02"), "application/octet-stream");
        assert_eq!(guess("empty", b""), "application/octet-stream");
    }

    #[test]
    fn a_type_that_browsers_execute_is_never_read_out_of_bytes() {
        for start in [
            "<!DOCTYPE html><html>",
            "<svg xmlns='http://www.w3.org/2000/svg'>",
            "<?xml version='1.0'?>",
            "#!/bin/sh\n",
        ] {
            assert_eq!(guess("upload", start.as_bytes()), "text/plain", "{start}");
        }
    }

    #[test]
    fn text_cut_in_the_middle_of_a_character_is_text() {
        assert_eq!(guess("notes", &"€".repeat(200).as_bytes()[..SNIFF_BYTES]), "text/plain");
    }
}
