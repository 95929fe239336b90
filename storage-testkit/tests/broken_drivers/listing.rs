//! Listings in the wrong order, with missing or additional names, or of the wrong prefix.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use storage_core::{
    Driver, ETag, Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix,
    Result, Storage, async_trait, roll_up,
};
use tokio::sync::Semaphore;

use crate::flaw::{Flaw, Sound, caught};

/// A flaw of `list`: a function of the sound listing of all objects, or of the whole request.
macro_rules! flawed_list {
    ($flaw:ident, |$inner:ident, $prefix:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        impl Flaw for $flaw {
            fn list(
                &self,
                $inner: &Sound,
                $prefix: &Prefix,
                $options: &ListOptions,
            ) -> EntryStream {
                $body
            }
        }
    };
}

/// Changes the listing as a whole, in memory.
fn changed<F>(inner: &Sound, prefix: &Prefix, options: &ListOptions, change: F) -> EntryStream
where
    F: FnOnce(&mut Vec<Entry>) + Send + 'static,
{
    let entries = inner.memory.list(prefix, options);
    let all = async move {
        let mut all: Vec<Entry> = entries.try_collect().await?;
        change(&mut all);
        Ok::<_, Error>(stream::iter(all.into_iter().map(Ok)))
    };
    stream::once(all).try_flatten().boxed()
}

/// Returns a sound listing of the objects that a predicate selects.
fn matching<F>(inner: &Sound, prefix: &Prefix, options: &ListOptions, matches: F) -> EntryStream
where
    F: Fn(&str) -> bool + Send + 'static,
{
    let all = inner.memory.list(&Prefix::empty(), &ListOptions::default());
    let found = all.try_filter(move |entry| future::ready(matches(entry.name())));
    roll_up(found, prefix, options)
}

fn options(delimiter: Option<&str>, start_after: Option<&str>) -> ListOptions {
    let mut options = ListOptions::default();
    options.delimiter = delimiter.map(str::to_owned);
    options.start_after = start_after.map(str::to_owned);
    options
}

flawed_list!(Backwards, |inner, prefix, options| changed(inner, prefix, options, |all| all
    .reverse()));

#[test]
fn an_unsorted_listing_is_caught() {
    caught::<Backwards>(&[
        "list::all_keys_are_listed_in_byte_order",
        "list::a_common_prefix_is_listed_once_and_in_order",
        "list::a_listing_of_2300_objects_is_complete_and_in_order",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_list!(BySegment, |inner, prefix, options| changed(inner, prefix, options, |all| {
    all.sort_by_key(|entry| entry.name().split('/').map(str::to_owned).collect::<Vec<_>>());
}));

#[test]
fn a_listing_sorted_directory_by_directory_is_caught() {
    caught::<BySegment>(&[
        "list::all_keys_are_listed_in_byte_order",
        "list::a_common_prefix_is_listed_once_and_in_order",
    ]);
}

flawed_list!(IgnoringCase, |inner, prefix, options| changed(inner, prefix, options, |all| {
    all.sort_by_key(|entry| entry.name().to_lowercase());
}));

#[test]
fn a_listing_sorted_without_case_is_caught() {
    caught::<IgnoringCase>(&["list::all_keys_are_listed_in_byte_order"]);
}

flawed_list!(GlobPrefix, |inner, prefix, options| {
    let text = prefix.to_string();
    match text.split_once('*') {
        Some((start, end)) => {
            let (start, end) = (start.to_owned(), end.to_owned());
            matching(inner, prefix, options, move |name| {
                name.strip_prefix(&*start).is_some_and(|rest| rest.contains(&*end))
            })
        }
        None => inner.memory.list(prefix, options),
    }
});

#[test]
fn a_prefix_with_a_glob_meaning_is_caught() {
    caught::<GlobPrefix>(&["list::a_prefix_matches_literal_bytes"]);
}

flawed_list!(ImpliedSlash, |inner, prefix, options| {
    let text = prefix.as_str().trim_end_matches('/').to_owned();
    let inside = if text.is_empty() { text.clone() } else { format!("{text}/") };
    matching(inner, prefix, options, move |name| name.starts_with(&inside))
});

#[test]
fn a_slash_that_is_added_to_a_prefix_is_caught() {
    caught::<ImpliedSlash>(&[
        "list::no_slash_is_added_to_a_prefix",
        "list::a_prefix_matches_literal_bytes",
        "list::a_delimiter_lists_one_level",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_list!(PrefixWithoutCase, |inner, prefix, options| {
    let text = prefix.as_str().to_lowercase();
    matching(inner, prefix, options, move |name| name.to_lowercase().starts_with(&text))
});

#[test]
fn a_prefix_without_case_is_caught() {
    caught::<PrefixWithoutCase>(&["list::a_prefix_matches_literal_bytes"]);
}

flawed_list!(PrefixAnywhere, |inner, prefix, options| {
    let text = prefix.to_string();
    matching(inner, prefix, options, move |name| name.contains(&text))
});

#[test]
fn a_prefix_that_matches_in_the_middle_is_caught() {
    caught::<PrefixAnywhere>(&["list::a_prefix_matches_literal_bytes"]);
}

flawed_list!(DotsAreDirectories, |inner, prefix, options| {
    if prefix.as_str().split('/').any(|segment| segment == "." || segment == "..") {
        return stream::iter([Err(Error::new(ErrorKind::InvalidKey, "no such directory"))]).boxed();
    }
    inner.memory.list(prefix, options)
});

#[test]
fn a_prefix_of_dots_that_is_refused_is_caught() {
    caught::<DotsAreDirectories>(&["list::dots_in_a_prefix_have_no_meaning"]);
}

flawed_list!(MissingDirectoryFails, |inner, prefix, options| {
    let entries = inner.memory.list(prefix, options).peekable();
    let checked = async move {
        let mut entries = Box::pin(entries);
        match entries.as_mut().peek().await {
            None => stream::iter([Err(Error::not_found())]).boxed(),
            Some(_) => entries.boxed(),
        }
    };
    stream::once(checked).flatten().boxed()
});

#[test]
fn an_error_for_an_empty_listing_is_caught() {
    caught::<MissingDirectoryFails>(&[
        "list::an_empty_storage_has_an_empty_listing",
        "list::a_prefix_matches_literal_bytes",
    ]);
}

flawed_list!(FirstPageOnly, |inner, prefix, options| inner
    .memory
    .list(prefix, options)
    .take(1000)
    .boxed());

#[test]
fn a_listing_of_only_the_first_page_is_caught() {
    caught::<FirstPageOnly>(&["list::a_listing_of_2300_objects_is_complete_and_in_order"]);
}

flawed_list!(DropsAtPageBoundaries, |inner, prefix, options| {
    let entries = inner.memory.list(prefix, options).enumerate();
    entries.filter_map(|(at, entry)| future::ready((at % 1000 != 999).then_some(entry))).boxed()
});

#[test]
fn a_listing_that_loses_an_entry_between_pages_is_caught() {
    caught::<DropsAtPageBoundaries>(&["list::a_listing_of_2300_objects_is_complete_and_in_order"]);
}

flawed_list!(RepeatsAtPageBoundaries, |inner, prefix, options| changed(
    inner,
    prefix,
    options,
    |all| {
        if let Some(last) = all.get(999).cloned() {
            all.insert(1000, last);
        }
    }
));

#[test]
fn a_listing_that_repeats_an_entry_between_pages_is_caught() {
    caught::<RepeatsAtPageBoundaries>(&[
        "list::a_listing_of_2300_objects_is_complete_and_in_order",
    ]);
}

/// Numbers its pages, so that a deletion on an earlier page moves the later entries.
#[derive(Default)]
struct PagesByNumber;

impl Flaw for PagesByNumber {
    fn list(&self, inner: &Sound, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let (memory, prefix, options) = (inner.memory.clone(), prefix.clone(), options.clone());
        let pages = stream::unfold(0, move |at| {
            let entries = memory.list(&prefix, &options);
            async move { entries.skip(at).next().await.map(|entry| (entry, at + 1)) }
        });
        pages.boxed()
    }
}

#[test]
fn a_listing_that_misses_objects_after_a_delete_is_caught() {
    caught::<PagesByNumber>(&["list::an_object_that_exists_throughout_is_listed_once"]);
}

flawed_list!(ObjectsOnly, |inner, prefix, options| {
    let entries = inner.memory.list(prefix, options);
    entries.try_filter(|entry| future::ready(matches!(entry, Entry::Object(_)))).boxed()
});

#[test]
fn a_level_without_its_prefixes_is_caught() {
    caught::<ObjectsOnly>(&[
        "list::a_delimiter_lists_one_level",
        "list::entries_distinguish_objects_from_prefixes",
        "list::any_text_can_be_a_delimiter",
    ]);
}

flawed_list!(RepeatsPrefixes, |inner, prefix, options| {
    let delimiter = options.delimiter.clone();
    let len = prefix.as_str().len();
    let all = inner.memory.list(prefix, &self::options(None, options.start_after.as_deref()));
    let rolled = all.map_ok(move |entry| {
        match delimiter.as_deref().and_then(|it| Some((it, entry.name()[len..].find(it)?))) {
            Some((delimiter, at)) => {
                Entry::Prefix(Prefix::new(&entry.name()[..len + at + delimiter.len()]).unwrap())
            }
            None => entry,
        }
    });
    rolled.boxed()
});

#[test]
fn a_prefix_that_is_listed_more_than_once_is_caught() {
    caught::<RepeatsPrefixes>(&[
        "list::a_common_prefix_is_listed_once_and_in_order",
        "list::a_delimiter_lists_one_level",
    ]);
}

flawed_list!(SlashAlone, |inner, prefix, options| {
    let delimiter = options.delimiter.as_deref().map(|_| "/");
    inner.memory.list(prefix, &self::options(delimiter, options.start_after.as_deref()))
});

#[test]
fn a_delimiter_that_is_always_a_slash_is_caught() {
    caught::<SlashAlone>(&[
        "list::any_text_can_be_a_delimiter",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_list!(ListsBelow, |inner, prefix, options| {
    let (prefix, options) = (prefix.clone(), options.clone());
    let directory = match (&options.delimiter, prefix.as_str().ends_with('/') || prefix.is_empty())
    {
        (Some(_), false) => Prefix::new(format!("{prefix}/")).unwrap_or(prefix),
        _ => prefix,
    };
    inner.memory.list(&directory, &options)
});

#[test]
fn a_listing_of_the_wrong_level_is_caught() {
    caught::<ListsBelow>(&[
        "list::a_delimiter_lists_one_level",
        "list::no_slash_is_added_to_a_prefix",
    ]);
}

flawed_list!(StartsAt, |inner, prefix, options| {
    let after = options.start_after.clone().unwrap_or_default();
    let all = inner.memory.list(prefix, &self::options(options.delimiter.as_deref(), None));
    all.try_filter(move |entry| future::ready(entry.name() >= &*after)).boxed()
});

#[test]
fn a_start_after_that_includes_the_name_is_caught() {
    caught::<StartsAt>(&[
        "list::start_after_continues_after_a_name",
        "list::start_after_applies_together_with_a_prefix",
        "list::start_after_compares_common_prefixes",
        "list::a_listing_that_is_resumed_after_each_entry_is_complete",
    ]);
}

flawed_list!(IgnoresStartAfter, |inner, prefix, options| {
    inner.memory.list(prefix, &self::options(options.delimiter.as_deref(), None))
});

#[test]
fn a_start_after_that_is_ignored_is_caught() {
    caught::<IgnoresStartAfter>(&[
        "list::start_after_continues_after_a_name",
        "list::a_listing_of_2300_objects_is_complete_and_in_order",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_list!(ComparesKeys, |inner, prefix, options| {
    // Skips keys before it rolls them up, so that a prefix is repeated while one of its keys is
    // left.
    let rest = inner.memory.list(prefix, &self::options(None, options.start_after.as_deref()));
    roll_up(rest, prefix, &self::options(options.delimiter.as_deref(), None))
});

#[test]
fn a_start_after_that_compares_keys_is_caught() {
    caught::<ComparesKeys>(&[
        "list::start_after_compares_common_prefixes",
        "list::a_listing_that_is_resumed_after_each_entry_is_complete",
    ]);
}

flawed_list!(StartAfterBelowThePrefix, |inner, prefix, options| {
    let after = options.start_after.as_ref().map(|after| format!("{prefix}{after}"));
    inner.memory.list(prefix, &self::options(options.delimiter.as_deref(), after.as_deref()))
});

#[test]
fn a_start_after_that_is_taken_relative_to_the_prefix_is_caught() {
    caught::<StartAfterBelowThePrefix>(&["list::start_after_applies_together_with_a_prefix"]);
}

flawed_list!(StartAfterMustBeAKey, |inner, prefix, options| {
    if let Some(Err(error)) = options.start_after.as_deref().map(Key::new) {
        return stream::iter([Err(error)]).boxed();
    }
    inner.memory.list(prefix, options)
});

#[test]
fn a_start_after_that_must_be_a_key_is_caught() {
    caught::<StartAfterMustBeAKey>(&[
        "list::start_after_accepts_any_text",
        "list::start_after_compares_common_prefixes",
    ]);
}

flawed_list!(NoSizes, |inner, prefix, options| changed(inner, prefix, options, |all| {
    for entry in all {
        if let Entry::Object(object) = entry {
            *object = ObjectEntry::new(object.key.clone(), 0);
        }
    }
}));

#[test]
fn sizes_that_are_missing_are_caught() {
    caught::<NoSizes>(&[
        "list::entries_agree_with_stat",
        "list::an_overwritten_object_is_listed_once",
    ]);
}

flawed_list!(OtherETags, |inner, prefix, options| changed(inner, prefix, options, |all| {
    for entry in all {
        if let Entry::Object(object) = entry {
            object.etag = ETag::strong("listed").ok();
        }
    }
}));

#[test]
fn a_listed_etag_that_differs_from_stat_is_caught() {
    caught::<OtherETags>(&["list::entries_agree_with_stat"]);
}

flawed_list!(AsksAtOnce, |inner, prefix, options| {
    let all: Vec<_> =
        future::FutureExt::now_or_never(inner.memory.list(prefix, options).collect()).unwrap();
    stream::iter(all).boxed()
});

#[test]
fn a_listing_that_is_made_before_it_is_polled_is_caught() {
    caught::<AsksAtOnce>(&["list::a_listing_starts_at_the_first_poll"]);
}

flawed_list!(ListsDirectories, |inner, prefix, options| changed(inner, prefix, options, |all| {
    let names: BTreeSet<String> =
        all.iter().filter_map(|it| Some(it.name().rsplit_once('/')?.0.to_owned())).collect();
    all.extend(
        names
            .into_iter()
            .filter_map(|name| Some(Entry::Object(ObjectEntry::new(Key::new(name).ok()?, 0)))),
    );
    all.sort_by(|a, b| a.name().cmp(b.name()));
}));

#[test]
fn directories_that_are_listed_as_objects_are_caught() {
    caught::<ListsDirectories>(&[
        "list::all_keys_are_listed_in_byte_order",
        "list::deeply_nested_keys_are_listed",
    ]);
}

flawed_list!(HidesDotNames, |inner, prefix, options| {
    let entries = inner.memory.list(prefix, options);
    entries
        .try_filter(|entry| {
            future::ready(!entry.name().split('/').any(|part| part.starts_with('.')))
        })
        .boxed()
});

#[test]
fn hidden_names_are_caught() {
    caught::<HidesDotNames>(&["keys::dots_are_kept", "list::dots_in_a_prefix_have_no_meaning"]);
}

flawed_list!(HidesTemporaryNames, |inner, prefix, options| {
    let entries = inner.memory.list(prefix, options);
    entries
        .try_filter(|entry| {
            future::ready(!entry.name().ends_with(".tmp") && !entry.name().contains('#'))
        })
        .boxed()
});

#[test]
fn names_hidden_for_looking_temporary_are_caught() {
    caught::<HidesTemporaryNames>(&[
        "keys::names_that_resemble_internal_files_are_kept_or_refused",
    ]);
}

/// Lists a prefix after its last object is deleted.
#[derive(Default)]
struct KeepsPrefixes {
    seen: std::sync::Mutex<BTreeSet<String>>,
}

impl Flaw for KeepsPrefixes {
    fn list(&self, inner: &Sound, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let entries = inner.memory.list(prefix, options);
        let Ok(entries): Result<Vec<Entry>> =
            future::FutureExt::now_or_never(entries.try_collect()).unwrap()
        else {
            return stream::empty().boxed();
        };
        let mut seen = self.seen.lock().unwrap();
        seen.extend(
            entries
                .iter()
                .filter(|entry| matches!(entry, Entry::Prefix(_)))
                .map(|entry| entry.name().to_owned()),
        );
        let mut names: BTreeSet<String> =
            entries.iter().map(|entry| entry.name().to_owned()).collect();
        names.extend(seen.iter().filter(|_| options.delimiter.is_some()).cloned());
        let entries =
            names.into_iter().map(|name| match entries.iter().find(|entry| entry.name() == name) {
                Some(entry) => Ok(entry.clone()),
                None => Ok(Entry::Prefix(Prefix::new(name)?)),
            });
        stream::iter(entries.collect::<Vec<_>>()).boxed()
    }
}

#[test]
fn a_directory_that_stays_when_its_last_object_goes_is_caught() {
    caught::<KeepsPrefixes>(&["list::a_prefix_disappears_with_its_last_object"]);
}

/// Releases a connection only at the end of the listing.
struct LeaksListings {
    connections: Arc<Semaphore>,
}

impl Default for LeaksListings {
    fn default() -> Self {
        Self { connections: Arc::new(Semaphore::new(5)) }
    }
}

impl Flaw for LeaksListings {
    fn list(&self, inner: &Sound, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let Ok(permit) = self.connections.try_acquire() else {
            return stream::iter([Err(Error::new(ErrorKind::Timeout, "no connection is free"))])
                .boxed();
        };
        permit.forget();
        let connections = Arc::clone(&self.connections);
        let given_back = stream::poll_fn(move |_| {
            connections.add_permits(1);
            std::task::Poll::Ready(None)
        });
        inner.memory.list(prefix, options).chain(given_back).boxed()
    }
}

#[test]
fn a_connection_that_a_dropped_listing_keeps_is_caught() {
    caught::<LeaksListings>(&["list::a_partly_read_listing_can_be_dropped"]);
}

/// Returns an empty listing if the backend is broken.
#[derive(Default)]
struct ListsNothingOnErrors;

impl Flaw for ListsNothingOnErrors {
    fn broken_backend() -> Option<Storage> {
        Some(crate::others::with_a_hidden_error(crate::others::Verb::List))
    }
}

#[test]
fn a_listing_that_swallows_errors_is_caught() {
    caught::<ListsNothingOnErrors>(&["errors::list_fails_on_a_broken_backend"]);
}

flawed_list!(EndsAfterErrors, |inner, prefix, options| {
    let entries = inner.foreign.list(prefix, options);
    let ending = stream::unfold(Some(entries), |entries| async {
        let mut entries = entries?;
        let entry = entries.next().await?;
        let rest = entry.is_ok().then_some(entries);
        Some((entry, rest))
    });
    ending.boxed()
});

#[test]
fn a_listing_that_ends_after_an_error_that_continues_is_caught() {
    caught::<EndsAfterErrors>(&[
        "list::an_unreadable_directory_is_one_error_and_the_listing_continues",
        "delete_prefix::an_unreadable_directory_is_reported_and_the_rest_is_deleted",
    ]);
}

flawed_list!(UnmarkedErrors, |inner, prefix, options| {
    inner.foreign.list(prefix, options).map_err(|error| error.with_listing_continues(false)).boxed()
});

#[test]
fn an_error_without_the_mark_that_the_listing_continues_is_caught() {
    caught::<UnmarkedErrors>(&[
        "list::an_unreadable_directory_is_one_error_and_the_listing_continues",
    ]);
}

flawed_list!(HidesErrors, |inner, prefix, options| {
    let entries = inner.foreign.list(prefix, options);
    entries
        .filter(|entry| future::ready(!entry.as_ref().is_err_and(Error::listing_continues)))
        .boxed()
});

#[test]
fn a_directory_that_is_passed_over_without_an_error_is_caught() {
    caught::<HidesErrors>(&[
        "list::an_unreadable_directory_is_one_error_and_the_listing_continues",
        "list::a_listing_that_begins_inside_an_unreadable_directory_reports_it",
    ]);
}

flawed_list!(SkipsErrorsBeforeStart, |inner, prefix, options| {
    let after = options.start_after.clone().unwrap_or_default();
    let entries = inner.foreign.list(prefix, options);
    let is_kept = move |error: &Error| error.key().is_some_and(|key| key > after.as_str());
    entries.filter(move |entry| future::ready(entry.as_ref().err().is_none_or(&is_kept))).boxed()
});

#[test]
fn an_error_that_is_left_out_because_its_key_is_before_the_start_is_caught() {
    caught::<SkipsErrorsBeforeStart>(&[
        "list::a_listing_that_begins_inside_an_unreadable_directory_reports_it",
    ]);
}

flawed_list!(LooksIntoDirectories, |inner, prefix, options| {
    roll_up(inner.foreign.list(prefix, &ListOptions::default()), prefix, options)
});

#[test]
fn a_listing_of_one_level_that_reads_an_unreadable_directory_is_caught() {
    caught::<LooksIntoDirectories>(&[
        "list::a_listing_of_one_level_contains_an_unreadable_directory",
    ]);
}

flawed_list!(MarkersAreErrors, |inner, prefix, options| {
    let entries = inner.foreign.list(prefix, options).map(|entry| match entry {
        Ok(Entry::FolderMarker(name)) => {
            let error =
                Error::new(ErrorKind::InvalidKey, "a folder marker").with_key(name.as_str());
            Err(error.with_listing_continues(true))
        }
        entry => entry,
    });
    entries.boxed()
});

#[test]
fn folder_markers_that_are_errors_are_caught() {
    caught::<MarkersAreErrors>(&[
        "list::folder_markers_are_counted_and_are_neither_entries_nor_errors",
        "list::folder_markers_are_listed_in_order_on_request",
        "delete_prefix::folder_markers_below_the_prefix_are_deleted_and_others_stay",
    ]);
}

flawed_list!(HidesMarkers, |inner, prefix, options| {
    let entries = inner.foreign.list(prefix, options);
    entries.try_filter(|entry| future::ready(!matches!(entry, Entry::FolderMarker(_)))).boxed()
});

#[test]
fn folder_markers_that_are_hidden_are_caught() {
    caught::<HidesMarkers>(&[
        "list::folder_markers_are_counted_and_are_neither_entries_nor_errors",
        "delete_prefix::folder_markers_below_the_prefix_are_deleted_and_others_stay",
    ]);
}

/// Deletes the directory of a folder marker, like a file system.
#[derive(Default)]
struct MarkersAreDirectories;

#[async_trait]
impl Flaw for MarkersAreDirectories {
    async fn delete_folder_marker(&self, inner: &Sound, marker: &Prefix) -> Result<()> {
        inner.foreign.delete_folder_marker(marker).await?;
        let below: Vec<Entry> =
            inner.memory.list(marker, &ListOptions::default()).try_collect().await?;
        for object in below.into_iter().filter_map(Entry::into_object) {
            inner.memory.delete(&object.key).await?;
        }
        Ok(())
    }
}

#[test]
fn a_folder_marker_whose_deletion_removes_its_directory_is_caught() {
    caught::<MarkersAreDirectories>(&[
        "list::a_folder_marker_is_deleted_and_objects_below_it_stay",
    ]);
}

/// Reports success and does not delete the marker.
#[derive(Default)]
struct MarkersStay;

#[async_trait]
impl Flaw for MarkersStay {
    async fn delete_folder_marker(&self, _inner: &Sound, _marker: &Prefix) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_folder_marker_that_stays_is_caught() {
    caught::<MarkersStay>(&[
        "list::a_folder_marker_is_deleted_and_objects_below_it_stay",
        "delete_prefix::folder_markers_below_the_prefix_are_deleted_and_others_stay",
    ]);
}

flawed_list!(IgnoresLastSlash, |inner, prefix, options| {
    let text = prefix.as_str().trim_end_matches('/').to_owned();
    matching(inner, prefix, options, move |name| name.starts_with(&text))
});

#[test]
fn a_prefix_whose_slash_is_ignored_is_caught() {
    caught::<IgnoresLastSlash>(&[
        "delete_prefix::all_objects_below_the_prefix_are_deleted_and_others_stay",
    ]);
}
