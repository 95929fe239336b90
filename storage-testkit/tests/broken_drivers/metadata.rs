//! Metadata that is lost, changed or not replaced.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use storage_core::{
    Checksums, Driver, Key, Metadata, ObjectMeta, Payload, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Notes, Sound, caught, flawed_save};

/// Saves with changed metadata.
async fn save_with(
    inner: &Sound,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
    change: impl FnOnce(&mut Metadata),
) -> Result<ObjectMeta> {
    let mut options = options.clone();
    change(&mut options.metadata);
    inner.memory.save(key, payload, &options).await
}

#[derive(Default)]
struct KeepsOldMetadata;
flawed_save!(KeepsOldMetadata, |_flaw, inner, key, payload, options| {
    let old = inner.memory.stat(key).await.ok();
    save_with(inner, key, payload, options, |metadata| {
        *metadata = old.map_or(metadata.clone(), |old| old.metadata);
    })
    .await
});

#[test]
fn metadata_that_is_lost_on_overwrite_is_caught() {
    caught::<KeepsOldMetadata>(&[
        "metadata::an_overwrite_replaces_all_metadata",
        "concurrency::readers_during_1000_overwrites_see_complete_versions",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct MergesMetadata;
flawed_save!(MergesMetadata, |_flaw, inner, key, payload, options| {
    let old = inner.memory.stat(key).await.map(|old| old.metadata).unwrap_or_default();
    save_with(inner, key, payload, options, |metadata| metadata.fill_from(&old)).await
});

#[test]
fn leftovers_of_old_metadata_are_caught() {
    caught::<MergesMetadata>(&[
        "metadata::an_overwrite_replaces_all_metadata",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct MetadataOutlives {
    sidecars: Notes<Metadata>,
}
flawed_save!(MetadataOutlives, |flaw, inner, key, payload, options| {
    // A new object without a sidecar gets the old sidecar.
    let left = flaw.sidecars.lock().unwrap().insert(key.clone(), options.metadata.clone());
    let is_new = !inner.memory.exists(key).await?;
    save_with(inner, key, payload, options, |metadata| {
        metadata.fill_from(&left.filter(|_| is_new).unwrap_or_default());
    })
    .await
});

#[test]
fn metadata_that_outlives_its_object_is_caught() {
    caught::<MetadataOutlives>(&[
        "metadata::metadata_of_a_deleted_object_does_not_reappear",
        "delete::a_deleted_key_can_be_saved_again",
    ]);
}

macro_rules! drops_metadata {
    ($($flaw:ident, $test:ident, |$metadata:ident| $change:expr;)*) => {
        $(
            #[derive(Default)]
            struct $flaw;
            flawed_save!($flaw, |_flaw, inner, key, payload, options| {
                save_with(inner, key, payload, options, |$metadata| $change).await
            });

            #[test]
            fn $test() {
                caught::<$flaw>(&["metadata::every_field_is_kept"]);
            }
        )*
    };
}

drops_metadata! {
    ContentTypeDropped, a_dropped_content_type_is_caught, |metadata| metadata.content_type = None;
    ContentEncodingDropped, a_dropped_content_encoding_is_caught, |metadata| metadata.content_encoding = None;
    DispositionDropped, a_dropped_content_disposition_is_caught, |metadata| metadata.content_disposition = None;
    LanguageDropped, a_dropped_content_language_is_caught, |metadata| metadata.content_language = None;
    CacheControlDropped, a_dropped_cache_control_is_caught, |metadata| metadata.cache_control = None;
    ExpiresDropped, a_dropped_expires_is_caught, |metadata| metadata.expires = None;
    UserMetadataDropped, dropped_user_metadata_is_caught, |metadata| metadata.user_metadata.clear();
    ParametersDropped, a_content_type_without_its_parameters_is_caught, |metadata| {
        metadata.content_type = metadata.content_type.take().and_then(|it| it.split(';').next().map(str::to_owned));
    };
}

#[derive(Default)]
struct AsciiOnly;
flawed_save!(AsciiOnly, |_flaw, inner, key, payload, options| {
    save_with(inner, key, payload, options, |metadata| {
        metadata
            .user_metadata
            .values_mut()
            .for_each(|value| *value = value.replace(|c: char| !c.is_ascii(), "?"));
    })
    .await
});

#[test]
fn user_metadata_that_loses_its_accents_is_caught() {
    caught::<AsciiOnly>(&["metadata::values_of_user_metadata_are_any_text"]);
}

#[derive(Default)]
struct UserMetadataCut;
flawed_save!(UserMetadataCut, |_flaw, inner, key, payload, options| {
    save_with(inner, key, payload, options, |metadata| {
        metadata.user_metadata.values_mut().for_each(|value| value.truncate(1024));
    })
    .await
});

#[test]
fn long_user_metadata_that_is_cut_is_caught() {
    caught::<UserMetadataCut>(&["metadata::the_maximum_of_user_metadata_is_kept"]);
}

#[derive(Default)]
struct NamesRewritten;
flawed_save!(NamesRewritten, |_flaw, inner, key, payload, options| {
    save_with(inner, key, payload, options, |metadata| {
        let renamed = std::mem::take(&mut metadata.user_metadata).into_iter();
        metadata.user_metadata =
            renamed.map(|(name, value)| (name.replace('_', "-"), value)).collect();
    })
    .await
});

#[test]
fn rewritten_names_of_user_metadata_are_caught() {
    caught::<NamesRewritten>(&["metadata::names_of_user_metadata_are_any_token"]);
}

#[derive(Default)]
struct GuessesAgain;
flawed_save!(GuessesAgain, |_flaw, inner, key, payload, options| {
    save_with(inner, key, payload, options, |metadata| {
        metadata.content_type = Some(storage_core::content_type::of_key(key));
    })
    .await
});

#[test]
fn a_driver_that_guesses_the_content_type_itself_is_caught() {
    caught::<GuessesAgain>(&[
        "metadata::a_given_content_type_is_kept_unchanged",
        "metadata::the_content_type_is_detected_from_the_first_bytes",
    ]);
}

#[derive(Default)]
struct SniffsAlways;
flawed_save!(SniffsAlways, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    let sniffed = storage_core::content_type::of_bytes(&Key::new("no-extension")?, &bytes);
    save_with(inner, key, bytes.into(), options, |metadata| metadata.content_type = Some(sniffed))
        .await
});

#[test]
fn a_content_type_that_is_always_detected_from_the_bytes_is_caught() {
    caught::<SniffsAlways>(&["metadata::the_content_type_is_guessed_from_the_key"]);
}

#[derive(Default)]
struct NothingForEmptyObjects;
flawed_save!(NothingForEmptyObjects, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    let is_empty = bytes.is_empty();
    save_with(inner, key, bytes.into(), options, |metadata| {
        if is_empty {
            *metadata = Metadata::new();
        }
    })
    .await
});

#[test]
fn an_empty_object_that_loses_its_metadata_is_caught() {
    caught::<NothingForEmptyObjects>(&["metadata::an_empty_object_keeps_its_metadata"]);
}

#[derive(Default)]
struct NothingForLargeObjects;
flawed_save!(NothingForLargeObjects, |_flaw, inner, key, payload, options| {
    let (bytes, _) = payload.into_bytes().await?;
    let is_in_parts = bytes.len() > 8 << 20;
    save_with(inner, key, bytes.into(), options, |metadata| {
        if is_in_parts {
            metadata.cache_control = None;
        }
    })
    .await
});

#[test]
fn a_large_object_that_loses_its_metadata_is_caught() {
    caught::<NothingForLargeObjects>(&["metadata::a_large_object_keeps_its_metadata"]);
}

#[derive(Default)]
struct LongHeadersCut;
flawed_save!(LongHeadersCut, |_flaw, inner, key, payload, options| {
    save_with(inner, key, payload, options, |metadata| {
        if let Some(value) = &mut metadata.content_disposition {
            value.truncate(255);
        }
    })
    .await
});

#[test]
fn a_long_header_that_is_cut_is_caught() {
    caught::<LongHeadersCut>(&["metadata::the_largest_metadata_is_kept_or_refused"]);
}

#[derive(Default)]
struct ThirtyTwoBits;
flawed_save!(ThirtyTwoBits, |_flaw, inner, key, payload, options| {
    const LAST: Duration = Duration::from_secs(u32::MAX as u64);
    save_with(inner, key, payload, options, |metadata| {
        metadata.expires = metadata.expires.map(|time| time.min(SystemTime::UNIX_EPOCH + LAST));
    })
    .await
});

#[test]
fn a_time_that_does_not_fit_is_caught() {
    caught::<ThirtyTwoBits>(&["metadata::expires_is_kept_in_whole_seconds"]);
}

/// Keeps metadata by file name, without the directory.
#[derive(Default)]
struct SharedSidecars {
    by_name: Mutex<HashMap<String, Metadata>>,
}

#[async_trait]
impl Flaw for SharedSidecars {
    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        self.by_name.lock().unwrap().insert(key.name().to_owned(), options.metadata.clone());
        inner.memory.save(key, payload, options).await
    }

    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(key).await?;
        if let Some(metadata) = self.by_name.lock().unwrap().get(key.name()) {
            meta.metadata = metadata.clone();
        }
        Ok(meta)
    }
}

#[test]
fn metadata_that_two_objects_share_is_caught() {
    caught::<SharedSidecars>(&["metadata::objects_do_not_share_metadata"]);
}

#[derive(Default)]
struct DropsChecksums;
flawed_save!(DropsChecksums, |_flaw, inner, key, payload, options| {
    // The checks run, but their results are not kept.
    let (bytes, _) = payload.into_bytes().await?;
    inner.memory.save(key, bytes.into(), options).await
});

#[test]
fn dropped_checksums_are_caught() {
    caught::<DropsChecksums>(&["checksums::verified_and_computed_checksums_are_kept"]);
}

#[derive(Default)]
struct StaleChecksums {
    first: Notes<Checksums>,
}

#[async_trait]
impl Flaw for StaleChecksums {
    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(key).await?;
        meta.checksums =
            self.first.lock().unwrap().entry(key.clone()).or_insert(meta.checksums).clone();
        Ok(meta)
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let meta = inner.memory.save(key, payload, options).await?;
        self.first.lock().unwrap().entry(key.clone()).or_insert_with(|| meta.checksums.clone());
        Ok(meta)
    }
}

#[test]
fn checksums_of_an_older_version_are_caught() {
    caught::<StaleChecksums>(&["checksums::an_overwrite_removes_the_checksums_of_the_old_bytes"]);
}
