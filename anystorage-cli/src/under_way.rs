//! [`UnderWay`]: the keys that a command handles at the moment, for the line of its progress.

use std::iter;

use anystorage::internal::escape_invisible;

/// The longest key that is shown in full, in characters, so that a terminal of 80 columns usually
/// shows what follows it.
const MAX_CHARS: usize = 24;

/// The keys that are under way, the oldest first. There are as many as copies at a time.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Vec<String>);

impl UnderWay {
    pub(crate) fn begin(&mut self, key: &str) {
        self.0.push(key.to_owned());
    }

    pub(crate) fn end(&mut self, key: &str) {
        if let Some(at) = self.0.iter().position(|begun| begun == key) {
            self.0.remove(at);
        }
    }

    /// Returns the key that has been under way longest, and the number of the others. Returns
    /// `None` if no key is under way.
    pub(crate) fn line(&self) -> Option<String> {
        let (oldest, others) = self.0.split_first()?;
        let key = shortened(oldest);
        Some(match others.len() {
            0 => key,
            more => format!("{key} and {more} more"),
        })
    }
}

/// Returns a key for a terminal. Of a long one it returns the end, which has the name of the file.
pub(crate) fn shortened(key: &str) -> String {
    let escaped = escape_invisible(key);
    match escaped.chars().count().checked_sub(MAX_CHARS) {
        None | Some(0) => escaped.into_owned(),
        Some(excess) => iter::once('\u{2026}').chain(escaped.chars().skip(excess + 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_key_that_has_been_under_way_longest() {
        let mut keys = UnderWay::default();
        assert_eq!(keys.line(), None);
        for key in ["small", "large.bin", "b", "c"] {
            keys.begin(key);
        }
        keys.end("small");
        keys.end("c");
        keys.begin("d");
        keys.begin("e");
        assert_eq!(keys.line().as_deref(), Some("large.bin and 3 more"));
        for key in ["b", "d", "e"] {
            keys.end(key);
        }
        assert_eq!(keys.line().as_deref(), Some("large.bin"));
        keys.end("large.bin");
        assert_eq!(keys.line(), None);
    }

    #[test]
    fn a_key_of_the_line_is_escaped_and_its_beginning_is_left_out_if_it_is_long() {
        assert_eq!(shortened("a\u{1b}[2Kb"), "a\\u{1b}[2Kb");
        assert_eq!(shortened("24-characters-are-shown."), "24-characters-are-shown.");
        assert_eq!(shortened("photos/2026/of-a-holiday.jpg"), "\u{2026}s/2026/of-a-holiday.jpg");
        assert_eq!(shortened(&"\u{e9}".repeat(500)).chars().count(), MAX_CHARS);
    }
}
