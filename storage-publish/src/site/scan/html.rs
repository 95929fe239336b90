//! References of HTML pages, with the style sheets, scripts and import maps within them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, Tokenizer};

use super::decoded::{Decoded, decode_references};
use super::elements::{Place, read_attribute};
use super::found::{Integrity, Scan};
use super::{css, javascript, json, manifest, words};

/// The header that a `<meta>` of this name stands for.
const POLICY: &str = "content-security-policy";

/// Finds the references of an HTML page.
pub(crate) fn scan(bytes: &[u8], scan: &mut Scan<'_>) {
    scan_page(Page { bytes, is_xml: false, foreign: Vec::new(), embedded: None, scan });
}

/// Finds the references of an HTML page in the syntax of XML.
pub(crate) fn scan_xhtml(bytes: &[u8], scan: &mut Scan<'_>) {
    scan_page(Page { bytes, is_xml: true, foreign: Vec::new(), embedded: None, scan });
}

fn scan_page(mut page: Page<'_, '_, '_>) {
    let bytes = page.bytes;
    let tag = Rc::new(RefCell::new(Tag::default()));
    let emitter = CallbackEmitter::new({
        let tag = Rc::clone(&tag);
        move |event: CallbackEvent<'_>, span| tag.borrow_mut().add(&event, span, bytes)
    });
    let mut tokens = Tokenizer::new_with_emitter(bytes, emitter);
    while let Some(Ok(boundary)) = tokens.next() {
        match boundary {
            Boundary::Start(tag) => {
                if let Some(state) = page.start(&tag) {
                    tokens.set_state(state);
                }
            }
            Boundary::End { name, start } => page.end(&name, start),
        }
    }
    page.finish();
}

/// The beginning or the end of an element.
enum Boundary {
    Start(Tag),
    End { name: String, start: usize },
}

/// A tag whose parts the tokenizer reports one by one.
#[derive(Default)]
struct Tag {
    name: String,
    attributes: Vec<(String, Option<Decoded>)>,
    is_self_closing: bool,
    end: usize,
}

impl Tag {
    fn add(
        &mut self,
        event: &CallbackEvent<'_>,
        span: Span<usize>,
        bytes: &[u8],
    ) -> Option<Boundary> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                *self = Self { name: lower_case(name), ..Self::default() };
            }
            CallbackEvent::AttributeName { name } => {
                self.attributes.push((lower_case(name), None));
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some((_, found)) = self.attributes.last_mut() {
                    let raw = bytes.get(span.start..span.end).unwrap_or_default();
                    *found = Some(decode_references(raw, span.start, Some(value)));
                }
            }
            CallbackEvent::CloseStartTag { self_closing } => {
                self.is_self_closing = *self_closing;
                self.end = span.end;
                return Some(Boundary::Start(std::mem::take(self)));
            }
            CallbackEvent::EndTag { name } => {
                *self = Self::default();
                return Some(Boundary::End { name: lower_case(name), start: span.start });
            }
            _ => {}
        }
        None
    }

    /// Returns the value of an attribute. Of several with one name, the first one counts.
    fn attribute(&self, name: &str) -> Option<&Decoded> {
        self.attributes.iter().find(|(found, _)| found == name)?.1.as_ref()
    }

    fn text(&self, name: &str) -> &str {
        self.attribute(name).map_or("", |value| value.text.trim())
    }
}

fn lower_case(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

type Read = fn(&[u8], &mut Scan<'_>);

struct Page<'a, 'b, 'c> {
    bytes: &'a [u8],
    is_xml: bool,
    /// The elements around that change the namespace: `svg`, `math`, and those within that contain
    /// HTML again.
    foreign: Vec<String>,
    /// The style sheet or script that is read: the element, where it begins, and its tokenizer.
    embedded: Option<(String, usize, Read)>,
    scan: &'b mut Scan<'c>,
}

impl Page<'_, '_, '_> {
    fn is_foreign(&self) -> bool {
        self.foreign.last().is_some_and(|name| name == "svg" || name == "math")
    }

    /// Reads a start tag. Returns the state of the tokenizer for the text of the element.
    fn start(&mut self, tag: &Tag) -> Option<State> {
        let is_foreign = self.is_foreign();
        let changes_namespace = match tag.name.as_str() {
            "svg" | "math" => true,
            "foreignobject" | "desc" | "title" => is_foreign,
            _ => false,
        };
        self.attributes(tag, is_foreign || changes_namespace);
        // In SVG and XML, `<title/>` has no content. In HTML, the slash has no meaning.
        if (self.is_xml || is_foreign || changes_namespace) && tag.is_self_closing {
            return None;
        }
        if changes_namespace {
            self.foreign.push(tag.name.clone());
            return None;
        }
        if let Some(read) = embedded_language(tag) {
            self.embedded = Some((tag.name.clone(), tag.end, read));
        }
        if is_foreign { None } else { text_state(&tag.name) }
    }

    fn end(&mut self, name: &str, start: usize) {
        if self.foreign.last().is_some_and(|open| open == name) {
            self.foreign.pop();
        }
        if self.embedded.as_ref().is_some_and(|(open, _, _)| open == name) {
            self.read_embedded(start);
        }
    }

    /// Reads a style sheet that the page does not end.
    fn finish(mut self) {
        self.read_embedded(self.bytes.len());
    }

    fn read_embedded(&mut self, end: usize) {
        if let Some((_, start, read)) = self.embedded.take()
            && let Some(text) = self.bytes.get(start..end)
        {
            self.scan.texts.push(start..end);
            self.scan.read_part(text, start, read);
        }
    }

    fn attributes(&mut self, tag: &Tag, is_svg: bool) {
        if tag.name == "base" {
            if self.scan.base.is_none() {
                self.scan.base = tag.attribute("href").map(|value| value.text.clone());
            }
            return;
        }
        let meta = ["property", "name", "itemprop"].map(|name| tag.text(name));
        let meta = meta.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let rel = tag.text("rel");
        let mut names = HashSet::new();
        for (name, value) in &tag.attributes {
            let is_first = names.insert(name);
            let Some(value) = value.clone().filter(|_| is_first) else { continue };
            let place = Place { element: &tag.name, attribute: name, rel, meta, is_svg };
            read_attribute(place, value, self.scan);
        }
        self.integrity(tag);
        if tag.name == "meta" && tag.text("http-equiv").eq_ignore_ascii_case(POLICY) {
            self.scan.policies.extend(tag.attribute("content").cloned());
        }
    }

    fn integrity(&mut self, tag: &Tag) {
        let url = match tag.name.as_str() {
            "script" => tag.attribute("src"),
            "link" => tag.attribute("href"),
            _ => None,
        };
        if let (Some(value), Some(url)) = (tag.attribute("integrity"), url) {
            self.scan.integrity.push(Integrity { value: value.clone(), url: url.clone() });
        }
    }
}

/// Returns the tokenizer for the text of an element, if it has a language.
fn embedded_language(tag: &Tag) -> Option<Read> {
    match tag.name.as_str() {
        "style" => Some(css::scan),
        "script" if tag.attribute("src").is_none() => {
            let kind = tag.text("type").to_ascii_lowercase();
            match kind.as_str() {
                "" | "module" => Some(javascript::scan),
                "importmap" => Some(manifest::scan_import_map),
                "speculationrules" => Some(json::scan_mentions),
                _ if kind.ends_with("/json") || kind.ends_with("+json") => {
                    Some(json::scan_mentions)
                }
                _ if kind.ends_with("javascript") || kind.ends_with("ecmascript") => {
                    Some(javascript::scan)
                }
                // A template, or the data of a program.
                _ => Some(words::scan),
            }
        }
        _ => None,
    }
}

/// Returns how the text of an element is read: HTML, section 13.2.6. `<noscript>` is read as by a
/// browser without scripts, so that its images are found.
fn text_state(element: &str) -> Option<State> {
    match element {
        "title" | "textarea" => Some(State::RcData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(State::RawText),
        "script" => Some(State::ScriptData),
        "plaintext" => Some(State::PlainText),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
