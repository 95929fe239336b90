//! Which names a key may have on this system, and whether a name on the disk is the one of the key.
//!
//! Keys are compared byte by byte, but Windows and macOS treat `a` and `A` as one name, and Windows
//! also finds a file by its short name. So a file that the system finds counts only if its name on
//! the disk is exactly that of the key.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use storage_core::{Error, ErrorKind, Key, Result};

use super::io_error::other_name;
use super::windows_names;
use crate::names::is_reserved;

/// The rules for names. The fields let tests on Linux apply the rules of other systems.
#[derive(Debug, Clone, Copy, Default)]
#[doc(hidden)]
pub struct NameRules {
    /// Refuses the names that Windows cannot store. Always done on Windows.
    pub windows: bool,
    /// Treats a name as taken if another differs from it only in case, as a file system that
    /// ignores case does.
    pub ignore_case: bool,
}

impl NameRules {
    /// Fails with `InvalidKey` if the system cannot store a segment of the key.
    pub(crate) fn check(self, key: &Key) -> Result<()> {
        match key.segments().find_map(|segment| self.problem(segment)) {
            Some(problem) => Err(Error::new(ErrorKind::InvalidKey, problem)),
            None => Ok(()),
        }
    }

    /// Returns why the system cannot store a name, or `None` if it can. A name with a problem must
    /// not reach the system, which could open a device or another file.
    pub(crate) fn problem(self, name: &str) -> Option<&'static str> {
        if self.windows || cfg!(windows) { windows_names::problem(name) } else { None }
    }

    /// Fails with an error that [`is_other_name`](super::io_error::is_other_name) if the system
    /// found a path of the root by another name than its own.
    pub(crate) fn check_found(self, root: &Path, directory: &Dir, path: &str) -> io::Result<()> {
        match is_reserved(last(path)) || has_exact_name(root, directory, path)? {
            true => Ok(()),
            false => Err(other_name()),
        }
    }

    /// Fails with the same error if [`ignore_case`](Self::ignore_case) is set and a name that the
    /// system did not find exists in another case.
    pub(crate) fn check_missing(self, directory: &Dir, name: &str) -> io::Result<()> {
        if !self.ignore_case || is_reserved(name) {
            return Ok(());
        }
        let folded = name.to_lowercase();
        for entry in directory.entries()? {
            if entry?.file_name().to_str().is_some_and(|other| other.to_lowercase() == folded) {
                return Err(other_name());
            }
        }
        Ok(())
    }
}

pub(crate) fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns whether the last component of an existing path is exactly the name on the disk. The
/// other components have been compared before.
#[cfg(any(windows, target_vendor = "apple"))]
fn has_exact_name(root: &Path, _directory: &Dir, path: &str) -> io::Result<bool> {
    has_canonical_name(root, path)
}

#[cfg(not(any(windows, target_vendor = "apple")))]
fn has_exact_name(_root: &Path, directory: &Dir, path: &str) -> io::Result<bool> {
    is_listed(directory, last(path))
}

/// Compares the last component with that of the canonical path. `root` must be canonical.
#[cfg_attr(not(any(windows, target_vendor = "apple", test)), allow(dead_code))]
fn has_canonical_name(root: &Path, path: &str) -> io::Result<bool> {
    // Windows does not accept `/` in a canonical path.
    let full: PathBuf = root.components().map(|part| part.as_os_str().to_owned()).collect();
    let full = path.split('/').fold(full, |full, segment| full.join(segment));
    let found = std::fs::canonicalize(full)?;
    Ok(found.file_name().is_some_and(|name| name == last(path)))
}

/// Looks the name up in the listing of its directory, but only if the system finds it in another
/// case too.
#[cfg_attr(any(windows, target_vendor = "apple"), allow(dead_code))]
fn is_listed(directory: &Dir, name: &str) -> io::Result<bool> {
    let swapped = swap_case(name);
    if swapped == name {
        return Ok(true);
    }
    match directory.symlink_metadata(&swapped) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    for entry in directory.entries()? {
        if entry?.file_name() == name {
            return Ok(true);
        }
    }
    Ok(false)
}

fn swap_case(name: &str) -> String {
    let swapped = name.chars().map(|c| match c {
        'a'..='z' => c.to_ascii_uppercase(),
        _ => c.to_ascii_lowercase(),
    });
    swapped.collect()
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn both_ways_to_compare_a_name_find_the_names_on_the_disk() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("d")).unwrap();
        for name in ["d/a", "d/A", "d/b", "d/1"] {
            std::fs::write(scratch.path().join(name), name).unwrap();
        }
        let root = scratch.path().canonicalize().unwrap();
        let directory = Dir::open_ambient_dir(root.join("d"), ambient_authority()).unwrap();
        for name in ["a", "A", "b", "1"] {
            assert!(is_listed(&directory, name).unwrap(), "{name}");
            assert!(has_canonical_name(&root, &format!("d/{name}")).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_name_found_in_another_case_only_is_not_the_name() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("FILE"), "").unwrap();
        let directory = Dir::open_ambient_dir(scratch.path(), ambient_authority()).unwrap();
        assert!(!is_listed(&directory, "file").unwrap());
        let rules = NameRules { windows: false, ignore_case: true };
        assert!(rules.check_missing(&directory, "File").is_err());
        assert!(rules.check_missing(&directory, "other").is_ok());
    }
}
