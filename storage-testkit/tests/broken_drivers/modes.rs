//! `create_new`, `if_match` and `unique_name` with flaws.

use storage_core::{Driver, ETag, Error, ErrorKind, Key, SaveMode, keys};

use crate::flaw::{caught, flawed_save, in_mode};

#[derive(Default)]
struct CreateNewLooksFirst;
flawed_save!(CreateNewLooksFirst, |_flaw, inner, key, payload, options| {
    if options.mode == SaveMode::CreateNew && inner.memory.exists(key).await? {
        return Err(Error::new(ErrorKind::AlreadyExists, "there is an object already"));
    }
    tokio::task::yield_now().await;
    let unchecked = if options.mode == SaveMode::CreateNew {
        SaveMode::Overwrite
    } else {
        options.mode.clone()
    };
    inner.memory.save(key, payload, &in_mode(options, unchecked)).await
});

#[test]
fn a_create_new_that_checks_before_it_saves_is_caught() {
    caught::<CreateNewLooksFirst>(&[
        "create_new::one_of_32_concurrent_saves_succeeds",
        "create_new::one_of_32_concurrent_saves_of_streams_succeeds",
    ]);
}

#[derive(Default)]
struct CreateNewOverwrites;
flawed_save!(CreateNewOverwrites, |_flaw, inner, key, payload, options| {
    let mode = if options.mode == SaveMode::CreateNew {
        SaveMode::Overwrite
    } else {
        options.mode.clone()
    };
    inner.memory.save(key, payload, &in_mode(options, mode)).await
});

#[test]
fn a_create_new_that_overwrites_is_caught() {
    caught::<CreateNewOverwrites>(&[
        "create_new::create_new_refuses_a_taken_key_and_changes_nothing",
        "create_new::create_new_refuses_the_key_of_an_empty_object",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct IfMatchIgnored;
flawed_save!(IfMatchIgnored, |_flaw, inner, key, payload, options| {
    let mode = match &options.mode {
        SaveMode::IfMatch(_) => SaveMode::Overwrite,
        mode => mode.clone(),
    };
    inner.memory.save(key, payload, &in_mode(options, mode)).await
});

#[test]
fn a_save_that_ignores_if_match_is_caught() {
    caught::<IfMatchIgnored>(&[
        "if_match::an_outdated_etag_is_refused_and_changes_nothing",
        "if_match::a_missing_object_is_refused_and_not_created",
        "if_match::one_of_32_concurrent_saves_on_one_version_succeeds",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

#[derive(Default)]
struct IfMatchComparesWeakly;
flawed_save!(IfMatchComparesWeakly, |_flaw, inner, key, payload, options| {
    let mode = match &options.mode {
        SaveMode::IfMatch(etag) => SaveMode::IfMatch(ETag::strong(etag.opaque())?),
        mode => mode.clone(),
    };
    inner.memory.save(key, payload, &in_mode(options, mode)).await
});

#[test]
fn an_if_match_that_compares_weakly_is_caught() {
    caught::<IfMatchComparesWeakly>(&["if_match::a_weak_etag_never_matches"]);
}

#[derive(Default)]
struct IfMatchLooksFirst;
flawed_save!(IfMatchLooksFirst, |_flaw, inner, key, payload, options| {
    let SaveMode::IfMatch(wanted) = &options.mode else {
        return inner.memory.save(key, payload, options).await;
    };
    let present = inner.memory.stat(key).await.ok().and_then(|meta| meta.etag);
    if present.as_ref().is_none_or(|etag| !etag.strong_eq(wanted)) {
        return Err(Error::new(ErrorKind::PreconditionFailed, "another version"));
    }
    tokio::task::yield_now().await;
    inner.memory.save(key, payload, &in_mode(options, SaveMode::Overwrite)).await
});

#[test]
fn an_if_match_that_checks_before_it_saves_is_caught() {
    caught::<IfMatchLooksFirst>(&["if_match::one_of_32_concurrent_saves_on_one_version_succeeds"]);
}

#[derive(Default)]
struct UniqueNameOverwrites;
flawed_save!(UniqueNameOverwrites, |_flaw, inner, key, payload, options| {
    let mode = if options.mode == SaveMode::UniqueName {
        SaveMode::Overwrite
    } else {
        options.mode.clone()
    };
    inner.memory.save(key, payload, &in_mode(options, mode)).await
});

#[test]
fn a_unique_name_that_overwrites_is_caught() {
    caught::<UniqueNameOverwrites>(&[
        "unique_name::a_taken_key_leads_to_a_similar_one_and_both_objects_stay",
        "unique_name::a_stream_is_saved_under_a_similar_name",
    ]);
}

#[derive(Default)]
struct UniqueNameLooksFirst;
flawed_save!(UniqueNameLooksFirst, |_flaw, inner, key, payload, options| {
    let is_unique = options.mode == SaveMode::UniqueName;
    let mut key = key.clone();
    while is_unique && inner.memory.exists(&key).await? {
        key = keys::alternative(&key)?;
    }
    tokio::task::yield_now().await;
    let mode = if is_unique { SaveMode::Overwrite } else { options.mode.clone() };
    inner.memory.save(&key, payload, &in_mode(options, mode)).await
});

#[test]
fn a_unique_name_that_two_saves_get_is_caught() {
    caught::<UniqueNameLooksFirst>(&["unique_name::each_of_32_concurrent_saves_gets_its_own_name"]);
}

#[derive(Default)]
struct UniqueNameAnywhere;
flawed_save!(UniqueNameAnywhere, |_flaw, inner, key, payload, options| {
    if options.mode == SaveMode::UniqueName && inner.memory.exists(key).await? {
        let elsewhere = keys::unique("unique", "upload")?;
        return inner.memory.save(&elsewhere, payload, options).await;
    }
    inner.memory.save(key, payload, options).await
});

#[test]
fn a_unique_name_in_another_directory_is_caught() {
    caught::<UniqueNameAnywhere>(&[
        "unique_name::a_taken_key_leads_to_a_similar_one_and_both_objects_stay",
    ]);
}

#[derive(Default)]
struct NeverNew;
flawed_save!(NeverNew, |_flaw, inner, key, payload, options| match options.mode {
    SaveMode::CreateNew => Err(Error::new(ErrorKind::AlreadyExists, "there is an object already")),
    _ => inner.memory.save(key, payload, options).await,
});

#[test]
fn a_create_new_that_never_succeeds_is_caught() {
    caught::<NeverNew>(&[
        "create_new::create_new_saves_under_a_free_key",
        "create_new::one_of_32_concurrent_saves_succeeds",
    ]);
}

#[derive(Default)]
struct NeverMatches;
flawed_save!(NeverMatches, |_flaw, inner, key, payload, options| match options.mode {
    SaveMode::IfMatch(_) => Err(Error::new(ErrorKind::PreconditionFailed, "another version")),
    _ => inner.memory.save(key, payload, options).await,
});

#[test]
fn an_if_match_that_never_holds_is_caught() {
    caught::<NeverMatches>(&[
        "if_match::the_current_version_is_replaced",
        "if_match::no_update_of_a_shared_counter_is_lost",
        "if_match::one_of_32_concurrent_saves_on_one_version_succeeds",
    ]);
}

#[derive(Default)]
struct IfMatchTouches;
flawed_save!(IfMatchTouches, |_flaw, inner, key, payload, options| {
    let SaveMode::IfMatch(_) = &options.mode else {
        return inner.memory.save(key, payload, options).await;
    };
    // Changes the version before the payload is complete.
    let old = inner.memory.open(key, &Default::default()).await?.bytes().await?;
    inner.memory.save(key, old.into(), options).await?;
    inner.memory.save(key, payload, &in_mode(options, SaveMode::Overwrite)).await
});

#[test]
fn a_failed_save_that_changes_the_etag_is_caught() {
    caught::<IfMatchTouches>(&["if_match::a_failed_stream_leaves_the_old_object"]);
}

#[derive(Default)]
struct ReturnsAnotherETag;
flawed_save!(ReturnsAnotherETag, |_flaw, inner, key, payload, options| {
    let mut saved = inner.memory.save(key, payload, options).await?;
    saved.etag = Some(ETag::strong("of-the-upload")?);
    Ok(saved)
});

#[test]
fn a_returned_etag_that_does_not_match_is_caught() {
    caught::<ReturnsAnotherETag>(&[
        "if_match::the_returned_etag_matches_in_the_next_save",
        "stat_exists::save_stat_and_open_return_the_same_metadata",
    ]);
}

#[derive(Default)]
struct AlwaysAnotherName;
flawed_save!(AlwaysAnotherName, |_flaw, inner, key, payload, options| match options.mode {
    SaveMode::UniqueName => inner.memory.save(&keys::alternative(key)?, payload, options).await,
    _ => inner.memory.save(key, payload, options).await,
});

#[test]
fn a_free_name_that_is_not_used_is_caught() {
    caught::<AlwaysAnotherName>(&[
        "unique_name::a_free_key_is_used_unchanged",
        "unique_name::each_of_32_concurrent_saves_gets_its_own_name",
    ]);
}

#[derive(Default)]
struct NumbersNames;
flawed_save!(NumbersNames, |_flaw, inner, key, payload, options| {
    if options.mode != SaveMode::UniqueName || !inner.memory.exists(key).await? {
        return inner.memory.save(key, payload, options).await;
    }
    // Ignores that a number may exceed the maximum length.
    inner.memory.save(&Key::new(format!("{key}_1"))?, payload, options).await
});

#[test]
fn a_long_name_that_has_no_similar_one_is_caught() {
    caught::<NumbersNames>(&["unique_name::every_name_has_a_similar_one"]);
}
