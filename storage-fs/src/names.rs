//! Reserved names, the length of names, and the names of lock files.

use storage_core::{Error, ErrorKind, Key, Result};

use crate::errors;

/// The name of the driver's own directory. It is reserved at every depth, because a root may lie
/// below another root.
pub(crate) const RESERVED: &str = ".anystorage";

/// The greatest length of a name on common file systems, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The number of lock files. It must be the same in all versions of this crate.
const LOCK_FILES: u64 = 64;

/// Returns whether a name is reserved, regardless of case, because some file systems ignore it.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case(RESERVED)
}

/// Fails with `InvalidKey` for a key with a reserved segment.
pub(crate) fn check_reserved(key: &Key) -> Result<()> {
    if key.segments().any(is_reserved) {
        let message =
            "a segment of the key is .anystorage, which the driver reserves: choose another name";
        return Err(Error::new(ErrorKind::InvalidKey, message));
    }
    Ok(())
}

/// Fails with `InvalidKey` if a segment is longer than the file system can store.
pub(crate) fn check_length(key: &Key) -> Result<()> {
    match key.segments().any(|segment| segment.len() > MAX_NAME_BYTES) {
        true => Err(errors::name_too_long()),
        false => Ok(()),
    }
}

/// Returns the name of a key's lock file. It must be the same in all versions of this crate.
pub(crate) fn lock_file_name(key: &Key) -> String {
    // FNV-1a over ASCII lower case, because `a` and `A` are one file on some file systems.
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:02x}", (hash ^ (hash >> 32)) % LOCK_FILES)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn file_of(key: &str) -> String {
        lock_file_name(&Key::new(key).unwrap())
    }

    /// Processes with different versions of this crate can share a root only if the names agree.
    #[test]
    fn the_lock_file_of_a_key_never_changes() {
        assert_eq!([file_of("a"), file_of("photos/ada.png"), file_of("é")], ["00", "19", "06"]);
        assert_eq!(file_of("Photos/ADA.png"), file_of("photos/ada.png"));
    }

    #[test]
    fn keys_use_all_the_lock_files() {
        let used: HashSet<_> = (0..1_000).map(|n| file_of(&format!("d/{n}"))).collect();
        assert_eq!(used.len() as u64, LOCK_FILES);
    }
}
