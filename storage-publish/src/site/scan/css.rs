//! References of style sheets: `url()`, `src()`, `@import`, `image-set()` and source maps.
//!
//! The tokenizer follows CSS Syntax Module Level 3, section 4, as far as strings, URLs, functions
//! and comments need it. It has no recursion, so that nesting costs one entry of a list.

use super::decoded::{Decoded, Decoder};
use super::found::{Role, Scan};

/// Finds the references of a style sheet.
pub(crate) fn scan(bytes: &[u8], scan: &mut Scan<'_>) {
    Scanner { bytes, at: 0, open: Vec::new(), statement: Statement::Other, scan }.run();
}

/// What the parentheses around a token belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `url(` or `src(`, whose first string is a reference.
    Url,
    /// `image-set(`, whose strings are references.
    ImageSet,
    Other,
}

/// The at-rule whose prelude is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statement {
    /// `@import`, whose string or URL has not been read.
    Import,
    /// `@namespace` or `@document`, whose URLs are names and not references.
    Names,
    Other,
}

struct Scanner<'a, 'b, 'c> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Open>,
    statement: Statement,
    scan: &'b mut Scan<'c>,
}

impl Scanner<'_, '_, '_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'/' if self.peek(1) == Some(b'*') => self.comment(),
                b'"' | b'\'' => self.string(byte),
                b'@' => self.at_keyword(),
                b'#' => self.skip_name_after_sign(),
                b'(' => {
                    self.open.push(Open::Other);
                    self.at += 1;
                }
                b')' => {
                    self.open.pop();
                    self.at += 1;
                }
                b'{' | b'}' | b';' => {
                    self.statement = Statement::Other;
                    // Parentheses do not end at a block, but a style sheet that lacks one would
                    // otherwise count all that follows as part of it.
                    self.open.clear();
                    self.at += 1;
                }
                _ if starts_name(byte) || (byte == b'\\' && self.is_escape()) => self.name_like(),
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn is_escape(&self) -> bool {
        self.peek(0) == Some(b'\\') && !matches!(self.peek(1), None | Some(b'\n' | b'\r' | b'\x0c'))
    }

    fn comment(&mut self) {
        let start = self.at + 2;
        let rest = &self.bytes[start..];
        let length = find(rest, b"*/").unwrap_or(rest.len());
        self.at = (start + length + 2).min(self.bytes.len());
        let url = super::tokens::source_map_url(&self.bytes[start..start + length], start);
        self.scan.add(url, Role::SourceMap);
    }

    /// Reads a string. A string that its line does not end is none.
    fn string(&mut self, quote: u8) {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek(0) {
                None => return,
                Some(b'\n' | b'\r' | b'\x0c') => return,
                Some(byte) if byte == quote => break,
                // A line that ends in a backslash goes on.
                Some(b'\\') if self.peek(1) == Some(b'\r') && self.peek(2) == Some(b'\n') => {
                    self.at += 3;
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                Some(_) => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        self.string_value(start, end);
    }

    fn string_value(&mut self, start: usize, end: usize) {
        let is_import = self.statement == Statement::Import && self.open.is_empty();
        match self.open.last() {
            Some(Open::Url) => {
                // Modifiers may follow, of which strings are no references.
                self.open.pop();
                self.open.push(Open::Other);
                self.reference(start, end);
            }
            Some(Open::ImageSet) => self.reference(start, end),
            _ if is_import => self.reference(start, end),
            _ => {}
        }
    }

    fn reference(&mut self, start: usize, end: usize) {
        let is_name = self.statement == Statement::Names;
        if self.statement == Statement::Import {
            self.statement = Statement::Other;
        }
        if !is_name {
            self.scan.add(unescape(&self.bytes[start..end], start), Role::Asset);
        }
    }

    fn at_keyword(&mut self) {
        self.at += 1;
        let name = self.name();
        self.statement = match name.as_str() {
            "import" => Statement::Import,
            "namespace" | "document" | "-moz-document" => Statement::Names,
            _ => Statement::Other,
        };
    }

    fn skip_name_after_sign(&mut self) {
        self.at += 1;
        self.name();
    }

    /// Reads an identifier, a number, a function, or a URL without quotes.
    fn name_like(&mut self) {
        let name = self.name();
        if self.peek(0) != Some(b'(') {
            return;
        }
        self.at += 1;
        let open = match name.as_str() {
            "url" | "src" => Open::Url,
            "image-set" | "-webkit-image-set" => Open::ImageSet,
            // Functions within image-set() have strings that are no references: type("image/avif").
            _ => Open::Other,
        };
        if name == "url" && !self.is_quoted_url() {
            self.unquoted_url();
        } else {
            self.open.push(open);
        }
    }

    fn is_quoted_url(&self) -> bool {
        let rest = &self.bytes[self.at..];
        let first = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(first, Some(b'"' | b'\''))
    }

    /// Reads a URL without quotes: CSS Syntax Module Level 3, section 4.3.6.
    fn unquoted_url(&mut self) {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        let start = self.at;
        let mut is_valid = true;
        while let Some(byte) = self.peek(0) {
            match byte {
                b')' => break,
                b'\\' if self.is_escape() => self.at += 1,
                b'"' | b'\'' | b'(' | b'\\' => is_valid = false,
                _ => {}
            }
            self.at += 1;
        }
        let end = self.at.min(self.bytes.len());
        self.at = (end + 1).min(self.bytes.len());
        let text = &self.bytes[start..end];
        let length = text.trim_ascii_end().len();
        // The space that ends an escape of hexadecimal digits belongs to the escape.
        let has_space = text[..length].iter().any(u8::is_ascii_whitespace);
        let has_escape = text.contains(&b'\\');
        if is_valid && (!has_space || has_escape) {
            self.reference(start, start + length);
        }
    }

    /// Reads a name and returns it in lower case, without escapes.
    fn name(&mut self) -> String {
        let start = self.at;
        while let Some(byte) = self.peek(0) {
            if self.is_escape() {
                self.at += 2;
                continue;
            }
            if !continues_name(byte) {
                break;
            }
            self.at += 1;
        }
        self.at = self.at.min(self.bytes.len());
        // A name that matters is short. `--x` may be a megabyte.
        let end = self.at.min(start + 64);
        let name = unescape(&self.bytes[start..end], start);
        name.map(|name| name.text.to_ascii_lowercase()).unwrap_or_default()
    }
}

fn starts_name(byte: u8) -> bool {
    continues_name(byte)
}

fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte >= 0x80
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

/// Resolves the escapes of a string, a URL or a name.
fn unescape(raw: &[u8], start: usize) -> Option<Decoded> {
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
        let escape = at;
        at += 1;
        let digits = raw[at..].iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 0 {
            let text = std::str::from_utf8(&raw[at..at + digits]).ok()?;
            let code = u32::from_str_radix(text, 16).ok()?;
            let character = char::from_u32(code).filter(|character| *character != '\0');
            decoder.push_char(character.unwrap_or(char::REPLACEMENT_CHARACTER), escape);
            at += digits;
            at += usize::from(raw[at..].starts_with(b"\r\n"));
            at += usize::from(raw.get(at).is_some_and(u8::is_ascii_whitespace));
        } else if raw[at..].starts_with(b"\r\n") {
            at += 2;
        } else if let Some(byte) = raw.get(at) {
            if !matches!(byte, b'\n' | b'\r' | b'\x0c') {
                decoder.push(*byte, escape);
            }
            at += 1;
        }
    }
    Some(decoder.finish(raw.len()))
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::super::tests::found as found_in;

    fn found(text: &str) -> Vec<String> {
        found_in(Language::Css, text.as_bytes())
    }

    #[test]
    fn urls_are_found_in_all_their_forms() {
        let css = "a{background:url(a.png) URL( 'b.png' )} b{src:url(\"c.eot?#iefix\") src('d.x')}";
        assert_eq!(found(css), ["Asset a.png", "Asset b.png", "Asset c.eot?#iefix", "Asset d.x"]);
    }

    #[test]
    fn imports_are_found_with_and_without_url() {
        let css = "@import 'a.css' layer(x) supports(content: \"z.css\");@IMPORT url(b.css) print;\
                   @import url('c.css');@charset \"d.css\";@namespace svg url(http://x/svg);\
                   @namespace \"e.css\";";
        assert_eq!(found(css), ["Asset a.css", "Asset b.css", "Asset c.css"]);
    }

    #[test]
    fn an_image_set_has_references_but_its_types_are_none() {
        let css = "a{b:image-set('a.avif' type('image/avif') 1x, url(b.png) 2x, \"c.png\" 3x)}";
        assert_eq!(found(css), ["Asset a.avif", "Asset b.png", "Asset c.png"]);
    }

    #[test]
    fn comments_and_strings_have_no_references() {
        let css = "/* url(a.png) */a{content:'url(b.png)';x:local('c.png') format(\"d\")}/*url(";
        assert!(found(css).is_empty());
    }

    #[test]
    fn a_source_map_is_found_in_a_comment() {
        let css = "a{}\n/*# sourceMappingURL=app.css.map */\n/*@ sourceMappingURL=old.map*/";
        assert_eq!(found(css), ["SourceMap app.css.map", "SourceMap old.map"]);
        assert!(found("a{content:'/*# sourceMappingURL=a.map */'}").is_empty());
    }

    #[test]
    fn escapes_are_resolved() {
        let css = "a{b:url(a\\ b\\29.png) u\\72l(c.png) url('d\\\n.png') url(\\66 .png)}";
        assert_eq!(found(css), ["Asset a b).png", "Asset c.png", "Asset d.png", "Asset f.png"]);
    }

    #[test]
    fn malformed_parts_are_skipped_as_a_browser_skips_them() {
        let css = "a{b:url(a b.png);c:url(x\"y.png);d:'open\n;e:url(f.png)}g{h:url(i.png";
        assert_eq!(found(css), ["Asset f.png", "Asset i.png"]);
        assert!(found("@import").is_empty());
        assert!(found("a{b:url(").iter().all(|text| text == "Asset "));
        assert!(found("a{b:'\\").is_empty());
    }

    #[test]
    fn a_missing_parenthesis_ends_with_its_block() {
        assert_eq!(found("a{b:foo(bar}@import 'c.css';"), ["Asset c.css"]);
    }

    #[test]
    fn custom_properties_and_unusual_names_are_read() {
        let css = "\u{feff}:root{--a:url(a.png)}\r\n.é{b:url(é.png)}\r\n#url{c:d}xurl(e.png)";
        assert_eq!(found(css), ["Asset a.png", "Asset é.png"]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_do_not_disturb_what_follows() {
        let css = b"a{content:'\xff\xfe';b:url(\xff.png);c:url(d.png)}";
        assert_eq!(found_in(Language::Css, css), ["Asset \u{fffd}.png", "Asset d.png"]);
    }

    #[test]
    fn a_huge_line_and_deep_nesting_are_read() {
        let css = format!("a{{b:{}{}url(c.png)", "(".repeat(100_000), "x".repeat(1_000_000));
        assert!(found(&css).is_empty());
        let css = format!("a{{b:{} url(c.png)", "(".repeat(100_000));
        assert_eq!(found(&css), ["Asset c.png"]);
    }
}
