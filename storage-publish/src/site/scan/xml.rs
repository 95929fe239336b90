//! References of SVG, and mentions of files in other XML.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::decoded::{Decoded, decode_references};
use super::elements::{Place, read_attribute};
use super::found::{Role, Scan};
use super::{css, javascript};

/// Finds the references of an SVG image.
pub(crate) fn scan_svg(bytes: &[u8], scan: &mut Scan<'_>) {
    let mut style_start = None;
    let result = read_events(bytes, |event, range| match event {
        Event::Start(tag) | Event::Empty(tag) => {
            element(tag, bytes, scan);
            let is_text = matches!(local_name(tag), b"style" | b"script");
            style_start = (is_text && matches!(event, Event::Start(_))).then_some(range.end);
        }
        Event::End(tag) => {
            let read = match tag.local_name().into_inner() {
                b"style" => css::scan,
                b"script" => javascript::scan,
                _ => return,
            };
            if let Some(start) = style_start.take() {
                embedded(&bytes[start..range.start], start, scan, read);
            }
        }
        Event::PI(instruction) if instruction.target() == b"xml-stylesheet" => {
            let url = pseudo_attribute(instruction.content(), bytes);
            scan.add(url, Role::Asset);
        }
        _ => {}
    });
    scan.problems.extend(result.err());
}

/// Finds the texts of a feed or other XML that may be names of files.
pub(crate) fn scan_mentions(bytes: &[u8], scan: &mut Scan<'_>) {
    let mut text_start = 0;
    let result = read_events(bytes, |event, range| {
        // These are parts of one text.
        if matches!(event, Event::Text(_) | Event::GeneralRef(_)) {
            return;
        }
        mention_text(&bytes[text_start..range.start], text_start, scan);
        text_start = range.end;
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                for attribute in tag.attributes().with_checks(false).flatten() {
                    let place = place_of(&attribute.value, bytes).unwrap_or(range.start);
                    scan.mention_words(&decode_references(&attribute.value, place, None));
                }
            }
            Event::PI(instruction) => mention_text(instruction.content(), range.start, scan),
            Event::CData(data) => scan.mention_words(&Decoded::plain(data, range.start)),
            _ => {}
        }
    });
    // XML that is not well-formed is a text from there on.
    let _ = result;
    mention_text(&bytes[text_start..], text_start, scan);
}

fn mention_text(text: &[u8], start: usize, scan: &mut Scan<'_>) {
    let before = text.len() - text.trim_ascii_start().len();
    scan.mention_words(&decode_references(text.trim_ascii(), start + before, None));
}

/// Calls `read` with each event and its place. Returns where and why the text is not well-formed.
fn read_events(
    bytes: &[u8],
    mut read: impl FnMut(&Event<'_>, std::ops::Range<usize>),
) -> Result<(), (usize, String)> {
    let mut reader = Reader::from_reader(bytes);
    let config = reader.config_mut();
    // Browsers report wrong names of ends, and this is no validator.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let position = |reader: &Reader<&[u8]>| {
        usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(bytes.len())
    };
    loop {
        let start = position(&reader);
        match reader.read_event() {
            Ok(Event::Eof) => return Ok(()),
            Ok(event) => read(&event, start..position(&reader)),
            Err(error) => {
                let at = usize::try_from(reader.error_position()).unwrap_or(start);
                return Err((at.min(bytes.len()), format!("is no well-formed XML: {error}")));
            }
        }
    }
}

fn local_name<'a>(tag: &'a BytesStart<'_>) -> &'a [u8] {
    tag.local_name().into_inner()
}

fn element(tag: &BytesStart<'_>, bytes: &[u8], scan: &mut Scan<'_>) {
    let Ok(element) = std::str::from_utf8(local_name(tag)) else { return };
    for attribute in tag.attributes().with_checks(false).flatten() {
        let Ok(name) = std::str::from_utf8(attribute.key.into_inner()) else { continue };
        if name.starts_with("xmlns") {
            continue;
        }
        let name = if name.ends_with(":href") { "href" } else { name };
        let Some(start) = place_of(&attribute.value, bytes) else { continue };
        let value = decode_references(&attribute.value, start, None);
        let place = Place { element, attribute: name, rel: "", meta: "", is_svg: true };
        read_attribute(place, value, scan);
    }
}

/// Returns where a part of the file begins in it.
fn place_of(part: &[u8], bytes: &[u8]) -> Option<usize> {
    let index = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    (index + part.len() <= bytes.len()).then_some(index)
}

/// Reads a style sheet or a script, of which CDATA sections contain the whole or nothing.
fn embedded(text: &[u8], start: usize, scan: &mut Scan<'_>, read: fn(&[u8], &mut Scan<'_>)) {
    let trimmed = text.trim_ascii();
    let inner = trimmed.strip_prefix(b"<![CDATA[").and_then(|text| text.strip_suffix(b"]]>"));
    match inner {
        Some(inner) => {
            let before = text.len() - text.trim_ascii_start().len() + b"<![CDATA[".len();
            scan.read_part(inner, start + before, read);
        }
        None if text.contains(&b'&') => {
            scan.read_within(&decode_references(text, start, None), read);
        }
        None => scan.read_part(text, start, read),
    }
}

/// Returns the `href` of `<?xml-stylesheet href="style.css"?>`.
fn pseudo_attribute(content: &[u8], bytes: &[u8]) -> Option<Decoded> {
    let at = content.windows(5).position(|window| window == b"href=")? + 5;
    let quote = *content.get(at)?;
    let value = &content[at + 1..];
    let length = value.iter().position(|byte| *byte == quote)?;
    let value = &value[..length];
    Some(decode_references(value, place_of(value, bytes)?, None))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found as found_in, found_with};
    use super::super::{Language, Scan, read};

    fn found(text: &str) -> Vec<String> {
        found_in(Language::Svg, text.as_bytes())
    }

    #[test]
    fn references_of_images_and_links_are_found() {
        let text =
            "\u{feff}<?xml version='1.0'?>\r\n<?xml-stylesheet type='text/css' href='a.css'?>
            <svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'>
            <image href='b.png'/><image xlink:href=\"c&amp;d.png\" width='1'/><a href='e.html'/>
            <use href='#f'/><use xlink:href='g.svg#h'></use><script href='i.js'/>
            <!-- <image href='j.png'/> --></svg>";
        let expected = ["Asset a.css", "Asset b.png", "Asset c&d.png", "Link e.html", "Asset #f"];
        let rest = ["Asset g.svg#h", "Asset i.js"];
        assert_eq!(found(text), expected.into_iter().chain(rest).collect::<Vec<_>>());
    }

    #[test]
    fn style_sheets_and_presentation_attributes_are_read() {
        let text = "<svg><style>a{b:url(a.png)}</style><style><![CDATA[ @import 'b.css'; ]]>
            </style><style>a&gt;b{c:url(&quot;c.png&quot;)}</style><g fill='url(#d)'
            style='e:url(e.png)' filter=\"url('f.svg#g')\"/><text>url(h.png)</text>
            <script><![CDATA[ import './i.js'; ]]></script></svg>";
        let expected = ["Asset a.png", "Asset b.css", "Asset c.png", "Asset #d", "Asset e.png"];
        let rest = ["Asset f.svg#g", "Asset ./i.js"];
        assert_eq!(found(text), expected.into_iter().chain(rest).collect::<Vec<_>>());
    }

    #[test]
    fn a_document_type_with_entities_is_read() {
        let text = "<!DOCTYPE svg [<!ENTITY ns 'http://x/'>]><svg xmlns='&ns;' a='&ns;'>
            <text>&ns; & b</text><image href='a.png'/></svg>";
        assert_eq!(found(text), ["Asset a.png"]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_do_not_disturb_what_follows() {
        let text = b"<svg><g id='\xff'/><image href='\xff.png'/><image href='a.png'/></svg>";
        assert_eq!(found_in(Language::Svg, text), ["Asset \u{fffd}.png", "Asset a.png"]);
    }

    #[test]
    fn an_image_that_is_not_well_formed_is_a_problem() {
        let names = Default::default();
        let mut scan = Scan::new(&names);
        read(Language::Svg, b"<svg><image href='a.png'/><g", &mut scan);
        assert_eq!((scan.references.len(), scan.problems.len()), (1, 1));
    }

    #[test]
    fn other_xml_has_mentions_alone() {
        let text = "<feed><link href='https://example.com/img/a.png'/><url> b.pdf\n</url></feed>";
        let found = found_with(Language::Xml, text.as_bytes(), &["a.png", "b.pdf"]);
        assert_eq!(found, ["Mention https://example.com/img/a.png", "Mention b.pdf"]);
    }

    #[test]
    fn other_xml_has_mentions_in_instructions_sections_and_escaped_html() {
        let text = "<?xml-stylesheet href=\"/a.xsl\"?><feed><![CDATA[<img src=\"x/b.png\">]]>
            <c>&lt;img src=\"d&amp;e.png\" /&gt;</c><g h='f.png 1x, g.png 2x'/></feed>";
        let names = ["a.xsl", "b.png", "d&e.png", "f.png", "g.png"];
        let expected = ["/a.xsl", "x/b.png", "d&e.png", "f.png", "g.png"];
        let found = found_with(Language::Xml, text.as_bytes(), &names);
        assert_eq!(found, expected.map(|url| format!("Mention {url}")));
    }

    #[test]
    fn xml_that_is_not_well_formed_has_mentions() {
        let found = found_with(Language::Xml, b"<a>x/a.png</a><!-- > b.png", &["a.png", "b.png"]);
        assert_eq!(found, ["Mention x/a.png", "Mention b.png"]);
    }
}
