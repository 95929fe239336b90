//! Verifies that the source and the destination of a move are different objects, before the source
//! is deleted.
//!
//! The names do not prove this. A bucket has several host names, a directory may be mounted twice,
//! a server shows files that also have a local path, and a cache shows the objects of another
//! storage. So a move compares the objects:
//!
//! 1. Before the copy it calls `stat` for the destination. If there is no object, it is not the
//!    source. If there is one whose size and time may be those of the source, it may be the source,
//!    and nothing is changed.
//! 2. After the copy the source still has to be the version that was copied ([`crate::moves`]). If
//!    there was an object at the destination before, source and destination must also have
//!    different times.
//!
//! Different ETags do not prove it either, because each server makes its own ETag for the same
//! object. See `docs/decisions/0075-mv-verifies-that-its-two-locations-differ.md`.

use std::time::{Duration, SystemTime};

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result, Storage};

use crate::compare::same_storage;

/// How far apart two times in whole seconds must be to differ: one service may round, another
/// truncate.
const COARSE_TIME: Duration = Duration::from_secs(2);

/// The state of the destination before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The destination is certainly not the source.
    Distinct,
    /// The destination is another object. A second check after the copy makes sure that it has not
    /// become the source in the meantime.
    Occupied,
}

/// Checks the destination before the copy. Waits for at most two seconds if it exists and the
/// source is so new that the copy could get the same time.
///
/// # Errors
/// `Conflict` if the destination may be the source. `NotFound` if the source does not exist. Any
/// error of `stat`.
pub(crate) async fn check_before_copy(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
) -> Result<Destination> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target)
        && has_one_key_for_each_object(source)
        && keys_differ(from_key, to_key)
    {
        return Ok(Destination::Distinct);
    }
    let before = source.stat(from_key).await?;
    match target.stat(to_key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Destination::Distinct),
        Err(error) => Err(error.with_context("cannot check whether the destination is the source")),
        Ok(there) if may_be_same(&before, &there) => {
            let message = "source and destination have the same size and time, so they may be the \
                           same object; nothing was changed; if they are different objects, delete \
                           one with anystorage rm";
            Err(Error::new(ErrorKind::Conflict, message))
        }
        Ok(_) => {
            tokio::time::sleep(time_until_distinct(before.last_modified, SystemTime::now())).await;
            Ok(Destination::Occupied)
        }
    }
}

/// Checks after the copy that source and destination are different objects.
///
/// # Errors
/// `Conflict` if they may be the same. Any error of `stat`.
pub(crate) async fn check_after_copy(
    destination: Destination,
    source: &ObjectMeta,
    to: (&Storage, &Key),
) -> Result<()> {
    if destination == Destination::Distinct {
        return Ok(());
    }
    let (target, key) = to;
    if may_be_same(source, &target.stat(key).await?) {
        let message = "copied, but source and destination have the same size and time, so they may \
                       be the same object; the source was kept; if they are different objects, \
                       delete it with anystorage rm";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// Whether every object of a storage has one key only. A server behind a URL may have links between
/// its files, or treat different names as equal. The driver `fs` follows no links.
fn has_one_key_for_each_object(storage: &Storage) -> bool {
    matches!(&*storage.info().name, "fs" | "memory" | "s3")
}

/// Whether two keys of a storage certainly name different objects. Some file systems ignore case,
/// and some normalise Unicode.
fn keys_differ(a: &Key, b: &Key) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.is_ascii() && b.is_ascii() && !a.eq_ignore_ascii_case(b)
}

/// Whether two results of `stat` may describe the same object: the sizes are equal, and the times
/// are equal up to rounding.
fn may_be_same(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.size == b.size
        && a.last_modified.zip(b.last_modified).is_none_or(|(a, b)| may_be_same_time(a, b))
}

fn may_be_same_time(a: SystemTime, b: SystemTime) -> bool {
    if is_precise(a) && is_precise(b) {
        return a == b;
    }
    let apart = a.duration_since(b).unwrap_or_else(|error| error.duration());
    apart < COARSE_TIME
}

/// Whether a time has a fraction of a second.
fn is_precise(time: SystemTime) -> bool {
    let since =
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_else(|error| error.duration());
    since.subsec_nanos() != 0
}

/// Returns how long to wait until a new object certainly gets another time, even in whole seconds.
fn time_until_distinct(modified: Option<SystemTime>, now: SystemTime) -> Duration {
    let Some(modified) = modified else { return Duration::ZERO };
    // A time in the future comes from a clock that is ahead. The time of the copy will be ahead by
    // the same amount.
    COARSE_TIME.saturating_sub(now.duration_since(modified).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    fn seen(size: u64, time: Option<SystemTime>) -> ObjectMeta {
        let mut meta = ObjectMeta::new(Key::new("a").unwrap(), size);
        meta.last_modified = time;
        meta
    }

    #[test]
    fn two_results_for_the_same_object_are_never_different() {
        let precise = seen(5, Some(at(100, 999_999_999)));
        // Exact, truncated, rounded up, and unknown.
        for time in [Some(at(100, 999_999_999)), Some(at(100, 0)), Some(at(101, 0)), None] {
            assert!(
                may_be_same(&precise, &seen(5, time)) && may_be_same(&seen(5, time), &precise),
                "{time:?}"
            );
        }
        assert!(may_be_same(&seen(5, None), &seen(5, None)));
    }

    #[test]
    fn objects_with_different_sizes_or_times_are_different() {
        let object = seen(5, Some(at(100, 7)));
        assert!(!may_be_same(&object, &seen(6, Some(at(100, 7)))));
        assert!(!may_be_same(&object, &seen(6, None)));
        assert!(!may_be_same(&object, &seen(5, Some(at(100, 8)))));
        assert!(!may_be_same(&object, &seen(5, Some(at(103, 0)))));
        assert!(!may_be_same(&seen(5, Some(at(100, 0))), &seen(5, Some(at(102, 0)))));
    }

    #[tokio::test]
    async fn a_destination_that_becomes_the_source_during_the_copy_is_detected() {
        let memory = anystorage::Memory::storage();
        // Two storages over the same objects that cannot be compared by name.
        let (a, b) = (memory.prefixed("x").unwrap(), memory.prefixed("x").unwrap());
        let key = Key::new("k").unwrap();
        a.save(&key, "hello").await.unwrap();
        let source = a.stat(&key).await.unwrap();
        let error = check_after_copy(Destination::Occupied, &source, (&b, &key)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Conflict && error.message().contains("the source was kept"),
            "{error}"
        );
        let error = check_before_copy((&a, &key), (&b, &key)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Conflict && error.message().contains("nothing was changed"),
            "{error}"
        );
        assert_eq!(
            check_before_copy((&a, &key), (&b, &Key::new("other").unwrap())).await.unwrap(),
            Destination::Distinct
        );
    }

    #[test]
    fn keys_that_a_file_system_may_treat_as_equal_are_not_different() {
        let distinct = |a: &str, b: &str| keys_differ(&Key::new(a).unwrap(), &Key::new(b).unwrap());
        assert!(distinct("a/b", "a/c"));
        assert!(!distinct("a/b", "A/b") && !distinct("é", "e\u{301}"));
    }

    #[test]
    fn the_wait_ends_when_a_copy_gets_another_time_in_whole_seconds() {
        let now = at(1_000, 0);
        assert_eq!(time_until_distinct(Some(at(900, 0)), now), Duration::ZERO);
        assert_eq!(
            time_until_distinct(Some(at(999, 500_000_000)), now),
            Duration::from_millis(1_500)
        );
        assert_eq!(time_until_distinct(Some(at(2_000, 0)), now), COARSE_TIME);
        assert_eq!(time_until_distinct(None, now), Duration::ZERO);
    }
}
