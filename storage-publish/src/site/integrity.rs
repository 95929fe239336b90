//! Values of `integrity` (Subresource Integrity, W3C, section 3): their algorithms, and whether the
//! values that a site declares fit its files.

use std::collections::HashMap;
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

/// Returns the algorithms and hashes of a value. Browsers ignore what follows a `?`, and hashes of
/// other algorithms.
pub(crate) fn parse(value: &str) -> impl Iterator<Item = (Algorithm, &str)> {
    value.split_ascii_whitespace().filter_map(|word| {
        let (name, hash) = word.split_once('-')?;
        let is_name = |algorithm: &Algorithm| algorithm.as_str().eq_ignore_ascii_case(name);
        let algorithm = Algorithm::ALL.into_iter().find(is_name)?;
        Some((algorithm, hash.split('?').next().unwrap_or_default()))
    })
}

/// Returns the values of `integrity` that do not fit the files of the site as they are in the
/// directory. Browsers refuse such files, and a program may have changed them.
pub(crate) fn problems(
    sources: &[Source],
    links: &[Links],
    is_ignored: impl Fn(&str) -> bool,
) -> Result<Vec<Problem>> {
    let mut known = HashMap::new();
    let mut problems = Vec::new();
    for (source, links) in sources.iter().zip(links) {
        let mut found = Vec::new();
        for integrity in &links.integrity {
            let Some(algorithm) = parse(&integrity.value).map(|(algorithm, _)| algorithm).max()
            else {
                continue;
            };
            let target = &sources[integrity.target];
            if is_ignored(&target.path) {
                continue;
            }
            let expected = match known.get(&(integrity.target, algorithm)) {
                Some(expected) => expected,
                None => {
                    let value = algorithm.of_file(&target.path, &target.location)?;
                    &*known.entry((integrity.target, algorithm)).or_insert(value)
                }
            };
            if !fits(&integrity.value, algorithm, expected) {
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

/// Returns whether one hash of the strongest algorithm is the expected one.
fn fits(value: &str, strongest: Algorithm, expected: &str) -> bool {
    let mut hashes = parse(value).filter(|(algorithm, _)| *algorithm == strongest);
    // Browsers read both alphabets of base64, with or without the padding.
    let plain = |hash: &str| hash.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let expected = expected.split_once('-').map(|(_, hash)| plain(hash));
    hashes.any(|(_, hash)| Some(plain(hash)) == expected)
}

fn misfit(path: &str, expected: &str) -> String {
    format!("`integrity` does not fit the file `{path}`, whose value is `{expected}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_hashes_of_known_algorithms() {
        let value = " sha256-a?option  SHA512-b md5-c sha384 sha-256-d ";
        let found: Vec<_> = parse(value).collect();
        assert_eq!(found, [(Algorithm::Sha256, "a"), (Algorithm::Sha512, "b")]);
    }

    #[test]
    fn one_hash_of_the_strongest_algorithm_has_to_fit() {
        let [weak, strong] = [Algorithm::Sha256, Algorithm::Sha384].map(|of| of.of_bytes(b"x"));
        let fits = |value: &str| fits(value, Algorithm::Sha384, &strong);
        assert!(fits(&strong));
        assert!(fits(&format!("sha384-AAAA sha256-AAAA {strong}?x")));
        assert!(fits(&strong.replace('+', "-").replace('/', "_").replace("sha384_", "sha384-")));
        assert!(!fits(&format!("sha384-AAAA {weak}")));
    }
}
