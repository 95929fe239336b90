//! `list` contains every key once, in byte order, regardless of the page size of the backend.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Entry, ErrorKind, List, Result, Storage};

use crate::case::Checked;
use crate::extra_entries::{BESIDE_FOLDER_MARKERS, FOLDER_MARKERS};
use crate::kit::{Kit, names_of, refused};
use crate::support::content::pattern;

/// Names whose order differs between segments, locales and bytes.
const INTERLEAVING: &[&str] = &[
    "A", "B/x", "a!", "a-b", "a-b/c", "a.b", "a/b", "a/b-c", "a/b.c", "a/b/c", "a0", "aB", "a_b",
    "ab", "ab/c", "b", "é", "z", "~",
];

pub(crate) async fn an_empty_storage_has_an_empty_listing(kit: &Kit) -> Checked {
    assert!(kit.names("").await?.is_empty());
    assert!(kit.names("a").await?.is_empty());
    assert!(kit.names("a/b/").await?.is_empty());
    assert!(kit.level("", "/").await?.is_empty());
    Ok(())
}

pub(crate) async fn all_keys_are_listed_in_byte_order(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(INTERLEAVING).await?;
    assert!(stored.len() > 15, "too few keys were accepted: {stored:?}");
    assert_eq!(kit.names("").await?, stored);
    Ok(())
}

pub(crate) async fn a_prefix_matches_literal_bytes(kit: &Kit) -> Checked {
    let keys = [
        "avatars/ada.png",
        "avatars/bob.png",
        "avatars-old/x",
        "avatars.txt",
        "Avatars/x",
        "a*/x",
        "a[v]/x",
        "a?/x",
        "b/avatars/x",
        "a%76/x",
        "avat\u{e1}rs",
    ];
    let stored = kit.seed_keys(&keys).await?;
    let prefixes = [
        "avatars/a",
        "avatars/",
        "avatars",
        "avatar",
        "avatars/ada.png",
        "a",
        "a*",
        "a*/",
        "a[v]",
        "a?",
        "a%76",
        "A",
        "*",
        "?",
        "avatars/*",
        "[",
        "avat\u{e1}",
        "ava.*",
        "b/av",
        "x",
        "avatars/ada.png/",
        "avatars/ada.png/x",
        "a/b/c/d/",
    ];
    for prefix in prefixes {
        let expected: Vec<_> =
            stored.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(kit.names(prefix).await?, expected, "prefix {prefix:?}");
    }
    Ok(())
}

pub(crate) async fn no_slash_is_added_to_a_prefix(kit: &Kit) -> Checked {
    kit.seed_keys(&["photos-2026/x", "photos.txt", "photos/a", "photosx"]).await?;
    assert_eq!(kit.names("photos").await?, ["photos-2026/x", "photos.txt", "photos/a", "photosx"]);
    assert_eq!(
        kit.level("photos", "/").await?,
        ["photos-2026/", "photos.txt", "photos/", "photosx"]
    );
    assert_eq!(kit.level("photos/", "/").await?, ["photos/a"]);
    Ok(())
}

pub(crate) async fn dots_in_a_prefix_have_no_meaning(kit: &Kit) -> Checked {
    let stored =
        kit.seed_keys(&["...a", "..a", ".a", "a", "b/...", "b/..c", "b/.c", "b/c"]).await?;
    for prefix in [".", "..", "...", "b/.", "b/..", "b/..."] {
        let expected: Vec<_> =
            stored.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(kit.names(prefix).await?, expected, "prefix {prefix:?}");
    }
    Ok(())
}

pub(crate) async fn a_delimiter_lists_one_level(kit: &Kit) -> Checked {
    kit.seed_keys(&["a", "b/c", "b/d/e", "b/d/f", "b/g", "b-h/i", "b.j/k/l", "m/n/o/p"]).await?;
    assert_eq!(kit.level("", "/").await?, ["a", "b-h/", "b.j/", "b/", "m/"]);
    assert_eq!(kit.level("b/", "/").await?, ["b/c", "b/d/", "b/g"]);
    assert_eq!(kit.level("b", "/").await?, ["b-h/", "b.j/", "b/"]);
    assert_eq!(kit.level("b/d", "/").await?, ["b/d/"]);
    assert_eq!(kit.level("b/d/", "/").await?, ["b/d/e", "b/d/f"]);
    assert_eq!(kit.level("m/n", "/").await?, ["m/n/"]);
    assert!(kit.level("b/c/", "/").await?.is_empty());
    assert!(kit.level("x/", "/").await?.is_empty());
    Ok(())
}

pub(crate) async fn a_common_prefix_is_listed_once_and_in_order(kit: &Kit) -> Checked {
    // `b!`, `b-x` and `b.x` sort before `b/`; `b0` after it.
    let keys: Vec<String> = (0..30).map(|at| format!("b/{at:02}/x")).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.extend(["a", "b!", "b-x/y", "b.x", "b0", "c"]);
    kit.seed_keys(&keys).await?;
    assert_eq!(kit.level("", "/").await?, ["a", "b!", "b-x/", "b.x", "b/", "b0", "c"]);
    Ok(())
}

pub(crate) async fn entries_distinguish_objects_from_prefixes(kit: &Kit) -> Checked {
    kit.seed_keys(&["a/b", "c"]).await?;
    let entries = kit.storage.list("").delimiter("/").entries().collect().await?;
    assert!(matches!(&entries[..], [Entry::Prefix(_), Entry::Object(_)]), "{entries:?}");
    let entries = kit.storage.list("").entries().collect().await?;
    assert!(matches!(&entries[..], [Entry::Object(_), Entry::Object(_)]), "{entries:?}");
    Ok(())
}

pub(crate) async fn any_text_can_be_a_delimiter(kit: &Kit) -> Checked {
    kit.seed_keys(&[
        "2025-12-31/a",
        "2026-01-01/a",
        "2026-01-02/b",
        "2026-02-01",
        "plain",
        "x--y",
        "x--z",
        "x-w",
    ])
    .await?;
    assert_eq!(kit.level("", "-").await?, ["2025-", "2026-", "plain", "x-"]);
    assert_eq!(kit.level("2026-", "-").await?, ["2026-01-", "2026-02-"]);
    assert_eq!(kit.level("2026-01-", "-").await?, ["2026-01-01/a", "2026-01-02/b"]);
    assert_eq!(kit.level("x", "--").await?, ["x--", "x-w"]);
    assert_eq!(kit.level("2026-01-01", "/a").await?, ["2026-01-01/a"]);
    Ok(())
}

pub(crate) async fn start_after_continues_after_a_name(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(INTERLEAVING).await?;
    for after in [
        "",
        "A",
        "a",
        "a!",
        "a-",
        "a-b",
        "a/",
        "a/b",
        "a/b.c",
        "a/zzz",
        "a0",
        "é",
        "m",
        "z",
        "~",
        "\u{10ffff}",
    ] {
        let expected: Vec<_> = stored.iter().filter(|key| key.as_str() > after).cloned().collect();
        let entries = kit.storage.list("").start_after(after).entries().collect().await?;
        assert_eq!(names_of(entries), expected, "after {after:?}");
    }
    Ok(())
}

pub(crate) async fn start_after_applies_together_with_a_prefix(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(&["a/x", "b/1", "b/2", "b/2x", "b/3/y", "b/4", "b0", "c"]).await?;
    for after in
        ["", "a", "b", "b/", "b/1", "b/2", "b/25", "b/3", "b/3/", "b/3/y", "b/4", "b/5", "c", "z"]
    {
        let expected: Vec<_> = stored
            .iter()
            .filter(|key| key.starts_with("b/") && key.as_str() > after)
            .cloned()
            .collect();
        let entries = kit.storage.list("b/").start_after(after).entries().collect().await?;
        assert_eq!(names_of(entries), expected, "after {after:?}");
    }
    Ok(())
}

/// The text need not be a valid key.
pub(crate) async fn start_after_accepts_any_text(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(&["a", "b/c", "b/d", "b.", "x", "\u{e9}"]).await?;
    let long = "b".repeat(3000);
    for after in
        ["/", "/a", "b//", "b/c/", "b/../b/c", "..", "b/.", " ", "b/c ", "*", &long, "\u{10ffff}"]
    {
        let expected: Vec<_> = stored.iter().filter(|key| key.as_str() > after).cloned().collect();
        let entries = kit.storage.list("").start_after(after).entries().collect().await?;
        assert_eq!(names_of(entries), expected, "after {after:?}");
        let expected: Vec<_> = expected.into_iter().filter(|key| key.starts_with("b/")).collect();
        let entries =
            kit.storage.list("b/").delimiter("/").start_after(after).entries().collect().await?;
        assert_eq!(names_of(entries), expected, "after {after:?}, below b/");
    }
    Ok(())
}

/// Compares the name of the entry: `b/` is not after `b/1`, although `b/2` is.
pub(crate) async fn start_after_compares_common_prefixes(kit: &Kit) -> Checked {
    kit.seed_keys(&["a", "b/1", "b/2", "b/3/x", "b0", "c/1", "d"]).await?;
    let all = ["a", "b/", "b0", "c/", "d"];
    for after in ["", "a", "b", "b/", "b/1", "b/2", "b/3", "b0", "c", "c/", "c/1", "d", "e"] {
        let expected: Vec<_> = all.into_iter().filter(|name| *name > after).collect();
        let entries =
            kit.storage.list("").delimiter("/").start_after(after).entries().collect().await?;
        assert_eq!(names_of(entries), expected, "after {after:?}");
    }
    Ok(())
}

pub(crate) async fn a_listing_that_is_resumed_after_each_entry_is_complete(kit: &Kit) -> Checked {
    kit.seed_keys(INTERLEAVING).await?;
    for delimiter in [None, Some("/")] {
        let whole = match delimiter {
            None => kit.names("").await?,
            Some(delimiter) => kit.level("", delimiter).await?,
        };
        let mut pieced: Vec<String> = Vec::new();
        while pieced.len() <= whole.len() {
            let mut list =
                kit.storage.list("").start_after(pieced.last().cloned().unwrap_or_default());
            if let Some(delimiter) = delimiter {
                list = list.delimiter(delimiter);
            }
            match list.entries().next().await {
                Some(entry) => pieced.push(entry?.name().to_owned()),
                None => break,
            }
        }
        assert_eq!(pieced, whole, "delimiter {delimiter:?}");
    }
    Ok(())
}

pub(crate) async fn entries_agree_with_stat(kit: &Kit) -> Checked {
    for (at, len) in [(0_u8, 0_usize), (1, 1), (2, 100_000)] {
        kit.seed.save(format!("d/{at}.bin"), pattern(at, len)).await?;
    }
    let entries = kit.storage.list("").entries().collect().await?;
    assert_eq!(entries.len(), 3);
    for object in entries.into_iter().filter_map(Entry::into_object) {
        let stat = kit.storage.stat(&object.key).await?;
        assert_eq!(object.size, stat.size, "{}", object.key);
        assert!(
            object.etag.is_none() || object.etag == stat.etag,
            "{:?} listed, {:?} by stat",
            object.etag,
            stat.etag
        );
        let (listed, by_stat) = (seconds(object.last_modified), seconds(stat.last_modified));
        assert!(
            object.last_modified.is_none() || listed == by_stat,
            "{listed:?} listed, {by_stat:?} by stat"
        );
    }
    Ok(())
}

/// Some backends list times with a finer resolution than their headers have.
fn seconds(time: Option<std::time::SystemTime>) -> Option<u64> {
    Some(time?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

pub(crate) async fn an_overwritten_object_is_listed_once(kit: &Kit) -> Checked {
    for version in 0..5_u8 {
        kit.storage.save("a/b.bin", pattern(version, 10 + usize::from(version))).await?;
        kit.storage.save("c.bin", "c").await?;
    }
    kit.holds_only(&["a/b.bin", "c.bin"]).await?;
    let entries = kit.storage.list("a/").entries().collect().await?;
    assert!(matches!(&entries[..], [Entry::Object(object)] if object.size == 14), "{entries:?}");
    Ok(())
}

pub(crate) async fn a_prefix_disappears_with_its_last_object(kit: &Kit) -> Checked {
    for key in ["a/b/c/1", "a/b/c/2", "d"] {
        kit.storage.save(key, key).await?;
    }
    kit.storage.delete("a/b/c/1").await?;
    assert_eq!(kit.level("", "/").await?, ["a/", "d"]);
    kit.storage.delete("a/b/c/2").await?;
    assert_eq!(kit.level("", "/").await?, ["d"]);
    assert!(kit.level("a/", "/").await?.is_empty());
    assert!(kit.level("a/b/", "/").await?.is_empty());
    Ok(())
}

pub(crate) async fn deeply_nested_keys_are_listed(kit: &Kit) -> Checked {
    let deep = vec!["d"; 100].join("/");
    let stored = kit.seed_keys(&["d.x", &format!("{deep}/1"), &format!("{deep}/2"), "d0"]).await?;
    assert_eq!(kit.names("").await?, stored);
    assert_eq!(kit.level("", "/").await?, ["d.x", "d/", "d0"]);
    assert_eq!(
        kit.level(&format!("{deep}/"), "/").await?,
        [format!("{deep}/1"), format!("{deep}/2")]
    );
    Ok(())
}

pub(crate) async fn a_listing_starts_at_the_first_poll(kit: &Kit) -> Checked {
    kit.seed.save("b", "b").await?;
    let entries = kit.storage.list("").entries();
    kit.seed.save("a", "a").await?;
    kit.seed.save("c", "c").await?;
    kit.seed.delete("b").await?;
    assert_eq!(
        names_of(entries.collect().await?),
        ["a", "c"],
        "the listing is older than its first poll"
    );
    Ok(())
}

/// More than two pages of any backend, in one directory and in many.
pub(crate) async fn a_listing_of_2300_objects_is_complete_and_in_order(kit: &Kit) -> Checked {
    let flat = (0..1300).map(|at| format!("flat/{at:04}"));
    let nested = (0..1000).map(|at| format!("nested/{:03}/{:02}", at / 4, at % 4));
    let mut keys: Vec<String> = flat.chain(nested).collect();
    save_all(&kit.seed, &keys).await?;
    keys.sort_unstable();
    assert!(
        kit.names("").await? == keys,
        "the listing differs from the {} keys that were saved",
        keys.len()
    );
    assert_eq!(
        kit.names("flat/1").await?,
        (1000..1300).map(|at| format!("flat/{at}")).collect::<Vec<_>>()
    );
    assert_eq!(kit.level("", "/").await?, ["flat/", "nested/"]);
    let directories: Vec<String> = (0..250).map(|at| format!("nested/{at:03}/")).collect();
    assert_eq!(kit.level("nested/", "/").await?, directories);
    assert_eq!(kit.level("flat/", "/").await?.len(), 1300);
    let rest = kit.storage.list("flat/").start_after("flat/1150").entries().collect().await?;
    assert_eq!(names_of(rest), (1151..1300).map(|at| format!("flat/{at:04}")).collect::<Vec<_>>());
    let rest = kit
        .storage
        .list("nested/")
        .delimiter("/")
        .start_after("nested/200/")
        .entries()
        .collect()
        .await?;
    assert_eq!(names_of(rest), directories[201..]);
    Ok(())
}

async fn save_all(storage: &Storage, keys: &[String]) -> Result<()> {
    let saves: Vec<_> =
        keys.iter().map(|key| storage.save(key, Bytes::from_static(b"x")).into_future()).collect();
    stream::iter(saves).buffer_unordered(32).try_for_each(|_| std::future::ready(Ok(()))).await
}

/// Other objects are deleted and saved around the position of the listing.
pub(crate) async fn an_object_that_exists_throughout_is_listed_once(kit: &Kit) -> Checked {
    let name = |at: usize, end: &str| format!("d{}/{at:03}/{end}", at % 3);
    let lasting: BTreeSet<String> = (0..120).map(|at| name(at, "lasting")).collect();
    for is_growing in [false, true] {
        let passing = (0..120).map(|at| name(at, "passing"));
        save_all(&kit.seed, &lasting.iter().cloned().chain(passing).collect::<Vec<_>>()).await?;
        let mut entries = kit.storage.list("").entries();
        let mut listed = Vec::new();
        while let Some(entry) = entries.next().await {
            listed.push(entry?.name().to_owned());
            let Some(directory) = listed.last().and_then(|last| last.strip_suffix("lasting"))
            else {
                continue;
            };
            match is_growing {
                false => kit.seed.delete(format!("{directory}passing")).await?,
                true => drop(kit.seed.save(format!("{directory}before"), "x").await?),
            }
        }
        assert!(listed.is_sorted_by(|a, b| a < b), "out of order, or twice: {listed:?}");
        let found: BTreeSet<String> =
            listed.into_iter().filter(|name| name.ends_with("lasting")).collect();
        assert_eq!(found, lasting);
    }
    Ok(())
}

pub(crate) async fn a_partly_read_listing_can_be_dropped(kit: &Kit) -> Checked {
    let stored = kit.seed_keys(INTERLEAVING).await?;
    for _ in 0..10 {
        let mut entries = kit.storage.list("").entries();
        entries.next().await.transpose()?;
        drop(entries);
        drop(kit.storage.list("").entries());
    }
    assert_eq!(kit.names("").await?, stored);
    Ok(())
}

/// Returns the storage of the harness with folder markers.
async fn with_folder_markers(kit: &Kit) -> Storage {
    kit.harness.folder_markers().await.expect("the harness creates folder markers")
}

/// Returns the storage of the harness with an unreadable directory.
async fn with_an_unreadable_directory(kit: &Kit) -> Storage {
    kit.harness
        .unreadable_directory()
        .await
        .expect("the harness creates a directory that cannot be read")
}

/// Returns the names in order, and for each error a `!` and its key.
async fn items(list: List) -> Vec<String> {
    let mut entries = list.entries();
    let mut items = Vec::new();
    while let Some(entry) = entries.next().await {
        items.push(match entry {
            Ok(entry) => entry.name().to_owned(),
            Err(error) => {
                assert!(error.listing_continues(), "the listing ends with {error}");
                format!("!{}", error.key().expect("the error contains the name of the directory"))
            }
        });
    }
    items
}

pub(crate) async fn folder_markers_are_counted_and_are_neither_entries_nor_errors(
    kit: &Kit,
) -> Checked {
    let storage = with_folder_markers(kit).await;
    let mut entries = storage.list("").entries();
    let mut listed = Vec::new();
    while let Some(entry) = entries.next().await {
        listed.push(entry?);
    }
    assert_eq!(names_of(listed), BESIDE_FOLDER_MARKERS);
    assert_eq!(entries.folder_markers(), FOLDER_MARKERS.len() as u64);
    assert_eq!(names_of(storage.list("b/").entries().collect().await?), ["b/1", "b/c/2"]);
    // A directory that contains only a marker is listed as a directory.
    assert_eq!(
        names_of(storage.list("").delimiter("/").entries().collect().await?),
        ["a", "b/", "d", "e/"]
    );
    assert_eq!(
        names_of(storage.list("b/").delimiter("/").entries().collect().await?),
        ["b/1", "b/c/"]
    );
    assert!(storage.list("e/").entries().collect().await?.is_empty());
    Ok(())
}

pub(crate) async fn folder_markers_are_listed_in_order_on_request(kit: &Kit) -> Checked {
    let storage = with_folder_markers(kit).await;
    let all = storage.list("").with_folder_markers().entries().collect().await?;
    for entry in &all {
        assert_eq!(
            matches!(entry, Entry::FolderMarker(_)),
            entry.name().ends_with('/'),
            "{entry:?}"
        );
    }
    let all = names_of(all);
    assert_eq!(all, ["a", "b/", "b/1", "b/c/", "b/c/2", "d", "e/"]);
    for after in &all {
        let rest = storage
            .list("")
            .start_after(after.as_str())
            .with_folder_markers()
            .entries()
            .collect()
            .await?;
        let expected: Vec<_> = all.iter().filter(|name| *name > after).cloned().collect();
        assert_eq!(names_of(rest), expected, "after {after:?}");
    }
    let level = storage.list("b/").delimiter("/").with_folder_markers().entries().collect().await?;
    assert!(
        matches!(&level[..], [Entry::FolderMarker(_), Entry::Object(_), Entry::Prefix(_)]),
        "{level:?}"
    );
    Ok(())
}

pub(crate) async fn a_folder_marker_is_deleted_and_objects_below_it_stay(kit: &Kit) -> Checked {
    let storage = with_folder_markers(kit).await;
    storage.delete_folder_marker("b/").await?;
    // The marker does not exist, or is already deleted.
    for name in ["b/", "none/", "b/c/2/", ""] {
        storage.delete_folder_marker(name).await?;
    }
    let left = storage.list("").with_folder_markers().entries().collect().await?;
    assert_eq!(names_of(left), ["a", "b/1", "b/c/", "b/c/2", "d", "e/"]);
    refused(storage.delete_folder_marker("a").await, ErrorKind::InvalidInput);
    assert!(storage.exists("a").await?);
    Ok(())
}

pub(crate) async fn an_unreadable_directory_is_one_error_and_the_listing_continues(
    kit: &Kit,
) -> Checked {
    let storage = with_an_unreadable_directory(kit).await;
    assert_eq!(items(storage.list("")).await, ["a", "!b/", "b0", "c/1"]);
    assert_eq!(items(storage.list("b")).await, ["!b/", "b0"]);
    assert_eq!(items(storage.list("c/")).await, ["c/1"]);
    assert!(
        storage.list("b/").entries().collect().await.is_err(),
        "an unreadable directory is listed as empty"
    );
    assert!(
        storage.list("").entries().collect().await.is_err(),
        "an incomplete listing counts as complete"
    );
    Ok(())
}

pub(crate) async fn a_listing_of_one_level_contains_an_unreadable_directory(kit: &Kit) -> Checked {
    let storage = with_an_unreadable_directory(kit).await;
    assert_eq!(items(storage.list("").delimiter("/")).await, ["a", "b/", "b0", "c/"]);
    Ok(())
}

/// The names after `b/5` are unknown too. A caller continues after the key of the error.
pub(crate) async fn a_listing_that_begins_inside_an_unreadable_directory_reports_it(
    kit: &Kit,
) -> Checked {
    let storage = with_an_unreadable_directory(kit).await;
    assert_eq!(items(storage.list("").start_after("b/5")).await, ["!b/", "b0", "c/1"]);
    assert_eq!(items(storage.list("").start_after("b/")).await, ["b0", "c/1"]);
    assert_eq!(items(storage.list("").start_after("b0")).await, ["c/1"]);
    Ok(())
}
