//! Wrong ranges, ignored conditions, bodies of more than one version.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{
    ByteRange, Driver, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Payload, Result,
    SaveOptions, async_trait,
};
use tokio::sync::{RwLock, Semaphore};

use crate::flaw::{Flaw, Sound, caught};

/// A flaw of `open`.
macro_rules! flawed_open {
    ($flaw:ident, |$inner:ident, $key:ident, $options:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn open(
                &self,
                $inner: &Sound,
                $key: &Key,
                $options: &OpenOptions,
            ) -> Result<Object> {
                $body
            }
        }
    };
}

/// Returns the options with another range.
fn in_range(options: &OpenOptions, range: Option<ByteRange>) -> OpenOptions {
    let mut options = options.clone();
    options.range = range;
    options
}

/// Returns an object whose bytes are not those of its range.
async fn claiming(object: Object, range: Range<u64>) -> Result<Object> {
    let meta = object.meta().clone();
    Ok(Object::from_bytes(meta, range, object.bytes().await?))
}

flawed_open!(IgnoresRanges, |inner, key, options| inner
    .memory
    .open(key, &in_range(options, None))
    .await);

#[test]
fn a_range_that_is_ignored_is_caught() {
    caught::<IgnoresRanges>(&[
        "range::from_to_returns_the_bytes_before_the_end",
        "range::from_returns_the_rest",
        "range::last_returns_the_end",
        "range::a_start_past_the_object_is_not_satisfiable",
        "range::no_range_of_an_empty_object_is_satisfiable",
        "range::a_streamed_range_has_the_right_bytes",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_open!(EndIsIncluded, |inner, key, options| {
    let range = match options.range {
        Some(ByteRange::FromTo(from, to)) => Some(ByteRange::FromTo(from, to.saturating_add(1))),
        range => range,
    };
    inner.memory.open(key, &in_range(options, range)).await
});

#[test]
fn a_range_with_its_end_is_caught() {
    caught::<EndIsIncluded>(&[
        "range::from_to_returns_the_bytes_before_the_end",
        "range::every_range_of_a_small_object_has_the_right_bytes",
        "range::ranges_of_a_large_object_have_the_right_bytes",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_open!(LastIsFirst, |inner, key, options| {
    let range = match options.range {
        Some(ByteRange::Last(n)) => Some(ByteRange::FromTo(0, n)),
        range => range,
    };
    inner.memory.open(key, &in_range(options, range)).await
});

#[test]
fn the_first_bytes_in_place_of_the_last_are_caught() {
    caught::<LastIsFirst>(&[
        "range::last_returns_the_end",
        "range::every_range_of_a_small_object_has_the_right_bytes",
    ]);
}

flawed_open!(LastUnderflows, |inner, key, options| {
    let size = inner.memory.stat(key).await?.size;
    match options.range {
        Some(range @ ByteRange::Last(n)) if n > size => {
            Err(Error::new(ErrorKind::RangeNotSatisfiable, range.to_string()))
        }
        _ => inner.memory.open(key, options).await,
    }
});

#[test]
fn a_suffix_range_that_is_refused_for_its_length_is_caught() {
    caught::<LastUnderflows>(&["range::an_end_past_the_object_is_reduced_to_its_size"]);
}

flawed_open!(
    PastTheEndIsEmpty,
    |inner, key, options| match inner.memory.open(key, options).await {
        Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
            let meta = inner.memory.stat(key).await?;
            let end = meta.size;
            Ok(Object::from_bytes(meta, end..end, Bytes::new()))
        }
        opened => opened,
    }
);

#[test]
fn an_empty_body_for_a_range_past_the_end_is_caught() {
    caught::<PastTheEndIsEmpty>(&[
        "range::a_start_past_the_object_is_not_satisfiable",
        "range::no_range_of_an_empty_object_is_satisfiable",
        "conditions::conditions_are_evaluated_before_the_range",
    ]);
}

flawed_open!(EndIsNotBroughtBack, |inner, key, options| {
    let size = inner.memory.stat(key).await?.size;
    match options.range {
        Some(ByteRange::FromTo(_, to)) if to > size => {
            Err(Error::new(ErrorKind::RangeNotSatisfiable, "too far"))
        }
        _ => inner.memory.open(key, options).await,
    }
});

#[test]
fn a_range_refused_for_its_end_is_caught() {
    caught::<EndIsNotBroughtBack>(&["range::an_end_past_the_object_is_reduced_to_its_size"]);
}

flawed_open!(SizeOfTheRange, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    let len = object.content_length();
    Ok(object.map_meta(|mut meta| {
        meta.size = len;
        meta
    }))
});

#[test]
fn the_size_of_the_range_in_place_of_the_object_is_caught() {
    caught::<SizeOfTheRange>(&[
        "range::from_to_returns_the_bytes_before_the_end",
        "stat_exists::save_stat_and_open_return_the_same_metadata",
    ]);
}

flawed_open!(RangeFromZero, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    let len = object.content_length();
    claiming(object, 0..len).await
});

#[test]
fn a_range_that_claims_other_positions_is_caught() {
    caught::<RangeFromZero>(&["range::from_returns_the_rest"]);
}

flawed_open!(BytesFromZero, |inner, key, options| {
    let range = inner.memory.open(key, options).await?.range();
    let bytes = inner.memory.open(key, &OpenOptions::default()).await?;
    let bytes = bytes.bytes().await?.slice(..usize::try_from(range.end - range.start).unwrap());
    Ok(Object::from_bytes(inner.memory.stat(key).await?, range, bytes))
});

#[test]
fn other_bytes_than_the_range_claims_are_caught() {
    caught::<BytesFromZero>(&[
        "range::from_returns_the_rest",
        "range::a_streamed_range_has_the_right_bytes",
    ]);
}

flawed_open!(ShortBody, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    let (meta, range) = (object.meta().clone(), object.range());
    let bytes = object.bytes().await?;
    Ok(Object::from_bytes(meta, range, bytes.slice(..bytes.len().min(1_000_000))))
});

#[test]
fn a_body_that_ends_early_is_caught() {
    caught::<ShortBody>(&[
        "open::the_body_has_the_size_in_the_metadata",
        "save::a_stream_of_unknown_size_is_saved_completely",
    ]);
}

flawed_open!(MissingIsEmpty, |inner, key, options| match inner.memory.open(key, options).await {
    Err(error) if error.kind() == ErrorKind::NotFound => {
        Ok(Object::from_bytes(ObjectMeta::new(key.clone(), 0), 0..0, Bytes::new()))
    }
    opened => opened,
});

#[test]
fn an_empty_object_for_a_missing_one_is_caught() {
    caught::<MissingIsEmpty>(&[
        "open::a_missing_object_is_not_found",
        "delete::a_deleted_object_is_gone",
        "stat_exists::a_prefix_of_keys_is_not_an_object",
        "errors::an_error_names_verb_driver_and_key",
    ]);
}

/// Changes the conditions before they are evaluated.
async fn on(
    inner: &Sound,
    key: &Key,
    options: &OpenOptions,
    change: impl FnOnce(&mut OpenOptions) -> Result<()>,
) -> Result<Object> {
    let mut options = options.clone();
    change(&mut options)?;
    inner.memory.open(key, &options).await
}

macro_rules! flawed_condition {
    ($($flaw:ident, $test:ident, |$options:ident| $change:expr => [$($case:literal),*];)*) => {
        $(
            flawed_open!($flaw, |inner, key, options| on(inner, key, options, |$options| {
                $change;
                Ok(())
            }).await);

            #[test]
            fn $test() {
                caught::<$flaw>(&[$($case),*]);
            }
        )*
    };
}

flawed_condition! {
    IgnoresIfMatch, an_if_match_that_is_ignored_is_caught, |options| options.if_match = None => [
        "conditions::if_match_refuses_another_version",
        "conditions::if_match_compares_strongly",
        "conditions::if_match_is_evaluated_first",
        "concurrency::a_range_with_if_match_is_of_that_version",
        "property::random_operations_agree_with_the_memory_driver"
    ];
    IgnoresIfNoneMatch, an_if_none_match_that_is_ignored_is_caught, |options| options.if_none_match = None => [
        "conditions::if_none_match_reports_an_unchanged_object",
        "conditions::a_matching_if_match_leaves_the_decision_to_the_other_conditions",
        "property::random_operations_agree_with_the_memory_driver"
    ];
    IgnoresIfModifiedSince, an_if_modified_since_that_is_ignored_is_caught, |options| options.if_modified_since = None => [
        "conditions::if_modified_since_compares_whole_seconds"
    ];
    MatchesWeakly, an_if_match_that_compares_weakly_is_caught, |options| {
        options.if_match = options.if_match.take().map(|etag| storage_core::ETag::strong(etag.opaque())).transpose()?;
    } => ["conditions::if_match_compares_strongly"];
    NoneMatchesStrongly, an_if_none_match_that_compares_strongly_is_caught, |options| {
        options.if_none_match = options.if_none_match.take().filter(|etag| !etag.is_weak());
    } => ["conditions::if_none_match_compares_weakly"];
    SinceMeansBefore, an_if_modified_since_that_is_a_second_off_is_caught, |options| {
        options.if_modified_since = options.if_modified_since.map(|time| time - Duration::from_secs(1));
    } => ["conditions::if_modified_since_compares_whole_seconds"];
}

flawed_open!(SinceCounts, |inner, key, options| {
    let mut since_alone = options.clone();
    since_alone.if_none_match = None;
    since_alone.check(&inner.memory.stat(key).await?)?;
    inner.memory.open(key, options).await
});

#[test]
fn an_if_modified_since_that_is_evaluated_beside_if_none_match_is_caught() {
    caught::<SinceCounts>(&["conditions::if_modified_since_is_ignored_beside_if_none_match"]);
}

flawed_open!(NoneMatchFirst, |inner, key, options| {
    let mut none_match_alone = options.clone();
    none_match_alone.if_match = None;
    none_match_alone.check(&inner.memory.stat(key).await?)?;
    inner.memory.open(key, options).await
});

#[test]
fn conditions_in_another_order_are_caught() {
    caught::<NoneMatchFirst>(&["conditions::if_match_is_evaluated_first"]);
}

flawed_open!(RangeFirst, |inner, key, options| {
    let size = inner.memory.stat(key).await?.size;
    options.range.map(|range| range.resolve(size)).transpose()?;
    inner.memory.open(key, options).await
});

#[test]
fn a_range_that_is_evaluated_before_the_conditions_is_caught() {
    caught::<RangeFirst>(&["conditions::conditions_are_evaluated_before_the_range"]);
}

flawed_open!(
    ConditionsOnMissing,
    |inner, key, options| match inner.memory.open(key, options).await {
        Err(error) if error.kind() == ErrorKind::NotFound && options.if_match.is_some() => {
            Err(Error::new(ErrorKind::PreconditionFailed, "there is none"))
        }
        opened => opened,
    }
);

#[test]
fn a_condition_that_hides_absence_is_caught() {
    caught::<ConditionsOnMissing>(&[
        "conditions::a_missing_object_is_not_found_under_any_condition",
    ]);
}

/// Reads each piece of the body from the version that exists at that time.
#[derive(Default)]
struct ReadsLater;

#[async_trait]
impl Flaw for ReadsLater {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        const PIECE: u64 = 500;
        let object = inner.memory.open(key, options).await?;
        let (meta, range) = (object.meta().clone(), object.range());
        let pieces = stream::iter(range.clone().step_by(PIECE as usize));
        let (memory, key, end) = (inner.memory.clone(), key.clone(), range.end);
        let pieces = pieces.then(move |at| {
            let (memory, key) = (memory.clone(), key.clone());
            async move {
                let piece = ByteRange::from(at..end.min(at + PIECE));
                memory
                    .open(&key, &in_range(&OpenOptions::default(), Some(piece)))
                    .await?
                    .bytes()
                    .await
            }
        });
        Ok(Object::from_stream(meta, range, pieces))
    }
}

#[test]
fn a_body_that_is_a_mixture_of_versions_is_caught() {
    caught::<ReadsLater>(&[
        "concurrency::a_body_that_is_being_read_stays_the_old_version_after_an_overwrite",
        "concurrency::a_body_that_is_read_after_an_overwrite_is_of_one_version",
    ]);
}

flawed_open!(MetadataOfAnotherVersion, |inner, key, options| {
    let meta = inner.memory.stat(key).await?;
    tokio::task::yield_now().await;
    let object = inner.memory.open(key, options).await?;
    Ok(object.map_meta(|mut now| {
        now.metadata = meta.metadata;
        now
    }))
});

#[test]
fn metadata_of_another_version_than_the_bytes_is_caught() {
    caught::<MetadataOfAnotherVersion>(&[
        "concurrency::readers_during_1000_overwrites_see_complete_versions",
    ]);
}

flawed_open!(MissingIsZeros, |inner, key, options| {
    const PIECE: u64 = 500_000;
    let object = inner.memory.open(key, options).await?;
    let (meta, range) = (object.meta().clone(), object.range());
    let (memory, key, end) = (inner.memory.clone(), key.clone(), range.end);
    let pieces = stream::iter(range.clone().step_by(PIECE as usize)).then(move |at| {
        let (memory, key) = (memory.clone(), key.clone());
        async move {
            let piece = at..end.min(at + PIECE);
            match memory
                .open(&key, &in_range(&OpenOptions::default(), Some(piece.clone().into())))
                .await
            {
                Ok(object) => object.bytes().await,
                Err(_) => Ok(Bytes::from(vec![0; (piece.end - piece.start) as usize])),
            }
        }
    });
    Ok(Object::from_stream(meta, range, pieces))
});

#[test]
fn holes_in_the_body_of_a_deleted_object_are_caught() {
    caught::<MissingIsZeros>(&[
        "concurrency::a_body_that_is_being_read_stays_the_old_version_after_a_delete",
    ]);
}

/// Returns objects from a cache at times.
#[derive(Default)]
struct SometimesStale {
    opened: Mutex<(usize, Option<(ObjectMeta, Bytes)>)>,
}

#[async_trait]
impl Flaw for SometimesStale {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = inner.memory.open(key, options).await?;
        let (meta, range) = (object.meta().clone(), object.range());
        let bytes = object.bytes().await?;
        let mut opened = self.opened.lock().unwrap();
        opened.0 += 1;
        match (&opened.1, opened.0 % 50) {
            (Some((meta, bytes)), 49) => {
                Ok(Object::from_bytes(meta.clone(), 0..meta.size, bytes.clone()))
            }
            (_, 0) | (None, _) => {
                opened.1 = Some((meta.clone(), bytes.clone()));
                Ok(Object::from_bytes(meta, range, bytes))
            }
            _ => Ok(Object::from_bytes(meta, range, bytes)),
        }
    }
}

#[test]
fn a_version_that_comes_back_is_caught() {
    caught::<SometimesStale>(&[
        "concurrency::readers_during_overwrites_never_see_an_older_version_again",
    ]);
}

flawed_open!(SwapsChunks, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    let (meta, range) = (object.meta().clone(), object.range());
    let bytes = object.bytes().await?;
    let (first, second) = (bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..));
    Ok(Object::from_stream(meta, range, stream::iter([Ok(second), Ok(first)])))
});

#[test]
fn chunks_in_another_order_are_caught() {
    caught::<SwapsChunks>(&[
        "open::the_body_is_the_same_as_bytes_stream_and_reader",
        "save::a_saved_object_is_read_back_byte_for_byte",
    ]);
}

/// Has few connections, and releases one only at the end of a body.
struct LeaksConnections {
    connections: Arc<Semaphore>,
}

impl Default for LeaksConnections {
    fn default() -> Self {
        Self { connections: Arc::new(Semaphore::new(8)) }
    }
}

#[async_trait]
impl Flaw for LeaksConnections {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = inner.memory.open(key, options).await?;
        let no_connection = |_| Error::new(ErrorKind::Timeout, "no connection is free");
        self.connections.try_acquire().map_err(no_connection)?.forget();
        let (meta, range) = (object.meta().clone(), object.range());
        let connections = Arc::clone(&self.connections);
        let given_back = stream::poll_fn(move |_| {
            connections.add_permits(1);
            std::task::Poll::Ready(None)
        });
        Ok(Object::from_stream(meta, range, object.into_stream().chain(given_back)))
    }
}

#[test]
fn a_connection_that_a_dropped_body_keeps_is_caught() {
    caught::<LeaksConnections>(&[
        "open::a_partly_read_body_can_be_dropped",
        "open::an_object_can_be_opened_many_times_at_once",
        "cancellation::reading_verbs_can_be_dropped_at_any_point",
    ]);
}

/// Holds a lock while a body is open.
#[derive(Default)]
struct LocksWhileOpen {
    lock: Arc<RwLock<()>>,
}

#[async_trait]
impl Flaw for LocksWhileOpen {
    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = inner.memory.open(key, options).await?;
        let (meta, range) = (object.meta().clone(), object.range());
        let guard = Arc::clone(&self.lock).read_owned().await;
        let chunks = object.into_stream().inspect(move |_| {
            let _held = &guard;
        });
        Ok(Object::from_stream(meta, range, chunks))
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        let _guard =
            self.lock.try_write().map_err(|_| Error::new(ErrorKind::Timeout, "a body is open"))?;
        inner.memory.save(key, payload, options).await
    }
}

#[test]
fn a_driver_that_cannot_save_while_a_body_is_open_is_caught() {
    caught::<LocksWhileOpen>(&[
        "open::an_open_object_can_be_saved_under_another_key",
        "concurrency::a_body_that_is_being_read_stays_the_old_version_after_an_overwrite",
    ]);
}

flawed_open!(NeverMatches, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    match options.if_match {
        Some(_) => Err(Error::new(ErrorKind::PreconditionFailed, "another version")),
        None => Ok(object),
    }
});

#[test]
fn an_if_match_that_never_holds_is_caught() {
    caught::<NeverMatches>(&["conditions::if_match_opens_the_matching_version"]);
}

flawed_open!(NeverModified, |inner, key, options| {
    let object = inner.memory.open(key, options).await?;
    match options.if_none_match {
        Some(_) => Err(Error::new(ErrorKind::NotModified, "the object has not changed")),
        None => Ok(object),
    }
});

#[test]
fn an_if_none_match_that_always_holds_is_caught() {
    caught::<NeverModified>(&[
        "conditions::if_none_match_opens_another_version",
        "conditions::if_none_match_opens_an_overwritten_object",
    ]);
}
