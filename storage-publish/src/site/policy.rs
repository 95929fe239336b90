//! Hashes in the `Content-Security-Policy` of a page (W3C Content Security Policy Level 3, section
//! 2.3.1): they name the scripts and style sheets that may run, so they change as those do.

use std::borrow::Cow;
use std::ops::Range;

use super::integrity::{self, Algorithm};
use super::scan::{Decoded, Scan};
use super::splice::{Edit, splice_part};

/// A hash in a policy: `sha256-` and so on, without the quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hash {
    range: Range<usize>,
    algorithm: Algorithm,
    value: String,
}

/// The hashes of a page's policies, and the texts of its scripts and style sheets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    hashes: Vec<Hash>,
    /// The texts, by their places in the file. Empty if there are no hashes.
    texts: Vec<Range<usize>>,
}

impl Policy {
    pub(crate) fn of(scan: &Scan<'_>) -> Self {
        let hashes: Vec<_> = scan.policies.iter().flat_map(hashes_of).collect();
        let texts = if hashes.is_empty() { Vec::new() } else { scan.texts.clone() };
        Self { hashes, texts }
    }

    /// Returns the edits that renew the hashes of texts in which `edits` change something.
    pub(crate) fn renewed_texts(&self, bytes: &[u8], edits: &[Edit]) -> Vec<Edit> {
        let mut renewed = Vec::new();
        for range in &self.texts {
            let Some(old) = bytes.get(range.clone()) else { continue };
            let new = splice_part(bytes, range.clone(), edits);
            if old != new {
                let (old, new) = (as_hashed(old), as_hashed(&new));
                let same = |hash: &Hash| hash.algorithm.of_bytes(&old) == hash.value;
                renewed.extend(self.replaced(same, |algorithm| algorithm.of_bytes(&new)));
            }
        }
        renewed
    }

    /// Returns the edits that replace a declared `integrity` by that of the final bytes: a policy
    /// may name the integrity of a script with `src`.
    pub(crate) fn renewed_integrity(&self, declared: &str, renewed: &str) -> Vec<Edit> {
        let is_declared = |hash: &Hash| {
            let mut words = declared.split_ascii_whitespace();
            words.any(|word| word.split('?').next() == Some(hash.value.as_str()))
        };
        let value = |algorithm| {
            let found = renewed
                .split_ascii_whitespace()
                .find(|word| integrity::parse(word).any(|(found, _)| found == algorithm));
            found.unwrap_or_default().to_owned()
        };
        self.replaced(is_declared, value).collect()
    }

    fn replaced(
        &self,
        is_same: impl Fn(&Hash) -> bool,
        value: impl Fn(Algorithm) -> String,
    ) -> impl Iterator<Item = Edit> {
        let same = self.hashes.iter().filter(move |hash| is_same(hash));
        same.map(move |hash| Edit::replace(hash.range.clone(), value(hash.algorithm)))
    }
}

/// Returns the hashes of a policy: `'sha256-...'`, in single quotes.
fn hashes_of(policy: &Decoded) -> Vec<Hash> {
    let start_of = |text: &str| text.as_ptr().addr() - policy.text.as_ptr().addr();
    let words = policy.text.split([' ', '\t', '\n', '\x0c', '\r', ';', ',']);
    let hash = |word: &str| {
        let value = word.strip_prefix('\'')?.strip_suffix('\'')?;
        let (algorithm, _) = integrity::parse(value).next()?;
        let start = start_of(value);
        let (start, end) = (policy.offset(start)?, policy.offset(start + value.len())?);
        Some(Hash { range: start..end, algorithm, value: value.to_owned() })
    };
    words.filter_map(hash).collect()
}

/// Returns a text as a browser hashes it: it reads each end of a line as one line feed (HTML,
/// section 13.2.3.5).
fn as_hashed(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\r') {
        return Cow::Borrowed(text);
    }
    let mut normal = Vec::with_capacity(text.len());
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'\r' if text.get(index + 1) == Some(&b'\n') => {}
            b'\r' => normal.push(b'\n'),
            _ => normal.push(*byte),
        }
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_a_policy_are_found_with_their_places() {
        let text =
            "script-src 'self' 'sha256-YQ==' https://x;style-src 'SHA384-b' 'nonce-c' sha512-d";
        let found = hashes_of(&Decoded::plain(text.as_bytes(), 100));
        let found: Vec<_> =
            found.iter().map(|hash| (hash.value.as_str(), hash.range.start)).collect();
        assert_eq!(found, [("sha256-YQ==", 119), ("SHA384-b", 153)]);
    }

    #[test]
    fn a_text_is_hashed_with_line_feeds_only() {
        assert_eq!(&*as_hashed(b"\r\na\r\rb\n"), b"\na\n\nb\n");
    }
}
