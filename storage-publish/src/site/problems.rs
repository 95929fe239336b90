//! [`Problem`] and [`Problems`]: what is wrong in the files of a site, with file and line.

use std::error::Error as StdError;
use std::fmt;

use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind};

/// The largest number of problems that an error shows.
const MAX_SHOWN: usize = 50;

/// Something wrong at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Problem {
    /// The path of the file in the directory, with `/`.
    pub path: String,
    /// The line, from 1.
    pub line: u64,
    /// The character in the line, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// Describes what is wrong at this offset of a file.
    pub(crate) fn at(path: &str, bytes: &[u8], offset: usize, message: String) -> Self {
        let before = &bytes[..offset.min(bytes.len())];
        let breaks = before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let is_first_byte = |byte: &&u8| !(0x80..0xc0).contains(*byte);
        let characters = before[line_start..].iter().filter(is_first_byte).count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
        let (line, column) = (number(breaks), number(characters));
        Self { path: path.to_owned(), line, column, message }
    }
}

impl fmt::Display for Problem {
    /// Prints one line: ``css/app.css:12:8: `x.png` names no file``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, message } = self;
        let (path, message) = (escape_invisible(path), escape_invisible(message));
        write!(f, "{path}:{line}:{column}: {message}")
    }
}

/// The problems of a site, which is the source of the error of [`Site::build`](crate::Site::build).
///
/// `Display` prints one problem a line, of at most 50.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns all problems, sorted by file and line.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// Returns the error for these problems, or `Ok` if there are none.
    pub(crate) fn check(mut problems: Vec<Problem>) -> Result<(), Error> {
        problems.sort();
        problems.dedup();
        let Some(first) = problems.first() else { return Ok(()) };
        let others = match problems.len() - 1 {
            0 => String::new(),
            1 => " (and 1 other problem)".to_owned(),
            count => format!(" (and {count} other problems)"),
        };
        let message = format!(
            "the site cannot be published: {first}{others}: correct the files, or set \
             `ignore_references` or `verbatim`"
        );
        Err(Error::new(ErrorKind::InvalidInput, message).with_source(Self(problems)))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl StdError for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line_and_a_character() {
        let problem = Problem::at("a.css", "é\r\néx".as_bytes(), 6, "y".into());
        assert_eq!(problem.to_string(), "a.css:2:2: y");
    }

    #[test]
    fn an_error_shows_50_problems_and_has_all() {
        let problem = |line| Problem { path: "a".into(), line, column: 1, message: "b".into() };
        let error = Problems::check((1..=60).map(problem).collect()).unwrap_err();
        assert!(error.message().contains("a:1:1: b (and 59 other problems)"), "{error}");
        let problems = error.source().unwrap().downcast_ref::<Problems>().unwrap();
        assert_eq!(problems.all().len(), 60);
        assert_eq!(problems.to_string().lines().count(), 51);
    }
}
