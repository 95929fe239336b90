//! Finds the file that a reference names.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use percent_encoding::percent_decode_str;

use super::naming::extension;

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing of this site, or the document itself.
    Outside,
    /// The file with this index.
    File(usize),
    Directory,
    /// A path that no file has.
    Missing(String),
}

/// A target, and whether the reference has a host. Such a reference is never rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) target: Target,
    pub(crate) has_host: bool,
}

/// The URL to which references are relative.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// The segments of its directory, from the root of the host.
    directory: Vec<String>,
    has_host: bool,
}

/// Finds files by references.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    /// The segments of the site's root.
    root: Vec<String>,
    paths: Vec<&'a str>,
    files: HashMap<&'a str, usize>,
    directories: HashSet<&'a str>,
}

impl<'a> Resolver<'a> {
    /// Takes the paths of all files, whose order makes their indices.
    pub(crate) fn new(base_path: &str, paths: impl Iterator<Item = &'a str>) -> Self {
        let segments = base_path.split('/').filter(|segment| !segment.is_empty());
        let root = segments.map(str::to_owned).collect();
        let paths: Vec<_> = paths.collect();
        let files: HashMap<_, _> =
            paths.iter().copied().enumerate().map(|(index, path)| (path, index)).collect();
        let directories_of =
            |path: &'a str| path.match_indices('/').map(move |(end, _)| &path[..end]);
        let directories = files.keys().flat_map(|path| directories_of(path)).collect();
        Self { root, paths, files, directories }
    }

    /// Returns the path of a file.
    pub(crate) fn path(&self, file: usize) -> &'a str {
        self.paths.get(file).copied().unwrap_or_default()
    }

    /// Returns the file with a path.
    pub(crate) fn file(&self, path: &str) -> Option<usize> {
        self.files.get(path).copied()
    }

    /// Returns the URL of a file, to which its references are relative.
    pub(crate) fn base_of(&self, path: &str) -> Base {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let segments = directory.split('/').filter(|segment| !segment.is_empty());
        let segments = segments.map(str::to_owned);
        Base { directory: self.root.iter().cloned().chain(segments).collect(), has_host: false }
    }

    /// Returns the base that `<base href>` sets.
    pub(crate) fn base_from(&self, base: &Base, href: &str) -> Base {
        let Some((path, has_host)) = path_of(href) else { return base.clone() };
        let has_host = has_host || base.has_host;
        match join(&base.directory, path) {
            Some((mut directory, is_directory)) => {
                if !is_directory {
                    directory.pop();
                }
                Base { directory, has_host }
            }
            None => base.clone(),
        }
    }

    /// Returns what a reference names.
    pub(crate) fn resolve(&self, base: &Base, url: &str) -> Resolved {
        let Some((path, has_host)) = path_of(url) else {
            return Resolved { target: Target::Outside, has_host: false };
        };
        let has_host = has_host || base.has_host;
        let target = if path.is_empty() { Target::Outside } else { self.target(base, path) };
        Resolved { target, has_host }
    }

    fn target(&self, base: &Base, path: &str) -> Target {
        let Some((segments, is_directory)) = join(&base.directory, path) else {
            return Target::Missing(path.to_owned());
        };
        let Some(segments) = segments.strip_prefix(&*self.root) else { return Target::Outside };
        let path = segments.join("/");
        match self.files.get(&*path) {
            Some(file) if !is_directory => Target::File(*file),
            _ if is_directory || path.is_empty() => Target::Directory,
            _ if self.directories.contains(&*path) => Target::Directory,
            _ => Target::Missing(path),
        }
    }

    /// Returns the beginning of the paths that a program may make of a beginning of a reference.
    pub(crate) fn prefix(&self, base: &Base, url: &str) -> Option<String> {
        let (path, has_host) = path_of(url)?;
        if has_host {
            return None;
        }
        let (segments, is_directory) = join(&base.directory, path)?;
        let mut prefix = segments.strip_prefix(&*self.root)?.join("/");
        if is_directory && !prefix.is_empty() {
            prefix.push('/');
        }
        Some(prefix)
    }
}

/// Returns where the path of a reference is in it: without the white space around it, and without
/// `?query` and `#fragment`.
pub(crate) fn path_range(url: &str) -> Range<usize> {
    let is_space = |character: char| character <= ' ';
    let start = url.len() - url.trim_start_matches(is_space).len();
    let end = start + url.trim_matches(is_space).len();
    let end = url[start..end].find(['?', '#']).map_or(end, |index| start + index);
    start..end
}

/// Returns the place in a reference before which the hash of its file stands, or `None` if the
/// extension is written in another way than in the file's name.
pub(crate) fn insertion_point(url: &str, path: &str) -> Option<usize> {
    let extension = extension(path);
    let range = path_range(url);
    let written = &url[range.clone()];
    // A name without extension must be written out, so that nothing of it is encoded.
    let name = path.rsplit('/').next()?;
    let end = if extension.is_empty() { name } else { extension };
    written.ends_with(end).then(|| range.end - extension.len())
}

/// Returns the path of a reference, and whether a host precedes it. Returns `None` for a reference
/// that no file can have, such as `data:`.
fn path_of(url: &str) -> Option<(&str, bool)> {
    let path = &url[path_range(url)];
    if let Some(rest) = path.strip_prefix("//") {
        return Some((after_host(rest), true));
    }
    let end = path.find(|character: char| !is_scheme_character(character));
    match end.map(|end| (&path[..end], &path[end..])) {
        Some((scheme, rest)) if rest.starts_with(':') && begins_with_letter(scheme) => {
            let is_web =
                scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
            let rest = rest.strip_prefix("://").filter(|_| is_web)?;
            Some((after_host(rest), true))
        }
        _ => Some((path, false)),
    }
}

fn is_scheme_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.')
}

fn begins_with_letter(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_alphabetic())
}

fn after_host(text: &str) -> &str {
    text.find('/').map_or("/", |index| &text[index..])
}

/// Returns the decoded segments of a path relative to a directory, and whether it ends in `/`.
/// Returns `None` if no file can have it.
fn join(directory: &[String], path: &str) -> Option<(Vec<String>, bool)> {
    let is_absolute = path.starts_with('/');
    let mut segments = if is_absolute { Vec::new() } else { directory.to_vec() };
    let mut is_directory = false;
    for segment in path.split('/') {
        let decoded = percent_decode_str(segment).decode_utf8().ok()?;
        is_directory = matches!(&*decoded, "" | "." | "..");
        match &*decoded {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name if name.contains(['/', '\0']) => return None,
            name => segments.push(name.to_owned()),
        }
    }
    Some((segments, is_directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 4] = ["css/app.css", "img/a b.png", "img/é.png", "index.html"];

    fn resolve(base_path: &str, from: &str, url: &str) -> Target {
        let resolver = Resolver::new(base_path, PATHS.into_iter());
        resolver.resolve(&resolver.base_of(from), url).target
    }

    #[test]
    fn relative_references_are_resolved() {
        for (url, expected) in [
            ("../img/a%20b.png?#iefix", Target::File(1)),
            ("../img/%C3%A9.png", Target::File(2)),
            ("../img/a b.png", Target::File(1)),
            (" app.css\n", Target::File(0)),
            ("./app.css#x", Target::File(0)),
            ("%61pp.css", Target::File(0)),
            ("../../../css/%2e/app.css", Target::File(0)),
            ("../img", Target::Directory),
            ("../", Target::Directory),
            ("x.css", Target::Missing("css/x.css".into())),
            ("app.css/", Target::Directory),
            ("..%2fcss/app.css", Target::Missing("..%2fcss/app.css".into())),
            ("%ff.css", Target::Missing("%ff.css".into())),
        ] {
            assert_eq!(resolve("/", "css/x.css", url), expected, "{url}");
        }
    }

    #[test]
    fn other_references_leave_the_site() {
        for url in ["", "#a", "?b", "data:image/png;base64,AA==", "blob:x", "mailto:a@b", "about:x"]
        {
            assert_eq!(resolve("/", "css/x.css", url), Target::Outside, "{url}");
        }
    }

    #[test]
    fn a_path_on_the_host_is_removed() {
        assert_eq!(resolve("/blog/", "css/x.css", "/blog/css/app.css"), Target::File(0));
        assert_eq!(resolve("/blog", "css/x.css", "../css/app.css"), Target::File(0));
        assert_eq!(resolve("/blog", "css/x.css", "/css/app.css"), Target::Outside);
        assert_eq!(resolve("/blog", "css/x.css", "../../css/app.css"), Target::Outside);
    }

    #[test]
    fn a_reference_with_a_host_is_marked() {
        let resolver = Resolver::new("/", PATHS.into_iter());
        let base = resolver.base_of("index.html");
        for url in ["https://example.com/css/app.css", "//example.com/css/app.css?x"] {
            let expected = Resolved { target: Target::File(0), has_host: true };
            assert_eq!(resolver.resolve(&base, url), expected);
        }
        assert_eq!(resolver.resolve(&base, "https://example.com").target, Target::Directory);
    }

    #[test]
    fn a_base_moves_relative_references() {
        let resolver = Resolver::new("/", PATHS.into_iter());
        let page = resolver.base_of("docs/a.html");
        let base = resolver.base_from(&page, "/css/x");
        assert_eq!(resolver.resolve(&base, "app.css").target, Target::File(0));
        let base = resolver.base_from(&page, "../css/");
        assert_eq!(resolver.resolve(&base, "app.css").target, Target::File(0));
        let base = resolver.base_from(&page, "https://example.com/css/");
        let expected = Resolved { target: Target::File(0), has_host: true };
        assert_eq!(resolver.resolve(&base, "app.css"), expected);
    }

    #[test]
    fn the_hash_stands_before_the_extension() {
        assert_eq!(insertion_point("../img/a%20b.png?#iefix", "img/a b.png"), Some(12));
        assert_eq!(insertion_point(" a.png ", "a.png"), Some(2));
        assert_eq!(insertion_point("a%2Epng", "a.png"), None);
        assert_eq!(insertion_point("x/LICENSE#a", "x/LICENSE"), Some(9));
        assert_eq!(insertion_point("x/LICENS%45", "x/LICENSE"), None);
    }

    #[test]
    fn a_prefix_is_a_beginning_of_paths() {
        let resolver = Resolver::new("/b", PATHS.into_iter());
        let base = resolver.base_of("js/a.js");
        assert_eq!(resolver.prefix(&base, "./lang/").as_deref(), Some("js/lang/"));
        assert_eq!(resolver.prefix(&base, "./lang/x-").as_deref(), Some("js/lang/x-"));
        assert_eq!(resolver.prefix(&base, "/b/").as_deref(), Some(""));
        assert_eq!(resolver.prefix(&base, "/c/"), None);
        assert_eq!(resolver.prefix(&base, "https://example.com/"), None);
    }
}
