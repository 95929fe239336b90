//! Finds the references in the text of a file, by a tokenizer for each language.
//!
//! A tokenizer reads bytes and returns places in the file. Bytes that are not UTF-8 are read as
//! U+FFFD, so that a reference with them names no file.

mod css;
mod decoded;
mod elements;
mod found;
mod html;
mod javascript;
mod json;
mod manifest;
mod srcset;
mod tokens;
mod words;
mod xml;

pub(crate) use decoded::Decoded;
pub(crate) use found::{Role, Scan};
pub(crate) use json::Document;

/// The language of a file with references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Css,
    JavaScript,
    Html,
    /// HTML in the syntax of XML.
    Xhtml,
    Svg,
    /// Feeds, site maps and other XML, in which only mentions are found.
    Xml,
    WebManifest,
    /// Data, in which only mentions are found.
    Json,
    /// Any other text, in which only mentions are found: a play list, or a file of redirects.
    Text,
}

impl Language {
    /// Returns the language of a file by its name, or `None` if it has no references. Such a file
    /// may be a [`Text`](Self::Text).
    pub(crate) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        if name == "manifest.json" {
            return Some(Self::WebManifest);
        }
        Some(match name.rsplit_once('.')?.1 {
            "css" => Self::Css,
            "js" | "mjs" | "cjs" => Self::JavaScript,
            "html" | "htm" => Self::Html,
            "xhtml" => Self::Xhtml,
            "svg" => Self::Svg,
            "xml" | "rss" | "atom" | "xsl" | "xslt" | "mpd" => Self::Xml,
            "webmanifest" => Self::WebManifest,
            "json" | "jsonld" | "gltf" | "geojson" => Self::Json,
            _ => return None,
        })
    }

    /// Returns whether a file is a page, which refers to other pages.
    pub(crate) fn is_page(self) -> bool {
        matches!(self, Self::Html | Self::Xhtml)
    }

    /// Returns whether a file may be published without its references being read, because it only
    /// mentions other files.
    pub(crate) fn only_mentions(self) -> bool {
        matches!(self, Self::Xml | Self::Json | Self::Text)
    }
}

/// Finds the references in a file.
pub(crate) fn read(language: Language, bytes: &[u8], scan: &mut Scan<'_>) {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return scan.problems.push((0, "is UTF-16; save it as UTF-8".to_owned()));
    }
    match language {
        Language::Css => css::scan(bytes, scan),
        Language::JavaScript => javascript::scan(bytes, scan),
        Language::Html => html::scan(bytes, scan),
        Language::Xhtml => html::scan_xhtml(bytes, scan),
        Language::Svg => xml::scan_svg(bytes, scan),
        Language::Xml => xml::scan_mentions(bytes, scan),
        Language::WebManifest => manifest::scan(bytes, scan),
        Language::Json => json::scan_mentions(bytes, scan),
        Language::Text => words::scan(bytes, scan),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::found::Reference;
    use super::*;

    /// Returns the references of a text as `role text`, each with what stands at its place.
    pub(crate) fn found(language: Language, bytes: &[u8]) -> Vec<String> {
        found_with(language, bytes, &[])
    }

    /// The same, with the names of the files of the site.
    pub(crate) fn found_with(language: Language, bytes: &[u8], names: &[&str]) -> Vec<String> {
        let names = names.iter().copied().collect();
        let mut scan = Scan::new(&names);
        read(language, bytes, &mut scan);
        let line = |reference: &Reference| {
            let text = &reference.url.text;
            // A text that is not UTF-8 and a mention with further escapes have no places.
            let has_places = !text.contains('\u{fffd}') && reference.role != Role::Mention;
            for (index, byte) in text.bytes().enumerate().filter(|_| has_places) {
                let offset = reference.url.offset(index).unwrap();
                let escaped = matches!(bytes[offset], b'\\' | b'&');
                assert!(escaped || bytes[offset] == byte, "{text} at {offset}");
            }
            format!("{:?} {text}", reference.role)
        };
        scan.references.iter().map(line).collect()
    }

    const LANGUAGES: [Language; 9] = [
        Language::Css,
        Language::JavaScript,
        Language::Html,
        Language::Xhtml,
        Language::Svg,
        Language::Xml,
        Language::WebManifest,
        Language::Json,
        Language::Text,
    ];

    /// Reads a text in every language, and checks that each place is one of the text.
    fn check_places(bytes: &[u8]) {
        let names = ["a.js"].into();
        for language in LANGUAGES {
            let mut scan = Scan::new(&names);
            read(language, bytes, &mut scan);
            for reference in &scan.references {
                for index in 0..=reference.url.text.len() {
                    assert!(reference.url.offset(index).is_none_or(|at| at <= bytes.len()));
                }
            }
            assert!(scan.problems.iter().all(|(at, _)| *at <= bytes.len()));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            check_places(&bytes);
        }

        #[test]
        fn any_sequence_of_parts_is_read(
            parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40),
        ) {
            check_places(parts.concat().as_bytes());
        }
    }

    const PARTS: &[&str] = &[
        "url(",
        ")",
        "'",
        "\"",
        "`",
        "${",
        "}",
        "{",
        "/*",
        "*/",
        "//",
        "/",
        "\\",
        "\n",
        "\r\n",
        " ",
        "@import",
        "image-set(",
        "import",
        "export",
        " from ",
        "new URL(",
        ",import.meta.url",
        "importScripts(",
        "a.js",
        "./a.js",
        "sourceMappingURL=",
        "#",
        "<",
        ">",
        "<svg",
        "<img src=",
        "<style>",
        "</style>",
        "<script>",
        "</script>",
        "<script type=importmap>",
        " style=",
        "=",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&#x2e;",
        "&",
        ";",
        "é",
        "\0",
        "\u{feff}",
        "[",
        "]",
        "\"icons\":",
        "\"src\":",
        "\"imports\":",
        ":",
        "(",
        "<?xml-stylesheet href=",
        "?>",
        " href=",
        " srcset=",
        " integrity=sha256-x",
    ];
}
