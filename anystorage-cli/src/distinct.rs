//! The proof that a move needs before it deletes its source: that the destination is another
//! object.
//!
//! Names prove little. One bucket has several host names, one directory several mounts, a server
//! shows files that a path reaches too, and a cache shows the objects of another storage. So a move
//! looks at the objects:
//!
//! 1. Before the copy it looks at the destination. If nothing is there, it cannot be the source. If
//!    an object is there whose size and time could be those of the source, it may be the source:
//!    nothing is changed.
//! 2. After the copy the source still has to be the version that was copied
//!    ([`crate::commands::mv`]); and where an object was there before, source and destination have
//!    to differ in their times.
//!
//! ETags are compared only to find that two objects may be one: one object can have several, since
//! each server makes its own.

use std::time::{Duration, SystemTime};

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result, Storage};

use crate::same::same_storage;

/// Times in whole seconds prove a difference from here on: one service may round, another cut.
const COARSE: Duration = Duration::from_secs(2);

/// What is known of the destination before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// It is certainly not the source.
    Distinct,
    /// Another object is there. Whether it has not become the source in between is to be seen after
    /// the copy.
    Occupied,
}

/// Looks at the destination before a move. Waits for at most two seconds if an object is there and
/// the source is so new that the copy could get the same time.
///
/// # Errors
/// `Conflict` if the destination may be the source. `NotFound` if there is no source; any error of
/// looking.
pub(crate) async fn look(from: (&Storage, &Key), to: (&Storage, &Key)) -> Result<Destination> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target) && keys_are_names(source) && never_one_name(from_key, to_key) {
        return Ok(Destination::Distinct);
    }
    let before = source.stat(from_key).await?;
    match target.stat(to_key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Destination::Distinct),
        Err(error) => {
            Err(error.with_context("the destination cannot be looked at, and may be the source"))
        }
        Ok(there) if may_be_one(&before, &there) => {
            let message = "source and destination have one size and one time, so they may be the same object; nothing was \
                           changed: if you know that they are two, delete one with anystorage rm";
            Err(Error::new(ErrorKind::Conflict, message))
        }
        Ok(_) => {
            tokio::time::sleep(until_coarsely_past(before.last_modified, SystemTime::now())).await;
            Ok(Destination::Occupied)
        }
    }
}

/// Makes sure, after the copy, that source and destination are two objects.
///
/// # Errors
/// `Conflict` if they may be one; any error of looking.
pub(crate) async fn check(
    destination: Destination,
    source: &ObjectMeta,
    to: (&Storage, &Key),
) -> Result<()> {
    if destination == Destination::Distinct {
        return Ok(());
    }
    let (target, key) = to;
    if may_be_one(source, &target.stat(key).await?) {
        let message = "copied, but source and destination have one size and one time, so they may be the same object; the \
                       source was kept: if you know that they are two, delete it with anystorage rm";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// Whether an object of a storage has one key. A server behind a URL may have links between its
/// files, or read names in ways of its own. The driver `fs` follows no links.
fn keys_are_names(storage: &Storage) -> bool {
    matches!(&*storage.info().name, "fs" | "memory" | "s3")
}

/// Whether two keys of one storage are two objects for certain. Some file systems ignore case, and
/// some normalise Unicode.
fn never_one_name(a: &Key, b: &Key) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.is_ascii() && b.is_ascii() && !a.eq_ignore_ascii_case(b)
}

/// Whether two views could be of one object. Its size is the same in all of them; its time too, up
/// to rounding.
fn may_be_one(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.size == b.size
        && a.last_modified.zip(b.last_modified).is_none_or(|(a, b)| may_be_one_time(a, b))
}

fn may_be_one_time(a: SystemTime, b: SystemTime) -> bool {
    if is_precise(a) && is_precise(b) {
        return a == b;
    }
    let apart = a.duration_since(b).unwrap_or_else(|error| error.duration());
    apart < COARSE
}

/// Whether a time has a fraction of a second.
fn is_precise(time: SystemTime) -> bool {
    let since =
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_else(|error| error.duration());
    since.subsec_nanos() != 0
}

/// How long to wait until an object that is written then has certainly another time, in whole
/// seconds too.
fn until_coarsely_past(modified: Option<SystemTime>, now: SystemTime) -> Duration {
    let Some(modified) = modified else { return Duration::ZERO };
    // A time in the future is that of a clock that is ahead; by that clock, the copy will be as
    // much later.
    COARSE.saturating_sub(now.duration_since(modified).unwrap_or_default())
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
    fn views_of_one_object_are_never_taken_for_two() {
        let precise = seen(5, Some(at(100, 999_999_999)));
        // Cut, rounded up, and not known.
        for time in [Some(at(100, 999_999_999)), Some(at(100, 0)), Some(at(101, 0)), None] {
            assert!(
                may_be_one(&precise, &seen(5, time)) && may_be_one(&seen(5, time), &precise),
                "{time:?}"
            );
        }
        assert!(may_be_one(&seen(5, None), &seen(5, None)));
    }

    #[test]
    fn another_size_or_another_time_is_another_object() {
        let object = seen(5, Some(at(100, 7)));
        assert!(!may_be_one(&object, &seen(6, Some(at(100, 7)))));
        assert!(!may_be_one(&object, &seen(6, None)));
        assert!(!may_be_one(&object, &seen(5, Some(at(100, 8)))));
        assert!(!may_be_one(&object, &seen(5, Some(at(103, 0)))));
        assert!(!may_be_one(&seen(5, Some(at(100, 0))), &seen(5, Some(at(102, 0)))));
    }

    #[tokio::test]
    async fn a_destination_that_turns_out_to_be_the_source_after_the_copy_keeps_it() {
        let memory = anystorage::Memory::storage();
        // Two storages that cannot be compared, over one.
        let (a, b) = (memory.prefixed("x").unwrap(), memory.prefixed("x").unwrap());
        let key = Key::new("k").unwrap();
        a.save(&key, "hello").await.unwrap();
        let source = a.stat(&key).await.unwrap();
        let error = check(Destination::Occupied, &source, (&b, &key)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Conflict && error.message().contains("the source was kept"),
            "{error}"
        );
        let error = look((&a, &key), (&b, &key)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Conflict && error.message().contains("nothing was changed"),
            "{error}"
        );
        assert_eq!(
            look((&a, &key), (&b, &Key::new("other").unwrap())).await.unwrap(),
            Destination::Distinct
        );
    }

    #[test]
    fn keys_that_a_file_system_could_take_for_one_name_are_not_proved_to_be_two() {
        let distinct =
            |a: &str, b: &str| never_one_name(&Key::new(a).unwrap(), &Key::new(b).unwrap());
        assert!(distinct("a/b", "a/c"));
        assert!(!distinct("a/b", "A/b") && !distinct("é", "e\u{301}"));
    }

    #[test]
    fn the_wait_ends_when_a_copy_has_another_time_in_whole_seconds() {
        let now = at(1_000, 0);
        assert_eq!(until_coarsely_past(Some(at(900, 0)), now), Duration::ZERO);
        assert_eq!(
            until_coarsely_past(Some(at(999, 500_000_000)), now),
            Duration::from_millis(1_500)
        );
        assert_eq!(until_coarsely_past(Some(at(2_000, 0)), now), COARSE);
        assert_eq!(until_coarsely_past(None, now), Duration::ZERO);
    }
}
