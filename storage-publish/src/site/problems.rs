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
    /// Describes what is wrong at offsets of a file, which is read once for all of them.
    pub(crate) fn all_at(path: &str, bytes: &[u8], mut found: Vec<(usize, String)>) -> Vec<Self> {
        found.sort();
        let (mut line, mut column, mut at) = (1, 1, 0);
        let describe = |(offset, message): (usize, String)| {
            let offset = offset.min(bytes.len());
            for byte in &bytes[at..offset] {
                match byte {
                    b'\n' => (line, column) = (line + 1, 1),
                    // A byte of a character after its first one.
                    0x80..0xc0 => {}
                    _ => column += 1,
                }
            }
            at = offset;
            Self { path: path.to_owned(), line, column, message }
        };
        found.into_iter().map(describe).collect()
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
        let found = [(9, "z"), (6, "y"), (2, "x"), (6, "x")];
        let found = found.map(|(at, message)| (at, message.to_owned())).to_vec();
        let problems = Problem::all_at("a.css", "é\r\néx".as_bytes(), found);
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["a.css:1:2: x", "a.css:2:2: x", "a.css:2:2: y", "a.css:2:3: z"]);
    }

    #[test]
    fn many_problems_of_a_large_file_take_linear_time() {
        let bytes = vec![b'x'; 1_000_000];
        let found = (0..bytes.len()).map(|at| (at, String::new())).collect();
        let problems = Problem::all_at("a.js", &bytes, found);
        assert_eq!(problems.last().unwrap().column, 1_000_000);
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
