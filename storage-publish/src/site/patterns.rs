//! [`Patterns`]: a list of patterns of paths, with the syntax of `.gitignore`.

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use storage_core::{Error, ErrorKind, Result};

/// A list of patterns of paths, with the syntax of `.gitignore`. The last one that matches decides.
#[derive(Clone, Debug)]
pub(crate) struct Patterns(Gitignore);

impl Patterns {
    /// Compiles the patterns of an option.
    pub(crate) fn new<'a>(
        option: &str,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            if pattern.is_empty() || pattern.contains('\n') {
                return Err(invalid(option, pattern, "it is empty or has several lines"));
            }
            if let Err(error) = builder.add_line(None, pattern) {
                return Err(invalid(option, pattern, &reason(error)));
            }
        }
        let compiled = builder.build();
        compiled.map(Self).map_err(|error| invalid(option, "", &reason(error)))
    }

    /// Returns whether a file is matched, by itself or by a directory above it.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let is_relative = !path.is_empty() && !path.starts_with('/');
        is_relative && self.0.matched_path_or_any_parents(path, false).is_ignore()
    }

    /// Returns whether a directory or a file is matched by itself: `Some(false)` by a pattern that
    /// begins with `!`.
    pub(crate) fn decides(&self, path: &str, is_directory: bool) -> Option<bool> {
        match self.0.matched(path, is_directory) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }
}

fn invalid(option: &str, pattern: &str, reason: &str) -> Error {
    let message = format!("`{option}` has the invalid pattern `{pattern}`: {reason}");
    Error::new(ErrorKind::InvalidInput, message)
}

/// Returns the reason without the pattern.
fn reason(error: ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = Patterns::new("x", ["*.js", "!/b/*.js", "/c/"]).unwrap();
        assert!(patterns.matches("a/x.js") && patterns.matches("c/x.css"));
        assert!(!patterns.matches("b/x.js") && !patterns.matches("x.css"));
    }

    #[test]
    fn an_invalid_pattern_is_named_with_its_option() {
        let error = Patterns::new("exclude", ["a[b"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("`exclude` has the invalid pattern `a[b`"), "{error}");
    }
}
