//! The parts of a text that may be names of files.

use std::ops::Range;

use super::decoded::Decoded;
use super::found::Scan;

/// Finds the names of files in a text without a language that is known. A text that is not UTF-8
/// has none.
pub(crate) fn scan(bytes: &[u8], scan: &mut Scan<'_>) {
    if std::str::from_utf8(bytes).is_ok() {
        scan.mention_words(&Decoded::plain(bytes, 0));
    }
}

/// Returns what stands between quotes, tags and ends of lines, which may have spaces, and the words
/// of it: `a b.png` of `<img src="a b.png">`, and `a.png` of `background: url(a.png)`.
///
/// A part without `.` and `/` is no name, so that `index` and the like are none.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Range<usize>> {
    let pieces = split(text, 0..text.len(), |character| "\"'`<>\\\n\r".contains(character));
    let all =
        pieces.flat_map(move |piece| std::iter::once(piece.clone()).chain(words(text, piece)));
    all.filter(|part| text[part.clone()].contains(['.', '/']))
}

fn words(text: &str, piece: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let is_border =
        |character: char| character.is_whitespace() || ",;=&()[]{}|".contains(character);
    // The end of a sentence is no part of a name.
    split(text, piece, is_border).map(|word| {
        let length = text[word.clone()].trim_end_matches(['.', ':', '!']).len();
        word.start..word.start + length
    })
}

/// Returns the parts of a range of a text between borders, without the spaces around them.
fn split(
    text: &str,
    range: Range<usize>,
    is_border: fn(char) -> bool,
) -> impl Iterator<Item = Range<usize>> {
    text[range].split(is_border).map(|part| {
        let part = part.trim();
        // Both are parts of one text, so that the difference of their addresses is the place.
        let start = part.as_ptr().addr() - text.as_ptr().addr();
        start..start + part.len()
    })
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::super::tests::found_with;

    fn found(text: &str) -> Vec<String> {
        let names = ["a.png", "b.png", "c d.png", "a(1).png", "LICENSE", "index"];
        let found = found_with(Language::Text, text.as_bytes(), &names);
        found.iter().map(|line| line.replace("Mention ", "")).collect()
    }

    #[test]
    fn names_are_found_between_what_surrounds_them() {
        for (text, expected) in [
            ("<img src=\"x/a.png\">", "x/a.png"),
            ("background:url(x/a.png)", "x/a.png"),
            ("![text](a.png)", "a.png"),
            ("#EXT-X-MAP:URI=\"a.png\"\n", "a.png"),
            ("/old /a.png?x 301", "/a.png?x"),
            ("Link: </x/a.png>; rel=preload", "/x/a.png"),
            ("See a.png.", "a.png"),
            ("line\r\nx/a(1).png\r\n", "x/a(1).png"),
            ("<img src='/x/c d.png'>", "/x/c d.png"),
            (r#"{"a":"x\/a.png"}"#, "x/a.png"),
            ("x/LICENSE of it", "x/LICENSE"),
            ("x%2e/c%20d.png y", "x%2e/c%20d.png"),
        ] {
            assert!(found(text).iter().any(|found| found == expected), "{text}: {:?}", found(text));
        }
        assert_eq!(found("a.png 1x, b.png 2x"), ["a.png", "b.png"]);
    }

    #[test]
    fn common_words_and_parts_of_names_are_no_mentions() {
        assert!(found("the index of LICENSE, not index: ba.png or a.pngx %zz. 100%").is_empty());
        assert_eq!(found("index"), ["index"]);
    }

    #[test]
    fn one_path_is_one_mention() {
        assert_eq!(found("'a.png?1' 'a.png' a.png#2 \"a.png\""), ["a.png?1"]);
    }

    #[test]
    fn many_backslashes_and_borders_are_read() {
        let text = format!("{}/a.png{}", "\\".repeat(1_000_000), "(".repeat(1_000_000));
        assert!(!found(&text).is_empty());
    }
}
