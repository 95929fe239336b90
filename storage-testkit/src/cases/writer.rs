//! `writer`: an object that is written in pieces is saved only by `finish`.

use storage_core::{Error, ErrorKind, Writer};
use tokio::io::AsyncWriteExt;

use crate::case::Checked;
use crate::kit::Kit;
use crate::support::content::{assert_same, pattern};

const KEY: &str = "a/b.bin";

/// Writes bytes in pieces of several sizes.
async fn write(writer: &mut Writer, mut bytes: &[u8]) -> Result<(), Error> {
    for len in [1, 10_000, 70_000, 1_500_000].into_iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min(len));
        writer.write_all(piece).await?;
        if rest.is_empty() {
            break;
        }
        bytes = rest;
    }
    Ok(())
}

pub(crate) async fn an_object_that_is_written_in_pieces_is_read_back(kit: &Kit) -> Checked {
    // The last one has several parts on S3.
    for (key, len) in [("0", 0), ("1", 1), ("64K", 65_536), ("12M", 12_000_000)] {
        let whole = pattern(1, len);
        let mut writer = kit.storage.writer(key).await?;
        write(&mut writer, &whole).await?;
        let meta = writer.finish().await?;
        assert_eq!((meta.key.as_str(), meta.size), (key, len as u64));
        assert_same(&kit.read(key).await?, &whole);
    }
    kit.holds_only(&["0", "1", "12M", "64K"]).await?;
    Ok(())
}

pub(crate) async fn a_writer_saves_its_metadata(kit: &Kit) -> Checked {
    let mut writer = kit.storage.writer(KEY).content_type("a/b").cache_control("no-store").await?;
    write(&mut writer, &pattern(1, 100_000)).await?;
    writer.finish().await?;
    let meta = kit.storage.stat(KEY).await?;
    assert_eq!(meta.content_type(), Some("a/b"));
    assert_eq!(meta.metadata.cache_control.as_deref(), Some("no-store"));
    Ok(())
}

pub(crate) async fn a_writer_that_is_dropped_before_finish_leaves_the_old_object(
    kit: &Kit,
) -> Checked {
    kit.storage.save(KEY, "old").await?;
    let before = kit.storage.stat(KEY).await?;
    for (len, shut_down) in [(0, false), (100, true), (200_000, false), (12_000_000, true)] {
        let mut writer = kit.storage.writer(KEY).await?;
        write(&mut writer, &pattern(1, len)).await?;
        writer.flush().await.map_err(Error::from)?;
        if shut_down {
            writer.shutdown().await.map_err(Error::from)?;
        }
        drop(writer);
        assert_eq!(kit.read(KEY).await?, "old");
        assert_eq!(kit.storage.stat(KEY).await?, before);
        kit.holds_only(&[KEY]).await?;
    }
    Ok(())
}

pub(crate) async fn a_writer_with_create_new_leaves_an_object_that_appears_meanwhile(
    kit: &Kit,
) -> Checked {
    let mut writer = kit.storage.writer(KEY).create_new().await?;
    write(&mut writer, &pattern(1, 200_000)).await?;
    kit.storage.save(KEY, "first").await?;
    let error = writer.finish().await.expect_err("the key is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(kit.read(KEY).await?, "first");
    kit.holds_only(&[KEY]).await?;
    Ok(())
}
