//! Whether two places are one and the same, also where they were reached in two ways: a named
//! storage and a local path, say. A move onto itself would lose the object, a recursive copy into
//! itself would not end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anystorage::Storage;

use crate::place::Place;

/// Whether both are one storage, so that it can copy within itself.
pub(crate) fn same_storage(a: &Storage, b: &Storage) -> bool {
    Arc::ptr_eq(a.driver(), b.driver())
}

/// Whether both are one object.
pub(crate) fn same_object(a: &Place, b: &Place) -> bool {
    whereabouts(a, b).is_some_and(|(a, b)| a == b)
}

/// Whether one directory lies in the other, or both are one.
pub(crate) fn overlapping(a: &Place, b: &Place) -> bool {
    let slash = |mut text: String| {
        if !text.is_empty() && !text.ends_with('/') {
            text.push('/');
        }
        text
    };
    let both = whereabouts(a, b).map(|(a, b)| (slash(a), slash(b)));
    both.is_some_and(|(a, b)| a.starts_with(&b) || b.starts_with(&a))
}

/// Where both are, in texts that can be compared; `None` if they have nothing to do with each
/// other.
fn whereabouts(a: &Place, b: &Place) -> Option<(String, String)> {
    if same_storage(&a.storage, &b.storage) {
        return Some((a.text.clone(), b.text.clone()));
    }
    let same_driver = a.storage.info().name == b.storage.info().name;
    // All memories have the same location, and no two of them the same objects.
    (same_driver && a.storage.info().name != "memory").then(|| (absolute(a), absolute(b)))
}

fn absolute(place: &Place) -> String {
    let info = place.storage.info();
    let location = if info.name == "fs" {
        canonical(Path::new(&info.location))
    } else {
        info.location.clone()
    };
    format!("{}/{}", location.trim_end_matches('/'), place.text)
}

/// The path without symlinks, as far as it exists.
fn canonical(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().find_map(|ancestor| {
        let real = std::fs::canonicalize(ancestor).ok()?;
        Some(path.strip_prefix(ancestor).map_or_else(|_| real.clone(), |rest| joined(&real, rest)))
    });
    found.unwrap_or(path).to_string_lossy().into_owned()
}

/// Without the slash that joining nothing would add.
fn joined(real: &Path, rest: &Path) -> PathBuf {
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
    fn the_same_key_of_one_storage_is_one_object() {
        let storage = Memory::storage();
        assert!(same_object(&place(&storage, "a"), &place(&storage, "a")));
        assert!(!same_object(&place(&storage, "a"), &place(&storage, "b")));
        assert!(!same_object(&place(&storage, "a"), &place(&Memory::storage(), "a")));
    }

    #[test]
    fn one_file_is_one_object_through_whatever_root_it_is_reached() {
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
    fn directories_overlap_if_one_lies_in_the_other() {
        let storage = Memory::storage();
        let overlap = |a, b| overlapping(&place(&storage, a), &place(&storage, b));
        assert!(
            overlap("a/", "a/")
                && overlap("a/", "a/b/")
                && overlap("a/b/", "a/")
                && overlap("", "a/")
        );
        assert!(!overlap("a/", "ab/") && !overlap("a/", "b/"));
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("a")).unwrap();
        assert!(overlapping(
            &directory(scratch.path(), ""),
            &directory(&scratch.path().join("a"), "b/")
        ));
        assert!(!overlapping(
            &directory(scratch.path(), "b/"),
            &directory(&scratch.path().join("a"), "")
        ));
    }
}
