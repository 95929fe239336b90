//! Escapes text from other programs before it is shown to people, and classifies its characters.

use std::borrow::Cow;
use std::fmt::Write as _;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Escapes every character of a text that a reader cannot see, or that changes how the rest is
/// shown.
///
/// These are:
///
/// - control characters (category Cc), which can forge a line or control a terminal;
/// - format characters (category Cf), some of which reverse the direction of text;
/// - line and paragraph separators (U+2028, U+2029);
/// - characters with the Unicode property `Default_Ignorable_Code_Point`, which are invisible.
///
/// Each becomes an escape as in Rust's source code: `\n`, `\u{202e}`. All other text is unchanged.
/// The result is for people and cannot be parsed, because a backslash is not escaped.
///
/// Use it for all printed text from other programs, such as keys, metadata and messages of servers.
///
/// ```
/// use storage_core::internal::escape_invisible;
///
/// assert_eq!(escape_invisible("grüße ☺"), "grüße ☺");
/// assert_eq!(escape_invisible("a\nb\u{202e}gpj.exe"), "a\\nb\\u{202e}gpj.exe");
/// ```
#[must_use]
pub fn escape_invisible(text: &str) -> Cow<'_, str> {
    escape(text, |escaped, c| escaped.extend(c.escape_default()))
}

/// Does the same as [`escape_invisible`] for JSON. Each such character becomes `\uXXXX`, and a
/// character above U+FFFF two of them (RFC 8259, section 7).
///
/// Valid JSON on one line stays valid and keeps its meaning. Line breaks between tokens become
/// escapes, which are not valid there.
///
/// ```
/// use storage_core::internal::escape_invisible_in_json;
///
/// assert_eq!(escape_invisible_in_json("\"a\u{9b}\u{e0001}\""), "\"a\\u009b\\udb40\\udc01\"");
/// ```
#[must_use]
pub fn escape_invisible_in_json(json: &str) -> Cow<'_, str> {
    escape(json, |escaped, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    })
}

/// Escapes a text for HTML, in elements and in quoted attributes.
///
/// ```
/// use storage_core::internal::escape_html;
///
/// assert_eq!(escape_html("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
/// ```
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape(text: &str, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_invisible(c) {
            write(&mut escaped, c);
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Returns whether [`escape_invisible`] escapes a character.
pub(crate) fn is_invisible(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Returns whether a character is displayed with the one before it (general category M), such as an
/// accent of decomposed text, or a vowel sign or virama of Indic scripts. Returns `false` for
/// variation selectors, which are invisible.
pub(crate) fn is_visible_mark(c: char) -> bool {
    !c.is_ascii()
        && GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
        && !is_invisible(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        for (c, shown) in [
            ('\0', "\\u{0}"),
            ('\u{1b}', "\\u{1b}"),
            ('\u{9b}', "\\u{9b}"),
            ('\u{ad}', "\\u{ad}"),
            ('\u{200b}', "\\u{200b}"),
            ('\u{200f}', "\\u{200f}"),
            ('\u{2028}', "\\u{2028}"),
            ('\u{2029}', "\\u{2029}"),
            ('\u{202e}', "\\u{202e}"),
            ('\u{2066}', "\\u{2066}"),
            ('\u{3164}', "\\u{3164}"),
            ('\u{feff}', "\\u{feff}"),
            ('\u{fe0f}', "\\u{fe0f}"),
            ('\u{e0061}', "\\u{e0061}"),
        ] {
            assert_eq!(escape_invisible(&format!("a{c}b")), format!("a{shown}b"));
            let json = serde_json::Value::from(format!("a{c}b")).to_string();
            let escaped = escape_invisible_in_json(&json);
            assert!(!escaped.contains(c) && escaped.contains("\\u"), "{escaped}");
            assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), format!("a{c}b"));
        }
    }

    #[test]
    fn visible_text_is_unchanged() {
        for text in
            ["", "a b\\n\"'", "grüße", "e\u{301}", "日本語\u{3000}", "हिन्दी", "☺", "a\u{a0}b"]
        {
            assert!(
                matches!(escape_invisible(text), Cow::Borrowed(same) if same == text),
                "{text:?}"
            );
        }
    }
}
