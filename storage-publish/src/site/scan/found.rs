//! What tokenizers find in a file: references and mentions of other files.

use std::collections::HashSet;
use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::decoded::Decoded;
use super::words::parts;

/// What a reference means for the file that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The reference must name a file.
    Asset,
    /// The reference may be a route of the application, which no file has.
    Link,
    /// The file may be missing, because only the tools of developers load it.
    SourceMap,
    /// The text may be a name that a program uses at run time. The file keeps its name.
    Mention,
    /// A program completes the text at run time. Files with this beginning keep their names.
    Prefix,
    /// The text is a directory, to which a program adds a name. The files of the directory keep
    /// their names, unless the file with the text is in it: programs look up where they are, and
    /// name files that are mentioned elsewhere.
    Directory,
}

/// A reference of a file.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) url: Decoded,
    pub(crate) role: Role,
}

/// An `integrity` of a file that the same element refers to.
#[derive(Clone, Debug)]
pub(crate) struct Integrity {
    pub(crate) value: Decoded,
    pub(crate) url: Decoded,
}

/// What the tokenizers found in a file.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) references: Vec<Reference>,
    pub(crate) integrity: Vec<Integrity>,
    /// The values of `<meta http-equiv="Content-Security-Policy">`.
    pub(crate) policies: Vec<Decoded>,
    /// Where the texts of scripts and style sheets are in a page.
    pub(crate) texts: Vec<Range<usize>>,
    /// The value of `<base href>`.
    pub(crate) base: Option<String>,
    /// Places that a tokenizer could not read, and why.
    pub(crate) problems: Vec<(usize, String)>,
    /// The last segments of the paths of all files. A text that ends in another one is no mention.
    names: &'a HashSet<&'a str>,
    /// The paths of the mentions, so that each is one reference.
    mentioned: HashSet<String>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(names: &'a HashSet<&'a str>) -> Self {
        Self {
            references: Vec::new(),
            integrity: Vec::new(),
            policies: Vec::new(),
            texts: Vec::new(),
            base: None,
            problems: Vec::new(),
            names,
            mentioned: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, url: Option<Decoded>, role: Role) {
        if let Some(url) = url {
            self.references.push(Reference { url, role });
        }
    }

    /// Adds a text if it may name a file.
    pub(super) fn mention(&mut self, url: &Decoded) {
        if self.is_new_mention(&url.text) {
            self.add(Some(url.clone()), Role::Mention);
        }
    }

    /// Adds the parts of a text that may name files, such as the URLs of
    /// `<img srcset="a.png 1x, b.png 2x">`, and the text as a whole.
    pub(super) fn mention_words(&mut self, text: &Decoded) {
        self.mention_parts(text);
        // `img\/a.png` is JSON within another text.
        if text.text.contains("\\/") {
            let plain = text.text.replace("\\/", "/");
            self.mention_parts(&Decoded::without_offsets(plain, text.start()));
        }
    }

    fn mention_parts(&mut self, text: &Decoded) {
        self.mention(text);
        for range in parts(&text.text) {
            if self.is_new_mention(&text.text[range.clone()]) {
                self.add(text.slice(range), Role::Mention);
            }
        }
    }

    /// Returns whether a text ends in the name of a file and was not found before.
    fn is_new_mention(&mut self, url: &str) -> bool {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_name = self.names.contains(name) || {
            let decoded = name.contains('%').then(|| percent_decode_str(name).decode_utf8());
            decoded.is_some_and(|decoded| decoded.is_ok_and(|name| self.names.contains(&*name)))
        };
        is_name && self.mentioned.insert(path.to_owned())
    }

    /// Reads a part of a file that has another language, and whose places are those of `outer`.
    pub(super) fn read_within(&mut self, outer: &Decoded, read: impl FnOnce(&[u8], &mut Scan<'_>)) {
        let mut inner = Scan::new(self.names);
        read(outer.text.as_bytes(), &mut inner);
        for reference in inner.references {
            self.references.push(Reference { url: reference.url.within(outer), ..reference });
        }
        for integrity in inner.integrity {
            let Integrity { value, url } = integrity;
            let (value, url) = (value.within(outer), url.within(outer));
            self.integrity.push(Integrity { value, url });
        }
        let place = |at: usize| outer.offset(at).unwrap_or(outer.start());
        self.problems.extend(inner.problems.into_iter().map(|(at, text)| (place(at), text)));
    }

    /// Reads a part of a file that stands in it as it is, from `start`.
    pub(super) fn read_part(&mut self, part: &[u8], start: usize, read: fn(&[u8], &mut Scan<'_>)) {
        let mut inner = Scan::new(self.names);
        read(part, &mut inner);
        for reference in inner.references {
            self.references.push(Reference { url: reference.url.shifted(start), ..reference });
        }
        for Integrity { value, url } in inner.integrity {
            let (value, url) = (value.shifted(start), url.shifted(start));
            self.integrity.push(Integrity { value, url });
        }
        self.problems.extend(inner.problems.into_iter().map(|(at, text)| (start + at, text)));
    }
}
