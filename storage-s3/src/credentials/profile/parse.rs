//! The format of `~/.aws/config` and `~/.aws/credentials`.
//!
//! The format resembles INI, with differences. An indented line belongs to the property before it,
//! so that nested settings (`s3 =`, `[services]`) do not count as the section's own. `#` and `;`
//! begin a comment inside a value only after white space. Property names ignore case. The AWS SDKs
//! agree on these rules ("Configuration and credential file settings" in their reference guide).

use std::collections::BTreeMap;
use std::mem;

const WHITE: [char; 2] = [' ', '\t'];
const COMMENT: [char; 2] = ['#', ';'];

/// The sections of a file by name. Words of a name are separated by one space.
pub(super) type Sections = BTreeMap<String, Section>;
/// The properties of a section by name, in lower case.
pub(super) type Section = BTreeMap<String, Property>;

/// A property's value, or the settings nested below it.
#[derive(Default)]
pub(super) struct Property {
    pub(super) value: String,
    pub(super) nested: BTreeMap<String, String>,
}

/// A syntax error. Does not quote the line, which may contain a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParseError {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// Parses a file. A repeated section continues the first one. The last value of a repeated property
/// counts.
pub(super) fn parse(text: &str) -> Result<Sections, ParseError> {
    let mut parser = Parser::default();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        parser.line(line).map_err(|what| ParseError { line: index + 1, what })?;
    }
    parser.close_section();
    Ok(parser.sections)
}

#[derive(Default)]
struct Parser {
    sections: Sections,
    name: Option<String>,
    section: Section,
    /// The property that an indented line belongs to.
    property: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let bare = line.trim_matches(WHITE);
        if bare.is_empty() || bare.starts_with(COMMENT) {
            return Ok(());
        }
        if line.starts_with(WHITE) {
            return self.indented(bare);
        }
        match bare.strip_prefix('[') {
            Some(header) => self.header(header),
            None => self.property(bare),
        }
    }

    fn header(&mut self, header: &str) -> Result<(), &'static str> {
        let (name, _) = header.split_once(']').ok_or("a section's name does not end with ]")?;
        self.close_section();
        let words: Vec<_> = name.split(WHITE).filter(|word| !word.is_empty()).collect();
        self.name = Some(words.join(" "));
        Ok(())
    }

    fn close_section(&mut self) {
        self.property = None;
        let section = mem::take(&mut self.section);
        if let Some(name) = self.name.take() {
            self.sections.entry(name).or_default().extend(section);
        }
    }

    fn property(&mut self, line: &str) -> Result<(), &'static str> {
        if self.name.is_none() {
            return Err("a property before the first section");
        }
        let (name, value) = pair(without_comment(line))?;
        self.section
            .insert(name.clone(), Property { value: value.to_owned(), nested: BTreeMap::new() });
        self.property = Some(name);
        Ok(())
    }

    fn indented(&mut self, line: &str) -> Result<(), &'static str> {
        let property = self.property.as_ref().and_then(|name| self.section.get_mut(name));
        let property = property.ok_or("an indented line that belongs to no property")?;
        if property.value.is_empty() {
            let (name, value) = pair(without_comment(line))?;
            property.nested.insert(name, value.to_owned());
        } else {
            property.value.push('\n');
            property.value.push_str(line);
        }
        Ok(())
    }
}

fn pair(line: &str) -> Result<(String, &str), &'static str> {
    let (name, value) = line.split_once('=').ok_or("a property without =")?;
    let name = name.trim_matches(WHITE);
    if name.is_empty() {
        return Err("a property without a name");
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches(WHITE)))
}

fn without_comment(line: &str) -> &str {
    let comment = line.match_indices(COMMENT).find(|(at, _)| line[..*at].ends_with(WHITE));
    line[..comment.map_or(line.len(), |(at, _)| at)].trim_matches(WHITE)
}
