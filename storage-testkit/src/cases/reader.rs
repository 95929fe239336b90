//! `reader`: the bytes at any position, all of one version.

use std::io::SeekFrom;

use storage_core::{Error, ErrorKind, Reader};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::case::{Checked, Failure};
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};

const KEY: &str = "a/b.bin";
/// Several windows of a reader. A new version has one byte more, because some servers derive a
/// strong ETag from size and time in seconds.
const LEN: usize = 1_000_000;

/// Opens a reader. Returns `None` if the driver refuses it because it has no strong ETag.
async fn reader(kit: &Kit) -> Result<Option<Reader>, Failure> {
    match kit.storage.reader(KEY).await {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let etag = kit.storage.stat(KEY).await?.etag;
            assert!(etag.is_none_or(|etag| etag.is_weak()), "refused with a strong ETag: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads at most `len` bytes at a position.
async fn read_at(reader: &mut Reader, position: SeekFrom, len: usize) -> Result<Vec<u8>, Error> {
    reader.seek(position).await?;
    let mut bytes = Vec::new();
    reader.take(len as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

pub(crate) async fn a_reader_reads_an_object_from_its_beginning_to_its_end(kit: &Kit) -> Checked {
    for len in [0, 1, 65_535, 65_536, 65_537, LEN] {
        let whole = pattern(1, len);
        kit.seed.save(KEY, whole.clone()).await?;
        let Some(mut reader) = reader(kit).await? else { return Ok(()) };
        assert_eq!((reader.meta().size, reader.meta().key.as_str()), (len as u64, KEY));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.map_err(Error::from)?;
        assert_same(&read, &whole);
        assert_eq!(reader.position(), len as u64);
    }
    Ok(())
}

pub(crate) async fn an_index_at_the_end_is_read_before_the_rest(kit: &Kit) -> Checked {
    let whole = pattern(1, LEN);
    kit.seed.save(KEY, whole.clone()).await?;
    let Some(mut reader) = reader(kit).await? else { return Ok(()) };
    for (from, to) in [(LEN - 8, LEN), (LEN - 90_000, LEN - 8), (4, 300_000), (0, 4)] {
        let position = SeekFrom::End(from as i64 - LEN as i64);
        assert_same(&read_at(&mut reader, position, to - from).await?, &whole[from..to]);
    }
    Ok(())
}

pub(crate) async fn random_seeks_and_reads_agree_with_the_bytes(kit: &Kit) -> Checked {
    let whole = pattern(1, LEN);
    kit.seed.save(KEY, whole.clone()).await?;
    let Some(mut reader) = reader(kit).await? else { return Ok(()) };
    let mut state = 1_u64;
    // Knuth's MMIX generator: the same positions in every run.
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut at = 0;
    for _ in 0..60 {
        let from = match random(3) {
            0 => at,
            1 => random(LEN),
            _ => (at + random(100_000)).min(LEN),
        };
        let to = LEN.min(from + random(90_000));
        let offset = from as i64 - at as i64;
        assert_same(
            &read_at(&mut reader, SeekFrom::Current(offset), to - from).await?,
            &whole[from..to],
        );
        at = to;
    }
    Ok(())
}

pub(crate) async fn a_reader_of_a_missing_object_is_refused(kit: &Kit) -> Checked {
    refused(kit.storage.reader(KEY).await, ErrorKind::NotFound);
    Ok(())
}

pub(crate) async fn a_reader_of_another_version_is_refused(kit: &Kit) -> Checked {
    kit.seed.save(KEY, pattern(1, LEN)).await?;
    let old = kit.storage.stat(KEY).await?.etag;
    let Some(old) = old else { return Err(Failure::new("the object has no ETag")) };
    kit.seed.save(KEY, pattern(2, LEN + 1)).await?;
    refused(kit.storage.reader(KEY).if_match(old).await, ErrorKind::PreconditionFailed);
    Ok(())
}

/// Reads at several positions of an object that has changed. The bytes are those of the old
/// version, or the read fails with one of these kinds.
async fn read_changed(reader: &mut Reader, old: &[u8], kinds: &[ErrorKind]) {
    for from in [0, 5, 500_000, LEN - 10, 70_000, 70_010] {
        match read_at(reader, SeekFrom::Start(from as u64), 10).await {
            Ok(bytes) => assert_same(&bytes, &old[from..from + 10]),
            Err(error) => {
                assert!(kinds.contains(&error.kind()), "{error}");
                assert_eq!(reader.position(), from as u64, "a failed read changes the position");
            }
        }
    }
}

pub(crate) async fn a_reader_of_an_overwritten_object_reads_the_old_version_or_fails(
    kit: &Kit,
) -> Checked {
    let old = pattern(1, LEN);
    kit.seed.save(KEY, old.clone()).await?;
    let Some(mut reader) = reader(kit).await? else { return Ok(()) };
    kit.seed.save(KEY, pattern(2, LEN + 1)).await?;
    read_changed(&mut reader, &old, &[ErrorKind::PreconditionFailed]).await;
    // Its ranges are not satisfiable either.
    kit.seed.save(KEY, "short").await?;
    read_changed(&mut reader, &old, &[ErrorKind::PreconditionFailed]).await;
    Ok(())
}

pub(crate) async fn a_reader_of_a_deleted_object_reads_the_old_version_or_fails(
    kit: &Kit,
) -> Checked {
    let old = pattern(1, LEN);
    kit.seed.save(KEY, old.clone()).await?;
    let Some(mut reader) = reader(kit).await? else { return Ok(()) };
    kit.seed.delete(KEY).await?;
    let kinds = [ErrorKind::NotFound, ErrorKind::PreconditionFailed];
    read_changed(&mut reader, &old, &kinds).await;
    Ok(())
}
