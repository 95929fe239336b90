//! Failures reported as missing objects, deletes with flaws, wrong capabilities.

use futures_util::{StreamExt, stream};
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, ErrorKind, Key,
    Link, LinkVerifier, ListOptions, Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix,
    RenameOptions, Result, SaveMode, SaveOptions, Storage, UrlOptions, async_trait,
};

use crate::flaw::{Flaw, Sound, caught, in_mode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    None,
    Open,
    Stat,
    Exists,
    Delete,
    DeleteMany,
    List,
}

/// A driver with an unreachable backend, which one verb reports as a missing object.
#[derive(Debug)]
struct HidesErrors {
    swallows: Verb,
}

/// See [`HidesErrors`].
pub(crate) fn with_a_hidden_error(swallows: Verb) -> Storage {
    Storage::new(HidesErrors { swallows })
}

impl HidesErrors {
    fn result<T>(&self, verb: Verb, absent: Result<T>) -> Result<T> {
        if self.swallows == verb {
            return absent;
        }
        Err(Error::new(ErrorKind::PermissionDenied, "the backend does not let us in"))
    }
}

#[async_trait]
impl Driver for HidesErrors {
    fn info(&self) -> DriverInfo {
        DriverInfo::new("trouble", "trouble:", Capabilities::full())
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(
        &self,
        _key: &Key,
        _payload: Payload,
        _options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        self.result(Verb::None, Err(Error::not_found()))
    }

    async fn open(&self, _key: &Key, _options: &OpenOptions) -> Result<Object> {
        self.result(Verb::Open, Err(Error::not_found()))
    }

    async fn stat(&self, _key: &Key) -> Result<ObjectMeta> {
        self.result(Verb::Stat, Err(Error::not_found()))
    }

    async fn exists(&self, _key: &Key) -> Result<bool> {
        self.result(Verb::Exists, Ok(false))
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        self.result(Verb::Delete, Ok(()))
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        keys.iter().map(|_| self.result(Verb::DeleteMany, Ok(()))).collect()
    }

    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        self.result(Verb::Delete, Ok(()))
    }

    fn list(&self, _prefix: &Prefix, _options: &ListOptions) -> EntryStream {
        match self.result(Verb::List, Ok(())) {
            Ok(()) => stream::empty().boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        self.result(Verb::None, Err(Error::not_found()))
    }

    async fn rename(&self, _from: &Key, _to: &Key, _options: &RenameOptions) -> Result<()> {
        self.result(Verb::None, Err(Error::not_found()))
    }

    async fn url(&self, _key: &Key, _options: &UrlOptions) -> Result<Link> {
        self.result(Verb::None, Err(Error::not_found()))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        self.result(Verb::None, Err(Error::not_found()))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.result(Verb::None, Err(Error::not_found()))
    }
}

macro_rules! swallows {
    ($($flaw:ident, $test:ident, $verb:ident => $case:literal;)*) => {
        $(
            #[derive(Default)]
            struct $flaw;

            impl Flaw for $flaw {
                fn broken_backend() -> Option<Storage> {
                    Some(with_a_hidden_error(Verb::$verb))
                }
            }

            #[test]
            fn $test() {
                caught::<$flaw>(&[$case]);
            }
        )*
    };
}

swallows! {
    ExistsSwallows, an_exists_that_swallows_errors_is_caught, Exists => "errors::exists_fails_on_a_broken_backend";
    StatSwallows, a_stat_that_swallows_errors_is_caught, Stat => "errors::stat_and_open_do_not_report_not_found_on_a_broken_backend";
    OpenSwallows, an_open_that_swallows_errors_is_caught, Open => "errors::stat_and_open_do_not_report_not_found_on_a_broken_backend";
    DeleteSwallows, a_delete_that_swallows_errors_is_caught, Delete => "errors::delete_fails_on_a_broken_backend";
    DeleteManySwallows, a_delete_many_that_swallows_errors_is_caught, DeleteMany =>
        "errors::delete_many_fails_on_a_broken_backend";
}

#[derive(Default)]
struct PrefixesExist;

#[async_trait]
impl Flaw for PrefixesExist {
    async fn exists(&self, inner: &Sound, key: &Key) -> Result<bool> {
        let mut below =
            inner.memory.list(&Prefix::new(format!("{key}/"))?, &ListOptions::default());
        Ok(inner.memory.exists(key).await? || below.next().await.is_some())
    }
}

#[test]
fn a_directory_that_exists_is_caught() {
    caught::<PrefixesExist>(&["stat_exists::a_prefix_of_keys_is_not_an_object"]);
}

#[derive(Default)]
struct ParentsServe;

#[async_trait]
impl Flaw for ParentsServe {
    async fn exists(&self, inner: &Sound, key: &Key) -> Result<bool> {
        let parent = key.parent().and_then(|parent| Key::new(parent).ok());
        Ok(inner.memory.exists(key).await?
            || match parent {
                Some(parent) => inner.memory.exists(&parent).await?,
                None => false,
            })
    }
}

#[test]
fn a_key_below_an_object_that_exists_is_caught() {
    caught::<ParentsServe>(&["stat_exists::a_key_below_an_object_is_not_an_object"]);
}

#[derive(Default)]
struct CachesExists(crate::flaw::Notes<()>);

#[async_trait]
impl Flaw for CachesExists {
    async fn exists(&self, inner: &Sound, key: &Key) -> Result<bool> {
        let exists = inner.memory.exists(key).await?;
        if exists {
            self.0.lock().unwrap().insert(key.clone(), ());
        }
        Ok(self.0.lock().unwrap().contains_key(key))
    }
}

#[test]
fn an_exists_that_caches_its_result_is_caught() {
    caught::<CachesExists>(&["stat_exists::exists_is_true_from_save_to_delete"]);
}

/// A flaw of `delete`.
macro_rules! flawed_delete {
    ($flaw:ident, |$inner:ident, $key:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn delete(&self, $inner: &Sound, $key: &Key) -> Result<()> {
                $body
            }
        }
    };
}

/// Deletes all objects whose keys match.
async fn delete_where(inner: &Sound, is_meant: impl Fn(&str) -> bool) -> Result<()> {
    for entry in
        inner.memory.list(&Prefix::empty(), &ListOptions::default()).collect::<Vec<_>>().await
    {
        let entry = entry?;
        if is_meant(entry.name()) {
            inner.memory.delete(&Key::new(entry.name())?).await?;
        }
    }
    Ok(())
}

flawed_delete!(MissingIsAnError, |inner, key| {
    inner.memory.stat(key).await?;
    inner.memory.delete(key).await
});

#[test]
fn a_delete_that_fails_for_a_missing_object_is_caught() {
    caught::<MissingIsAnError>(&[
        "delete::deleting_a_missing_object_succeeds",
        "concurrency::concurrent_deletes_of_one_object_all_succeed",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_delete!(DoesNothing, |_inner, _key| Ok(()));

#[test]
fn a_delete_that_does_nothing_is_caught() {
    caught::<DoesNothing>(&[
        "delete::a_deleted_object_is_gone",
        "create_new::create_new_succeeds_after_a_delete",
    ]);
}

flawed_delete!(DeletesDirectories, |inner, key| {
    let below = format!("{key}/");
    delete_where(inner, |name| name == key.as_str() || name.starts_with(&below)).await
});

#[test]
fn a_delete_of_a_whole_directory_is_caught() {
    caught::<DeletesDirectories>(&["delete::deleting_a_prefix_of_keys_deletes_nothing"]);
}

flawed_delete!(DeletesPrefixes, |inner, key| delete_where(inner, |name| name
    .starts_with(key.as_str()))
.await);

#[test]
fn a_delete_of_all_that_begins_with_the_key_is_caught() {
    caught::<DeletesPrefixes>(&[
        "delete::a_delete_leaves_similar_keys",
        "delete::deleting_a_prefix_of_keys_deletes_nothing",
        "keys::an_unusual_key_is_copied_and_deleted_unchanged",
    ]);
}

flawed_delete!(DeletesGlobs, |inner, key| match key.as_str().strip_suffix('*') {
    Some(start) => delete_where(inner, |name| name.starts_with(start)).await,
    None => inner.memory.delete(key).await,
});

#[test]
fn a_delete_with_a_glob_meaning_is_caught() {
    caught::<DeletesGlobs>(&[
        "delete::deleting_a_prefix_of_keys_deletes_nothing",
        "keys::an_unusual_key_is_copied_and_deleted_unchanged",
    ]);
}

flawed_delete!(LeavesATombstone, |inner, key| {
    inner.memory.save(key, "".into(), &SaveOptions::default()).await.map(drop)
});

#[test]
fn a_delete_that_leaves_an_empty_object_is_caught() {
    caught::<LeavesATombstone>(&[
        "delete::a_deleted_object_is_gone",
        "list::a_prefix_disappears_with_its_last_object",
    ]);
}

flawed_delete!(EmptiesFirst, |inner, key| {
    if inner.memory.exists(key).await? {
        inner.memory.save(key, "".into(), &SaveOptions::default()).await?;
        tokio::task::yield_now().await;
    }
    inner.memory.delete(key).await
});

#[test]
fn a_delete_that_empties_the_object_first_is_caught() {
    caught::<EmptiesFirst>(&[
        "cancellation::a_delete_dropped_at_any_point_leaves_a_complete_object_or_none",
    ]);
}

#[derive(Default)]
struct StatInventsObjects;

#[async_trait]
impl Flaw for StatInventsObjects {
    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        Ok(inner.memory.stat(key).await.unwrap_or_else(|_| ObjectMeta::new(key.clone(), 0)))
    }
}

#[test]
fn a_stat_of_a_missing_object_that_succeeds_is_caught() {
    caught::<StatInventsObjects>(&[
        "stat_exists::stat_of_a_missing_object_is_not_found",
        "delete::a_deleted_object_is_gone",
    ]);
}

/// Ignores the modes of a save.
#[derive(Default)]
struct IgnoresModes;

#[async_trait]
impl Flaw for IgnoresModes {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Sound::with_links();
        capabilities.create_new = false;
        capabilities.save_if_match = false;
        capabilities
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        inner.memory.save(key, payload, &in_mode(options, SaveMode::Overwrite)).await
    }
}

#[test]
fn a_mode_that_is_neither_applied_nor_refused_is_caught() {
    caught::<IgnoresModes>(&[
        "capabilities::a_verb_without_its_capability_is_refused_and_changes_nothing",
    ]);
}

/// Drops metadata.
#[derive(Default)]
struct DropsMetadata;

#[async_trait]
impl Flaw for DropsMetadata {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Sound::with_links();
        capabilities.metadata = false;
        capabilities
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        _options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        inner.memory.save(key, payload, &SaveOptions::default()).await
    }
}

#[test]
fn metadata_that_is_neither_kept_nor_refused_is_caught() {
    caught::<DropsMetadata>(&["metadata::metadata_is_kept_or_refused_and_never_dropped"]);
}

/// Puts internal keys and a password into errors.
#[derive(Default)]
struct ShowsSecrets;

#[async_trait]
impl Flaw for ShowsSecrets {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let opened = inner.memory.open(key, options).await;
        opened.map_err(|error| {
            error.with_key(format!("root/{key}")).with_context("https://ada:hunter2@example.com")
        })
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let saved = inner.memory.save(key, payload, options).await;
        saved.map_err(|error| error.with_key(format!("root/{key}")))
    }
}

#[test]
fn an_error_with_the_drivers_own_key_is_caught() {
    caught::<ShowsSecrets>(&[
        "errors::an_error_names_verb_driver_and_key",
        "errors::an_error_of_a_writing_verb_names_verb_driver_and_key",
    ]);
}

#[test]
fn a_secret_in_an_error_is_caught() {
    caught::<ShowsSecrets>(&["errors::errors_and_debug_output_contain_no_secret"]);
}

#[derive(Default)]
struct Nameless;

impl Flaw for Nameless {
    const NAME: &'static str = "no name";
}

#[test]
fn a_driver_with_an_invalid_name_is_caught() {
    caught::<Nameless>(&["capabilities::the_driver_has_a_name_and_a_location"]);
}
