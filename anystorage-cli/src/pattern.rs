//! [`Pattern`]: a pattern of keys as shells have them, such as `x/*.png`.

use globset::{GlobBuilder, GlobMatcher};

/// The characters that make text a pattern.
const SPECIAL: [char; 4] = ['*', '?', '[', '{'];

/// A pattern of keys. `*` and `?` match within one level, and `**` matches any number of levels.
/// `[a-z]` and `[!a-z]` match one character, and `{a,b}` matches one of the texts.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    matcher: GlobMatcher,
    /// Whether a key also matches if one of its directories does.
    recursive: bool,
}

impl Pattern {
    /// Whether text contains a character that makes it a pattern.
    pub(crate) fn is_pattern(text: &str) -> bool {
        text.contains(SPECIAL)
    }

    /// Reads a pattern. A recursive one also matches everything below the directories that it
    /// matches.
    ///
    /// # Errors
    /// Returns what is wrong with the pattern: `[` or `{` without its end, a range such as `[z-a]`.
    pub(crate) fn new(text: &str, recursive: bool) -> Result<Self, String> {
        // A key may contain a backslash, so `[*]` matches the character itself, and not `\*`.
        let glob = GlobBuilder::new(text.trim_end_matches('/'))
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|error| error.kind().to_string())?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher(), recursive })
    }

    /// Returns the pattern as typed.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text with which every matching key begins: `x/img` of `x/img*.png`.
    pub(crate) fn prefix(&self) -> &str {
        self.text.split(SPECIAL).next().unwrap_or_default()
    }

    /// Returns the directory that contains all matching keys: `x/` of `x/img*.png`.
    pub(crate) fn directory(&self) -> &str {
        let prefix = self.prefix();
        prefix.rfind('/').map_or("", |slash| &prefix[..=slash])
    }

    /// Whether all matching keys are directly in the directory, so that deeper levels need not be
    /// listed.
    pub(crate) fn is_one_level(&self) -> bool {
        let rest = &self.text[self.directory().len()..];
        !self.recursive && !rest.contains('/') && !rest.contains("**")
    }

    /// Whether the pattern matches every key of a storage: `**`, or recursively `*`.
    pub(crate) fn matches_everything(&self) -> bool {
        self.matches("a") && self.matches("a/b") && self.matches("b/c/d.e")
    }

    /// Whether a key matches, or recursively one of its directories. The name of a directory or of
    /// a folder marker may end in a slash.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name = name.trim_end_matches('/');
        self.matcher.is_match(name)
            || (self.recursive
                && name.match_indices('/').any(|(end, _)| self.matcher.is_match(&name[..end])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, false).unwrap().matches(name)
    }

    #[test]
    fn a_star_stays_in_one_level_and_two_stars_do_not() {
        assert!(matches("x/*.png", "x/a.png") && matches("x/*", "x/.hidden"));
        assert!(!matches("x/*.png", "x/y/a.png") && !matches("x/*.png", "x/a.jpg"));
        assert!(matches("x/**/*.png", "x/a.png") && matches("x/**/*.png", "x/y/z/a.png"));
        assert!(matches("x/*/a.png", "x/y/a.png") && !matches("x/*/a.png", "x/y/z/a.png"));
        assert!(matches("x/**", "x/y/z") && !matches("x/**", "y"));
        assert!(!matches("x?y", "x/y"));
    }

    #[test]
    fn classes_and_alternatives_have_the_syntax_of_shells() {
        assert!(matches("[a-c]?", "bz") && !matches("[!a-c]?", "bz"));
        assert!(matches("*.{png,jpg}", "a.jpg") && !matches("*.{png,jpg}", "a.gif"));
        assert!(matches("a[*]", "a*") && !matches("a[*]", "ab"));
        assert!(matches(r"a\*", r"a\b"));
        for wrong in ["[a", "{a", "[z-a]", "a}{"] {
            assert!(Pattern::new(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_recursive_pattern_matches_what_is_below_matching_directories() {
        let pattern = Pattern::new("logs-*", true).unwrap();
        assert!(
            pattern.matches("logs-1/a/b")
                && pattern.matches("logs-2")
                && pattern.matches("logs-3/")
        );
        assert!(!pattern.matches("x/logs-1/a"));
    }

    #[test]
    fn only_the_directory_of_a_pattern_is_listed() {
        let parts = |text: &str| {
            let pattern = Pattern::new(text, false).unwrap();
            (pattern.prefix().to_owned(), pattern.directory().to_owned(), pattern.is_one_level())
        };
        let parts_of =
            |prefix: &str, directory: &str, one| (prefix.to_owned(), directory.to_owned(), one);
        assert_eq!(parts("x/img*.png"), parts_of("x/img", "x/", true));
        assert_eq!(parts("*.png"), parts_of("", "", true));
        assert_eq!(parts("x/*/a"), parts_of("x/", "x/", false));
        assert_eq!(parts("x/**"), parts_of("x/", "x/", false));
        assert!(!Pattern::new("x/*", true).unwrap().is_one_level());
    }

    #[test]
    fn a_pattern_that_matches_a_whole_storage_is_recognised() {
        let everything =
            |text, recursive| Pattern::new(text, recursive).unwrap().matches_everything();
        assert!(everything("**", false) && everything("**/*", false) && everything("*", true));
        assert!(everything("{*,x}", true));
        assert!(!everything("*", false) && !everything("a/**", false) && !everything("a*", true));
    }
}
