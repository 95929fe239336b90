//! Copies with flaws.

use std::collections::HashMap;

use storage_core::{
    Checksum, ChecksumAlgorithm, CopyMode, CopyOptions, Driver, Error, ErrorKind, Key, Metadata,
    MetadataDirective, Object, ObjectMeta, OpenOptions, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Notes, Sound, caught};

/// A flaw of `copy`.
macro_rules! flawed_copy {
    ($flaw:ident, |$inner:ident, $from:ident, $to:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn copy(
                &self,
                $inner: &Sound,
                $from: &Key,
                $to: &Key,
                $options: &CopyOptions,
            ) -> Result<()> {
                $body
            }
        }
    };
}

fn options(metadata: MetadataDirective, mode: CopyMode) -> CopyOptions {
    let mut options = CopyOptions::default();
    options.metadata = metadata;
    options.mode = mode;
    options
}

flawed_copy!(BytesAlone, |inner, from, to, options| {
    let metadata = match &options.metadata {
        MetadataDirective::Keep => {
            MetadataDirective::Replace(Metadata::new().content_type("application/octet-stream"))
        }
        replaced => replaced.clone(),
    };
    inner.memory.copy(from, to, &self::options(metadata, options.mode)).await
});

#[test]
fn metadata_that_is_lost_on_copy_is_caught() {
    caught::<BytesAlone>(&[
        "copy::the_copy_has_the_metadata",
        "copy::source_and_copy_are_independent",
        "copy::a_copy_onto_itself_changes_nothing",
        "concurrency::copies_during_overwrites_are_complete",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_copy!(Merges, |inner, from, to, options| {
    let metadata = match options.metadata.clone() {
        MetadataDirective::Replace(mut metadata) => {
            metadata.fill_from(&inner.memory.stat(from).await?.metadata);
            MetadataDirective::Replace(metadata)
        }
        keep => keep,
    };
    inner.memory.copy(from, to, &self::options(metadata, options.mode)).await
});

#[test]
fn metadata_that_is_merged_on_copy_is_caught() {
    caught::<Merges>(&[
        "copy::given_metadata_replaces_all_metadata_of_the_source",
        "copy::given_metadata_without_a_content_type_gets_the_type_of_the_destination",
        "copy::a_copy_onto_itself_with_new_metadata_changes_only_the_metadata",
    ]);
}

flawed_copy!(NeverReplaces, |inner, from, to, options| {
    inner.memory.copy(from, to, &self::options(MetadataDirective::Keep, options.mode)).await
});

#[test]
fn new_metadata_that_is_ignored_is_caught() {
    caught::<NeverReplaces>(&["copy::given_metadata_replaces_all_metadata_of_the_source"]);
}

flawed_copy!(KeepsTheDestinations, |inner, from, to, options| {
    let metadata = match (inner.memory.stat(to).await, &options.metadata) {
        (Ok(old), MetadataDirective::Keep) => MetadataDirective::Replace(old.metadata),
        (_, directive) => directive.clone(),
    };
    inner.memory.copy(from, to, &self::options(metadata, options.mode)).await
});

#[test]
fn a_copy_with_the_old_destinations_metadata_is_caught() {
    caught::<KeepsTheDestinations>(&[
        "copy::a_copy_replaces_the_destination_with_all_its_metadata",
    ]);
}

flawed_copy!(Moves, |inner, from, to, options| {
    inner.memory.copy(from, to, options).await?;
    if from != to {
        inner.memory.delete(from).await?;
    }
    Ok(())
});

#[test]
fn a_copy_that_removes_the_source_is_caught() {
    caught::<Moves>(&[
        "copy::the_copy_has_the_bytes_and_the_source_stays",
        "concurrency::copies_during_overwrites_are_complete",
    ]);
}

flawed_copy!(MissingIsEmpty, |inner, from, to, options| match inner
    .memory
    .copy(from, to, options)
    .await
{
    Err(error) if error.kind() == ErrorKind::NotFound => {
        inner.memory.save(to, "".into(), &SaveOptions::default()).await.map(drop)
    }
    copied => copied,
});

#[test]
fn an_empty_copy_of_a_missing_source_is_caught() {
    caught::<MissingIsEmpty>(&["copy::a_missing_source_is_not_found_and_changes_nothing"]);
}

flawed_copy!(DeletesFirst, |inner, from, to, options| {
    if options.mode == CopyMode::Overwrite && from != to {
        inner.memory.delete(to).await?;
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_that_deletes_the_destination_first_is_caught() {
    caught::<DeletesFirst>(&["copy::a_missing_source_is_not_found_and_changes_nothing"]);
}

flawed_copy!(EmptiesItself, |inner, from, to, options| {
    let source = inner.memory.open(from, &OpenOptions::default()).await?.bytes().await?;
    if from == to {
        inner.memory.save(to, "".into(), &SaveOptions::default()).await?;
        tokio::task::yield_now().await;
        let mut options = SaveOptions::default();
        options.metadata = inner.memory.stat(to).await?.metadata;
        inner.memory.save(to, source.into(), &options).await?;
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_onto_itself_that_empties_it_for_a_moment_is_caught() {
    caught::<EmptiesItself>(&[
        "copy::a_copy_onto_itself_changes_nothing",
        "concurrency::metadata_that_changes_during_reads_is_consistent",
    ]);
}

flawed_copy!(LeavesItself, |inner, from, to, options| {
    if from == to && options.mode == CopyMode::Overwrite {
        return inner.memory.stat(from).await.map(drop);
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_onto_itself_that_does_nothing_is_caught() {
    caught::<LeavesItself>(&[
        "copy::a_copy_onto_itself_with_new_metadata_changes_only_the_metadata",
    ]);
}

flawed_copy!(IgnoresCreateNew, |inner, from, to, options| {
    inner.memory.copy(from, to, &self::options(options.metadata.clone(), CopyMode::Overwrite)).await
});

#[test]
fn a_copy_that_ignores_create_new_is_caught() {
    caught::<IgnoresCreateNew>(&[
        "copy::create_new_refuses_a_taken_key_and_leaves_its_object",
        "copy::one_of_16_concurrent_copies_with_create_new_succeeds",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_copy!(LooksFirst, |inner, from, to, options| {
    if options.mode == CopyMode::CreateNew && inner.memory.exists(to).await? {
        return Err(Error::new(ErrorKind::AlreadyExists, "there is an object already"));
    }
    tokio::task::yield_now().await;
    inner.memory.copy(from, to, &self::options(options.metadata.clone(), CopyMode::Overwrite)).await
});

#[test]
fn a_copy_with_create_new_that_checks_before_it_writes_is_caught() {
    caught::<LooksFirst>(&["copy::one_of_16_concurrent_copies_with_create_new_succeeds"]);
}

flawed_copy!(InTwoSteps, |inner, from, to, options| {
    let object = inner.memory.open(from, &OpenOptions::default()).await?;
    if options.mode == CopyMode::Overwrite && from != to {
        inner.memory.save(to, object.into(), &SaveOptions::default()).await?;
        tokio::task::yield_now().await;
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_whose_metadata_comes_later_is_caught() {
    caught::<InTwoSteps>(&[
        "cancellation::a_copy_dropped_at_any_point_takes_effect_completely_or_not_at_all",
    ]);
}

flawed_copy!(NeverNew, |inner, from, to, options| {
    if options.mode == CopyMode::CreateNew {
        inner.memory.stat(from).await?;
        return Err(Error::new(ErrorKind::AlreadyExists, "there is an object already"));
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_with_create_new_that_never_succeeds_is_caught() {
    caught::<NeverNew>(&["copy::create_new_copies_to_a_free_key"]);
}

/// Gives the copy the metadata of the source, including its key.
#[derive(Default)]
struct KeepsTheSourcesKey {
    sources: Notes<Key>,
}

#[async_trait]
impl Flaw for KeepsTheSourcesKey {
    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(key).await?;
        meta.key = self.sources.lock().unwrap().get(key).cloned().unwrap_or(meta.key);
        Ok(meta)
    }

    async fn copy(&self, inner: &Sound, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.sources.lock().unwrap().insert(to.clone(), from.clone());
        inner.memory.copy(from, to, options).await
    }
}

#[test]
fn a_copy_with_the_key_of_its_source_is_caught() {
    caught::<KeepsTheSourcesKey>(&[
        "copy::stat_and_open_of_the_copy_return_the_same_metadata",
        "copy::the_copy_has_the_bytes_and_the_source_stays",
    ]);
}

/// Makes the copy an alias of its source.
#[derive(Default)]
struct Aliases {
    sources: Notes<Key>,
}

#[async_trait]
impl Flaw for Aliases {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let source = self.sources.lock().unwrap().get(key).cloned();
        match source {
            Some(source) if inner.memory.exists(&source).await? => {
                inner.memory.open(&source, options).await
            }
            _ => inner.memory.open(key, options).await,
        }
    }

    async fn copy(&self, inner: &Sound, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.sources.lock().unwrap().insert(to.clone(), from.clone());
        inner.memory.copy(from, to, options).await
    }
}

#[test]
fn a_copy_that_changes_with_its_source_is_caught() {
    caught::<Aliases>(&["copy::source_and_copy_are_independent"]);
}

/// Keeps checksums by key, and does not replace them in a copy.
#[derive(Default)]
struct StaleChecksums {
    known: std::sync::Mutex<HashMap<Key, Checksum>>,
}

#[async_trait]
impl Flaw for StaleChecksums {
    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(key).await?;
        let bytes = inner.memory.open(key, &OpenOptions::default()).await?.bytes().await?;
        let mut known = self.known.lock().unwrap();
        let checksum = known
            .entry(key.clone())
            .or_insert_with(|| Checksum::of(ChecksumAlgorithm::Md5, &bytes));
        meta.checksums.insert(checksum.clone());
        Ok(meta)
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: storage_core::Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let saved = inner.memory.save(key, payload, options).await?;
        self.known.lock().unwrap().remove(key);
        self.stat(inner, key).await.map(|_| saved)
    }
}

#[test]
fn a_copy_with_the_checksums_of_the_replaced_object_is_caught() {
    caught::<StaleChecksums>(&["copy::checksums_of_a_copy_match_its_bytes"]);
}

flawed_copy!(IgnoresTheCondition, |inner, from, to, options| {
    inner.memory.copy(from, to, &self::options(options.metadata.clone(), options.mode)).await
});

#[test]
fn a_copy_that_ignores_the_source_condition_is_caught() {
    caught::<IgnoresTheCondition>(&[
        "copy::if_source_match_refuses_another_version_and_changes_nothing",
        "copy::if_source_match_and_create_new_are_both_evaluated",
        "copy::a_weak_source_etag_never_matches",
        "concurrency::a_copy_with_if_source_match_during_overwrites_is_of_that_version",
    ]);
}

flawed_copy!(NoVersionMatches, |inner, from, to, options| {
    if options.if_source_match.is_some() {
        inner.memory.stat(from).await?;
        return Err(Error::new(ErrorKind::PreconditionFailed, "the source is another version"));
    }
    inner.memory.copy(from, to, options).await
});

#[test]
fn a_copy_whose_source_condition_never_holds_is_caught() {
    caught::<NoVersionMatches>(&["copy::if_source_match_copies_the_matching_version"]);
}

flawed_copy!(ChecksBeforeItCopies, |inner, from, to, options| {
    options.check_source(&inner.memory.stat(from).await?)?;
    tokio::task::yield_now().await;
    inner.memory.copy(from, to, &self::options(options.metadata.clone(), options.mode)).await
});

#[test]
fn a_copy_of_a_later_version_than_that_of_its_condition_is_caught() {
    caught::<ChecksBeforeItCopies>(&[
        "concurrency::a_copy_with_if_source_match_during_overwrites_is_of_that_version",
    ]);
}
