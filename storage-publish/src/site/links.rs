//! What one file says about others: references that can be rewritten, and files that must keep
//! their names.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use storage_core::{Error, ErrorKind, Result};

use super::options::SiteOptions;
use super::patterns::Patterns;
use super::policy::Policy;
use super::problems::Problem;
use super::read;
use super::resolve::{Base, Resolver, Target, insertion_point, path_range};
use super::scan::{self, Decoded, Language, Role, Scan};
use super::source_map::{Place, places};
use super::walk::Source;

/// A reference that can be rewritten: the place at which the hash of the target is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    pub(crate) at: usize,
    pub(crate) target: usize,
}

/// An `integrity` of another file.
#[derive(Clone, Debug)]
pub(crate) struct IntegrityOf {
    pub(crate) range: Range<usize>,
    pub(crate) value: String,
    pub(crate) target: usize,
}

/// What a file says about others, and its hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    pub(crate) sha256: [u8; 32],
    pub(crate) size: u64,
    /// Sorted by place.
    pub(crate) links: Vec<Link>,
    pub(crate) integrity: Vec<IntegrityOf>,
    pub(crate) policy: Policy,
    /// Whether nothing is rewritten, so that all files to which it refers must keep their names.
    pub(crate) is_verbatim: bool,
    /// Files that are mentioned in a way that cannot be rewritten.
    pub(crate) mentions: BTreeSet<usize>,
    /// The ends of paths that are mentioned so.
    pub(crate) mentioned_ends: BTreeSet<PathEnd>,
    /// Beginnings of paths that a program completes.
    pub(crate) prefixes: BTreeSet<String>,
    /// The source map of the file, and the places of `links`, in which columns move.
    pub(crate) source_map: Option<usize>,
    pub(crate) places: Vec<Place>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

/// The files whose paths have one end: a range of [`Reader::by_end`]. Many files may mention a name
/// that many directories have, so the files are not enumerated for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathEnd {
    first: usize,
    end: usize,
}

/// Finds what files say about others.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    resolver: Resolver<'a>,
    names: HashSet<&'a str>,
    /// All files, in the order of their paths read from the end.
    by_end: Vec<usize>,
    keep_mentioned: bool,
    ignore: Patterns,
    verbatim: Patterns,
    max_text_bytes: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(sources: &'a [Source], options: &SiteOptions) -> Result<Self> {
        let paths = || sources.iter().map(|source| source.path.as_str());
        let reversed = |file: &usize| sources[*file].path.bytes().rev();
        let mut by_end: Vec<_> = (0..sources.len()).collect();
        by_end.sort_unstable_by(|a, b| reversed(a).cmp(reversed(b)));
        let ignored = options.ignore_references.iter().map(String::as_str);
        let verbatim = options.verbatim.iter().map(String::as_str);
        Ok(Self {
            resolver: Resolver::new(&options.base_path, paths()),
            names: paths().map(last_segment).collect(),
            by_end,
            keep_mentioned: options.keep_mentioned,
            ignore: Patterns::new("ignore_references", ignored)?,
            verbatim: Patterns::new("verbatim", verbatim)?,
            max_text_bytes: options.max_text_bytes,
        })
    }

    /// Reads a file and returns what it says about others. A file that is no text is only hashed,
    /// in parts.
    pub(crate) fn read(&self, source: &Source) -> Result<Links> {
        if self.verbatim.matches(&source.path) {
            return self.read_verbatim(source);
        }
        let language = match Language::of(&source.path) {
            Some(language) => language,
            None if self.may_mention(source)? => Language::Text,
            None => return hashed(source),
        };
        match read::read(source, self.max_text_bytes)? {
            Some(bytes) => Ok(self.links(source, language, &bytes)),
            None if language.only_mentions() => hashed(source),
            None => Err(self.too_large(source)),
        }
    }

    /// Reads a file that is published as it is. A file that is too large is only hashed.
    fn read_verbatim(&self, source: &Source) -> Result<Links> {
        let language = match Language::of(&source.path) {
            None if self.may_mention(source)? => Some(Language::Text),
            language => language,
        };
        let Some(language) = language else { return hashed(source) };
        let Some(bytes) = read::read(source, self.max_text_bytes)? else { return hashed(source) };
        let mut read = self.links(source, language, &bytes);
        read.mentions.extend(read.links.iter().map(|link| link.target));
        // The name that a program completes may be that of any file.
        read.prefixes.remove("");
        Ok(Links {
            sha256: read.sha256,
            size: read.size,
            mentions: read.mentions,
            mentioned_ends: read.mentioned_ends,
            prefixes: read.prefixes,
            is_verbatim: true,
            ..Links::default()
        })
    }

    /// Returns whether a file without a language may name others. A source map names the files
    /// from which a bundler made one, and only the tools of developers read it.
    fn may_mention(&self, source: &Source) -> Result<bool> {
        let is_map = source.path.to_ascii_lowercase().ends_with(".map");
        Ok(self.keep_mentioned && !is_map && read::begins_as_text(source)?)
    }

    /// Returns whether references of the file with this path are ignored if they are wrong.
    pub(crate) fn is_ignored(&self, path: &str) -> bool {
        self.ignore.matches(path)
    }

    /// Returns the end of the paths of all files that have this path below any directory, or `None`
    /// if there are none.
    fn path_end(&self, path: &str) -> Option<PathEnd> {
        let ending = format!("/{path}");
        let path_of = |file: &usize| self.resolver.path(*file);
        let is_before = |file: &usize| path_of(file).bytes().rev().lt(ending.bytes().rev());
        let first = self.by_end.partition_point(is_before);
        let count = self.by_end[first..].partition_point(|file| path_of(file).ends_with(&ending));
        (count > 0).then_some(PathEnd { first, end: first + count })
    }

    /// Returns the files whose paths have this end.
    pub(crate) fn files_with(&self, end: PathEnd) -> &[usize] {
        &self.by_end[end.first..end.end]
    }

    fn too_large(&self, source: &Source) -> Error {
        let message = format!(
            "the file is larger than {} bytes, so that its references are not read: name \
             it in `verbatim` to publish it as it is, or raise `SiteOptions::max_text_bytes`",
            self.max_text_bytes
        );
        Error::new(ErrorKind::TooLarge, message).with_key(&source.path)
    }

    fn links(&self, source: &Source, language: Language, bytes: &[u8]) -> Links {
        let mut scan = Scan::new(&self.names);
        scan::read(language, bytes, &mut scan);
        let page = self.resolver.base_of(&source.path);
        let base = match &scan.base {
            Some(href) => self.resolver.base_from(&page, href),
            None => page,
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (sha256, policy) = (read::sha256(bytes), Policy::of(&scan));
        let links = Links { sha256, size, policy, ..Links::default() };
        let problems = std::mem::take(&mut scan.problems);
        let warnings = Vec::new();
        let mut file = FileLinks { reader: self, source, bytes, base, links, problems, warnings };
        for reference in &scan.references {
            file.reference(&reference.url, reference.role);
        }
        for integrity in &scan.integrity {
            file.integrity(&integrity.value, &integrity.url);
        }
        file.finish()
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn hashed(source: &Source) -> Result<Links> {
    let (sha256, size) = read::hash(source)?;
    Ok(Links { sha256, size, ..Links::default() })
}

struct FileLinks<'a, 'b> {
    reader: &'a Reader<'b>,
    source: &'a Source,
    bytes: &'a [u8],
    base: Base,
    links: Links,
    /// What is wrong, and where in the file.
    problems: Vec<(usize, String)>,
    warnings: Vec<(usize, String)>,
}

impl FileLinks<'_, '_> {
    fn reference(&mut self, url: &Decoded, role: Role) {
        match role {
            Role::Prefix => {
                let prefix = self.reader.resolver.prefix(&self.base, &url.text);
                if prefix.as_deref() == Some("") {
                    self.warn_of_any_name(url);
                }
                self.links.prefixes.extend(prefix);
            }
            Role::Directory => {
                let prefix = self.reader.resolver.prefix(&self.base, &url.text);
                let is_around = |prefix: &String| self.source.path.starts_with(prefix.as_str());
                self.links.prefixes.extend(prefix.filter(|prefix| !is_around(prefix)));
            }
            Role::Mention => self.mention(url),
            Role::Asset | Role::Link | Role::SourceMap => self.link(url, role),
        }
    }

    /// Keeps the names of files that a text may name: relative to the file, to the site's root, or
    /// to any directory, because a program may put a directory before the text.
    fn mention(&mut self, url: &Decoded) {
        let path = url.text[path_range(&url.text)].trim_start_matches("./");
        let path = path.trim_start_matches("../").trim_start_matches('/');
        self.links.mentioned_ends.extend(self.reader.path_end(path));
        self.links.mentions.extend(self.reader.resolver.file(path));
        let resolver = &self.reader.resolver;
        for base in [&self.base, &resolver.base_of("")] {
            if let Target::File(target) = resolver.resolve(base, &url.text).target {
                self.links.mentions.insert(target);
            }
        }
    }

    fn link(&mut self, url: &Decoded, role: Role) {
        let resolved = self.reader.resolver.resolve(&self.base, &url.text);
        match resolved.target {
            Target::File(target) if resolved.has_host => {
                self.links.mentions.insert(target);
            }
            Target::File(target) => self.link_to(url, role, target),
            Target::Missing(path) if !resolved.has_host => self.missing(url, role, &path),
            Target::Missing(_) | Target::Outside | Target::Directory => {}
        }
    }

    fn link_to(&mut self, url: &Decoded, role: Role, target: usize) {
        let path = self.reader.resolver.path(target);
        let at = insertion_point(&url.text, path).and_then(|index| url.offset(index));
        match at {
            Some(at) => self.links.links.push(Link { at, target }),
            // The reference is written in a way in which nothing can be inserted.
            None => {
                self.links.mentions.insert(target);
            }
        }
        if role == Role::SourceMap {
            self.links.source_map = Some(target);
        }
    }

    fn warn_of_any_name(&mut self, url: &Decoded) {
        let message = "the program completes this name, which may be that of any file, so all \
                       files keep their names: move what it imports into a directory, or name this \
                       file in `verbatim`";
        self.warnings.push((url.start(), message.to_owned()));
    }

    fn missing(&mut self, url: &Decoded, role: Role, path: &str) {
        let is_utf8 = !path.contains(char::REPLACEMENT_CHARACTER);
        let is_link = role == Role::Link;
        if (is_link && is_utf8) || self.reader.is_ignored(path) {
            return;
        }
        let reason = if is_utf8 { "" } else { ": it is not UTF-8" };
        let message = format!("`{}` names no file of the site{reason}", url.text.trim());
        match role {
            // Only the tools of developers load it, and packages often come without it. A link may
            // be a route.
            Role::SourceMap | Role::Link => self.warnings.push((url.start(), message)),
            _ => self.problems.push((url.start(), message)),
        }
    }

    fn integrity(&mut self, value: &Decoded, url: &Decoded) {
        let resolved = self.reader.resolver.resolve(&self.base, &url.text);
        let (Target::File(target), false) = (resolved.target, resolved.has_host) else { return };
        let (Some(start), Some(end)) = (value.offset(0), value.offset(value.text.len())) else {
            return;
        };
        let value = value.text.clone();
        self.links.integrity.push(IntegrityOf { range: start..end, value, target });
    }

    fn finish(mut self) -> Links {
        let describe = |found| Problem::all_at(&self.source.path, self.bytes, found);
        let links = &mut self.links;
        links.problems = describe(self.problems);
        links.warnings = describe(self.warnings);
        links.links.sort_unstable();
        links.links.dedup();
        if links.source_map.is_some() {
            let offsets: Vec<_> = links.links.iter().map(|link| link.at).collect();
            links.places = places(self.bytes, &offsets);
        }
        self.links
    }
}
