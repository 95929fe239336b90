//! One rule of a filter: a line of a `.gitignore` file, checked.

use std::fmt;

use storage_core::{Error, ErrorKind, Result};

/// Where a rule was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    file: String,
    line: usize,
}

impl Origin {
    pub(crate) fn new(file: &str, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// A rule in its text form, with the `!` of an include.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    line: String,
    origin: Option<Origin>,
}

impl Rule {
    /// Makes a rule of a pattern, in which the signs of a line (`#`, `!`, final spaces) are text.
    pub(crate) fn from_pattern(pattern: &str, is_include: bool) -> Result<Self> {
        let mut line = String::with_capacity(pattern.len() + 2);
        match (is_include, pattern.chars().next()) {
            (true, _) => line.push('!'),
            (false, Some('!' | '#')) => line.push('\\'),
            (false, _) => {}
        }
        line.push_str(pattern);
        if ends_in_removable_space(pattern) {
            line.insert(line.len() - 1, '\\');
        }
        Self { line, origin: None }.checked()
    }

    /// Reads a line, or returns `None` if it is empty or a comment.
    pub(crate) fn from_line(line: &str, origin: Origin) -> Result<Option<Self>> {
        let mut text = line;
        while ends_in_removable_space(text) {
            text = &text[..text.len() - 1];
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        Self { line: text.to_owned(), origin: Some(origin) }.checked().map(Some)
    }

    /// The rule as a line of a `.gitignore` file.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    pub(crate) fn is_include(&self) -> bool {
        self.line.starts_with('!')
    }

    /// Whether the rule takes part in the comparison. The include `*/` of git and rsync allows
    /// entering directories, and as a rule for everything below them it would undo the excludes.
    pub(crate) fn has_effect(&self) -> bool {
        !(self.is_include() && matches!(self.pattern(), "*/" | "**/" | "/**/" | "**/*/"))
    }

    /// The line as the library needs it. It takes the last backslash of `\\/` for an escape of the
    /// slash, so that an escaped backslash there becomes a class.
    pub(crate) fn compiled_line(&self) -> String {
        match self.line.strip_suffix('/') {
            Some(name) if name.ends_with('\\') && final_backslashes(name).is_multiple_of(2) => {
                format!("{}[\\]/", &name[..name.len() - 2])
            }
            _ => self.line.clone(),
        }
    }

    /// Returns whether this rule may include a key below the directory. `false` is certain.
    pub(crate) fn may_include_below(&self, directory: &str) -> bool {
        if !self.is_include() || !self.has_effect() {
            return false;
        }
        let pattern = self.pattern().strip_suffix('/').unwrap_or(self.pattern());
        if !pattern.contains('/') {
            return true;
        }
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        for (wanted, segment) in pattern.split('/').zip(directory.split('/')) {
            if wanted.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                return true;
            }
            if wanted != segment {
                return false;
            }
        }
        true
    }

    /// Returns an error that contains the rule and where it was read.
    pub(crate) fn error(&self, reason: &str) -> Error {
        let rule = if self.origin.is_some() { &self.line } else { self.pattern() };
        let mut message = format!("the pattern {rule:?} of the filter is invalid: {reason}");
        if let Some(origin) = &self.origin {
            message = format!("{origin}: {message}");
        }
        Error::new(ErrorKind::InvalidInput, message)
    }

    fn pattern(&self) -> &str {
        self.line.strip_prefix('!').unwrap_or(&self.line)
    }

    fn checked(self) -> Result<Self> {
        match broken_rule(self.pattern()) {
            Some(reason) => Err(self.error(reason)),
            None => Ok(self),
        }
    }
}

/// Returns why no key can match the pattern, or why it would match others than its text says.
fn broken_rule(pattern: &str) -> Option<&'static str> {
    if pattern.chars().any(char::is_control) {
        return Some("it contains a control character, and no key contains one");
    }
    let inner = pattern.strip_prefix('/').unwrap_or(pattern);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Some("it is empty; to match everything, write `*`");
    }
    if inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Some(
            "no key has an empty, `.` or `..` segment; to match at the root, begin with one `/`",
        );
    }
    has_class_of_many_bytes(pattern).then_some(
        "a class `[...]` matches single bytes, so it must contain only ASCII; write `{ä,ö}`",
    )
}

fn has_class_of_many_bytes(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '[' => {
                chars.next_if(|c| matches!(c, '!' | '^'));
                // A bracket at the beginning of a class is a member of it.
                chars.next_if_eq(&']');
                if chars.by_ref().take_while(|c| *c != ']').any(|c| !c.is_ascii()) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Returns whether a line's last character is a space without a backslash before it.
fn ends_in_removable_space(line: &str) -> bool {
    line.strip_suffix(' ').is_some_and(|before| final_backslashes(before).is_multiple_of(2))
}

fn final_backslashes(text: &str) -> usize {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count()
}
