//! Drivers that rewrite keys.

use storage_core::{
    CopyOptions, Driver, EntryStream, Key, ListOptions, Object, ObjectMeta, OpenOptions, Payload,
    Prefix, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Sound, caught};

/// Rewrites a key, possibly two keys to the same one.
trait Rewrite: Default + Send + Sync + 'static {
    fn rewritten(text: &str) -> String;
}

#[derive(Default)]
struct Rewriting<R>(std::marker::PhantomData<fn() -> R>);

fn inside<R: Rewrite>(key: &Key) -> Key {
    Key::new(R::rewritten(key.as_str())).unwrap_or_else(|_| key.clone())
}

/// Every verb rewrites the key and returns the original, like real drivers with this flaw.
#[async_trait]
impl<R: Rewrite> Flaw for Rewriting<R> {
    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let mut meta = inner.memory.save(&inside::<R>(key), payload, options).await?;
        if meta.key == inside::<R>(key) {
            meta.key = key.clone();
        }
        Ok(meta)
    }

    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = inner.memory.open(&inside::<R>(key), options).await?;
        let key = key.clone();
        Ok(object.map_meta(|mut meta| {
            meta.key = key;
            meta
        }))
    }

    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        let mut meta = inner.memory.stat(&inside::<R>(key)).await?;
        meta.key = key.clone();
        Ok(meta)
    }

    async fn exists(&self, inner: &Sound, key: &Key) -> Result<bool> {
        inner.memory.exists(&inside::<R>(key)).await
    }

    async fn delete(&self, inner: &Sound, key: &Key) -> Result<()> {
        inner.memory.delete(&inside::<R>(key)).await
    }

    fn list(&self, inner: &Sound, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let prefix = Prefix::new(R::rewritten(prefix.as_str())).unwrap_or_else(|_| prefix.clone());
        inner.memory.list(&prefix, options)
    }

    async fn copy(&self, inner: &Sound, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        inner.memory.copy(&inside::<R>(from), &inside::<R>(to), options).await
    }
}

macro_rules! rewrites {
    ($($name:ident, $test:ident, |$text:ident| $rewritten:expr => [$($case:literal),*];)*) => {
        $(
            #[derive(Default)]
            struct $name;

            impl Rewrite for $name {
                fn rewritten($text: &str) -> String {
                    $rewritten
                }
            }

            #[test]
            fn $test() {
                caught::<Rewriting<$name>>(&[$($case),*]);
            }
        )*
    };
}

rewrites! {
    Trimmed, trimmed_keys_are_caught, |text| text.trim().to_owned() => ["keys::spaces_are_kept"];
    SegmentsTrimmed, trimmed_segments_are_caught, |text| {
        text.split('/').map(str::trim_end).collect::<Vec<_>>().join("/")
    } => ["keys::spaces_are_kept", "property::random_operations_agree_with_the_memory_driver"];
    SpacesMerged, merged_spaces_are_caught, |text| text.replace("  ", " ") => ["keys::spaces_are_kept"];
    CaseFolded, keys_without_case_are_caught, |text| text.to_lowercase() => [
        "keys::upper_and_lower_case_differ",
        "keys::an_unusual_key_is_copied_and_deleted_unchanged",
        "property::random_operations_agree_with_the_memory_driver"
    ];
    Composed, normalised_keys_are_caught, |text| text.replace("e\u{301}", "\u{e9}") => [
        "keys::unicode_is_not_normalised",
        "property::random_operations_agree_with_the_memory_driver"
    ];
    CompatibilityForms, keys_in_compatibility_form_are_caught, |text| text.replace('ﬁ', "fi") => [
        "keys::unicode_is_not_normalised"
    ];
    Decoded, percent_decoded_keys_are_caught, |text| text.replace("%20", " ").replace("%2F", "/") => [
        "keys::characters_with_a_meaning_in_urls_are_kept"
    ];
    PlusIsSpace, a_plus_that_becomes_a_space_is_caught, |text| text.replace('+', " ") => [
        "keys::characters_with_a_meaning_in_urls_are_kept"
    ];
    CutAtQuestionMark, a_key_cut_at_its_query_is_caught, |text| text.split(['?', '#']).next().unwrap_or(text).to_owned() => [
        "keys::characters_with_a_meaning_in_urls_are_kept"
    ];
    Backslashes, backslashes_that_become_slashes_are_caught, |text| text.replace('\\', "/") => [
        "keys::backslashes_are_not_separators"
    ];
    TrailingDots, dots_that_are_cut_off_are_caught, |text| {
        if text.ends_with("..") { text.to_owned() } else { text.trim_end_matches('.').to_owned() }
    } => ["keys::dots_are_kept"];
    ParentSegments, dots_that_are_taken_for_a_parent_are_caught, |text| text.replace("...", "dots") => ["keys::dots_are_kept"];
    Globs, names_with_globs_that_meet_are_caught, |text| text.replace(['*', '?', '['], "_") => [
        "keys::characters_with_a_meaning_in_shells_and_globs_are_kept"
    ];
    Invisible, invisible_characters_that_are_dropped_are_caught, |text| text.replace(['\u{200b}', '\u{feff}'], "") => [
        "keys::all_scripts_and_emoji_are_kept"
    ];
    Lossy, characters_that_are_replaced_are_caught, |text| text.replace('\u{10ffff}', "\u{fffd}") => [
        "keys::all_scripts_and_emoji_are_kept"
    ];
    LongNamesCut, long_names_that_are_cut_are_caught, |text| {
        text.split('/').map(|part| part.chars().take(200).collect::<String>()).collect::<Vec<_>>().join("/")
    } => ["keys::segments_of_255_bytes_are_kept_or_refused", "keys::keys_of_1024_bytes_are_kept_or_refused"];
    LongKeysCut, long_keys_that_are_cut_are_caught, |text| text.chars().take(1000).collect() => [
        "keys::keys_of_1024_bytes_are_kept_or_refused"
    ];
    SuffixesDropped, temporary_suffixes_that_are_dropped_are_caught, |text| text.trim_end_matches(".tmp").to_owned() => [
        "keys::names_that_resemble_internal_files_are_kept_or_refused"
    ];
    Devices, names_of_devices_that_are_rewritten_are_caught, |text| text.replace("con.", "CON.") => [
        "keys::names_that_windows_reserves_are_kept_or_refused"
    ];
}
