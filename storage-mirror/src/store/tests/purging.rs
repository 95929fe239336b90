//! Purges: a purge wins over every fill that began before it.

use super::super::directory::place;
use super::*;

#[test]
fn a_purge_removes_the_entry_and_returns_whether_there_was_one() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "key", b"body");
    assert!(store.purge("key").unwrap());
    assert!(!store.purge("key").unwrap());
    assert!(store.get("key").is_none() && entry_files(&scratch.path()).is_empty());
    assert_eq!((store.usage().bytes, store.usage().evicted_objects), (0, 0));
    fill(&store, "key", b"again");
    assert_eq!(read_key(&store, "key").unwrap(), b"again");
}

#[test]
fn a_fill_that_began_before_a_purge_is_not_kept() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let purges: [fn(&Store); 2] = [
        |store| assert!(!store.purge("a/key").unwrap()),
        |store| assert_eq!(store.purge_prefix("a/").unwrap(), 0),
    ];
    for purge in purges {
        // Purged before its metadata was known, and after.
        let begun = store.begin("a/key");
        let mut filling = store.begin("a/key").create(meta("a/key", 3)).unwrap();
        let mut other = store.begin("b/key").create(meta("b/key", 3)).unwrap();
        assert!(!begun.is_purged() && !filling.is_purged());
        purge(&store);
        assert!(begun.is_purged() && filling.is_purged() && !other.is_purged());
        let mut late = begun.create(meta("a/key", 3)).unwrap();
        for old in [&mut filling, &mut late, &mut other] {
            old.write(b"old").unwrap();
        }
        refused(filling.commit(), ErrorKind::Conflict);
        refused(late.commit(), ErrorKind::Conflict);
        assert!(store.get("a/key").is_none());
        other.commit().unwrap();
        fill(&store, "a/key", b"new");
        assert_eq!(read_key(&store, "a/key").unwrap(), b"new");
        assert_eq!((store.purge_prefix("").unwrap(), store.usage().reserved), (2, 0));
        assert_eq!(disk_use(&scratch.path()), 0);
    }
}

#[test]
fn the_prefix_of_a_purge_has_no_wildcards() {
    let scratch = Scratch::new();
    let store = scratch.open(16 * MIB);
    let keys = ["a", "a/b", "a/b/c", "a/bc", "a*", "ab", "A/b", "a/b%", "\u{e9}", "b"];
    let left =
        |store: &Store| store.entries().map(|entry| entry.key().to_owned()).collect::<Vec<_>>();
    for (prefix, kept) in [
        ("a/b", vec!["A/b", "a", "a*", "ab", "b", "\u{e9}"]),
        ("a*", vec!["A/b", "a", "a/b", "a/b%", "a/b/c", "a/bc", "ab", "b", "\u{e9}"]),
        ("a/b%", vec!["A/b", "a", "a*", "a/b", "a/b/c", "a/bc", "ab", "b", "\u{e9}"]),
        ("c", vec!["A/b", "a", "a*", "a/b", "a/b%", "a/b/c", "a/bc", "ab", "b", "\u{e9}"]),
        ("", vec![]),
    ] {
        keys.iter().for_each(|key| drop(fill(&store, key, b"x")));
        assert_eq!(store.purge_prefix(prefix).unwrap(), keys.len() - kept.len(), "{prefix}");
        assert_eq!(left(&store), kept, "{prefix}");
    }
}

#[test]
fn a_purge_of_a_prefix_removes_more_keys_than_fit_on_a_page() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(16 * MIB);
    (0..700).for_each(|n| drop(fill(&store, &format!("p/{n}"), b"x")));
    fill(&store, "q", b"x");
    assert_eq!(store.purge_prefix("p/").unwrap(), 700);
    assert_eq!((store.usage().objects, entry_files(&scratch.path()).len()), (1, 1));
}

#[test]
fn a_restart_does_not_restore_a_purged_entry() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "a", b"1");
    fill(&store, "b", b"2");
    store.purge("a").unwrap();
    drop(store);
    let store = scratch.open(MIB);
    assert!(store.get("a").is_none());
    assert_eq!(read_key(&store, "b").unwrap(), b"2");
}

#[test]
fn removing_a_version_leaves_a_newer_one() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    let old = fill(&store, "key", b"old");
    let new = fill(&store, "key", b"new");
    assert!(!store.remove(&old).unwrap());
    assert_eq!(read_key(&store, "key").unwrap(), b"new");
    assert!(store.remove(&new).unwrap());
    assert!(store.get("key").is_none());
    assert_eq!(store.usage().bytes, 0);
}

/// Evicts the only entry of a store of one MiB by reserving all of its space.
fn evict(store: &Store, key: &str) {
    drop(store.begin("large").create(meta("large", MIB - 2 * PAGE as u64)).unwrap());
    assert!(store.peek(key).is_none(), "the entry is evicted");
}

/// Puts a directory in the place of a file, which cannot be removed as a file, not even by root.
/// Returns where the file is meanwhile.
#[cfg(unix)]
fn make_irremovable(file: &Path) -> PathBuf {
    let aside = file.with_extension("aside");
    fs::rename(file, &aside).unwrap();
    fs::create_dir(file).unwrap();
    aside
}

#[cfg(unix)]
fn make_removable(file: &Path, aside: &Path) {
    fs::remove_dir(file).unwrap();
    fs::rename(aside, file).unwrap();
}

#[cfg(unix)]
#[test]
fn a_purge_fails_while_the_file_of_an_evicted_entry_cannot_be_removed() {
    let purges: [fn(&Store) -> Result<usize>; 3] = [
        |store| store.purge("key").map(usize::from),
        |store| store.purge_keys(["other", "key"]),
        |store| store.purge_prefix("k"),
    ];
    for purge in purges {
        let scratch = Scratch::new();
        let store = scratch.open(MIB);
        fill(&store, "key", b"body");
        let file = only_file(&scratch.path());
        let aside = make_irremovable(&file);
        evict(&store, "key");
        assert!(purge(&store).is_err(), "the next start would restore it");
        assert!(purge(&store).is_err());
        assert_eq!(store.purge_keys(["another"]).unwrap(), 0);
        make_removable(&file, &aside);
        assert_eq!(purge(&store).unwrap(), 0);
        assert!(entry_files(&scratch.path()).is_empty());
        assert_eq!(store.usage().reserved, 0);
    }
}

/// A power cut may restore a file whose removal was not synced, also if an earlier process removed
/// it.
#[test]
fn a_purge_syncs_the_earlier_removal_of_an_evicted_entry() {
    let scratch = Scratch::new();
    for is_evicted in [true, false] {
        let store = scratch.open(MIB);
        if is_evicted {
            store.purge_prefix("").unwrap();
            fill(&store, "key", b"body");
            evict(&store, "key");
        }
        let shelf = scratch.path().join(place("key").0);
        // A directory that does not exist cannot be synced.
        fs::remove_dir(&shelf).unwrap();
        assert!(store.purge("key").is_err());
        assert!(store.purge_prefix("").is_err());
        fs::create_dir(&shelf).unwrap();
        assert!(!store.purge("key").unwrap());
        // All is synced.
        fs::remove_dir(&shelf).unwrap();
        assert!(!store.purge("key").unwrap());
        fs::create_dir(&shelf).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_purge_that_cannot_remove_a_file_fails_and_can_be_repeated() {
    let scratch = Scratch::new();
    let store = scratch.open(MIB);
    fill(&store, "key", b"body");
    let file = only_file(&scratch.path());
    let aside = make_irremovable(&file);
    assert!(store.purge("key").is_err());
    assert!(store.peek("key").is_some(), "the entry stays while its file exists");
    make_removable(&file, &aside);
    assert!(store.purge("key").unwrap());
    assert!(entry_files(&scratch.path()).is_empty());
}
