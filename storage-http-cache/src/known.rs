//! [`Known`]: what origin has said of objects a short while ago.
//!
//! A mirror's answer that contradicts it is not used: origin is asked again. So a mirror that
//! missed a purge, or lies, is found out wherever a validator or a size can tell, and a key that
//! was deleted here is not asked for at all. What agrees is told in origin's words, which a mirror
//! cannot all carry (checksums).
//!
//! Answers of origin overtake each other. So that an old one does not take the place of a new one,
//! each read takes a [`Ticket`] before it asks: what it learns counts only if no write of the key
//! has begun or ended since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, Key, ObjectMeta, OpenOptions};

use storage_core::internal::TtlCache;

/// How many keys are remembered.
const MOST_KNOWN: usize = 16 * 1024;
/// How many keys of small objects are remembered, longer.
const MOST_SMALL: usize = 64 * 1024;
/// For how long it is remembered that an object is small.
const SMALL_FOR: Duration = Duration::from_secs(60 * 60);

/// The objects that something is known of.
#[derive(Debug)]
pub(crate) struct Known {
    objects: TtlCache<Told>,
    /// When a write of the key last began or ended.
    written: TtlCache<Ticket>,
    clock: AtomicU64,
    /// Smaller objects skip the mirror.
    min_size: u64,
    small: TtlCache<()>,
}

/// A moment, by which later ones are told from earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What origin said.
#[derive(Debug, Clone)]
enum Told {
    /// There is none.
    Absent,
    /// This one.
    Present(Arc<ObjectMeta>),
    /// Something that it did not tell: it is to be asked.
    Changed,
}

/// What a write has made of a key.
#[derive(Debug)]
pub(crate) enum Written {
    /// This object.
    Object(Box<ObjectMeta>),
    /// Nothing is there.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// It has certainly not happened.
    Unchanged,
}

/// How a mirror's answer compares with what origin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It is the same version, or nothing is known: this is what is to be told of it.
    Agrees(Box<ObjectMeta>),
    /// It is another version.
    Contradicts,
    /// It was asked for before something changed, and may be what was there before.
    Overtaken,
}

impl Known {
    /// What origin says is good for `memo`. Objects of fewer bytes than `min_size` skip the mirror.
    pub(crate) fn new(memo: Duration, min_size: u64) -> Self {
        Self {
            objects: TtlCache::new(memo, MOST_KNOWN),
            written: TtlCache::new(memo, MOST_KNOWN),
            clock: AtomicU64::new(0),
            min_size,
            small: TtlCache::new(SMALL_FOR, if min_size > 0 { MOST_SMALL } else { 0 }),
        }
    }

    /// To be taken before origin is asked.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.clock.load(Ordering::SeqCst))
    }

    /// Origin told of an object.
    pub(crate) fn is_there(&self, meta: &ObjectMeta, asked: Ticket) {
        if !self.is_overtaken(&meta.key, asked) {
            self.objects.insert(&meta.key, Told::Present(Arc::new(meta.clone())));
            self.has_size(&meta.key, meta.size);
        }
    }

    /// Origin has no such object.
    pub(crate) fn is_absent(&self, key: &Key, asked: Ticket) {
        if !self.is_overtaken(key, asked) {
            self.objects.insert(key, Told::Absent);
        }
    }

    fn is_overtaken(&self, key: &Key, asked: Ticket) -> bool {
        self.written.get(key).is_some_and(|written| written > asked)
    }

    /// A write begins.
    pub(crate) fn begin_write(&self, key: &Key) -> Ticket {
        let now = Ticket(self.clock.fetch_add(1, Ordering::SeqCst) + 1);
        self.written.insert(key, now);
        now
    }

    /// The write that began so has ended. If there was another one at the same time, nobody knows
    /// which was the last.
    pub(crate) fn end_write(&self, key: &Key, begun: Ticket, written: Written) {
        let was_alone = self.written.get(key) == Some(begun);
        self.begin_write(key);
        let told = match written {
            Written::Unchanged if was_alone => return,
            Written::Object(meta) if was_alone => {
                self.has_size(key, meta.size);
                Told::Present(Arc::from(meta))
            }
            Written::Nothing if was_alone => Told::Absent,
            _ => Told::Changed,
        };
        self.objects.insert(key, told);
    }

    /// Somebody told how large an object is.
    pub(crate) fn has_size(&self, key: &Key, size: u64) {
        if self.min_size == 0 {
            return;
        }
        if size < self.min_size {
            self.small.insert(key, ());
        } else {
            self.small.remove(key);
        }
    }

    /// An object that was absent may have come.
    pub(crate) fn exists(&self, key: &Key) {
        if let Some(Told::Absent) = self.objects.get(key) {
            self.objects.remove(key);
        }
    }

    /// Whether the mirror is not to be asked: there is no object, it is too small, or nobody could
    /// tell its present version from an old one.
    pub(crate) fn skips_mirror(&self, key: &Key) -> bool {
        let is_small = self.min_size > 0 && self.small.contains(key);
        is_small || matches!(self.objects.get(key), Some(Told::Absent | Told::Changed))
    }

    /// Whether origin has to be asked whether what a caller has is current, though a mirror says
    /// that it is.
    pub(crate) fn doubts_that_nothing_changed(&self, key: &Key, options: &OpenOptions) -> bool {
        match self.objects.get(key) {
            None => false,
            Some(Told::Absent | Told::Changed) => true,
            Some(Told::Present(known)) => options
                .check(&known)
                .err()
                .is_none_or(|error| error.kind() != ErrorKind::NotModified),
        }
    }

    /// Compares what a mirror tells. The ETags count where the mirror is `ours`, since others make
    /// their own.
    pub(crate) fn compare(&self, told: ObjectMeta, is_ours: bool, asked: Ticket) -> Comparison {
        if self.is_overtaken(&told.key, asked) {
            return Comparison::Overtaken;
        }
        let known = match self.objects.get(&told.key) {
            None => return Comparison::Agrees(Box::new(told)),
            Some(Told::Absent | Told::Changed) => return Comparison::Overtaken,
            Some(Told::Present(known)) => known,
        };
        let of_one_version = match (&known.etag, &told.etag) {
            (Some(known), Some(told)) => known.weak_eq(told),
            _ => false,
        };
        let contradicts =
            known.size != told.size || (is_ours && known.etag.is_some() && !of_one_version);
        if contradicts {
            return Comparison::Contradicts;
        }
        // Some backends keep the ETag when only the metadata changes, but not the time.
        let of_one_time = match (known.last_modified, told.last_modified) {
            (Some(known), Some(told)) => known == told,
            _ => true,
        };
        if !of_one_version || !of_one_time {
            return Comparison::Agrees(Box::new(told));
        }
        let mut meta = ObjectMeta::clone(&known);
        // Not every backend tells the time of a save at once.
        meta.last_modified = meta.last_modified.or(told.last_modified);
        // The age is that of the response which carries the body.
        meta.response = told.response;
        Comparison::Agrees(Box::new(meta))
    }
}

/// The metadata with its time in whole seconds, as HTTP carries it: so that the same is told
/// whoever answers.
pub(crate) fn in_whole_seconds(mut meta: ObjectMeta) -> ObjectMeta {
    meta.last_modified = meta.last_modified.map(whole_second);
    meta
}

/// The beginning of the second.
pub(crate) fn whole_second(time: SystemTime) -> SystemTime {
    storage_core::internal::floor_to_second(time)
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

    fn compare(known: &Known, told: ObjectMeta, is_ours: bool) -> Comparison {
        known.compare(told, is_ours, known.ticket())
    }

    fn known() -> Known {
        Known::new(Duration::from_secs(120), 0)
    }

    #[test]
    fn nothing_known_agrees_with_everything() {
        assert_eq!(
            compare(&known(), meta("x", 1), true),
            Comparison::Agrees(Box::new(meta("x", 1)))
        );
    }

    #[test]
    fn another_etag_of_our_own_server_contradicts_and_one_of_others_does_not() {
        let known = known();
        known.is_there(&meta("x", 1), known.ticket());
        assert_eq!(compare(&known, meta("y", 1), true), Comparison::Contradicts);
        assert_eq!(compare(&known, ObjectMeta::new(key(), 1), true), Comparison::Contradicts);
        assert_eq!(
            compare(&known, meta("y", 1), false),
            Comparison::Agrees(Box::new(meta("y", 1)))
        );
    }

    #[test]
    fn another_size_contradicts_whoever_tells_it() {
        let known = known();
        known.is_there(&meta("x", 1), known.ticket());
        assert_eq!(compare(&known, meta("x", 2), true), Comparison::Contradicts);
        assert_eq!(compare(&known, meta("y", 2), false), Comparison::Contradicts);
    }

    #[test]
    fn what_agrees_is_told_in_origins_words() {
        let known = known();
        let mut told_by_origin = meta("x", 1);
        told_by_origin.checksums.insert(Checksum::of(ChecksumAlgorithm::Sha256, b"x"));
        known.is_there(&told_by_origin, known.ticket());
        let told = at(1, meta("x", 1));
        assert_eq!(
            compare(&known, told, true),
            Comparison::Agrees(Box::new(at(1, told_by_origin)))
        );
    }

    #[test]
    fn metadata_of_another_time_is_told_as_the_mirror_tells_it() {
        let known = known();
        let of_type = |content_type: &str| {
            let mut meta = meta("x", 1);
            meta.metadata.content_type = Some(content_type.to_owned());
            meta
        };
        known.is_there(&at(1, of_type("a/old")), known.ticket());
        let told = at(2, of_type("a/new"));
        assert_eq!(compare(&known, told.clone(), true), Comparison::Agrees(Box::new(told)));
    }

    #[test]
    fn what_is_absent_skips_the_mirror_until_somebody_saw_it() {
        let known = known();
        known.is_absent(&key(), known.ticket());
        assert!(known.skips_mirror(&key()));
        known.exists(&key());
        assert!(!known.skips_mirror(&key()));
        known.is_there(&meta("x", 1), known.ticket());
        known.exists(&key());
        assert_eq!(
            compare(&known, meta("y", 1), true),
            Comparison::Contradicts,
            "that it exists is no news"
        );
    }

    #[test]
    fn what_a_write_tells_is_known_and_an_older_answer_does_not_take_its_place() {
        let known = known();
        let (before, write) = (known.ticket(), known.begin_write(&key()));
        let during = known.ticket();
        known.end_write(&key(), write, Written::Object(boxed("new", 1)));
        known.is_there(&meta("old", 1), before);
        known.is_there(&meta("old", 1), during);
        known.is_absent(&key(), during);
        assert_eq!(compare(&known, meta("old", 1), true), Comparison::Contradicts);
        assert_eq!(
            known.compare(meta("old", 1), true, during),
            Comparison::Overtaken,
            "no mirror is to blame"
        );
        known.is_there(&meta("newer", 1), known.ticket());
        assert_eq!(compare(&known, meta("new", 1), true), Comparison::Contradicts);
    }

    #[test]
    fn of_two_writes_at_once_nobody_knows_which_was_the_last() {
        let known = known();
        let (first, second) = (known.begin_write(&key()), known.begin_write(&key()));
        known.end_write(&key(), first, Written::Object(boxed("first", 1)));
        assert!(known.skips_mirror(&key()));
        known.end_write(&key(), second, Written::Object(boxed("second", 1)));
        assert!(known.skips_mirror(&key()), "the first may have happened after the second");
        known.is_there(&meta("first", 1), known.ticket());
        assert!(!known.skips_mirror(&key()));
    }

    #[test]
    fn a_write_that_tells_nothing_has_origin_asked_and_one_that_did_not_happen_changes_nothing() {
        let known = known();
        known.is_there(&meta("x", 1), known.ticket());
        let write = known.begin_write(&key());
        known.end_write(&key(), write, Written::Unchanged);
        assert!(!known.skips_mirror(&key()));
        assert_eq!(compare(&known, meta("y", 1), true), Comparison::Contradicts);
        let write = known.begin_write(&key());
        known.end_write(&key(), write, Written::Unknown);
        assert!(known.skips_mirror(&key()));
        assert_eq!(
            compare(&known, meta("x", 1), true),
            Comparison::Overtaken,
            "it was asked for before"
        );
        let write = known.begin_write(&key());
        known.end_write(&key(), write, Written::Nothing);
        assert!(known.skips_mirror(&key()));
    }

    #[test]
    fn small_objects_skip_the_mirror_once_their_size_is_known() {
        let known = Known::new(Duration::from_secs(120), 100);
        assert!(!known.skips_mirror(&key()));
        known.has_size(&key(), 99);
        assert!(known.skips_mirror(&key()));
        known.is_there(&meta("x", 100), known.ticket());
        assert!(!known.skips_mirror(&key()));
        known.is_there(&meta("y", 0), known.ticket());
        assert!(known.skips_mirror(&key()));
    }

    #[test]
    fn times_are_brought_to_whole_seconds() {
        let mut meta = meta("x", 1);
        meta.last_modified = Some(UNIX_EPOCH + Duration::from_millis(5_999));
        assert_eq!(in_whole_seconds(meta).last_modified, Some(UNIX_EPOCH + Duration::from_secs(5)));
        let before_1970 = UNIX_EPOCH - Duration::from_millis(4_500);
        assert_eq!(whole_second(before_1970), UNIX_EPOCH - Duration::from_secs(5));
    }
}
