//! [`Filter`]: which keys a transfer concerns, as one ordered list of rules with gitignore's syntax.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use storage_core::{Error, ErrorKind, Result};

mod rule;

use rule::{Origin, Rule};

/// Which keys a transfer concerns: one ordered list of rules that exclude and include.
///
/// Patterns have the syntax of `.gitignore` (see `man gitignore`) and are compared with keys
/// relative to the root of the transfer, case-sensitively:
///
/// | pattern | matches |
/// |---|---|
/// | `*.png` | keys and directories whose last segment ends in `.png`, at any depth |
/// | `/a` | `a` at the root, and everything below it |
/// | `a/b` | the same as `/a/b`, because it contains a `/` that is not at the end |
/// | `logs/` | everything below each directory `logs`, but not a key `logs` |
/// | `a/**`, `**/b`, `a/**/b` | everything below `a`; `b` at any depth; `b` at any depth below `a` |
/// | `?`, `[a-z]`, `[!0-9]` | one byte of a name, never `/` |
/// | `{jpg,png}` | either text. This is an addition to gitignore's syntax: write `\{` for a brace |
/// | `\*` | the character `*` |
///
/// Each rule concerns a key if its pattern matches the key or a directory above it. **The last rule
/// that concerns a key decides**, as with `aws s3 sync`. So `*` and then `!*.png` admits all PNG
/// files, also those below directories, which `.gitignore` would not include again.
///
/// If no rule concerns a key, the first rule of the list decides: if it is an include, the key is
/// excluded, as with rclone and rsync. So `include("*.png")` alone admits only PNG files.
///
/// The include `*/` has no effect on keys, because a transfer need not be allowed to enter a
/// directory. Lists of rules for git and rsync that contain it work unchanged.
///
/// An empty filter admits every key. Cloning is cheap (a reference count).
///
/// ```
/// use storage_transfer::Filter;
///
/// let filter = Filter::builder().exclude("*.tmp").exclude("/cache/").include("keep.tmp").build()?;
/// assert!(filter.admits("photos/ada.png"));
/// assert!(filter.admits("photos/keep.tmp"));
/// assert!(!filter.admits("photos/ada.tmp"));
/// assert!(!filter.admits("cache/ada.png"));
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Filter(Arc<Rules>);

struct Rules {
    matcher: Gitignore,
    rules: Vec<Rule>,
    lines: Vec<String>,
}

impl Filter {
    /// Returns a builder without rules.
    pub fn builder() -> FilterBuilder {
        FilterBuilder::default()
    }

    /// Returns whether the filter has no rules. Then it admits every key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// Returns whether the transfer concerns this key, which is relative to the transfer's root.
    ///
    /// A text that ends in `/` is a directory: the result is that for the directory itself. Keys
    /// below it may have another: see [`may_admit_below`](Self::may_admit_below).
    #[must_use]
    pub fn admits(&self, key: &str) -> bool {
        let is_directory = key.ends_with('/');
        let name = key.strip_suffix('/').unwrap_or(key);
        match self.last_rule(name, is_directory) {
            Some(index) => self.0.rules[index].is_include(),
            None => self.admits_by_default(),
        }
    }

    /// Returns whether the filter may admit a key below this directory, relative to the transfer's
    /// root. The final `/` may be omitted.
    ///
    /// `false` is certain: the filter excludes the directory, and no later include can match below
    /// it. `true` means only that no simple reason against it was found.
    #[must_use]
    pub fn may_admit_below(&self, directory: &str) -> bool {
        let name = directory.strip_suffix('/').unwrap_or(directory);
        if self.is_empty() || name.is_empty() {
            return true;
        }
        let may_include_after =
            |first: usize| self.0.rules[first..].iter().any(|rule| rule.may_include_below(name));
        match self.last_rule(name, true) {
            Some(index) if self.0.rules[index].is_include() => true,
            Some(index) => may_include_after(index + 1),
            None => self.admits_by_default() || may_include_after(0),
        }
    }

    /// Returns the rules in their order, each as a line of a `.gitignore` file: `pattern` excludes,
    /// `!pattern` includes. Filters with equal rules admit the same keys.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.0.lines
    }

    fn admits_by_default(&self) -> bool {
        !self.0.rules.first().is_some_and(Rule::is_include)
    }

    /// Returns the index of the last rule that matches the name or a directory above it.
    fn last_rule(&self, name: &str, is_directory: bool) -> Option<usize> {
        let itself = self.last_match(name, is_directory);
        let directories = name.match_indices('/').map(|(end, _)| &name[..end]);
        directories.map(|directory| self.last_match(directory, true)).fold(itself, Ord::max)
    }

    fn last_match(&self, name: &str, is_directory: bool) -> Option<usize> {
        match self.0.matcher.matched(Path::new(&*protect_dot(name)), is_directory) {
            Match::None => None,
            Match::Ignore(glob) | Match::Whitelist(glob) => rule_index(glob),
        }
    }
}

/// The library removes one `./` at the beginning. No key begins with it, but names of other
/// programs may, and must not be taken for another name.
fn protect_dot(name: &str) -> Cow<'_, str> {
    if name.starts_with("./") { Cow::Owned(format!("./{name}")) } else { Cow::Borrowed(name) }
}

/// The library keeps the name of a file for each pattern. The filter stores the index there.
fn rule_index(glob: &Glob) -> Option<usize> {
    glob.from()?.to_str()?.parse().ok()
}

impl Default for Filter {
    /// Returns a filter that admits every key.
    fn default() -> Self {
        Self(Arc::new(Rules { matcher: Gitignore::empty(), rules: Vec::new(), lines: Vec::new() }))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.rules()).finish()
    }
}

/// Builds a [`Filter`]. The order of the calls is the order of the rules.
#[derive(Debug, Default)]
#[must_use = "the filter exists after `build`"]
pub struct FilterBuilder {
    rules: Vec<Rule>,
    error: Option<Error>,
}

impl FilterBuilder {
    /// Adds a rule that includes what the pattern matches.
    ///
    /// The text is a pattern and not a line of a file: `!` and `#` at its beginning and spaces at
    /// its end are part of it.
    pub fn include(self, pattern: impl AsRef<str>) -> Self {
        let rule = Rule::from_pattern(pattern.as_ref(), true);
        self.with(rule)
    }

    /// Adds a rule that excludes what the pattern matches. The text is as for
    /// [`include`](Self::include).
    pub fn exclude(self, pattern: impl AsRef<str>) -> Self {
        let rule = Rule::from_pattern(pattern.as_ref(), false);
        self.with(rule)
    }

    /// Adds the lines of a `.gitignore` file: `pattern` excludes, `!pattern` includes, a line that
    /// begins with `#` is a comment. Spaces at the end of a line are removed, unless a backslash
    /// precedes them. `name` is the name of the file for errors.
    pub fn rules_from(self, text: &str, name: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        self.rules(text.lines(), name)
    }

    /// Adds rules of another filter, each as [`Filter::rules`] returns it. `name` is the name of
    /// the list for errors.
    pub fn rules<L: AsRef<str>>(mut self, rules: impl IntoIterator<Item = L>, name: &str) -> Self {
        for (index, line) in rules.into_iter().enumerate() {
            let origin = Origin::new(name, index + 1);
            if let Some(rule) = Rule::from_line(line.as_ref(), origin).transpose() {
                self = self.with(rule);
            }
        }
        self
    }

    /// Builds the filter.
    ///
    /// # Errors
    /// `InvalidInput` if a pattern is empty, has invalid syntax, or can match no key (a segment
    /// that is empty, `.` or `..`; a control character). The message contains the first such
    /// pattern, and for [`rules_from`](Self::rules_from) the name of the file and the line.
    pub fn build(self) -> Result<Filter> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.has_effect()) {
            let from = Some(PathBuf::from(index.to_string()));
            if let Err(error) = builder.add_line(from, &rule.compiled_line()) {
                return Err(rule.error(&reason(error)));
            }
        }
        let matcher = builder.build().map_err(|error| {
            let message = format!("the rules of the filter cannot be used: {}", reason(error));
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        let lines = self.rules.iter().map(|rule| rule.line().to_owned()).collect();
        Ok(Filter(Arc::new(Rules { matcher, rules: self.rules, lines })))
    }

    fn with(mut self, rule: Result<Rule>) -> Self {
        match rule {
            Ok(rule) => self.rules.push(rule),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }
}

/// Returns the reason without the pattern, which [`Rule::error`] adds.
fn reason(error: ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
