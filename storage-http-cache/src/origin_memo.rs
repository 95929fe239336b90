//! [`OriginMemo`]: the recent responses of origin.
//!
//! If a response of a mirror contradicts the memo, the object is read from origin instead. So a
//! mirror that missed a purge is detected if an ETag or a size shows it, and a key that was deleted
//! through this driver is not requested from a mirror. If the versions agree, the metadata comes
//! from the memo, because a mirror does not send all of it (checksums).
//!
//! Responses of origin may arrive in another order than the changes they reflect. So each read
//! takes a [`Ticket`] before its request, and its result is recorded only if no write of the key
//! has begun or ended since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use storage_core::internal::{TtlCache, floor_to_second};
use storage_core::{ErrorKind, Key, ObjectMeta, OpenOptions};

/// For how many keys the state at origin is cached.
const MAX_KEYS: usize = 16 * 1024;
/// How many keys of small objects are cached.
const MAX_SMALL: usize = 64 * 1024;
/// How long the information that an object is small is used (1 h).
const SMALL_TTL: Duration = Duration::from_secs(60 * 60);

/// The recent states of objects at origin.
#[derive(Debug)]
pub(crate) struct OriginMemo {
    objects: TtlCache<CachedState>,
    /// When a write of the key last began or ended.
    written: TtlCache<Ticket>,
    clock: AtomicU64,
    /// Objects with fewer bytes skip the mirrors.
    min_size: u64,
    small: TtlCache<()>,
}

/// A point in the order of requests and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The state of an object at origin.
#[derive(Debug, Clone)]
enum CachedState {
    Absent,
    Present(Arc<ObjectMeta>),
    /// A write changed the object, and its metadata is unknown.
    Changed,
}

/// The outcome of a write.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    /// The key has this object.
    Present(Box<ObjectMeta>),
    /// The key has no object.
    Absent,
    /// The write may have happened.
    Unknown,
    /// The write changed nothing.
    Unchanged,
}

/// How the response of a mirror compares with the memo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The versions agree, or the memo has no entry. Contains the metadata to return.
    Agrees(Box<ObjectMeta>),
    /// The mirror has another version.
    Differs,
    /// The object changed after the request, so the response may be of the version before.
    Outdated,
}

impl OriginMemo {
    /// Creates a memo whose entries are valid for `ttl`. Objects with fewer bytes than `min_size`
    /// skip the mirrors.
    pub(crate) fn new(ttl: Duration, min_size: u64) -> Self {
        Self {
            objects: TtlCache::new(ttl, MAX_KEYS),
            written: TtlCache::new(ttl, MAX_KEYS),
            clock: AtomicU64::new(0),
            min_size,
            small: TtlCache::new(SMALL_TTL, if min_size > 0 { MAX_SMALL } else { 0 }),
        }
    }

    /// Returns the present point in the order. Must be called before a request is sent.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.clock.load(Ordering::SeqCst))
    }

    /// Records that origin returned an object.
    pub(crate) fn record_present(&self, meta: &ObjectMeta, ticket: Ticket) {
        if !self.is_outdated(&meta.key, ticket) {
            self.objects.insert(&meta.key, CachedState::Present(Arc::new(meta.clone())));
            self.record_size(&meta.key, meta.size);
        }
    }

    /// Records that origin has no such object.
    pub(crate) fn record_absent(&self, key: &Key, ticket: Ticket) {
        if !self.is_outdated(key, ticket) {
            self.objects.insert(key, CachedState::Absent);
        }
    }

    fn is_outdated(&self, key: &Key, ticket: Ticket) -> bool {
        self.written.get(key).is_some_and(|written| written > ticket)
    }

    /// Records the beginning of a write.
    pub(crate) fn begin_write(&self, key: &Key) -> Ticket {
        let now = Ticket(self.clock.fetch_add(1, Ordering::SeqCst) + 1);
        self.written.insert(key, now);
        now
    }

    /// Records the end of the write that began at this ticket. If another write of the key was in
    /// progress at the same time, their order is unknown, and so is the state of the object.
    pub(crate) fn end_write(&self, key: &Key, begun: Ticket, outcome: WriteOutcome) {
        let was_alone = self.written.get(key) == Some(begun);
        self.begin_write(key);
        let state = match outcome {
            WriteOutcome::Unchanged if was_alone => return,
            WriteOutcome::Present(meta) if was_alone => {
                self.record_size(key, meta.size);
                CachedState::Present(Arc::from(meta))
            }
            WriteOutcome::Absent if was_alone => CachedState::Absent,
            _ => CachedState::Changed,
        };
        self.objects.insert(key, state);
    }

    /// Records the size of an object, from a mirror or from origin.
    pub(crate) fn record_size(&self, key: &Key, size: u64) {
        if self.min_size == 0 {
            return;
        }
        if size < self.min_size {
            self.small.insert(key, ());
        } else {
            self.small.remove(key);
        }
    }

    /// Records that an object exists, without its metadata.
    pub(crate) fn record_existence(&self, key: &Key) {
        if let Some(CachedState::Absent) = self.objects.get(key) {
            self.objects.remove(key);
        }
    }

    /// Returns whether the object must be read from origin, because it is absent or too small, or
    /// because it has changed and a response would not show whether the mirror has the new version.
    pub(crate) fn skips_mirror(&self, key: &Key) -> bool {
        let is_small = self.min_size > 0 && self.small.contains(key);
        let state = self.objects.get(key);
        is_small || matches!(state, Some(CachedState::Absent | CachedState::Changed))
    }

    /// Returns whether a "not modified" of a mirror must be confirmed by origin.
    pub(crate) fn doubts_not_modified(&self, key: &Key, options: &OpenOptions) -> bool {
        match self.objects.get(key) {
            None => false,
            Some(CachedState::Absent | CachedState::Changed) => true,
            Some(CachedState::Present(known)) => options
                .check(&known)
                .err()
                .is_none_or(|error| error.kind() != ErrorKind::NotModified),
        }
    }

    /// Compares the metadata from a mirror, requested at this ticket, with the memo. ETags are
    /// compared only if `has_origins_etag` is set, because other mirrors make their own.
    pub(crate) fn compare(
        &self,
        received: ObjectMeta,
        has_origins_etag: bool,
        ticket: Ticket,
    ) -> Comparison {
        if self.is_outdated(&received.key, ticket) {
            return Comparison::Outdated;
        }
        let known = match self.objects.get(&received.key) {
            None => return Comparison::Agrees(Box::new(received)),
            Some(CachedState::Absent | CachedState::Changed) => return Comparison::Outdated,
            Some(CachedState::Present(known)) => known,
        };
        let same_etag = match (&known.etag, &received.etag) {
            (Some(known), Some(received)) => known.weak_eq(received),
            _ => false,
        };
        let etag_differs = has_origins_etag && known.etag.is_some() && !same_etag;
        if known.size != received.size || etag_differs {
            return Comparison::Differs;
        }
        // Some backends keep the ETag when only the metadata changes, but not the time.
        let same_time = match (known.last_modified, received.last_modified) {
            (Some(known), Some(received)) => known == received,
            _ => true,
        };
        if !same_etag || !same_time {
            return Comparison::Agrees(Box::new(received));
        }
        let mut meta = ObjectMeta::clone(&known);
        // Some backends return no time from a save.
        meta.last_modified = meta.last_modified.or(received.last_modified);
        // The age is the one of the response that contains the body.
        meta.response = received.response;
        Comparison::Agrees(Box::new(meta))
    }
}

/// Rounds `last_modified` down to whole seconds, as HTTP headers contain it, so that it is the same
/// from a mirror and from origin.
pub(crate) fn in_whole_seconds(mut meta: ObjectMeta) -> ObjectMeta {
    meta.last_modified = meta.last_modified.map(floor_to_second);
    meta
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use storage_core::{Checksum, ChecksumAlgorithm};

    use super::*;

    fn key() -> Key {
        Key::new("a").unwrap()
    }

    fn meta(etag: &str, size: u64) -> ObjectMeta {
        let mut meta = ObjectMeta::new(key(), size);
        meta.etag = Some(etag.parse().unwrap());
        meta
    }

    fn at(seconds: u64, mut meta: ObjectMeta) -> ObjectMeta {
        meta.last_modified = Some(UNIX_EPOCH + Duration::from_secs(seconds));
        meta
    }

    fn boxed(etag: &str, size: u64) -> Box<ObjectMeta> {
        Box::new(meta(etag, size))
    }

    fn compare(memo: &OriginMemo, received: ObjectMeta, has_origins_etag: bool) -> Comparison {
        memo.compare(received, has_origins_etag, memo.ticket())
    }

    fn memo() -> OriginMemo {
        OriginMemo::new(Duration::from_secs(120), 0)
    }

    #[test]
    fn an_empty_memo_agrees_with_every_version() {
        assert_eq!(
            compare(&memo(), meta("x", 1), true),
            Comparison::Agrees(Box::new(meta("x", 1)))
        );
    }

    #[test]
    fn another_etag_is_another_version_only_if_the_mirror_has_origins_etags() {
        let memo = memo();
        memo.record_present(&meta("x", 1), memo.ticket());
        assert_eq!(compare(&memo, meta("y", 1), true), Comparison::Differs);
        assert_eq!(compare(&memo, ObjectMeta::new(key(), 1), true), Comparison::Differs);
        assert_eq!(compare(&memo, meta("y", 1), false), Comparison::Agrees(Box::new(meta("y", 1))));
    }

    #[test]
    fn another_size_is_another_version_at_every_mirror() {
        let memo = memo();
        memo.record_present(&meta("x", 1), memo.ticket());
        assert_eq!(compare(&memo, meta("x", 2), true), Comparison::Differs);
        assert_eq!(compare(&memo, meta("y", 2), false), Comparison::Differs);
    }

    #[test]
    fn metadata_of_the_same_version_comes_from_the_memo() {
        let memo = memo();
        let mut of_origin = meta("x", 1);
        of_origin.checksums.insert(Checksum::of(ChecksumAlgorithm::Sha256, b"x"));
        memo.record_present(&of_origin, memo.ticket());
        let received = at(1, meta("x", 1));
        assert_eq!(compare(&memo, received, true), Comparison::Agrees(Box::new(at(1, of_origin))));
    }

    #[test]
    fn metadata_of_another_time_comes_from_the_mirror() {
        let memo = memo();
        let of_type = |content_type: &str| {
            let mut meta = meta("x", 1);
            meta.metadata.content_type = Some(content_type.to_owned());
            meta
        };
        memo.record_present(&at(1, of_type("a/old")), memo.ticket());
        let received = at(2, of_type("a/new"));
        assert_eq!(compare(&memo, received.clone(), true), Comparison::Agrees(Box::new(received)));
    }

    #[test]
    fn an_absent_key_skips_the_mirror_until_it_exists_again() {
        let memo = memo();
        memo.record_absent(&key(), memo.ticket());
        assert!(memo.skips_mirror(&key()));
        memo.record_existence(&key());
        assert!(!memo.skips_mirror(&key()));
        memo.record_present(&meta("x", 1), memo.ticket());
        memo.record_existence(&key());
        assert_eq!(
            compare(&memo, meta("y", 1), true),
            Comparison::Differs,
            "existence alone changes nothing"
        );
    }

    #[test]
    fn the_result_of_a_write_is_not_replaced_by_an_older_response() {
        let memo = memo();
        let (before, write) = (memo.ticket(), memo.begin_write(&key()));
        let during = memo.ticket();
        memo.end_write(&key(), write, WriteOutcome::Present(boxed("new", 1)));
        memo.record_present(&meta("old", 1), before);
        memo.record_present(&meta("old", 1), during);
        memo.record_absent(&key(), during);
        assert_eq!(compare(&memo, meta("old", 1), true), Comparison::Differs);
        assert_eq!(
            memo.compare(meta("old", 1), true, during),
            Comparison::Outdated,
            "the response is of a request before the end of the write"
        );
        memo.record_present(&meta("newer", 1), memo.ticket());
        assert_eq!(compare(&memo, meta("new", 1), true), Comparison::Differs);
    }

    #[test]
    fn the_state_after_two_concurrent_writes_is_unknown() {
        let memo = memo();
        let (first, second) = (memo.begin_write(&key()), memo.begin_write(&key()));
        memo.end_write(&key(), first, WriteOutcome::Present(boxed("first", 1)));
        assert!(memo.skips_mirror(&key()));
        memo.end_write(&key(), second, WriteOutcome::Present(boxed("second", 1)));
        assert!(memo.skips_mirror(&key()), "the first may have happened after the second");
        memo.record_present(&meta("first", 1), memo.ticket());
        assert!(!memo.skips_mirror(&key()));
    }

    #[test]
    fn an_unknown_outcome_skips_the_mirror_and_an_unchanged_one_does_not() {
        let memo = memo();
        memo.record_present(&meta("x", 1), memo.ticket());
        let write = memo.begin_write(&key());
        memo.end_write(&key(), write, WriteOutcome::Unchanged);
        assert!(!memo.skips_mirror(&key()));
        assert_eq!(compare(&memo, meta("y", 1), true), Comparison::Differs);
        let write = memo.begin_write(&key());
        memo.end_write(&key(), write, WriteOutcome::Unknown);
        assert!(memo.skips_mirror(&key()));
        assert_eq!(compare(&memo, meta("x", 1), true), Comparison::Outdated, "the memo is unknown");
        let write = memo.begin_write(&key());
        memo.end_write(&key(), write, WriteOutcome::Absent);
        assert!(memo.skips_mirror(&key()));
    }

    #[test]
    fn small_objects_skip_the_mirror_once_their_size_is_known() {
        let memo = OriginMemo::new(Duration::from_secs(120), 100);
        assert!(!memo.skips_mirror(&key()));
        memo.record_size(&key(), 99);
        assert!(memo.skips_mirror(&key()));
        memo.record_present(&meta("x", 100), memo.ticket());
        assert!(!memo.skips_mirror(&key()));
        memo.record_present(&meta("y", 0), memo.ticket());
        assert!(memo.skips_mirror(&key()));
    }

    #[test]
    fn times_are_rounded_down_to_whole_seconds() {
        let mut meta = meta("x", 1);
        meta.last_modified = Some(UNIX_EPOCH + Duration::from_millis(5_999));
        assert_eq!(in_whole_seconds(meta).last_modified, Some(UNIX_EPOCH + Duration::from_secs(5)));
        let before_1970 = UNIX_EPOCH - Duration::from_millis(4_500);
        assert_eq!(floor_to_second(before_1970), UNIX_EPOCH - Duration::from_secs(5));
    }
}
