//! [`Element`]: an element of an XML document, with everything in it.
//!
//! One type for all documents, because a generic parser is compiled again for each document: that
//! took a fifth of this crate's build.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

/// The number of elements above which a document is refused. A page of a listing has 1000 objects
/// of about 10 elements.
const MAX_ELEMENTS: usize = 200_000;
/// The depth below which a document is refused.
const MAX_DEPTH: usize = 32;

/// An element of an XML document.
#[derive(Debug, Default)]
pub(crate) struct Element {
    /// Without the prefix of its namespace.
    name: String,
    /// The text between its children, with the spaces around it.
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Parses a document, and returns its root. Returns `None` if it is not UTF-8 or not
    /// well-formed, if it has entities of its own, and if it is too large or too deep.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_str(std::str::from_utf8(body).ok()?);
        // `<a/>` is read as `<a></a>`.
        reader.config_mut().expand_empty_elements = true;
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        for _ in 0..MAX_ELEMENTS {
            match read_until_tag(&mut reader, &mut open)? {
                Event::Start(_) if root.is_some() || open.len() == MAX_DEPTH => return None,
                Event::Start(tag) => open.push(Self::named(tag.local_name().as_ref())?),
                // The reader has compared the names.
                Event::End(_) => {
                    let done = open.pop()?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => root = Some(done),
                    }
                }
                _ => return root.filter(|_| open.is_empty()),
            }
        }
        None
    }

    fn named(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?.to_owned();
        Some(Self { name, ..Self::default() })
    }

    /// Returns its name, without the prefix of its namespace.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Reads each child of this name. Returns `None` if one of them cannot be read.
    pub(crate) fn all<T: FromElement>(&self, name: &str) -> Option<Vec<T>> {
        let named = self.children.iter().filter(|child| child.name == name);
        named.map(T::from_element).collect()
    }

    /// Returns the text of a child as it is, or `None` if there is no such child.
    pub(crate) fn verbatim(&self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text.clone())
    }

    /// Returns the text of a child without the spaces around it, or `None` if there is no such
    /// child.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text.trim().to_owned())
    }

    /// Returns the text of a child without the spaces around it. Without such a child it is empty.
    pub(crate) fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// Returns the number in a child. Without such a child it is 0. Returns `None` if it is no
    /// number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.child(name).map_or(Some(0), |child| child.text.trim().parse().ok())
    }

    /// Returns the truth value in a child. Without such a child it is `false`. Returns `None` if it
    /// is another text.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.child(name).map(|child| child.text.trim()) {
            None | Some("false" | "0") => Some(false),
            Some("true" | "1") => Some(true),
            Some(_) => None,
        }
    }
}

/// What is read from an element.
pub(crate) trait FromElement: Sized {
    /// Returns `None` if a part that must be there is missing or is no value of its kind.
    fn from_element(element: &Element) -> Option<Self>;
}

/// Reads text into the innermost open element, up to the beginning or the end of an element or of
/// the document.
fn read_until_tag<'a>(reader: &mut Reader<&'a [u8]>, open: &mut [Element]) -> Option<Event<'a>> {
    loop {
        let text = match reader.read_event().ok()? {
            Event::Text(text) => text.xml10_content().ok()?,
            Event::CData(data) => data.xml10_content().ok()?,
            Event::GeneralRef(reference) => resolve(&reference)?.into(),
            tag @ (Event::Start(_) | Event::End(_) | Event::Eof) => return Some(tag),
            _ => continue,
        };
        if let Some(element) = open.last_mut() {
            element.text.push_str(&text);
        }
    }
}

/// Returns what a reference to a character or to one of the five entities of XML stands for.
fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref().ok()? {
        Some(character) => Some(character.to_string()),
        None => resolve_xml_entity(&reference.decode().ok()?).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> Option<String> {
        Element::parse(body.as_bytes())?.verbatim("k")
    }

    #[test]
    fn text_is_read_with_its_references_and_spaces() {
        for (body, expected) in [
            ("<r><k> a&amp;&lt;b&gt;&#x20ac;&#33; </k></r>", " a&<b>€! "),
            ("<r><k><![CDATA[<&]]>x</k></r>", "<&x"),
            ("<r><k>a<!-- no text -->b</k></r>", "ab"),
            ("<n:r xmlns:n='u'>\n <n:k/>\n</n:r>", ""),
            ("  \n<?xml version='1.0'?>\n<r><k>a</k></r>\n", "a"),
        ] {
            assert_eq!(text(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn a_document_that_is_not_well_formed_is_refused() {
        for body in [
            "",
            "text",
            "<r><k>a</k>",
            "<r><k>a</r></k>",
            "<r/><r/>",
            "<r><k>&other;</k></r>",
            "<!DOCTYPE r [<!ENTITY e 'x'>]><r><k>&e;</k></r>",
            "<r><k>&#0;</k></r>",
        ] {
            assert!(Element::parse(body.as_bytes()).is_none(), "{body}");
        }
        assert!(Element::parse(b"<r>\xff</r>").is_none());
    }

    #[test]
    fn a_document_that_is_too_large_or_too_deep_is_refused() {
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(Element::parse(nested(MAX_DEPTH).as_bytes()).is_some());
        assert!(Element::parse(nested(MAX_DEPTH + 1).as_bytes()).is_none());
        let wide = |count| format!("<r>{}</r>", "<a></a>".repeat(count));
        assert!(Element::parse(wide(1000).as_bytes()).is_some());
        assert!(Element::parse(wide(MAX_ELEMENTS).as_bytes()).is_none());
    }

    #[test]
    fn a_number_or_flag_that_is_none_is_refused() {
        let element = Element::parse(b"<r><n> 7 </n><f>true</f><x>y</x></r>").unwrap();
        assert_eq!((element.number("n"), element.number("none")), (Some(7), Some(0)));
        assert_eq!((element.flag("f"), element.flag("none")), (Some(true), Some(false)));
        assert_eq!((element.number("x"), element.flag("x")), (None, None));
        assert_eq!(element.number("f"), None);
    }
}
