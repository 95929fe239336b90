//! Saves that take effect partially, or need unbounded memory.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{
    Driver, Error, ErrorKind, Key, ObjectMeta, Payload, Result, SaveMode, SaveOptions, async_trait,
};
use storage_testkit::Outcome;
use tokio::sync::Mutex;

use crate::flaw::{Flaw, Notes, Of, Sound, caught, flawed_save, in_mode, read};

#[derive(Default)]
struct TruncatesFirst;
flawed_save!(TruncatesFirst, |_flaw, inner, key, payload, options| {
    inner.memory.save(key, "".into(), options).await?;
    inner.memory.save(key, payload, &in_mode(options, SaveMode::Overwrite)).await
});

#[test]
fn a_save_that_truncates_first_is_caught() {
    caught::<TruncatesFirst>(&[
        "save::a_failed_stream_leaves_the_old_object",
        "save::a_failed_stream_creates_no_object",
        "writer::a_writer_that_is_dropped_before_finish_leaves_the_old_object",
        "cancellation::a_dropped_save_leaves_the_old_object",
        "cancellation::a_stalled_save_is_invisible",
        "cancellation::a_dropped_create_new_leaves_the_key_free",
        "concurrency::an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing",
        "concurrency::readers_during_1000_overwrites_see_complete_versions",
        "checksums::bytes_with_another_checksum_are_refused_and_change_nothing",
    ]);
}

#[derive(Default)]
struct KeepsThePartialPayload;
flawed_save!(KeepsThePartialPayload, |_flaw, inner, key, payload, options| {
    let (bytes, error) = read(payload).await;
    let saved = inner.memory.save(key, bytes.into(), options).await?;
    error.map_or(Ok(saved), Err)
});

#[test]
fn a_save_that_keeps_half_of_a_failed_stream_is_caught() {
    caught::<KeepsThePartialPayload>(&[
        "save::a_failed_stream_creates_no_object",
        "save::a_failed_stream_leaves_the_old_object",
        "save::a_payload_shorter_or_longer_than_declared_is_refused_and_changes_nothing",
        "save::a_payload_above_the_maximum_size_is_refused_and_changes_nothing",
        "create_new::a_failed_stream_leaves_the_key_free",
        "unique_name::a_failed_stream_creates_no_object",
    ]);
}

#[derive(Default)]
struct TreatsAnErrorAsTheEnd;
flawed_save!(TreatsAnErrorAsTheEnd, |_flaw, inner, key, payload, options| {
    inner.memory.save(key, read(payload).await.0.into(), options).await
});

#[test]
fn a_save_that_treats_an_error_as_the_end_is_caught() {
    caught::<TreatsAnErrorAsTheEnd>(&[
        "save::a_failed_stream_leaves_the_old_object",
        "checksums::bytes_with_another_checksum_are_refused_and_change_nothing",
        "checksums::an_empty_object_is_verified",
        "checksums::one_wrong_checksum_among_right_ones_is_refused",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct LeavesDebris;
flawed_save!(LeavesDebris, |_flaw, inner, key, payload, options| {
    let saved = inner.memory.save(key, payload, options).await;
    if saved.is_err() {
        inner
            .memory
            .save(&Key::new(format!("{key}.tmp"))?, "".into(), &SaveOptions::default())
            .await?;
    }
    saved
});

#[test]
fn debris_of_a_failed_save_is_caught() {
    caught::<LeavesDebris>(&[
        "save::a_failed_stream_leaves_the_old_object",
        "create_new::create_new_refuses_a_taken_key_and_changes_nothing",
        "if_match::an_outdated_etag_is_refused_and_changes_nothing",
        "checksums::bytes_with_another_checksum_are_refused_and_change_nothing",
        "create_new::one_of_32_concurrent_saves_succeeds",
    ]);
}

#[derive(Default)]
struct LeavesDebrisWhenDropped;
flawed_save!(LeavesDebrisWhenDropped, |_flaw, inner, key, payload, options| {
    let staging = Key::new(format!("{}.part", key.as_str().replace('/', "-")))?;
    inner.memory.save(&staging, "".into(), &SaveOptions::default()).await?;
    let (bytes, error) = read(payload).await;
    inner.memory.delete(&staging).await?;
    match error {
        Some(error) => Err(error),
        None => inner.memory.save(key, bytes.into(), options).await,
    }
});

#[test]
fn debris_of_a_dropped_save_is_caught() {
    caught::<LeavesDebrisWhenDropped>(&[
        "cancellation::a_dropped_save_leaves_the_old_object",
        "cancellation::a_dropped_save_creates_no_object",
        "cancellation::a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all",
    ]);
}

#[derive(Default)]
struct ReplacesTheCause;
flawed_save!(ReplacesTheCause, |_flaw, inner, key, payload, options| {
    let saved = inner.memory.save(key, payload, options).await;
    saved.map_err(|_| Error::new(ErrorKind::Unexpected, "the save failed"))
});

#[test]
fn a_save_that_hides_why_its_payload_failed_is_caught() {
    caught::<ReplacesTheCause>(&["save::a_failed_stream_leaves_the_old_object"]);
}

#[derive(Default)]
struct FirstChunkOnly;
flawed_save!(FirstChunkOnly, |_flaw, inner, key, payload, options| {
    let first = payload.into_stream().try_next().await?.unwrap_or_default();
    inner.memory.save(key, first.into(), options).await
});

#[test]
fn a_save_of_only_the_first_chunk_is_caught() {
    caught::<FirstChunkOnly>(&[
        "save::a_stream_of_unknown_size_is_saved_completely",
        "save::a_reader_is_saved_completely",
        "save::a_payload_of_the_declared_size_is_saved",
    ]);
}

#[derive(Default)]
struct AppendsOnOverwrite;
flawed_save!(AppendsOnOverwrite, |_flaw, inner, key, payload, options| {
    let (mut bytes, checksums) =
        payload.into_bytes().await.map(|(bytes, sums)| (bytes.to_vec(), sums))?;
    if let Ok(object) = inner.memory.open(key, &Default::default()).await {
        // The end of a longer old version remains.
        bytes.extend(object.bytes().await?.get(bytes.len()..).unwrap_or_default());
    }
    let mut meta = inner.memory.save(key, bytes.into(), options).await?;
    meta.checksums = checksums;
    Ok(meta)
});

#[test]
fn an_overwrite_that_leaves_the_tail_of_the_old_version_is_caught() {
    caught::<AppendsOnOverwrite>(&["save::an_overwrite_replaces_the_whole_object"]);
}

/// Asserts that the case about memory fails for this reason, in its own process.
#[track_caller]
fn caught_in_own_process<F: Flaw>(test: &str, reason: &str) {
    storage_testkit::in_own_process(test, || {
        let case = storage_testkit::case(
            "streaming::a_stream_of_300_mib_of_unknown_size_passes_in_bounded_memory",
        );
        let outcome = case.run(Of::<F>::default());
        assert!(
            matches!(&outcome, Outcome::Failed(found) if found.contains(reason)),
            "{outcome:?}"
        );
    });
}

#[derive(Default)]
struct BuffersEverything;

impl Flaw for BuffersEverything {
    const OUTSIDE_MEMORY: bool = true;
}

#[test]
fn a_save_that_copies_everything_into_memory_is_caught() {
    let test = concat!(module_path!(), "::a_save_that_copies_everything_into_memory_is_caught");
    caught_in_own_process::<BuffersEverything>(test, "the process grew by");
}

#[derive(Default)]
struct HoldsEveryChunk;

#[async_trait]
impl Flaw for HoldsEveryChunk {
    const OUTSIDE_MEMORY: bool = true;

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let chunks: Vec<Bytes> = payload.into_stream().try_collect().await?;
        inner.memory.save(key, chunks.concat().into(), options).await
    }
}

#[test]
fn a_save_that_holds_every_chunk_is_caught() {
    let test = concat!(module_path!(), "::a_save_that_holds_every_chunk_is_caught");
    caught_in_own_process::<HoldsEveryChunk>(test, "bytes of the body are held in memory");
}

#[derive(Default)]
struct OneAtATime {
    lock: Mutex<()>,
}
flawed_save!(OneAtATime, |flaw, inner, key, payload, options| {
    // A save that finds the lock taken fails, so that the case does not run into its time limit.
    let _guard = flaw
        .lock
        .try_lock()
        .map_err(|_| Error::new(ErrorKind::Timeout, "another save is in progress"))?;
    inner.memory.save(key, payload, options).await
});

#[test]
fn a_driver_that_saves_one_object_at_a_time_is_caught() {
    caught::<OneAtATime>(&[
        "cancellation::a_stalled_save_is_invisible",
        "cancellation::stalled_saves_do_not_block_others",
        "concurrency::the_last_of_many_concurrent_saves_is_complete",
        "concurrency::all_objects_that_are_saved_concurrently_exist",
    ]);
}

#[derive(Default)]
struct TextMode;
flawed_save!(TextMode, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
    inner.memory.save(key, bytes.into(), options).await
});

#[test]
fn a_save_that_changes_line_ends_is_caught() {
    caught::<TextMode>(&["save::a_saved_object_is_read_back_byte_for_byte"]);
}

#[derive(Default)]
struct OneMebibyte;
flawed_save!(OneMebibyte, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    inner.memory.save(key, bytes.slice(..bytes.len().min(1 << 20)).into(), options).await
});

#[test]
fn a_save_that_truncates_large_objects_is_caught() {
    caught::<OneMebibyte>(&[
        "save::a_file_on_disk_is_saved_completely",
        "open::the_body_has_the_size_in_the_metadata",
    ]);
}

#[derive(Default)]
struct ReturnsOtherMetadata;
flawed_save!(ReturnsOtherMetadata, |_flaw, inner, key, payload, options| {
    inner.memory.save(key, payload, options).await?;
    Ok(ObjectMeta::new(Key::new(format!("root/{key}"))?, 0))
});

#[test]
fn a_save_that_returns_other_metadata_is_caught() {
    caught::<ReturnsOtherMetadata>(&[
        "save::a_save_returns_the_key_and_the_size",
        "stat_exists::save_stat_and_open_return_the_same_metadata",
    ]);
}

#[derive(Default)]
struct StaysLocked {
    locked: Notes<()>,
}
flawed_save!(StaysLocked, |flaw, inner, key, payload, options| {
    if flaw.locked.lock().unwrap().insert(key.clone(), ()).is_some() {
        return Err(Error::new(ErrorKind::Conflict, "another save is in progress"));
    }
    let saved = inner.memory.save(key, payload, options).await?;
    flaw.locked.lock().unwrap().remove(key);
    Ok(saved)
});

#[test]
fn a_lock_that_a_failed_save_leaves_is_caught() {
    caught::<StaysLocked>(&[
        "save::a_save_after_a_failed_save_succeeds",
        "cancellation::a_dropped_save_leaves_the_old_object",
    ]);
}

#[derive(Default)]
struct AlwaysCorrupt;
flawed_save!(AlwaysCorrupt, |_flaw, inner, key, payload, options| {
    let (bytes, checksums) = payload.into_bytes().await?;
    // Compares the value in another encoding than that of the backend.
    if !checksums.is_empty() {
        return Err(Error::new(ErrorKind::Integrity, "the checksums differ"));
    }
    inner.memory.save(key, bytes.into(), options).await
});

#[test]
fn a_right_checksum_that_is_refused_is_caught() {
    caught::<AlwaysCorrupt>(&["checksums::bytes_with_the_expected_checksum_are_saved"]);
}

#[derive(Default)]
struct DeletesFirst;
flawed_save!(DeletesFirst, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    if options.mode == SaveMode::Overwrite {
        inner.memory.delete(key).await?;
        tokio::task::yield_now().await;
    }
    inner.memory.save(key, bytes.into(), options).await
});

#[test]
fn a_save_that_deletes_first_is_caught() {
    caught::<DeletesFirst>(&[
        "concurrency::a_listing_during_overwrites_contains_the_object_once",
        "concurrency::readers_during_1000_overwrites_see_complete_versions",
        "cancellation::a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all",
    ]);
}

/// Deletes the directory that a concurrent save needs.
#[derive(Default)]
struct PrunesUnderSaves {
    pruning: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Flaw for PrunesUnderSaves {
    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let directory = key.parent().unwrap_or_default().to_owned();
        if self.pruning.lock().unwrap().contains(&directory) {
            return Err(Error::new(ErrorKind::NotFound, "no such directory"));
        }
        inner.memory.save(key, payload, options).await
    }

    async fn delete(&self, inner: &Sound, key: &Key) -> Result<()> {
        let directory = key.parent().unwrap_or_default().to_owned();
        self.pruning.lock().unwrap().push(directory.clone());
        tokio::task::yield_now().await;
        self.pruning.lock().unwrap().retain(|other| *other != directory);
        inner.memory.delete(key).await
    }
}

#[test]
fn a_delete_that_makes_a_concurrent_save_fail_is_caught() {
    caught::<PrunesUnderSaves>(&[
        "concurrency::saves_and_deletes_in_one_directory_do_not_disturb_each_other",
    ]);
}
