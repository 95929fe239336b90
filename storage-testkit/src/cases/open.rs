//! `open`: metadata and body of one object.

use futures_util::TryStreamExt;
use storage_core::ErrorKind;
use tokio::io::AsyncReadExt;

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};

pub(crate) async fn a_missing_object_is_not_found(kit: &Kit) -> Checked {
    kit.seed.save("a/b.bin", "b").await?;
    for key in ["x", "a", "a/b", "a/b.bin/c", "a/b.bin.bin", "a/x/y", "x/b.bin"] {
        refused(kit.storage.open(key).await, ErrorKind::NotFound);
        refused(kit.storage.open(key).range(0..1).await, ErrorKind::NotFound);
    }
    Ok(())
}

pub(crate) async fn the_body_has_the_size_in_the_metadata(kit: &Kit) -> Checked {
    for len in [0_usize, 1, 65_535, 65_537, 2_500_000] {
        kit.seed.save("a.bin", pattern(4, len)).await?;
        let object = kit.storage.open("a.bin").await?;
        assert_eq!(object.meta().key, "a.bin");
        assert_eq!(object.meta().size, len as u64);
        assert_eq!(object.range(), 0..len as u64);
        assert_eq!(object.content_length(), len as u64);
        assert_same(&object.bytes().await?, &pattern(4, len));
    }
    Ok(())
}

pub(crate) async fn the_body_is_the_same_as_bytes_stream_and_reader(kit: &Kit) -> Checked {
    let bytes = pattern(4, 1_200_000);
    kit.seed.save("a.bin", bytes.clone()).await?;
    let chunks: Vec<_> = kit.storage.open("a.bin").await?.into_stream().try_collect().await?;
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()), "a chunk is empty");
    assert_same(&chunks.concat(), &bytes);
    let mut read = Vec::new();
    let mut reader = kit.storage.open("a.bin").await?.into_reader();
    reader.read_to_end(&mut read).await.map_err(storage_core::Error::from)?;
    assert_same(&read, &bytes);
    Ok(())
}

pub(crate) async fn an_object_can_be_opened_many_times_at_once(kit: &Kit) -> Checked {
    let bytes = pattern(4, 700_000);
    kit.seed.save("a.bin", bytes.clone()).await?;
    let mut objects = Vec::new();
    for _ in 0..20 {
        objects.push(kit.storage.open("a.bin").await?);
    }
    for read in
        futures_util::future::join_all(objects.into_iter().map(storage_core::Object::bytes)).await
    {
        assert_same(&read?, &bytes);
    }
    Ok(())
}

pub(crate) async fn a_partly_read_body_can_be_dropped(kit: &Kit) -> Checked {
    let bytes = pattern(4, 4_000_000);
    kit.seed.save("a.bin", bytes.clone()).await?;
    for _ in 0..20 {
        drop(kit.storage.open("a.bin").await?);
        let mut chunks = kit.storage.open("a.bin").await?.into_stream();
        chunks.try_next().await?;
    }
    assert_same(&kit.read("a.bin").await?, &bytes);
    Ok(())
}

pub(crate) async fn an_open_object_can_be_saved_under_another_key(kit: &Kit) -> Checked {
    let bytes = pattern(4, 1_500_000);
    kit.storage.save("a.bin", bytes.clone()).await?;
    let object = kit.storage.open("a.bin").await?;
    kit.storage.save("b.bin", object).await?;
    let part = kit.storage.open("a.bin").range(10..20).await?;
    assert_eq!(kit.storage.save("c.bin", part).await?.size, 10);
    assert_same(&kit.read("b.bin").await?, &bytes);
    assert_same(&kit.read("c.bin").await?, &bytes[10..20]);
    Ok(())
}
