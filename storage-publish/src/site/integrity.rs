//! Values of `integrity` (Subresource Integrity, W3C, section 3): their algorithms, and whether the
//! values that a site declares fit its files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha384, Sha512};
use storage_core::Result;

use super::links::Links;
use super::problems::Problem;
use super::read;
use super::walk::Source;

/// A hash algorithm. Browsers check the strongest one of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the value of `integrity` for bytes.
    pub(crate) fn of_bytes(self, bytes: &[u8]) -> String {
        self.value(&match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        })
    }

    /// Returns the value of `integrity` for a file, which is read in parts. `path` names it in an
    /// error.
    pub(crate) fn of_file(self, path: &str, location: &Path) -> Result<String> {
        let source = Source { path: path.to_owned(), location: location.to_owned() };
        let (digest, _) = match self {
            Self::Sha256 => read::hash_as::<Sha256>(&source)?,
            Self::Sha384 => read::hash_as::<Sha384>(&source)?,
            Self::Sha512 => read::hash_as::<Sha512>(&source)?,
        };
        Ok(self.value(&digest))
    }

    fn value(self, digest: &[u8]) -> String {
        format!("{}-{}", self.as_str(), STANDARD.encode(digest))
    }
}

/// A hash in a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hash {
    pub(crate) algorithm: Algorithm,
    /// In the usual alphabet of base64, without padding.
    digest: String,
}

/// Returns the hashes of a value. Browsers ignore what follows a `?`, and hashes of other
/// algorithms. They read both alphabets of base64, with or without padding.
pub(crate) fn parse(value: &str) -> impl Iterator<Item = Hash> {
    value.split_ascii_whitespace().filter_map(|word| {
        let (name, digest) = word.split_once('-')?;
        let is_name = |algorithm: &Algorithm| algorithm.as_str().eq_ignore_ascii_case(name);
        let algorithm = Algorithm::ALL.into_iter().find(is_name)?;
        let digest = digest.split('?').next().unwrap_or_default().trim_end_matches('=');
        Some(Hash { algorithm, digest: digest.replace('-', "+").replace('_', "/") })
    })
}

/// Returns the values of `integrity` that do not fit the files of the site as they are in the
/// directory. Browsers refuse such files, and a program may have changed them.
pub(crate) fn problems(
    sources: &[Source],
    links: &[Links],
    is_ignored: impl Fn(&str) -> bool,
    check: impl Fn() -> Result<()>,
) -> Result<Vec<Problem>> {
    let mut known = HashMap::new();
    let mut problems = Vec::new();
    for (source, links) in sources.iter().zip(links) {
        let mut found = Vec::new();
        for integrity in &links.integrity {
            let strongest = parse(&integrity.value).map(|hash| hash.algorithm).max();
            let target = &sources[integrity.target];
            let Some(algorithm) = strongest.filter(|_| !is_ignored(&target.path)) else { continue };
            let expected = match known.entry((integrity.target, algorithm)) {
                Entry::Occupied(expected) => expected.into_mut(),
                Entry::Vacant(entry) => {
                    check()?;
                    entry.insert(algorithm.of_file(&target.path, &target.location)?)
                }
            };
            if !fits(&integrity.value, expected) {
                found.push((integrity.range.start, misfit(&target.path, expected)));
            }
        }
        if !found.is_empty() {
            let bytes = read::read_again(source, links.size, &links.sha256)?;
            problems.extend(Problem::all_at(&source.path, &bytes, found));
        }
    }
    Ok(problems)
}

/// Returns whether one hash of a value is the expected one.
fn fits(value: &str, expected: &str) -> bool {
    let expected = parse(expected).next();
    parse(value).any(|hash| Some(hash) == expected)
}

fn misfit(path: &str, expected: &str) -> String {
    format!(
        "`integrity` does not fit the file `{path}`: write `{expected}`, or name the file in \
         `ignore_references`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_hashes_of_known_algorithms() {
        let value = " sha256-a-_=?option  SHA512-b md5-c sha384 sha-256-d ";
        let found: Vec<_> = parse(value).map(|hash| (hash.algorithm, hash.digest)).collect();
        assert_eq!(found, [(Algorithm::Sha256, "a+/".into()), (Algorithm::Sha512, "b".into())]);
    }

    #[test]
    fn one_hash_of_the_strongest_algorithm_has_to_fit() {
        let [weak, strong] = [Algorithm::Sha256, Algorithm::Sha384].map(|of| of.of_bytes(b"x"));
        assert!(fits(&strong, &strong));
        assert!(fits(&format!("sha384-AAAA sha256-AAAA {strong}?x"), &strong));
        let other_alphabet = strong.replace('+', "-").replace('/', "_");
        assert!(fits(&other_alphabet.replacen("sha384", "SHA384", 1), &strong));
        assert!(!fits(&format!("sha384-AAAA {weak}"), &strong));
    }
}
