//! Hashes in the `Content-Security-Policy` of a page (W3C Content Security Policy Level 3, section
//! 2.3.1): they name the scripts and style sheets that may run, so they change as those do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::integrity::{Algorithm, Hash, parse};
use super::scan::{Decoded, Scan};
use super::splice::{Edit, splice_part};

/// The hashes of a page's policies, and the texts of its scripts and style sheets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The places of each hash, without the quotes around it.
    hashes: BTreeMap<Hash, Vec<Range<usize>>>,
    /// The texts, by their places in the file. Empty if there are no hashes.
    texts: Vec<Range<usize>>,
}

impl Policy {
    pub(crate) fn of(scan: &Scan<'_>) -> Self {
        let mut hashes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (hash, range) in scan.policies.iter().flat_map(hashes_of) {
            hashes.entry(hash).or_default().push(range);
        }
        let texts = if hashes.is_empty() { Vec::new() } else { scan.texts.clone() };
        Self { hashes, texts }
    }

    /// Returns the edits that renew the hashes. `edits` are the other edits of the file, and
    /// `integrity` has each declared value with the one that replaces it.
    pub(crate) fn renewed<'i>(
        &self,
        bytes: &[u8],
        edits: &mut [Edit],
        integrity: impl Iterator<Item = (&'i str, &'i str)>,
    ) -> Vec<Edit> {
        if self.hashes.is_empty() {
            return Vec::new();
        }
        edits.sort();
        // Texts that were equal may differ now, so a hash may become several.
        let mut renewed: BTreeMap<Hash, BTreeSet<String>> = BTreeMap::new();
        let algorithms: BTreeSet<_> = self.hashes.keys().map(|hash| hash.algorithm).collect();
        for text in &self.texts {
            for (old, new) in self.text(bytes, text, edits, &algorithms) {
                renewed.entry(old).or_default().insert(new);
            }
        }
        for (declared, new) in integrity {
            let values = || new.split_ascii_whitespace();
            for old in parse(declared).filter(|hash| self.hashes.contains_key(hash)) {
                let is_same = |word: &&str| parse(word).any(|new| new.algorithm == old.algorithm);
                let value = values().find(is_same).map(str::to_owned);
                renewed.entry(old).or_default().extend(value);
            }
        }
        renewed.iter().flat_map(|(old, values)| self.replaced(old, values)).collect()
    }

    /// Returns the hashes of a text that the policies have, each with its new value.
    fn text(
        &self,
        bytes: &[u8],
        text: &Range<usize>,
        edits: &[Edit],
        algorithms: &BTreeSet<Algorithm>,
    ) -> Vec<(Hash, String)> {
        let Some(old) = bytes.get(text.clone()) else { return Vec::new() };
        let (old, new) = (as_hashed(old), splice_part(bytes, text.clone(), edits));
        let new = as_hashed(&new);
        let renewed = |algorithm: &Algorithm| {
            let old = parse(&algorithm.of_bytes(&old)).next()?;
            self.hashes.contains_key(&old).then(|| (old, algorithm.of_bytes(&new)))
        };
        algorithms.iter().filter_map(renewed).collect()
    }

    fn replaced(&self, old: &Hash, values: &BTreeSet<String>) -> Vec<Edit> {
        let is_old = |value: &String| parse(value).any(|hash| hash == *old);
        if values.iter().all(is_old) {
            return Vec::new();
        }
        // In an attribute, whatever its quotes are.
        let between = "&#39;&#32;&#39;";
        let text = values.iter().map(String::as_str).collect::<Vec<_>>().join(between);
        let places = self.hashes.get(old).into_iter().flatten();
        places.map(|place| Edit::replace(place.clone(), text.clone())).collect()
    }
}

/// Returns the hashes of a policy with their places: `'sha256-...'`, in single quotes.
fn hashes_of(policy: &Decoded) -> Vec<(Hash, Range<usize>)> {
    let start_of = |text: &str| text.as_ptr().addr() - policy.text.as_ptr().addr();
    let words = policy.text.split([' ', '\t', '\n', '\x0c', '\r', ';', ',']);
    let hash = |word: &str| {
        let value = word.strip_prefix('\'')?.strip_suffix('\'')?;
        let hash = parse(value).next()?;
        let start = start_of(value);
        let (start, end) = (policy.offset(start)?, policy.offset(start + value.len())?);
        Some((hash, start..end))
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
        let places: Vec<_> = found.iter().map(|(_, range)| range.clone()).collect();
        assert_eq!(places, [119..130, 153..161]);
        let hashes: Vec<_> = found.into_iter().map(|(hash, _)| hash).collect();
        assert_eq!(hashes, parse("sha256-YQ sha384-b").collect::<Vec<_>>());
    }

    #[test]
    fn a_text_is_hashed_with_line_feeds_only() {
        assert_eq!(&*as_hashed(b"\r\na\r\rb\n"), b"\na\n\nb\n");
    }
}
