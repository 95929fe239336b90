//! Keys: every valid [`Key`](storage_core::Key) is kept unchanged or refused, and different keys
//! name different objects.

use bytes::Bytes;
use storage_core::{ErrorKind, MAX_KEY_BYTES, Metadata};

use crate::case::Checked;
use crate::kit::{Kit, refused};

/// Saves an object under each key, and checks every verb for each of them.
async fn all_stay_apart(kit: &Kit, keys: &[&str]) -> Checked {
    let mut expected = Vec::new();
    for key in keys {
        if let Some(meta) = kit.try_seed(key, Bytes::copy_from_slice(key.as_bytes())).await? {
            assert_eq!(meta.key, *key, "save returned another key");
            expected.push((*key).to_owned());
        }
    }
    assert!(!expected.is_empty(), "all of these keys were refused: {keys:?}");
    for key in &expected {
        assert!(kit.storage.exists(key).await?, "{key:?}");
        assert_eq!(kit.storage.stat(key).await?.key, *key.as_str(), "stat returned another key");
        assert_eq!(
            kit.storage.open(key).await?.meta().key,
            *key.as_str(),
            "open returned another key"
        );
        assert_eq!(kit.read(key).await?, *key.as_bytes(), "{key:?} has the bytes of another key");
    }
    if !kit.storage.info().capabilities.list {
        return Ok(());
    }
    expected.sort_unstable();
    assert_eq!(kit.names("").await?, expected);
    for key in &expected {
        let found = kit.names(key).await?;
        let beginning: Vec<_> =
            expected.iter().filter(|other| other.starts_with(key)).cloned().collect();
        assert_eq!(found, beginning, "listing the prefix {key:?}");
    }
    Ok(())
}

pub(crate) async fn spaces_are_kept(kit: &Kit) -> Checked {
    all_stay_apart(
        kit,
        &[
            "a b", "a  b", " a", "a ", " ", "  ", "d /x", " d/x", "d/ x", "d/x ", "a\u{a0}b",
            "\u{3000}",
        ],
    )
    .await
}

pub(crate) async fn characters_with_a_meaning_in_urls_are_kept(kit: &Kit) -> Checked {
    let keys = [
        "a b", "a%20b", "a+b", "a%2Bb", "a%2520b", "a%2fb", "a/b", "a%2Fb", "100%", "%", "%%",
        "%zz", "a?b=c", "a#b", "a&b", "a=b", "a;b", "a:b", "a@b", "a,b", "a$b", "http:x", "é",
        "%C3%A9", "a%00b", "%2e%2e", "..%2f",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn characters_with_a_meaning_in_shells_and_globs_are_kept(kit: &Kit) -> Checked {
    let keys = [
        "*",
        "**",
        "a*",
        "ab",
        "a?",
        "[ab]",
        "[!a]",
        "a[0].txt",
        "a{0}.txt",
        "{a,b}",
        "~",
        "~root",
        "-rf",
        "--",
        "$HOME",
        "a|b",
        "a>b",
        "a<b",
        "a&&b",
        "`a`",
        "'a'",
        "\"a\"",
        "!a",
        "(a)",
        "a^b",
        "d[1]/f*.txt",
        "{d}/x",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn backslashes_are_not_separators(kit: &Kit) -> Checked {
    all_stay_apart(
        kit,
        &["a\\b", "a/b", "\\", "\\\\", "..\\a", "a\\..\\b", "c:\\x", "a\\", "d/e\\f", "\\d\\e"],
    )
    .await
}

pub(crate) async fn dots_are_kept(kit: &Kit) -> Checked {
    let keys = [
        "...",
        "....",
        ".a",
        "..a",
        "a.",
        "a..",
        "a..b",
        "a/...",
        "a/..b",
        "a/b..",
        ".../a",
        ".hidden/.more",
        "a./b",
        "a../b",
        ". ",
        ".. ",
        "a/. /b",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn upper_and_lower_case_differ(kit: &Kit) -> Checked {
    all_stay_apart(
        kit,
        &[
            "a",
            "A",
            "readme.txt",
            "README.TXT",
            "Readme.txt",
            "d/x",
            "D/X",
            "ß",
            "ẞ",
            "ss",
            "é",
            "É",
        ],
    )
    .await
}

pub(crate) async fn unicode_is_not_normalised(kit: &Kit) -> Checked {
    let keys = [
        "caf\u{e9}",
        "cafe\u{301}",
        "cafe",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "ﬁle",
        "file",
        "１",
        "1",
        "\u{1100}\u{1161}",
        "\u{ac00}",
        "d\u{e9}/x",
        "de\u{301}/x",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn all_scripts_and_emoji_are_kept(kit: &Kit) -> Checked {
    let keys = [
        "Ελλάδα/αρχείο",
        "عربى",
        "עִברִית",
        "日本語/ファイル.txt",
        "한국어",
        "ไทย",
        "☺☺☺",
        "👩‍👩‍👧",
        "🏳️‍🌈/x",
        "a\u{200b}b",
        "a\u{feff}b",
        "\u{202e}gnp.a",
        "\u{e000}",
        "\u{10ffff}",
        "\u{fffd}",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn names_that_resemble_internal_files_are_kept_or_refused(kit: &Kit) -> Checked {
    let keys = [
        "x",
        "x.tmp",
        ".x.tmp",
        ".tmp",
        "tmp",
        "tmp/x",
        "x~",
        ".#x",
        "#x#",
        "x#1",
        "x#2",
        "x.part",
        "x.meta",
        "x.attrs",
        "x.json",
        ".x",
        "._x",
        ".x.swp",
        "x.lock",
        "lost+found/x",
        ".DS_Store",
        ".nfs0000",
        ".git/x",
        "__meta__/x",
        ".trash/x",
        "x.metadata",
        "index.html",
    ];
    all_stay_apart(kit, &keys).await
}

pub(crate) async fn names_that_windows_reserves_are_kept_or_refused(kit: &Kit) -> Checked {
    all_stay_apart(
        kit,
        &[
            "con",
            "con.txt",
            "CON.txt",
            "nul",
            "aux.c",
            "prn",
            "com1",
            "lpt1.x",
            "a:b",
            "x:stream:$DATA",
            "x.",
            // Not reserved, so that at least one is stored.
            "console",
        ],
    )
    .await
}

pub(crate) async fn keys_of_1024_bytes_are_kept_or_refused(kit: &Kit) -> Checked {
    let segments = |len: usize, count: usize| vec!["s".repeat(len); count].join("/");
    let whole = segments(204, 5);
    assert_eq!(whole.len(), MAX_KEY_BYTES);
    let deep = segments(1, 512);
    let twin = format!("{}t", &whole[..MAX_KEY_BYTES - 1]);
    let one = "k".repeat(MAX_KEY_BYTES);
    let wide = "€".repeat(341);
    all_stay_apart(kit, &["short", &whole, &twin, &deep, &one, &wide, &segments(1, 300)]).await
}

pub(crate) async fn segments_of_255_bytes_are_kept_or_refused(kit: &Kit) -> Checked {
    let name = "n".repeat(255);
    let cut = "n".repeat(254);
    let wide = "€".repeat(85);
    let with_extension = format!("{}.png", "n".repeat(251));
    let inside = format!("{}/{}", "d".repeat(255), "n".repeat(255));
    let longer = "m".repeat(256);
    all_stay_apart(kit, &["short", &name, &cut, &wide, &with_extension, &inside, &longer]).await
}

pub(crate) async fn an_unusual_key_is_copied_and_deleted_unchanged(kit: &Kit) -> Checked {
    for key in [" a ", "a%2Fb", "a\\b", "caf\u{e9}", "a*", "..a", "a?b#c", "☺/☺ ☺"] {
        let mut twins =
            vec![key.to_uppercase(), key.trim().to_owned(), format!("{key}x"), "plain".to_owned()];
        twins.retain(|twin| twin != key);
        let twins = kit.seed_keys(&twins.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        if kit.try_seed(key, "body").await?.is_none() {
            continue;
        }
        if kit.storage.info().capabilities.copy {
            let copy = format!("copy of/{key}");
            kit.storage.copy(key, &copy).await?;
            kit.storage
                .copy(&copy, &copy)
                .metadata(Metadata::new().content_type("text/css"))
                .await?;
            assert_eq!(kit.read(&copy).await?, "body");
            kit.storage.delete(&copy).await?;
        }
        if kit.storage.info().capabilities.rename {
            let moved = format!("moved/{key}");
            kit.storage.rename(key, &moved).await?;
            assert!(!kit.storage.exists(key).await?, "{key:?}");
            assert_eq!(kit.read(&moved).await?, "body");
            kit.storage.rename(&moved, key).await?;
            assert!(!kit.storage.exists(&moved).await?, "{moved:?}");
        }
        kit.storage.delete(key).await?;
        assert!(!kit.storage.exists(key).await?, "{key:?}");
        for twin in &twins {
            assert_eq!(
                kit.read(twin).await?,
                *twin.as_bytes(),
                "deleting {key:?} also deleted {twin:?}"
            );
        }
    }
    Ok(())
}

pub(crate) async fn a_key_and_a_key_below_it_are_both_kept_or_refused(kit: &Kit) -> Checked {
    for (first, second) in [("a", "a/b"), ("c/d", "c"), ("e", "e/f/g"), ("h/i/j", "h/i")] {
        kit.storage.save(first, "first").cache_control("no-store").await?;
        let before = kit.storage.stat(first).await?;
        if kit.harness.is_tree() {
            refused(kit.storage.save(second, "second").await, ErrorKind::Conflict);
            refused(kit.storage.save(second, "second").create_new().await, ErrorKind::Conflict);
            if kit.storage.info().capabilities.copy {
                refused(kit.storage.copy(first, second).await, ErrorKind::Conflict);
            }
            if kit.storage.info().capabilities.rename {
                refused(kit.storage.rename(first, second).await, ErrorKind::Conflict);
            }
            assert!(!kit.storage.exists(second).await?);
        } else {
            kit.storage.save(second, "second").await?;
            assert_eq!(kit.read(second).await?, "second");
        }
        assert_eq!(kit.read(first).await?, "first");
        assert_eq!(kit.storage.stat(first).await?, before);
    }
    if kit.harness.is_tree() {
        kit.holds_only(&["a", "c/d", "e", "h/i/j"]).await?;
    }
    Ok(())
}
