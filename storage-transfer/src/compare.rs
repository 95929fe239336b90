//! Compares the objects of both sides: [`Comparison`], and what it is based on.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Hasher, Key, ObjectEntry,
    ObjectMeta, OpenOptions, Result, Storage,
};

use crate::copy::Bandwidth;
use crate::directory::Directory;
use crate::merge::Pair;

/// How a sync decides whether the object of the source and that of the destination are the same.
/// Objects of different sizes are different in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Comparison {
    /// What both listings contain, without a request for each key. Equal ETags of contents (those
    /// of S3) mean the same. Otherwise objects of one size are the same if the source is not newer.
    /// This misses each change of the destination that kept the size, and one of the source if a
    /// clock is wrong. If a side has no times, the size decides.
    #[default]
    Listing,
    /// The size alone. Misses each change that keeps the size.
    Size,
    /// The size, and that the source is not newer. Ignores ETags.
    Mtime,
    /// The ETags of the contents, which must be equal. Both sides must be S3.
    ETag,
    /// Checksums of the contents. One request for each object and side; an object whose checksum is
    /// not stored is read.
    Checksum,
}

impl Comparison {
    /// Fails with `InvalidInput` if the comparison is impossible between these sides.
    pub(crate) fn check(self, source: &Directory, target: &Directory) -> Result<()> {
        let of = |side: &Directory| side.storage().info().name.clone();
        let (from, to) = (of(source), of(target));
        if self == Self::ETag && (from != "s3" || to != "s3") {
            let message = format!(
                "the ETags of {from} and {to} cannot be compared, because only those of S3 depend \
                 on the contents alone: compare by checksum"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}

/// What a comparison is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// The sizes differ.
    Size,
    /// The sizes are equal, and nothing else is known or compared.
    SizeAlone,
    /// The ETags of the contents.
    ETag,
    /// The sizes and the times.
    SizeAndTime,
    /// A checksum of the contents, stored or computed.
    Checksum,
}

/// The result of comparing two objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    Same(Evidence),
    Different(Evidence),
    /// Both must be read, or asked for their checksums.
    Undecided,
}

/// Compares two entries of listings. Sends no request.
pub(crate) fn compare_entries(
    comparison: Comparison,
    source: &ObjectEntry,
    target: &ObjectEntry,
    are_s3: bool,
) -> Compared {
    if source.size != target.size {
        return Compared::Different(Evidence::Size);
    }
    let has_equal_etags = are_s3 && have_equal_contents(source, target);
    match comparison {
        Comparison::Size => Compared::Same(Evidence::SizeAlone),
        Comparison::Checksum => Compared::Undecided,
        Comparison::Listing | Comparison::ETag if has_equal_etags => Compared::Same(Evidence::ETag),
        Comparison::ETag => Compared::Different(Evidence::ETag),
        Comparison::Listing | Comparison::Mtime => compare_times(source, target),
    }
}

fn compare_times(source: &ObjectEntry, target: &ObjectEntry) -> Compared {
    match (source.last_modified, target.last_modified) {
        (Some(source), Some(target)) if source > target => {
            Compared::Different(Evidence::SizeAndTime)
        }
        (Some(_), Some(_)) => Compared::Same(Evidence::SizeAndTime),
        _ => Compared::Same(Evidence::SizeAlone),
    }
}

/// Whether both entries have the same ETag of S3's form: an MD5, which is that of the contents or
/// of all parts' MD5s (API reference, `Object`). With an equal form it depends on the contents
/// alone. Encryption changes it, so different ETags prove nothing.
pub(crate) fn have_equal_contents(source: &ObjectEntry, target: &ObjectEntry) -> bool {
    match (&source.etag, &target.etag) {
        (Some(source), Some(target)) => source.strong_eq(target) && is_md5(source),
        _ => false,
    }
}

/// Whether an ETag has the form of an MD5, or of one of parts: `<32 hex digits>-<count>`.
fn is_md5(etag: &ETag) -> bool {
    let (digest, parts) = etag.opaque().split_once('-').unwrap_or((etag.opaque(), "1"));
    digest.len() == 32
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !parts.is_empty()
        && parts.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is read to compare two objects by their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing: only checksums that both sides have stored. Without them the result is unknown.
    Nothing,
    /// The sides whose checksum is not stored.
    Missing,
    /// Both sides.
    Both,
}

/// Compares the contents of the objects of a pair by checksums. Returns `None` if that is
/// impossible without reading more. A limit applies to the bytes that are read.
///
/// # Errors
/// `NotFound` or `PreconditionFailed` if an object was deleted or replaced since it was listed, and
/// other errors of the storages.
pub(crate) async fn compare_contents(
    directories: (&Directory, &Directory),
    source: &ObjectEntry,
    target: &ObjectEntry,
    (reading, bandwidth): (Reading, Option<&Bandwidth>),
) -> Result<Option<bool>> {
    let (from, to) = (directories.0.storage(), directories.1.storage());
    let stored = match reading {
        Reading::Both => (Checksums::new(), Checksums::new()),
        _ => tokio::try_join!(stored(from, source), stored(to, target))?,
    };
    let common = stored.0.iter().find_map(|sum| Some((sum, stored.1.get(sum.algorithm())?)));
    if let Some((source, target)) = common {
        return Ok(Some(source == target));
    }
    if reading == Reading::Nothing {
        return Ok(None);
    }
    // Reads one side if the other one has a checksum of the whole object.
    let known = stored.1.iter().next().or_else(|| stored.0.iter().next());
    let algorithm = known.map_or(ChecksumAlgorithm::Sha256, Checksum::algorithm);
    let sum = |storage, entry, stored: Option<Checksum>| async move {
        match stored {
            Some(sum) => Ok(sum),
            None => computed(storage, entry, algorithm, bandwidth).await,
        }
    };
    let (of_source, of_target) = (stored.0.get(algorithm), stored.1.get(algorithm));
    let sums = tokio::try_join!(
        sum(from, source, of_source.cloned()),
        sum(to, target, of_target.cloned())
    )?;
    Ok(Some(sums.0 == sums.1))
}

/// Returns the stored checksums of the version that was listed.
async fn stored(storage: &Storage, entry: &ObjectEntry) -> Result<Checksums> {
    let meta = storage.stat(&entry.key).await?;
    if !is_listed_version(entry, &meta) {
        return Err(replaced(&entry.key));
    }
    Ok(meta.checksums)
}

/// Reads the version that was listed, and computes its checksum.
async fn computed(
    storage: &Storage,
    entry: &ObjectEntry,
    algorithm: ChecksumAlgorithm,
    bandwidth: Option<&Bandwidth>,
) -> Result<Checksum> {
    let mut open = OpenOptions::new();
    open.if_match = entry.etag.clone().filter(|etag| !etag.is_weak());
    let object = storage.open_with(&entry.key, open).await?;
    if object.meta().size != entry.size {
        return Err(replaced(&entry.key));
    }
    let mut hasher = Hasher::new(algorithm);
    let mut chunks = object.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        if let Some(bandwidth) = bandwidth {
            bandwidth.pass(chunk.len() as u64).await;
        }
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}

/// Whether an error means that an object was replaced or deleted since it was listed.
pub(crate) fn is_changed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PreconditionFailed)
}

fn replaced(key: &Key) -> Error {
    let message = "the object was replaced since it was listed: run again";
    Error::new(ErrorKind::PreconditionFailed, message).with_key(key.as_str())
}

/// Returns what a listing contains about an object.
pub(crate) fn entry(meta: ObjectMeta) -> ObjectEntry {
    let mut entry = ObjectEntry::new(meta.key, meta.size);
    (entry.etag, entry.last_modified) = (meta.etag, meta.last_modified);
    entry
}

/// Whether an object still is the version that was listed, as far as the listing shows. Without
/// ETags, as on a local disk, that is its size and time.
pub(crate) fn is_listed_version(listed: &ObjectEntry, now: &ObjectMeta) -> bool {
    if let (Some(listed), Some(now)) = (&listed.etag, &now.etag) {
        return now.weak_eq(listed);
    }
    let is_same_time = match (listed.last_modified, now.last_modified) {
        (Some(listed), Some(now)) => is_same_time(listed, now),
        _ => true,
    };
    listed.size == now.size && is_same_time
}

/// Compares two times of one storage, one of which may be in whole seconds, as in HTTP headers.
fn is_same_time(a: SystemTime, b: SystemTime) -> bool {
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (a, b) = (since(a), since(b));
    let is_whole = a.subsec_nanos() == 0 || b.subsec_nanos() == 0;
    a == b || (is_whole && a.as_secs() == b.as_secs())
}

/// Whether both sides are S3, whose ETags of equal contents are equal.
pub(crate) fn are_s3(source: &Directory, target: &Directory) -> bool {
    [source, target].iter().all(|side| side.storage().info().name == "s3")
}

/// Whether the object of the destination is newer than that of the source.
pub(crate) fn is_target_newer(pair: &Pair) -> bool {
    let time = |entry: &Option<ObjectEntry>| entry.as_ref().and_then(|entry| entry.last_modified);
    matches!((time(&pair.source), time(&pair.target)), (Some(source), Some(target)) if target > source)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MD5: &str = "5d41402abc4b2a76b9719d911017c592";

    fn entry(size: u64, etag: &str, seconds: Option<u64>) -> ObjectEntry {
        let mut entry = ObjectEntry::new(Key::new("a").unwrap(), size);
        entry.etag = (!etag.is_empty()).then(|| ETag::strong(etag).unwrap());
        entry.last_modified =
            seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        entry
    }

    fn listing(source: &ObjectEntry, target: &ObjectEntry) -> Compared {
        compare_entries(Comparison::Listing, source, target, true)
    }

    #[test]
    fn objects_of_different_sizes_differ_in_every_comparison() {
        let (source, target) = (entry(1, MD5, Some(1)), entry(2, MD5, Some(2)));
        for comparison in [
            Comparison::Listing,
            Comparison::Size,
            Comparison::Mtime,
            Comparison::ETag,
            Comparison::Checksum,
        ] {
            let compared = compare_entries(comparison, &source, &target, true);
            assert_eq!(compared, Compared::Different(Evidence::Size), "{comparison:?}");
        }
    }

    #[test]
    fn equal_etags_of_contents_mean_the_same_although_the_source_is_newer() {
        for etag in [MD5.to_owned(), format!("{MD5}-3")] {
            let (source, target) = (entry(1, &etag, Some(2)), entry(1, &etag, Some(1)));
            assert_eq!(listing(&source, &target), Compared::Same(Evidence::ETag));
        }
    }

    #[test]
    fn equal_etags_of_another_form_or_driver_prove_nothing() {
        let (source, target) = (entry(1, "abc", Some(2)), entry(1, "abc", Some(1)));
        assert_eq!(listing(&source, &target), Compared::Different(Evidence::SizeAndTime));
        let (source, target) = (entry(1, MD5, Some(2)), entry(1, MD5, Some(1)));
        let compared = compare_entries(Comparison::Listing, &source, &target, false);
        assert_eq!(compared, Compared::Different(Evidence::SizeAndTime));
    }

    #[test]
    fn a_source_that_is_not_newer_is_the_same() {
        for seconds in [1, 2] {
            let (source, target) = (entry(1, "", Some(seconds)), entry(1, "", Some(2)));
            assert_eq!(listing(&source, &target), Compared::Same(Evidence::SizeAndTime));
        }
        let unknown = entry(1, "", None);
        assert_eq!(listing(&unknown, &entry(1, "", Some(2))), Compared::Same(Evidence::SizeAlone));
    }

    #[test]
    fn etags_that_differ_are_no_proof_of_equality() {
        let (source, target) = (entry(1, MD5, Some(1)), entry(1, &format!("{MD5}-1"), Some(2)));
        let compared = compare_entries(Comparison::ETag, &source, &target, true);
        assert_eq!(compared, Compared::Different(Evidence::ETag));
    }
}
