//! Multipart uploads with flaws.

use std::sync::Mutex;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{
    CompleteOptions, Driver, ETag, Error, ErrorKind, Key, Memory, Metadata, Multipart,
    MultipartLimits, MultipartOptions, ObjectMeta, OtherParts, Part, PartStream, Payload, Prefix,
    Result, SaveMode, SaveOptions, UploadId, UploadPlan, UploadStream, async_trait,
};

use crate::flaw::{Flaw, Notes, Sound, caught, read};

/// A flaw of `begin`.
macro_rules! flawed_begin {
    ($flaw:ident, |$inner:ident, $key:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn begin(
                &self,
                $inner: &Sound,
                $key: &Key,
                $options: &MultipartOptions,
            ) -> Result<UploadId> {
                $body
            }
        }
    };
}

/// A flaw of `put_part`.
macro_rules! flawed_put {
    ($flaw:ident, |$inner:ident, $key:ident, $id:ident, $number:ident, $payload:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn put_part(
                &self,
                $inner: &Sound,
                $key: &Key,
                $id: &UploadId,
                $number: u32,
                $payload: Payload,
            ) -> Result<Part> {
                $body
            }
        }
    };
}

/// A flaw of `complete`.
macro_rules! flawed_complete {
    ($flaw:ident, |$inner:ident, $key:ident, $id:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn complete(
                &self,
                $inner: &Sound,
                $key: &Key,
                $id: &UploadId,
                $options: &CompleteOptions,
            ) -> Result<ObjectMeta> {
                $body
            }
        }
    };
}

fn is_not_found<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(Error::is_not_found)
}

/// Returns the options of the beginning that a plan has.
fn options_of(plan: &UploadPlan) -> MultipartOptions {
    let mut options = MultipartOptions::new().part_size(plan.part_size).mode(plan.mode.clone());
    options.size = plan.size;
    options.checksum.clone_from(&plan.checksum);
    options
}

/// Returns the upload's plan.
fn plan(id: &UploadId) -> &UploadPlan {
    id.plan().expect("an id of a beginning has a plan")
}

// The bytes

flawed_put!(LosesTheLastByte, |inner, key, id, number, payload| {
    let (mut bytes, error) = read(payload).await;
    if let Some(error) = error {
        return Err(error);
    }
    bytes.pop();
    inner.memory.put_part(key, id, number, bytes.into()).await
});

#[test]
fn parts_that_lose_a_byte_are_caught() {
    caught::<LosesTheLastByte>(&[
        "multipart::an_object_that_is_uploaded_in_parts_is_read_back",
        "multipart::an_object_of_one_part_may_be_short_or_empty",
        "multipart::an_object_whose_last_part_is_whole_is_read_back",
        "multipart::parts_are_put_in_any_order",
        "multipart::parts_are_put_in_parallel",
        "multipart::a_streamed_part_of_unknown_size_is_stored_completely",
        "multipart::an_upload_outlives_its_handle",
    ]);
}

flawed_put!(KeepsTheFirst, |inner, key, id, number, payload| {
    let stored: Vec<Part> = inner.memory.parts(key, id).try_collect().await?;
    match stored.into_iter().find(|part| part.number == number) {
        Some(part) => Ok(part),
        None => inner.memory.put_part(key, id, number, payload).await,
    }
});

#[test]
fn a_part_that_stays_when_it_is_put_again_is_caught() {
    caught::<KeepsTheFirst>(&[
        "multipart::a_part_that_is_put_again_replaces_the_earlier_one",
        "multipart::a_shorter_part_replaces_a_longer_one_completely",
        "multipart::a_part_that_another_handle_replaced_is_found",
    ]);
}

// Appends a part that is put again under the next number.
flawed_put!(Appends, |inner, key, id, number, payload| {
    let stored: Vec<Part> = inner.memory.parts(key, id).try_collect().await?;
    let mut free = number;
    while stored.iter().any(|part| part.number == free) {
        free += 1;
    }
    inner.memory.put_part(key, id, free, payload).await
});

#[test]
fn a_part_that_is_stored_twice_is_caught() {
    caught::<Appends>(&["multipart::a_part_that_is_put_twice_with_the_same_bytes_is_stored_once"]);
}

// Stores what arrived of a part that failed.
flawed_put!(StoresTheBeginning, |inner, key, id, number, payload| {
    let (bytes, error) = read(payload).await;
    let part = inner.memory.put_part(key, id, number, bytes.into()).await?;
    error.map_or(Ok(part), Err)
});

#[test]
fn a_failed_part_that_is_stored_is_caught() {
    caught::<StoresTheBeginning>(&[
        "multipart::a_part_with_another_checksum_is_refused_and_the_old_part_stays",
    ]);
}

// Splits a part that is too large.
flawed_put!(TakesLargeParts, |inner, key, id, number, payload| {
    let (bytes, _) = read(payload).await;
    let fits = usize::try_from(plan(id).part_size).expect("it fits").min(bytes.len());
    inner.memory.put_part(key, id, number, bytes[..fits].to_vec().into()).await
});

#[test]
fn a_part_above_the_part_size_that_is_stored_is_caught() {
    caught::<TakesLargeParts>(&[
        "multipart::a_part_above_the_part_size_is_refused_and_the_old_part_stays",
    ]);
}

/// Lists a part of the number 0 that was refused.
#[derive(Default)]
struct ListsARefusedPart;

#[async_trait]
impl Flaw for ListsARefusedPart {
    fn parts(&self, _inner: &Sound, _key: &Key, _id: &UploadId) -> PartStream {
        let etag = ETag::strong("a").expect("it is valid");
        stream::iter([Ok(Part::new(0, 1, etag))]).boxed()
    }
}

#[test]
fn a_refused_part_that_is_listed_is_caught() {
    caught::<ListsARefusedPart>(&["multipart::a_part_number_out_of_range_is_refused"]);
}

/// Lists the last part first.
#[derive(Default)]
struct ListsInReverse;

#[async_trait]
impl Flaw for ListsInReverse {
    fn parts(&self, inner: &Sound, key: &Key, id: &UploadId) -> PartStream {
        let parts = inner.memory.parts(key, id).collect::<Vec<_>>();
        let reversed = async move { stream::iter(parts.await.into_iter().rev()) };
        stream::once(reversed).flatten().boxed()
    }
}

#[test]
fn parts_that_are_listed_out_of_order_are_caught() {
    caught::<ListsInReverse>(&[
        "multipart::listed_parts_are_those_that_were_acknowledged",
        "multipart::a_part_that_is_put_twice_with_the_same_bytes_is_stored_once",
    ]);
}

/// Puts a part together from the halves of two payloads.
#[derive(Default)]
struct Mixes {
    first: Mutex<Option<Vec<u8>>>,
}

#[async_trait]
impl Flaw for Mixes {
    async fn put_part(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let (mut bytes, _) = read(payload).await;
        let first = self.first.lock().unwrap().replace(bytes.clone());
        if let Some(first) = first {
            let half = first.len().min(bytes.len()) / 2;
            bytes[..half].copy_from_slice(&first[..half]);
        }
        inner.memory.put_part(key, id, number, bytes.into()).await
    }
}

#[test]
fn a_part_that_is_a_mixture_of_two_is_caught() {
    caught::<Mixes>(&[
        "multipart::of_concurrent_puts_of_one_part_one_stays_whole",
        "multipart::a_part_that_is_put_again_replaces_the_earlier_one",
    ]);
}

// Removes the earlier part before the later one has arrived.
flawed_put!(RemovesFirst, |inner, key, id, number, payload| {
    inner.memory.put_part(key, id, number, "".into()).await?;
    tokio::task::yield_now().await;
    inner.memory.put_part(key, id, number, payload).await
});

#[test]
fn a_part_that_is_removed_before_its_replacement_is_caught() {
    caught::<RemovesFirst>(&[
        "multipart::a_put_dropped_at_any_point_leaves_a_whole_part",
        "multipart::a_part_with_another_checksum_is_refused_and_the_old_part_stays",
    ]);
}

// Completion

// Saves each part under the key at once.
flawed_put!(ShowsParts, |inner, key, id, number, payload| {
    let (bytes, _) = read(payload).await;
    inner.memory.save(key, bytes.clone().into(), &SaveOptions::default()).await?;
    inner.memory.put_part(key, id, number, bytes.into()).await
});

#[test]
fn parts_that_are_visible_are_caught() {
    caught::<ShowsParts>(&["multipart::nothing_is_visible_before_completion"]);
}

flawed_begin!(LosesMetadata, |inner, key, options| {
    let mut options = options.clone();
    options.metadata = Metadata::new().content_type("application/octet-stream");
    inner.memory.begin(key, &options).await
});

#[test]
fn metadata_of_a_beginning_that_is_lost_is_caught() {
    caught::<LosesMetadata>(&[
        "multipart::a_completed_object_has_the_metadata_of_the_beginning",
        "multipart::the_content_type_of_an_upload_is_guessed_from_the_key",
    ]);
}

// Keeps the user metadata of the object that it replaces.
flawed_complete!(KeepsOldMetadata, |inner, key, id, options| {
    let old = inner.memory.stat(key).await;
    let meta = inner.memory.complete(key, id, options).await?;
    if let Ok(old) = old {
        let mut copy = storage_core::CopyOptions::default();
        copy.metadata = old.metadata.into();
        inner.memory.copy(key, key, &copy).await?;
    }
    Ok(meta)
});

#[test]
fn metadata_of_the_old_object_that_stays_is_caught() {
    caught::<KeepsOldMetadata>(&["multipart::a_completed_upload_replaces_the_whole_object"]);
}

/// Joins the parts that there are, whatever their numbers and sizes.
#[derive(Default)]
struct ChecksNothing {
    parts: Notes<Vec<(u32, Vec<u8>)>>,
}

#[async_trait]
impl Flaw for ChecksNothing {
    async fn put_part(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let (bytes, _) = read(payload).await;
        let part = inner.memory.put_part(key, id, number, bytes.clone().into()).await?;
        let mut parts = self.parts.lock().unwrap();
        let parts = parts.entry(key.clone()).or_default();
        parts.retain(|(other, _)| *other != number);
        parts.push((number, bytes));
        parts.sort();
        Ok(part)
    }

    async fn complete(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        _options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let parts = self.parts.lock().unwrap().get(key).cloned().unwrap_or_default();
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let mut save = SaveOptions::default();
        save.mode = plan(id).mode.clone();
        let meta = inner.memory.save(key, bytes.into(), &save).await?;
        inner.memory.abort(key, id).await?;
        Ok(meta)
    }
}

#[test]
fn a_completion_that_checks_nothing_is_caught() {
    caught::<ChecksNothing>(&[
        "multipart::a_missing_part_is_found_and_the_upload_stays",
        "multipart::a_short_part_before_the_last_one_is_refused",
        "multipart::a_size_other_than_declared_is_refused",
        "multipart::a_checksum_other_than_declared_is_refused",
        "multipart::a_part_that_another_handle_replaced_is_found",
        "multipart::a_part_beyond_the_named_ones_is_discarded",
        "multipart::a_completion_whose_object_was_replaced_is_not_found",
        "multipart::two_uploads_of_one_key_are_independent",
    ]);
}

// Knows no completed upload.
flawed_complete!(ForgetsCompletion, |inner, key, id, options| {
    let listed: Result<Vec<Part>> = inner.memory.parts(key, id).try_collect().await;
    listed?;
    inner.memory.complete(key, id, options).await
});

#[test]
fn a_repeated_completion_that_fails_is_caught() {
    caught::<ForgetsCompletion>(&[
        "multipart::a_completion_that_is_repeated_succeeds",
        "multipart::of_16_concurrent_completions_of_one_upload_all_succeed",
        "multipart::create_new_completes_under_a_free_key",
        "multipart::if_match_replaces_the_matching_version",
    ]);
}

/// Completes, loses the response when it is dropped there, and then knows no upload.
#[derive(Default)]
struct ForgetsDroppedCompletions;

#[async_trait]
impl Flaw for ForgetsDroppedCompletions {
    async fn complete(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let listed: Result<Vec<Part>> = inner.memory.parts(key, id).try_collect().await;
        listed?;
        let meta = inner.memory.complete(key, id, options).await?;
        tokio::task::yield_now().await;
        Ok(meta)
    }
}

#[test]
fn a_dropped_completion_that_cannot_be_repeated_is_caught() {
    caught::<ForgetsDroppedCompletions>(&[
        "multipart::a_completion_dropped_at_any_point_can_be_repeated",
    ]);
}

// Compares the parts with none.
flawed_complete!(IgnoresTheCaller, |inner, key, id, _options| {
    inner.memory.complete(key, id, &CompleteOptions::new()).await
});

#[test]
fn a_completion_that_ignores_what_was_acknowledged_is_caught() {
    caught::<IgnoresTheCaller>(&[
        "multipart::an_upload_that_another_handle_completed_with_another_size_is_found",
        "multipart::a_part_that_another_handle_replaced_is_found",
        "multipart::a_part_beyond_the_named_ones_is_discarded",
        "multipart::a_part_that_another_process_sent_late_is_refused",
    ]);
}

// Refuses the parts of other processes, whatever the plan.
flawed_complete!(RefusesOthers, |inner, key, id, options| {
    let only = CompleteOptions::new().only(options.parts.clone());
    let is_named = !options.parts.is_empty() && options.others != OtherParts::Discarded;
    inner.memory.complete(key, id, if is_named { &only } else { options }).await
});

#[test]
fn a_completion_that_refuses_declared_parts_is_caught() {
    caught::<RefusesOthers>(&[
        "multipart::parts_of_other_processes_are_used_if_the_size_is_declared",
        "multipart::a_handle_that_continued_an_upload_uses_the_parts_that_were_there",
    ]);
}

// Takes a lost upload for a finished one.
flawed_complete!(LostIsFinished, |inner, key, id, options| {
    match inner.memory.complete(key, id, options).await {
        Err(error) if error.is_not_found() => Ok(ObjectMeta::new(key.clone(), 0)),
        completed => completed,
    }
});

#[test]
fn a_lost_upload_that_counts_as_finished_is_caught() {
    caught::<LostIsFinished>(&[
        "multipart::a_completion_whose_object_was_replaced_is_not_found",
        "multipart::an_aborted_upload_is_gone",
        "multipart::an_unknown_id_is_not_found",
        "multipart::a_listed_upload_can_be_aborted",
        "multipart::stale_uploads_are_swept_and_others_stay",
    ]);
}

// The life of an upload

/// Finds an upload by its id alone.
#[derive(Default)]
struct IgnoresTheKey {
    keys: Mutex<Vec<(UploadId, Key)>>,
}

impl IgnoresTheKey {
    fn key(&self, key: &Key, id: &UploadId) -> Key {
        let keys = self.keys.lock().unwrap();
        let known = keys.iter().find(|(known, _)| known.is_same_upload(id));
        known.map_or(key, |(_, key)| key).clone()
    }
}

#[async_trait]
impl Flaw for IgnoresTheKey {
    async fn begin(
        &self,
        inner: &Sound,
        key: &Key,
        options: &MultipartOptions,
    ) -> Result<UploadId> {
        let id = inner.memory.begin(key, options).await?;
        self.keys.lock().unwrap().push((id.clone(), key.clone()));
        Ok(id)
    }

    async fn put_part(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        inner.memory.put_part(&self.key(key, id), id, number, payload).await
    }
}

#[test]
fn an_id_that_leads_to_another_key_is_caught() {
    caught::<IgnoresTheKey>(&["multipart::an_id_of_another_key_is_not_found"]);
}

/// Ends nothing.
#[derive(Default)]
struct AbortsNothing;

#[async_trait]
impl Flaw for AbortsNothing {
    async fn abort(&self, _inner: &Sound, _key: &Key, _id: &UploadId) -> Result<()> {
        Ok(())
    }
}

#[test]
fn an_abort_without_effect_is_caught() {
    caught::<AbortsNothing>(&[
        "multipart::an_aborted_upload_is_gone",
        "multipart::an_abort_during_puts_leaves_nothing",
        "multipart::unfinished_uploads_are_listed_by_prefix",
        "multipart::a_listed_upload_can_be_aborted",
        "multipart::stale_uploads_are_swept_and_others_stay",
    ]);
}

/// Deletes the object with its upload.
#[derive(Default)]
struct AbortsTheObject;

#[async_trait]
impl Flaw for AbortsTheObject {
    async fn abort(&self, inner: &Sound, key: &Key, id: &UploadId) -> Result<()> {
        inner.memory.abort(key, id).await?;
        inner.memory.delete(key).await
    }
}

#[test]
fn an_abort_that_deletes_the_object_is_caught() {
    caught::<AbortsTheObject>(&[
        "multipart::an_abort_after_completion_leaves_the_object",
        "multipart::an_aborted_upload_is_gone",
    ]);
}

/// Lists the uploads of all keys.
#[derive(Default)]
struct IgnoresThePrefix;

#[async_trait]
impl Flaw for IgnoresThePrefix {
    fn uploads(&self, inner: &Sound, _prefix: &Prefix) -> UploadStream {
        inner.memory.uploads(&Prefix::empty())
    }
}

#[test]
fn uploads_of_other_prefixes_in_a_listing_are_caught() {
    caught::<IgnoresThePrefix>(&[
        "multipart::unfinished_uploads_are_listed_by_prefix",
        "multipart::stale_uploads_are_swept_and_others_stay",
    ]);
}

// The modes

flawed_begin!(IgnoresTheMode, |inner, key, options| {
    inner.memory.begin(key, &options.clone().mode(SaveMode::Overwrite)).await
});

#[test]
fn a_completion_that_ignores_its_mode_is_caught() {
    caught::<IgnoresTheMode>(&[
        "multipart::create_new_refuses_an_object_that_appeared_meanwhile",
        "multipart::if_match_refuses_another_version_and_a_missing_object",
        "multipart::one_of_16_concurrent_completions_with_create_new_succeeds",
    ]);
}

/// Evaluates the mode at the beginning alone.
#[derive(Default)]
struct ChecksTheModeFirst;

#[async_trait]
impl Flaw for ChecksTheModeFirst {
    async fn begin(
        &self,
        inner: &Sound,
        key: &Key,
        options: &MultipartOptions,
    ) -> Result<UploadId> {
        if options.mode == SaveMode::CreateNew && inner.memory.exists(key).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is an object already"));
        }
        inner.memory.begin(key, &options.clone().mode(SaveMode::Overwrite)).await
    }
}

#[test]
fn a_mode_that_is_evaluated_too_early_is_caught() {
    caught::<ChecksTheModeFirst>(&[
        "multipart::create_new_refuses_an_object_that_appeared_meanwhile",
    ]);
}

// Aborts an upload whose mode refuses its completion.
flawed_complete!(AbortsWhenRefused, |inner, key, id, options| {
    let completed = inner.memory.complete(key, id, options).await;
    if completed.is_err() && !is_not_found(&completed) {
        inner.memory.abort(key, id).await?;
    }
    completed
});

#[test]
fn an_upload_that_ends_with_a_refused_completion_is_caught() {
    caught::<AbortsWhenRefused>(&[
        "multipart::create_new_refuses_an_object_that_appeared_meanwhile",
        "multipart::a_missing_part_is_found_and_the_upload_stays",
    ]);
}

/// Starts another upload at each beginning with the same key, and uses the first one.
#[derive(Default)]
struct OneUploadAKey {
    ids: Notes<UploadId>,
}

#[async_trait]
impl Flaw for OneUploadAKey {
    async fn begin(
        &self,
        inner: &Sound,
        key: &Key,
        options: &MultipartOptions,
    ) -> Result<UploadId> {
        let known = self.ids.lock().unwrap().get(key).cloned();
        match known {
            Some(known) => UploadId::new(known.upload(), Some(UploadPlan::new(options)?)),
            None => {
                let id = inner.memory.begin(key, &options_of(&UploadPlan::new(options)?)).await?;
                self.ids.lock().unwrap().insert(key.clone(), id.clone());
                Ok(id)
            }
        }
    }
}

#[test]
fn uploads_of_one_key_that_share_their_parts_are_caught() {
    caught::<OneUploadAKey>(&["multipart::two_uploads_of_one_key_are_independent"]);
}

/// As a layer that states its own limits.
#[derive(Default)]
struct StatesOtherLimits;

#[async_trait]
impl Flaw for StatesOtherLimits {
    fn limits(&self) -> MultipartLimits {
        let mut limits = Memory::new().limits();
        limits.list = false;
        limits
    }
}

#[test]
fn limits_that_are_not_those_of_the_driver_are_caught() {
    caught::<StatesOtherLimits>(&["multipart::the_limits_are_those_of_the_driver"]);
}
