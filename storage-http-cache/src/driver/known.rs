//! [`Known`]: what origin has said of objects a short while ago.
//!
//! A mirror's answer that contradicts it is not used: origin is asked again. So a mirror that missed a purge, or lies, is
//! found out wherever a validator or a size can tell, and a key that was deleted here is not asked for at all. What agrees
//! is told in origin's words, which a mirror cannot all carry (checksums).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{Key, ObjectMeta};

use super::recent::Recent;

/// How many keys are remembered.
const MOST_KNOWN: usize = 16 * 1024;
/// How many keys of small objects are remembered, longer.
const MOST_SMALL: usize = 64 * 1024;
/// For how long it is remembered that an object is small.
const SMALL_FOR: Duration = Duration::from_secs(60 * 60);

/// The objects that something is known of.
#[derive(Debug)]
pub(crate) struct Known {
    objects: Recent<Told>,
    /// Smaller objects skip the mirror.
    min_size: u64,
    small: Recent<()>,
}

/// What origin said.
#[derive(Debug, Clone)]
enum Told {
    /// There is none.
    Absent,
    /// This one.
    Present(Arc<ObjectMeta>),
}

/// How a mirror's answer compares with what origin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It is the same version, or nothing is known: this is what is to be told of it.
    Agrees(Box<ObjectMeta>),
    /// It is another version.
    Contradicts,
}

impl Known {
    /// What origin says is good for `memo`. Objects of fewer bytes than `min_size` skip the mirror.
    pub(crate) fn new(memo: Duration, min_size: u64) -> Self {
        Self {
            objects: Recent::new(memo, MOST_KNOWN),
            min_size,
            small: Recent::new(SMALL_FOR, if min_size > 0 { MOST_SMALL } else { 0 }),
        }
    }

    /// Origin told of an object.
    pub(crate) fn is_there(&self, meta: &ObjectMeta) {
        self.objects.insert(&meta.key, Told::Present(Arc::new(meta.clone())));
        self.has_size(&meta.key, meta.size);
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

    /// Origin has no such object.
    pub(crate) fn is_absent(&self, key: &Key) {
        self.objects.insert(key, Told::Absent);
    }

    /// There may be another one now.
    pub(crate) fn forget(&self, key: &Key) {
        self.objects.remove(key);
        if self.min_size > 0 {
            self.small.remove(key);
        }
    }

    /// An object that was absent may have come.
    pub(crate) fn exists(&self, key: &Key) {
        if let Some(Told::Absent) = self.objects.get(key) {
            self.objects.remove(key);
        }
    }

    /// Whether the mirror has no use for this key: there is no object, or it is too small.
    pub(crate) fn skips_mirror(&self, key: &Key) -> bool {
        let is_small = self.min_size > 0 && self.small.contains(key);
        is_small || matches!(self.objects.get(key), Some(Told::Absent))
    }

    /// What origin said of the object that is there.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<ObjectMeta>> {
        match self.objects.get(key)? {
            Told::Present(meta) => Some(meta),
            Told::Absent => None,
        }
    }

    /// Compares what a mirror tells. The ETags count where the mirror is `ours`, since others make their own.
    pub(crate) fn compare(&self, told: ObjectMeta, is_ours: bool) -> Comparison {
        let Some(known) = self.get(&told.key) else { return Comparison::Agrees(Box::new(told)) };
        let of_one_version = match (&known.etag, &told.etag) {
            (Some(known), Some(told)) => known.weak_eq(told),
            _ => false,
        };
        let contradicts = known.size != told.size || (is_ours && known.etag.is_some() && !of_one_version);
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
        Comparison::Agrees(Box::new(meta))
    }
}

/// The metadata with its time in whole seconds, as HTTP carries it: so that the same is told whoever answers.
pub(crate) fn in_whole_seconds(mut meta: ObjectMeta) -> ObjectMeta {
    meta.last_modified = meta.last_modified.map(whole_second);
    meta
}

/// The beginning of the second.
pub(crate) fn whole_second(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(UNIX_EPOCH, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
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

    fn known() -> Known {
        Known::new(Duration::from_secs(120), 0)
    }

    #[test]
    fn nothing_known_agrees_with_everything() {
        assert_eq!(known().compare(meta("x", 1), true), Comparison::Agrees(Box::new(meta("x", 1))));
    }

    #[test]
    fn another_etag_of_our_own_server_contradicts_and_one_of_others_does_not() {
        let known = known();
        known.is_there(&meta("x", 1));
        assert_eq!(known.compare(meta("y", 1), true), Comparison::Contradicts);
        assert_eq!(known.compare(ObjectMeta::new(key(), 1), true), Comparison::Contradicts);
        assert_eq!(known.compare(meta("y", 1), false), Comparison::Agrees(Box::new(meta("y", 1))));
    }

    #[test]
    fn another_size_contradicts_whoever_tells_it() {
        let known = known();
        known.is_there(&meta("x", 1));
        assert_eq!(known.compare(meta("x", 2), true), Comparison::Contradicts);
        assert_eq!(known.compare(meta("y", 2), false), Comparison::Contradicts);
    }

    #[test]
    fn what_agrees_is_told_in_origins_words() {
        let known = known();
        let mut told_by_origin = meta("x", 1);
        told_by_origin.checksums.insert(Checksum::of(ChecksumAlgorithm::Sha256, b"x"));
        known.is_there(&told_by_origin);
        let told = at(1, meta("x", 1));
        assert_eq!(known.compare(told, true), Comparison::Agrees(Box::new(at(1, told_by_origin))));
    }

    #[test]
    fn metadata_of_another_time_is_told_as_the_mirror_tells_it() {
        let known = known();
        let of_type = |content_type: &str| {
            let mut meta = meta("x", 1);
            meta.metadata.content_type = Some(content_type.to_owned());
            meta
        };
        known.is_there(&at(1, of_type("a/old")));
        let told = at(2, of_type("a/new"));
        assert_eq!(known.compare(told.clone(), true), Comparison::Agrees(Box::new(told)));
    }

    #[test]
    fn what_is_absent_skips_the_mirror_until_somebody_saw_it() {
        let known = known();
        known.is_absent(&key());
        assert!(known.skips_mirror(&key()));
        known.exists(&key());
        assert!(!known.skips_mirror(&key()));
        known.is_there(&meta("x", 1));
        known.exists(&key());
        assert!(known.get(&key()).is_some(), "that it exists is no news");
    }

    #[test]
    fn small_objects_skip_the_mirror_once_their_size_is_known() {
        let known = Known::new(Duration::from_secs(120), 100);
        assert!(!known.skips_mirror(&key()));
        known.has_size(&key(), 99);
        assert!(known.skips_mirror(&key()));
        known.is_there(&meta("x", 100));
        assert!(!known.skips_mirror(&key()));
        known.is_there(&meta("y", 0));
        assert!(known.skips_mirror(&key()));
    }

    #[test]
    fn times_are_brought_to_whole_seconds() {
        let mut meta = meta("x", 1);
        meta.last_modified = Some(UNIX_EPOCH + Duration::from_millis(5_999));
        assert_eq!(in_whole_seconds(meta).last_modified, Some(UNIX_EPOCH + Duration::from_secs(5)));
        assert_eq!(whole_second(UNIX_EPOCH - Duration::from_secs(5)), UNIX_EPOCH);
    }
}
