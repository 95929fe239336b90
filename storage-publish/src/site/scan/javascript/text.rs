//! The value of a string or a template of JavaScript.

use super::super::decoded::{Decoded, Decoder};

/// Resolves the escapes of a string or a template, without its quotes: ECMAScript 2025, section
/// 12.9.4. Returns `None` if an escape is malformed.
pub(in super::super) fn unescape(raw: &[u8], start: usize) -> Option<Decoded> {
    if !raw.contains(&b'\\') {
        return Some(Decoded::plain(raw, start));
    }
    let mut decoder = Decoder::new(start);
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            decoder.push(raw[at], at);
            at += 1;
            continue;
        }
        let (character, length) = escape(&raw[at..])?;
        if let Some(character) = character {
            decoder.push_char(character, at);
        }
        at += length;
    }
    Some(decoder.finish(raw.len()))
}

/// Returns the character of an escape, which a line continuation lacks, and the escape's length.
fn escape(raw: &[u8]) -> Option<(Option<char>, usize)> {
    let simple = |character| Some((Some(character), 2));
    match raw.get(1)? {
        b'n' => simple('\n'),
        b't' => simple('\t'),
        b'r' => simple('\r'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'v' => simple('\u{b}'),
        b'\r' if raw.get(2) == Some(&b'\n') => Some((None, 3)),
        b'\n' | b'\r' => Some((None, 2)),
        b'x' => Some((Some(character(raw.get(2..4)?)?), 4)),
        b'u' if raw.get(2) == Some(&b'{') => {
            let digits = raw.get(3..)?.iter().take(8).position(|byte| *byte == b'}')?;
            Some((Some(character(&raw[3..3 + digits])?), digits + 4))
        }
        b'u' => unicode_escape(raw),
        digit @ b'0'..=b'9' => {
            let is_zero = *digit == b'0' && !raw.get(2).is_some_and(u8::is_ascii_digit);
            is_zero.then_some((Some('\0'), 2))
        }
        first => {
            let length = utf8_length(*first);
            let text = std::str::from_utf8(raw.get(1..1 + length)?).ok()?;
            Some((text.chars().next(), 1 + length))
        }
    }
}

/// Reads `\u0061`, or two of them that are one character.
fn unicode_escape(raw: &[u8]) -> Option<(Option<char>, usize)> {
    let code = number(raw.get(2..6)?)?;
    if let Some(character) = char::from_u32(code) {
        return Some((Some(character), 6));
    }
    let low = raw.get(6..12)?.strip_prefix(b"\\u").and_then(number)?;
    let pair = [u16::try_from(code).ok()?, u16::try_from(low).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((Some(character), 12))
}

fn character(digits: &[u8]) -> Option<char> {
    char::from_u32(number(digits)?)
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

fn utf8_length(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        for (raw, expected) in [
            (r"a\x2epng", "a.png"),
            (r"\u0061\u{62}\/c", "ab/c"),
            (r"\ud83d\ude00.png", "😀.png"),
            ("a\\\r\nb\\\nc", "abc"),
            (r"\'\é", "'é"),
        ] {
            let decoded = unescape(raw.as_bytes(), 0).unwrap();
            assert_eq!(decoded.text, expected);
            assert_eq!(decoded.offset(decoded.text.len()), Some(raw.len()));
        }
    }

    #[test]
    fn a_malformed_escape_is_no_text() {
        for raw in [r"\x2", r"\u12", r"\ud83d", r"\u{110000}", r"\", r"\01", r"\u{", "\\\u{e9}"] {
            let is_text = unescape(raw.as_bytes(), 0).is_some();
            assert_eq!(is_text, raw == "\\é", "{raw}");
        }
        assert!(unescape(b"\\\xc3", 0).is_none());
    }
}
