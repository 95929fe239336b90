//! Metadata is kept and replaced together with the bytes, and never dropped.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use storage_core::{ErrorKind, MAX_HEADER_BYTES, MAX_USER_METADATA_BYTES, Metadata};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::pattern;
use crate::support::payloads::streaming;

const KEY: &str = "a/b.bin";

/// Returns metadata with every field, none of which has the guessed value.
pub(crate) fn everything() -> Metadata {
    Metadata::new()
        .content_type("text/html; charset=utf-8")
        .content_encoding("gzip")
        .content_disposition("attachment; filename=\"my report.pdf\"; filename*=UTF-8''%C3%A9.pdf")
        .content_language("de-AT, en")
        .cache_control("public, max-age=31536000, immutable")
        .expires(UNIX_EPOCH + Duration::from_secs(4_000_000_000))
        .user("author", "ada")
        .user("revision", "7")
}

/// Asserts that `stat` and `open` return exactly this metadata.
async fn expect(kit: &Kit, key: &str, metadata: &Metadata) -> Checked {
    assert_eq!(kit.storage.stat(key).await?.metadata, *metadata, "stat");
    assert_eq!(kit.storage.open(key).await?.meta().metadata, *metadata, "open");
    Ok(())
}

pub(crate) async fn every_field_is_kept(kit: &Kit) -> Checked {
    let saved = kit.seed.save(KEY, "body").metadata(everything()).await?;
    assert_eq!(saved.metadata, everything(), "the metadata that save returned");
    expect(kit, KEY, &everything()).await?;
    kit.seed
        .save("a/stream.bin", streaming(pattern(1, 200_000), 999))
        .metadata(everything())
        .await?;
    expect(kit, "a/stream.bin", &everything()).await
}

pub(crate) async fn an_empty_object_keeps_its_metadata(kit: &Kit) -> Checked {
    kit.seed.save(KEY, "").metadata(everything()).await?;
    expect(kit, KEY, &everything()).await
}

pub(crate) async fn a_large_object_keeps_its_metadata(kit: &Kit) -> Checked {
    kit.seed.save(KEY, streaming(pattern(1, 12_000_000), 1_000_000)).metadata(everything()).await?;
    expect(kit, KEY, &everything()).await
}

pub(crate) async fn an_overwrite_replaces_all_metadata(kit: &Kit) -> Checked {
    kit.seed.save(KEY, "old").metadata(everything()).await?;
    kit.seed.save(KEY, "new").content_type("text/css").await?;
    expect(kit, KEY, &Metadata::new().content_type("text/css")).await?;
    kit.seed.save(KEY, "again").metadata(everything()).await?;
    expect(kit, KEY, &everything()).await?;
    kit.seed.save(KEY, "and again").metadata(everything().user("revision", "8")).await?;
    expect(kit, KEY, &everything().user("revision", "8")).await
}

pub(crate) async fn metadata_of_a_deleted_object_does_not_reappear(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "old").metadata(everything()).await?;
    kit.storage.delete(KEY).await?;
    kit.storage.save(KEY, "new").await?;
    expect(kit, KEY, &Metadata::new().content_type("application/octet-stream")).await
}

pub(crate) async fn objects_do_not_share_metadata(kit: &Kit) -> Checked {
    let keys = ["a.bin", "a.bin.meta", "a.bin.json", ".a.bin", "a/a.bin", "b/a.bin"];
    for key in keys {
        kit.seed.save(key, "body").metadata(everything().user("key", key)).await?;
    }
    for key in keys {
        expect(kit, key, &everything().user("key", key)).await?;
    }
    Ok(())
}

pub(crate) async fn values_of_user_metadata_are_any_text(kit: &Kit) -> Checked {
    let values = [
        "plain",
        "Ada Löveläce",
        "日本語",
        "☺ 👩‍👩‍👧",
        "e\u{301} is not \u{e9}",
        "a=b; c=\"d\", e\\f 'g' <h> & i",
        "100% %20 +1 #2 ?3",
        "two  spaces",
        "=?UTF-8?Q?looks_encoded?=",
        "",
    ];
    let metadata = values
        .iter()
        .enumerate()
        .fold(Metadata::new().content_type("a/b"), |metadata, (at, value)| {
            metadata.user(format!("value-{at}"), *value)
        });
    kit.seed.save(KEY, "body").metadata(metadata.clone()).await?;
    expect(kit, KEY, &metadata).await
}

pub(crate) async fn names_of_user_metadata_are_any_token(kit: &Kit) -> Checked {
    let names = [
        "a",
        "0",
        "with-dash",
        "with_underscore",
        "with.dot",
        "!#$%&'*+-.^_`|~",
        "content-type",
        "etag",
    ];
    let long = "n".repeat(200);
    let metadata = names
        .into_iter()
        .chain([&*long])
        .fold(Metadata::new().content_type("a/b"), |metadata, name| {
            metadata.user(name, format!("value of {name}"))
        });
    kit.seed.save(KEY, "body").metadata(metadata.clone()).await?;
    expect(kit, KEY, &metadata).await
}

pub(crate) async fn the_maximum_of_user_metadata_is_kept(kit: &Kit) -> Checked {
    let one =
        Metadata::new().content_type("a/b").user("v", "x".repeat(MAX_USER_METADATA_BYTES - 1));
    let many = (0..100).fold(Metadata::new().content_type("a/b"), |metadata, at| {
        metadata.user(format!("n{at:03}"), "x".repeat(16))
    });
    for metadata in [one, many] {
        kit.seed.save(KEY, "body").metadata(metadata.clone()).await?;
        expect(kit, KEY, &metadata).await?;
    }
    Ok(())
}

/// 7 KB exceed the attributes of a file on some file systems. The driver then refuses the save.
pub(crate) async fn the_largest_metadata_is_kept_or_refused(kit: &Kit) -> Checked {
    let long = "x".repeat(MAX_HEADER_BYTES);
    let metadata = Metadata::new()
        .content_type(format!("a/{}", &long[2..]))
        .content_encoding(long.clone())
        .content_disposition(long.clone())
        .content_language(long.clone())
        .cache_control(long)
        .user("v", "x".repeat(MAX_USER_METADATA_BYTES - 1));
    match kit.storage.save(KEY, "body").metadata(metadata.clone()).await {
        Ok(_) => expect(kit, KEY, &metadata).await,
        Err(error) => {
            let kinds = [
                ErrorKind::Unsupported,
                ErrorKind::InvalidInput,
                ErrorKind::TooLarge,
                ErrorKind::StorageFull,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
            Ok(kit.holds_only(&[]).await?)
        }
    }
}

pub(crate) async fn expires_is_kept_in_whole_seconds(kit: &Kit) -> Checked {
    let second = UNIX_EPOCH + Duration::from_secs(2_000_000_001);
    kit.seed.save(KEY, "body").expires(second + Duration::from_nanos(999_999_999)).await?;
    assert_eq!(kit.storage.stat(KEY).await?.metadata.expires, Some(second));
    // The last time that every format can express.
    for seconds in [0, 1, 253_402_207_199] {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        kit.seed.save(KEY, "body").expires(time).await?;
        assert_eq!(kit.storage.stat(KEY).await?.metadata.expires, Some(time));
    }
    Ok(())
}

pub(crate) async fn the_content_type_is_guessed_from_the_key(kit: &Kit) -> Checked {
    let guesses = [
        ("a.png", "image/png"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.woff", "font/woff"),
        ("a.mjs", "text/javascript; charset=utf-8"),
    ];
    for (key, expected) in guesses {
        kit.seed.save(key, "not of the type of the name").await?;
        assert_eq!(kit.storage.stat(key).await?.content_type(), Some(expected), "{key}");
    }
    Ok(())
}

pub(crate) async fn the_content_type_is_detected_from_the_first_bytes(kit: &Kit) -> Checked {
    let jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\0";
    let samples: [(&str, &'static [u8], &str); 4] = [
        ("cover", jpeg, "image/jpeg"),
        ("notes", b"plain words", "text/plain; charset=utf-8"),
        ("page", b"<!DOCTYPE html><html><script>", "text/plain; charset=utf-8"),
        ("nothing", b"", "application/octet-stream"),
    ];
    for (key, bytes, expected) in samples {
        kit.seed.save(key, bytes).await?;
        assert_eq!(kit.storage.stat(key).await?.content_type(), Some(expected), "{key}");
        kit.seed.save(key, streaming(Bytes::from_static(bytes), 3)).await?;
        assert_eq!(
            kit.storage.stat(key).await?.content_type(),
            Some(expected),
            "{key}, streamed in small chunks"
        );
        assert_eq!(kit.read(key).await?, bytes, "content type detection consumed the first bytes");
    }
    Ok(())
}

pub(crate) async fn a_given_content_type_is_kept_unchanged(kit: &Kit) -> Checked {
    for given in
        ["text/x-own", "Text/HTML;Charset=UTF-8", "application/octet-stream", "image/svg+xml"]
    {
        kit.seed.save("a.png", "body").content_type(given).await?;
        assert_eq!(kit.storage.stat("a.png").await?.content_type(), Some(given));
    }
    Ok(())
}

pub(crate) async fn invalid_metadata_is_refused_and_nothing_is_stored(kit: &Kit) -> Checked {
    kit.storage.save("old.bin", "old").await?;
    let invalid = [
        Metadata::new().content_type("no-slash"),
        Metadata::new().cache_control("no-store\r\nset-cookie: a=b"),
        Metadata::new().content_disposition("é"),
        Metadata::new().content_encoding(""),
        Metadata::new().user("a b", "c"),
        Metadata::new().user("a", "line\nbreak"),
        Metadata::new().user("a", "x".repeat(MAX_USER_METADATA_BYTES)),
        Metadata::new().expires(UNIX_EPOCH - Duration::from_secs(1)),
    ];
    for metadata in invalid {
        for key in ["old.bin", "new.bin"] {
            let saved = kit.storage.save(key, "new").metadata(metadata.clone()).await;
            refused(saved, ErrorKind::InvalidInput);
        }
    }
    assert_eq!(kit.read("old.bin").await?, "old");
    kit.holds_only(&["old.bin"]).await?;
    Ok(())
}

/// Also applies to drivers without metadata, which must refuse it.
pub(crate) async fn metadata_is_kept_or_refused_and_never_dropped(kit: &Kit) -> Checked {
    for metadata in [
        Metadata::new().content_encoding("gzip"),
        Metadata::new().cache_control("no-store"),
        Metadata::new().expires(UNIX_EPOCH + Duration::from_secs(2_000_000_000)),
        Metadata::new().user("author", "ada"),
        everything(),
    ] {
        match kit.storage.save(KEY, "body").metadata(metadata.clone()).await {
            Ok(_) => {
                let kept = kit.storage.stat(KEY).await?.metadata;
                let mut expected = metadata;
                expected.fill_from(&kept);
                assert_eq!(kept, expected, "metadata was dropped or changed without an error");
                kit.storage.delete(KEY).await?;
            }
            refusal => {
                refused(refusal, ErrorKind::Unsupported);
                kit.holds_only(&[]).await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn a_strong_etag_differs_between_versions(kit: &Kit) -> Checked {
    let mut seen = HashSet::new();
    // Same size, and faster than most clocks; a file system may reuse the inode of the old file.
    for version in 0..100_u32 {
        kit.seed.save(KEY, format!("version {version:03}")).await?;
        let meta = kit.storage.stat(KEY).await?;
        assert!(
            meta.etag.as_ref().is_some_and(|etag| !etag.is_weak()),
            "there is no strong ETag: {:?}",
            meta.etag
        );
        assert!(
            seen.insert(meta.etag.clone()),
            "version {version} has the ETag of an older one: {:?}",
            meta.etag
        );
    }
    Ok(())
}

pub(crate) async fn the_etag_of_an_unchanged_object_stays_the_same(kit: &Kit) -> Checked {
    kit.seed.save(KEY, "body").await?;
    let etag = kit.storage.stat(KEY).await?.etag;
    kit.seed.save("a/c.bin", "other").await?;
    kit.seed.delete("a/c.bin").await?;
    for _ in 0..3 {
        assert_eq!(kit.read(KEY).await?, "body");
        assert_eq!(kit.storage.stat(KEY).await?.etag, etag);
        assert_eq!(kit.storage.open(KEY).await?.meta().etag, etag);
    }
    Ok(())
}

pub(crate) async fn last_modified_never_decreases(kit: &Kit) -> Checked {
    let mut last = SystemTime::UNIX_EPOCH;
    for version in 0..5_u8 {
        kit.seed.save(KEY, pattern(version, 10)).await?;
        let Some(modified) = kit.storage.stat(KEY).await?.last_modified else { return Ok(()) };
        assert!(modified >= last, "{modified:?} is before {last:?}");
        last = modified;
    }
    Ok(())
}
