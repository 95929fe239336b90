//! Saves that fail only while their payload is being written.

use futures_util::{StreamExt, TryStreamExt};
use storage_core::{Driver, Metadata, Payload, SaveMode, SaveOptions};

use crate::flaw::{caught, flawed_save, in_mode};

/// Saves only the first chunk of a stream.
#[derive(Default)]
struct KeepsTheFirstChunk;
flawed_save!(KeepsTheFirstChunk, |_flaw, inner, key, payload, options| {
    let first: Vec<_> = payload.into_stream().take(1).try_collect().await?;
    inner.memory.save(key, Payload::from(first.concat()), options).await
});

#[test]
fn a_save_of_the_first_chunk_alone_is_caught() {
    caught::<KeepsTheFirstChunk>(&["writer::an_object_that_is_written_in_pieces_is_read_back"]);
}

/// Drops the metadata of a stream.
#[derive(Default)]
struct ForgetsMetadata;
flawed_save!(ForgetsMetadata, |_flaw, inner, key, payload, options| {
    let mut options: SaveOptions = options.clone();
    if !payload.is_replayable() {
        options.metadata = Metadata::new();
    }
    inner.memory.save(key, payload, &options).await
});

#[test]
fn metadata_that_is_lost_with_a_stream_is_caught() {
    caught::<ForgetsMetadata>(&["writer::a_writer_saves_its_metadata"]);
}

/// Checks the mode before the payload is received, but not when the object becomes visible.
#[derive(Default)]
struct ChecksTheModeFirst;
flawed_save!(ChecksTheModeFirst, |_flaw, inner, key, payload, options| {
    let bytes = match options.mode {
        SaveMode::CreateNew if inner.memory.exists(key).await? => {
            return inner.memory.save(key, payload, options).await;
        }
        _ => payload.into_bytes().await?.0,
    };
    inner.memory.save(key, bytes.into(), &in_mode(options, SaveMode::Overwrite)).await
});

#[test]
fn a_mode_that_is_checked_before_the_payload_alone_is_caught() {
    caught::<ChecksTheModeFirst>(&[
        "writer::a_writer_with_create_new_leaves_an_object_that_appears_meanwhile",
    ]);
}
