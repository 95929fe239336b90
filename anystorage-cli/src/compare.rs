//! Compares places by storage, location and key: whether two places are the same object, and
//! whether one directory contains the other.
//!
//! The same object may be typed in two ways, such as a named storage and a local path. A move of an
//! object onto itself would lose it, and a recursive copy into itself would not end.
//! [`crate::move_check`] detects further cases by comparing the objects.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anystorage::Storage;

use crate::place::Place;

/// Whether two handles share a storage, which can then copy within itself.
pub(crate) fn same_storage(a: &Storage, b: &Storage) -> bool {
    Arc::ptr_eq(a.driver(), b.driver())
}

/// Whether two places are the same object.
pub(crate) fn same_object(a: &Place, b: &Place) -> bool {
    comparable_paths(a, b).is_some_and(|(a, b)| a == b)
}

/// Whether two directories are the same, or one contains the other.
pub(crate) fn overlap(a: &Place, b: &Place) -> bool {
    path_below(a, b).is_some() || path_below(b, a).is_some()
}

/// Returns the path of a directory below another one, with a slash at the end. Returns `None` if it
/// is not below it, and an empty path if both are the same.
pub(crate) fn path_below(outer: &Place, inner: &Place) -> Option<String> {
    let (outer, inner) = comparable_paths(outer, inner)?;
    let (outer, inner) = (with_slash(outer), with_slash(inner));
    inner.strip_prefix(&outer).map(str::to_owned)
}

fn with_slash(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('/') {
        text.push('/');
    }
    text
}

/// Whether a place is in the file system, and contains a local directory or is inside of it.
pub(crate) fn overlaps_directory(place: &Place, directory: &Path) -> bool {
    if place.storage.info().name != "fs" {
        return false;
    }
    let (place, directory) = (with_slash(absolute(place)), with_slash(canonical(directory)));
    place.starts_with(&directory) || directory.starts_with(&place)
}

/// Whether a place is this local file.
pub(crate) fn is_file(place: &Place, path: &Path) -> bool {
    place.storage.info().name == "fs" && absolute(place) == canonical(path)
}

/// Returns the path of a file below a local directory, with `/` between the names, or `None` if it
/// is not below it.
pub(crate) fn name_below(directory: &Path, file: &Path) -> Option<String> {
    let (directory, file) = (canonical(directory), canonical(file));
    let names = Path::new(&file).strip_prefix(&directory).ok()?.iter();
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    (!names.is_empty()).then(|| names.join("/"))
}

/// Returns the paths of two places in a comparable form, or `None` if their storages differ.
fn comparable_paths(a: &Place, b: &Place) -> Option<(String, String)> {
    if same_storage(&a.storage, &b.storage) {
        return Some((a.text.clone(), b.text.clone()));
    }
    let same_driver = a.storage.info().name == b.storage.info().name;
    // All memory storages have the same location but different objects.
    (same_driver && a.storage.info().name != "memory").then(|| (absolute(a), absolute(b)))
}

/// Returns the path of a place in the file system or at its service.
fn absolute(place: &Place) -> String {
    let info = place.storage.info();
    let location = if info.name == "fs" {
        canonical(Path::new(&info.location))
    } else {
        info.location.clone()
    };
    format!("{}/{}", location.trim_end_matches('/'), place.text)
}

/// Resolves the symlinks in the part of a path that exists.
fn canonical(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().find_map(|ancestor| {
        let real = std::fs::canonicalize(ancestor).ok()?;
        Some(path.strip_prefix(ancestor).map_or_else(|_| real.clone(), |rest| join(&real, rest)))
    });
    found.unwrap_or(path).to_string_lossy().into_owned()
}

/// Joins two paths without the slash that an empty second path would add.
fn join(real: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { real.to_owned() } else { real.join(rest) }
}

#[cfg(test)]
mod tests {
    use anystorage::Memory;

    use super::*;

    fn place(storage: &Storage, text: &str) -> Place {
        Place {
            storage: storage.clone(),
            label: "x:".to_owned(),
            text: text.to_owned(),
            local: false,
        }
    }

    fn directory(root: &Path, text: &str) -> Place {
        place(&Storage::new(anystorage::fs::Fs::builder(root).build().unwrap()), text)
    }

    #[test]
    fn the_same_key_of_a_storage_is_the_same_object() {
        let storage = Memory::storage();
        assert!(same_object(&place(&storage, "a"), &place(&storage, "a")));
        assert!(!same_object(&place(&storage, "a"), &place(&storage, "b")));
        assert!(!same_object(&place(&storage, "a"), &place(&Memory::storage(), "a")));
    }

    #[test]
    fn a_file_is_the_same_object_below_different_roots() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, below) = (scratch.path().join("root"), scratch.path().join("root/below"));
        std::fs::create_dir_all(&below).unwrap();
        assert!(same_object(&directory(&root, "below/a"), &directory(&below, "a")));
        assert!(!same_object(&directory(&root, "a"), &directory(&below, "a")));
        let prefixed = Place {
            storage: directory(&root, "").storage.prefixed("below").unwrap(),
            ..directory(&root, "a")
        };
        assert!(same_object(&prefixed, &directory(&below, "a")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&root, scratch.path().join("link")).unwrap();
            assert!(same_object(
                &directory(&scratch.path().join("link"), "below/a"),
                &directory(&below, "a")
            ));
        }
    }

    #[test]
    fn directories_overlap_if_one_contains_the_other() {
        let storage = Memory::storage();
        let keys_overlap = |a, b| overlap(&place(&storage, a), &place(&storage, b));
        assert!(
            keys_overlap("a/", "a/")
                && keys_overlap("a/", "a/b/")
                && keys_overlap("a/b/", "a/")
                && keys_overlap("", "a/")
        );
        assert!(!keys_overlap("a/", "ab/") && !keys_overlap("a/", "b/"));
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("a")).unwrap();
        assert!(overlap(
            &directory(scratch.path(), ""),
            &directory(&scratch.path().join("a"), "b/")
        ));
        assert!(!overlap(
            &directory(scratch.path(), "b/"),
            &directory(&scratch.path().join("a"), "")
        ));
    }
}
