//! [`Decoded`]: a text of a file without its escapes, with the place of each byte in the file.

use std::borrow::Cow;

/// A text of a file without its escapes, with the place of each byte in the file.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    offsets: Offsets,
}

#[derive(Clone, Debug)]
enum Offsets {
    /// The text stands in the file as it is, from this offset.
    From(usize),
    /// The offset of each byte of the text, and that of the end.
    Each(Vec<usize>),
    /// The places are not known, so that nothing can be inserted.
    Unknown(usize),
}

impl Decoded {
    /// Returns a text that stands in the file as it is, from `start`.
    ///
    /// Bytes that are not UTF-8 become U+FFFD, and the places are not known then. So a reference
    /// with such bytes is not lost: it names no file, which is a problem of its place.
    pub(crate) fn plain(bytes: &[u8], start: usize) -> Self {
        match String::from_utf8_lossy(bytes) {
            Cow::Borrowed(text) => Self { text: text.to_owned(), offsets: Offsets::From(start) },
            Cow::Owned(text) => Self::without_offsets(text, start),
        }
    }

    /// Returns a text whose places in the file are not known. It begins at `start`.
    pub(crate) fn without_offsets(text: String, start: usize) -> Self {
        Self { text, offsets: Offsets::Unknown(start) }
    }

    /// Returns where the text begins in the file.
    pub(crate) fn start(&self) -> usize {
        match &self.offsets {
            Offsets::From(start) | Offsets::Unknown(start) => *start,
            Offsets::Each(offsets) => offsets.first().copied().unwrap_or_default(),
        }
    }

    /// Returns where the byte with this index is in the file. The length of the text is a valid
    /// index.
    pub(crate) fn offset(&self, index: usize) -> Option<usize> {
        match &self.offsets {
            Offsets::From(start) => Some(start + index),
            Offsets::Each(offsets) => offsets.get(index).copied(),
            Offsets::Unknown(_) => None,
        }
    }

    /// Returns a part of the text.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Option<Self> {
        let text = self.text.get(range.clone())?.to_owned();
        let offsets = match &self.offsets {
            Offsets::From(start) => Offsets::From(start + range.start),
            Offsets::Each(offsets) => Offsets::Each(offsets.get(range.start..=range.end)?.to_vec()),
            Offsets::Unknown(start) => Offsets::Unknown(*start),
        };
        Some(Self { text, offsets })
    }

    /// Returns the text with places that are greater by `start`.
    pub(crate) fn shifted(self, start: usize) -> Self {
        let offsets = match self.offsets {
            Offsets::From(offset) => Offsets::From(offset + start),
            Offsets::Unknown(offset) => Offsets::Unknown(offset + start),
            Offsets::Each(mut offsets) => {
                offsets.iter_mut().for_each(|offset| *offset += start);
                Offsets::Each(offsets)
            }
        };
        Self { text: self.text, offsets }
    }

    /// Returns the text with the places in the file of `outer`, in whose text this one was found.
    pub(crate) fn within(self, outer: &Self) -> Self {
        let start = outer.start();
        let offsets = match (&self.offsets, &outer.offsets) {
            (_, Offsets::Unknown(start)) => Offsets::Unknown(*start),
            (Offsets::From(inner), Offsets::From(start)) => Offsets::From(start + inner),
            _ => {
                let inner = (0..=self.text.len()).map(|index| self.offset(index));
                match inner.map(|offset| outer.offset(offset?)).collect() {
                    Some(offsets) => Offsets::Each(offsets),
                    None => Offsets::Unknown(start),
                }
            }
        };
        Self { text: self.text, offsets }
    }
}

/// Collects a text without escapes from the parts of a file.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    start: usize,
}

impl Decoder {
    /// Begins a text that begins at `start` of the file.
    pub(crate) fn new(start: usize) -> Self {
        Self { bytes: Vec::new(), offsets: Vec::new(), start }
    }

    /// Adds a byte that stands at this index, counted from the start of the text in the file.
    pub(crate) fn push(&mut self, byte: u8, index: usize) {
        self.bytes.push(byte);
        self.offsets.push(self.start + index);
    }

    /// Adds a character whose escape begins at this index.
    pub(crate) fn push_char(&mut self, character: char, index: usize) {
        let mut buffer = [0; 4];
        for byte in character.encode_utf8(&mut buffer).bytes() {
            self.push(byte, index);
        }
    }

    /// Ends the text, which is `length` bytes long in the file. Bytes that are not UTF-8 are
    /// treated as by [`Decoded::plain`].
    pub(crate) fn finish(mut self, length: usize) -> Decoded {
        self.offsets.push(self.start + length);
        match String::from_utf8(self.bytes) {
            Ok(text) => Decoded { text, offsets: Offsets::Each(self.offsets) },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Decoded::without_offsets(text, self.start)
            }
        }
    }
}

/// Decodes the character references of XML and the common ones of HTML.
///
/// Returns the text without places if it contains another one, decoded as `full` if given.
pub(crate) fn decode_references(raw: &[u8], start: usize, full: Option<&[u8]>) -> Decoded {
    let is_plain = !raw.contains(&b'&') && !raw.contains(&b'\r');
    let decoded =
        if is_plain { Decoded::plain(raw, start) } else { decode_known_references(raw, start) };
    match full {
        Some(full) if full != decoded.text.as_bytes() => {
            Decoded::without_offsets(String::from_utf8_lossy(full).into_owned(), start)
        }
        _ => decoded,
    }
}

fn decode_known_references(raw: &[u8], start: usize) -> Decoded {
    let mut decoder = Decoder::new(start);
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'&'
            && let Some((character, length)) = known_reference(&raw[at..])
        {
            decoder.push_char(character, at);
            at += length;
        } else if raw[at] == b'\r' {
            // HTML and XML read every end of a line as one line feed.
            if raw.get(at + 1) != Some(&b'\n') {
                decoder.push(b'\n', at);
            }
            at += 1;
        } else {
            decoder.push(raw[at], at);
            at += 1;
        }
    }
    decoder.finish(raw.len())
}

/// Returns the character of a reference at the beginning, and the length of the reference.
fn known_reference(raw: &[u8]) -> Option<(char, usize)> {
    // The longest number of a character has 7 digits, but zeros may precede it.
    let length = raw.iter().take(16).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&raw[1..length]).ok()?;
    let character = match name {
        "amp" | "AMP" => '&',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "nbsp" => '\u{a0}',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_reference_keeps_the_places_of_what_follows() {
        let decoded = decode_references(b"a&amp;b&#x2e;png", 10, None);
        assert_eq!(decoded.text, "a&b.png");
        assert_eq!(decoded.offset(2), Some(16));
        assert_eq!(decoded.offset(3), Some(17));
        assert_eq!(decoded.offset(4), Some(23));
        assert_eq!(decoded.offset(7), Some(26));
    }

    #[test]
    fn a_reference_of_an_unknown_name_leaves_the_places_unknown() {
        let decoded = decode_references(b"&eacute;.png", 5, Some("é.png".as_bytes()));
        assert_eq!((decoded.text.as_str(), decoded.offset(0)), ("é.png", None));
    }

    #[test]
    fn a_text_in_a_text_has_the_places_of_the_file() {
        let outer = decode_references(b"url(&quot;x.png&quot;)", 100, None);
        let inner = Decoded::plain(&outer.text.as_bytes()[5..10], 5).within(&outer);
        assert_eq!((inner.text.as_str(), inner.offset(0)), ("x.png", Some(110)));
    }

    #[test]
    fn a_text_that_is_no_utf_8_has_no_places_but_a_beginning() {
        for decoded in [
            Decoded::plain(b"\xff.png", 7),
            decode_references(b"\xff&#46;png", 7, None),
            decode_references(b"\xff.png", 7, Some(b"\xff.png")),
        ] {
            assert_eq!((decoded.text.as_str(), decoded.offset(0)), ("\u{fffd}.png", None));
            assert_eq!(decoded.start(), 7);
        }
    }
}
