//! The keys below the destination that are reserved for releases.

use std::time::SystemTime;

use storage_core::{Error, ErrorKind, Key, Result, format_time, internal, keys};

/// The prefix of all keys below the destination that are reserved for releases.
pub const RESERVED_PREFIX: &str = ".anystorage-publish/";

/// The key of the pointer, which names the current release.
pub const POINTER_KEY: &str = ".anystorage-publish/current.json";

/// The number of random characters of a release's id, five bits each.
const RANDOM_CHARS: usize = 8;

/// Upper bound for the length of a release's id.
const MAX_ID: usize = 64;

/// Returns the key of a release's manifest.
///
/// # Errors
/// `InvalidInput` if it is not the id of a release.
pub fn manifest_key(release: &str) -> Result<Key> {
    Key::new(format!("{}manifest.json", release_prefix(release)?))
}

/// Returns the prefix of all objects of a release.
pub(crate) fn release_prefix(release: &str) -> Result<String> {
    check_release_id(release)?;
    Ok(format!("{RESERVED_PREFIX}releases/{release}/"))
}

/// Returns the key of a page, or of another object with a fixed name, as a release stores it.
pub(crate) fn page_key(release: &str, name: &str) -> Result<String> {
    let key = format!("{}pages/{name}", release_prefix(release)?);
    Key::new(key.as_str())?;
    Ok(key)
}

/// Returns a new id, which sorts by time: `20261128T081500Z-k3f9x2ma`.
pub(crate) fn new_release_id(now: SystemTime) -> Result<String> {
    let seconds = format_time(internal::floor_to_second(now));
    let compact: String = seconds.chars().filter(char::is_ascii_alphanumeric).collect();
    Ok(format!("{compact}-{}", keys::random_text(RANDOM_CHARS)?))
}

pub(crate) fn check_release_id(release: &str) -> Result<()> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !release.is_empty() && release.len() <= MAX_ID && release.bytes().all(is_valid) {
        return Ok(());
    }
    let message = format!(
        "{release:?} is not the id of a release: ids have ASCII letters, digits and hyphens, as in \
         20261128T081500Z-k3f9x2ma"
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ids_of_releases_sort_by_time_and_differ_within_a_second() {
        let at = |seconds| new_release_id(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        assert!(at(1_000).starts_with("19700101T001640Z-"), "{}", at(1_000));
        assert!(at(1_000) < at(1_001));
        assert_ne!(at(1_000), at(1_000));
        check_release_id(&at(1_000)).unwrap();
    }

    #[test]
    fn an_id_that_leaves_the_directory_of_releases_is_refused() {
        for id in ["", "..", "a/b", "a\nb", &"a".repeat(65)] {
            assert_eq!(manifest_key(id).unwrap_err().kind(), ErrorKind::InvalidInput, "{id}");
        }
    }
}
