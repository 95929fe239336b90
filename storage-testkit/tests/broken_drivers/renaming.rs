//! Renames with flaws.

use storage_core::{
    CopyMode, CopyOptions, Driver, Error, ErrorKind, Key, Metadata, MetadataDirective, ObjectMeta,
    RenameOptions, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Notes, Sound, caught};

/// A flaw of `rename`.
macro_rules! flawed_rename {
    ($flaw:ident, |$inner:ident, $from:ident, $to:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn rename(
                &self,
                $inner: &Sound,
                $from: &Key,
                $to: &Key,
                $options: &RenameOptions,
            ) -> Result<()> {
                $body
            }
        }
    };
}

fn in_mode(options: &RenameOptions, mode: CopyMode) -> RenameOptions {
    let mut options = options.clone();
    options.mode = mode;
    options
}

/// Copies as a rename does, with this metadata.
async fn copy(
    inner: &Sound,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
    metadata: MetadataDirective,
) -> Result<()> {
    let mut copy = CopyOptions::default();
    copy.mode = options.mode;
    copy.if_source_match.clone_from(&options.if_source_match);
    copy.metadata = metadata;
    inner.memory.copy(from, to, &copy).await
}

fn taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is an object already")
}

flawed_rename!(LeavesTheSource, |inner, from, to, options| {
    copy(inner, from, to, options, MetadataDirective::Keep).await
});

#[test]
fn a_rename_that_leaves_the_source_is_caught() {
    caught::<LeavesTheSource>(&[
        "rename::the_moved_object_has_the_bytes_and_the_source_is_gone",
        "rename::one_of_16_concurrent_renames_with_create_new_succeeds",
        "rename::concurrent_renames_of_one_object_do_not_lose_it",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_rename!(BytesAlone, |inner, from, to, options| {
    inner.memory.rename(from, to, options).await?;
    let plain = Metadata::new().content_type("application/octet-stream");
    let mut copy = CopyOptions::default();
    copy.metadata = MetadataDirective::Replace(plain);
    inner.memory.copy(to, to, &copy).await
});

#[test]
fn metadata_that_is_lost_on_rename_is_caught() {
    caught::<BytesAlone>(&[
        "rename::the_moved_object_has_the_metadata",
        "rename::a_rename_onto_itself_changes_nothing",
        "rename::create_new_renames_to_a_free_key",
    ]);
}

flawed_rename!(KeepsTheDestinations, |inner, from, to, options| {
    let old = inner.memory.stat(to).await;
    inner.memory.rename(from, to, options).await?;
    if let Ok(old) = old {
        let mut copy = CopyOptions::default();
        copy.metadata = MetadataDirective::Replace(old.metadata);
        inner.memory.copy(to, to, &copy).await?;
    }
    Ok(())
});

#[test]
fn a_rename_with_the_old_destinations_metadata_is_caught() {
    caught::<KeepsTheDestinations>(&[
        "rename::a_rename_replaces_the_destination_with_all_its_metadata",
    ]);
}

flawed_rename!(MissingIsDone, |inner, from, to, options| {
    match inner.memory.rename(from, to, options).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
});

#[test]
fn a_rename_of_a_missing_object_that_succeeds_is_caught() {
    caught::<MissingIsDone>(&[
        "rename::a_missing_source_is_not_found_and_changes_nothing",
        "errors::an_error_of_a_writing_verb_names_verb_driver_and_key",
    ]);
}

flawed_rename!(CopiesAndDeletes, |inner, from, to, options| {
    copy(inner, from, to, options, MetadataDirective::Keep).await?;
    inner.memory.delete(from).await
});

#[test]
fn a_rename_onto_itself_that_deletes_the_object_is_caught() {
    caught::<CopiesAndDeletes>(&["rename::a_rename_onto_itself_changes_nothing"]);
}

flawed_rename!(IgnoresCreateNew, |inner, from, to, options| {
    inner.memory.rename(from, to, &in_mode(options, CopyMode::Overwrite)).await
});

#[test]
fn a_rename_that_ignores_create_new_is_caught() {
    caught::<IgnoresCreateNew>(&[
        "rename::create_new_refuses_a_taken_key_and_both_objects_stay",
        "rename::one_of_16_concurrent_renames_with_create_new_succeeds",
    ]);
}

flawed_rename!(LooksFirst, |inner, from, to, options| {
    if options.mode == CopyMode::CreateNew && inner.memory.exists(to).await? {
        return Err(taken());
    }
    tokio::task::yield_now().await;
    inner.memory.rename(from, to, &in_mode(options, CopyMode::Overwrite)).await
});

#[test]
fn a_rename_with_create_new_that_checks_before_it_writes_is_caught() {
    caught::<LooksFirst>(&["rename::one_of_16_concurrent_renames_with_create_new_succeeds"]);
}

flawed_rename!(NeverNew, |inner, from, to, options| match options.mode {
    CopyMode::CreateNew => inner.memory.stat(from).await.and(Err(taken())),
    _ => inner.memory.rename(from, to, options).await,
});

#[test]
fn a_rename_with_create_new_that_never_succeeds_is_caught() {
    caught::<NeverNew>(&["rename::create_new_renames_to_a_free_key"]);
}

flawed_rename!(IgnoresTheCondition, |inner, from, to, options| {
    let mut options = options.clone();
    options.if_source_match = None;
    inner.memory.rename(from, to, &options).await
});

#[test]
fn a_rename_that_ignores_the_source_condition_is_caught() {
    caught::<IgnoresTheCondition>(&[
        "rename::if_source_match_refuses_another_version_and_changes_nothing",
        "rename::a_weak_source_etag_never_matches",
    ]);
}

flawed_rename!(NoVersionMatches, |inner, from, to, options| {
    if options.if_source_match.is_some() {
        inner.memory.stat(from).await?;
        return Err(Error::new(ErrorKind::PreconditionFailed, "the source is another version"));
    }
    inner.memory.rename(from, to, options).await
});

#[test]
fn a_rename_whose_source_condition_never_holds_is_caught() {
    caught::<NoVersionMatches>(&["rename::if_source_match_renames_the_matching_version"]);
}

flawed_rename!(ComparesWeakly, |inner, from, to, options| {
    let mut options = options.clone();
    if let (Some(wanted), Some(present)) =
        (&options.if_source_match, inner.memory.stat(from).await?.etag)
        && wanted.opaque() == present.opaque()
    {
        options.if_source_match = None;
    }
    inner.memory.rename(from, to, &options).await
});

#[test]
fn a_rename_that_compares_etags_weakly_is_caught() {
    caught::<ComparesWeakly>(&["rename::a_weak_source_etag_never_matches"]);
}

flawed_rename!(DeletesTheDestinationFirst, |inner, from, to, options| {
    inner.memory.stat(from).await?;
    if options.mode == CopyMode::Overwrite && from != to {
        inner.memory.delete(to).await?;
        tokio::task::yield_now().await;
    }
    inner.memory.rename(from, to, options).await
});

#[test]
fn a_rename_that_removes_the_destination_for_a_moment_is_caught() {
    caught::<DeletesTheDestinationFirst>(&["concurrency::renames_during_reads_are_complete"]);
}

flawed_rename!(DeletesTheSourceFirst, |inner, from, to, options| {
    use storage_core::OpenOptions;

    if from == to || options.mode == CopyMode::CreateNew || options.if_source_match.is_some() {
        return inner.memory.rename(from, to, options).await;
    }
    let object = inner.memory.open(from, &OpenOptions::default()).await?;
    inner.memory.delete(from).await?;
    tokio::task::yield_now().await;
    let mut save = SaveOptions::default();
    save.metadata = object.meta().metadata.clone();
    inner.memory.save(to, object.into(), &save).await.map(drop)
});

#[test]
fn a_rename_that_deletes_the_source_before_it_writes_is_caught() {
    caught::<DeletesTheSourceFirst>(&[
        "cancellation::a_rename_dropped_at_any_point_loses_no_object",
    ]);
}

/// Keeps checksums by key, and leaves those of the destination.
#[derive(Default)]
struct StaleChecksums {
    known: Notes<storage_core::Checksum>,
}

#[async_trait]
impl Flaw for StaleChecksums {
    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(key).await?;
        if let Some(checksum) = self.known.lock().unwrap().get(key) {
            meta.checksums.insert(checksum.clone());
        }
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
        let md5 = saved.checksums.get(storage_core::ChecksumAlgorithm::Md5).cloned();
        let mut known = self.known.lock().unwrap();
        match md5 {
            Some(md5) => known.insert(key.clone(), md5),
            None => known.remove(key),
        };
        Ok(saved)
    }
}

#[test]
fn a_rename_with_the_checksums_of_the_replaced_object_is_caught() {
    caught::<StaleChecksums>(&["rename::checksums_of_a_moved_object_match_its_bytes"]);
}
