//! Large bodies are streamed in both directions, in bounded memory.

use futures_util::TryStreamExt;
use storage_core::Payload;

use crate::case::{Checked, Failure};
use crate::kit::Kit;
use crate::support::large::{LARGE, Watch, assert_part, body};

const KEY: &str = "a/large.bin";

pub(crate) async fn a_stream_of_300_mib_of_unknown_size_passes_in_bounded_memory(
    kit: &Kit,
) -> Checked {
    let watch = Watch::start(kit.harness.max_body_memory());
    let meta = kit.storage.save(KEY, Payload::from_stream(body(watch.clone()))).await?;
    watch.check()?;
    assert_eq!(meta.size, LARGE);
    assert_eq!(kit.storage.stat(KEY).await?.size, LARGE);
    // A slow reader must slow down the driver, which must not read ahead into memory.
    let slow = slow_readers(kit).await?;
    let mut chunks = kit.storage.open(KEY).await?.into_stream();
    let mut position = 0;
    while let Some(chunk) = chunks.try_next().await? {
        assert_part(position, &chunk);
        position += chunk.len() as u64;
        watch.check()?;
    }
    assert_eq!(position, LARGE);
    drop(slow);
    let near_the_end = kit.storage.open(KEY).range(LARGE - 70_000..LARGE - 5).await?;
    assert_part(LARGE - 70_000, &near_the_end.bytes().await?);
    Ok(())
}

async fn slow_readers(kit: &Kit) -> Result<Vec<storage_core::ObjectStream>, Failure> {
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut chunks = kit.storage.open(KEY).await?.into_stream();
        assert_part(0, &chunks.try_next().await?.unwrap_or_default());
        readers.push(chunks);
    }
    Ok(readers)
}
