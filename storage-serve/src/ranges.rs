//! Parses the Range header and resolves it to the bytes of an object (RFC 9110 section 14.2).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;
use storage_core::ByteRange;

/// The maximum number of ranges in a request.
const MAX_RANGES: usize = 64;

/// The maximum number of parts in a response. For more, the whole object is sent.
const MAX_PARTS: usize = 16;

/// Returns the ranges of a request.
///
/// Returns `None` if there are none, if they are invalid or in another unit, or if there are more
/// than 64. Respond with the whole object then, as RFC 9110 section 14.2 allows.
///
/// ```
/// use http::HeaderMap;
/// use http::header::RANGE;
/// use storage_core::ByteRange;
/// use storage_serve::internal::{ResolvedRanges, parse_range, resolve_ranges};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RANGE, "bytes=0-9,-5".parse()?);
/// let ranges = parse_range(&headers).unwrap_or_default();
/// assert_eq!(ranges, [ByteRange::FromTo(0, 10), ByteRange::Last(5)]);
/// assert_eq!(resolve_ranges(&ranges, 100), ResolvedRanges::Parts(vec![0..10, 95..100]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn parse_range(headers: &HeaderMap) -> Option<Vec<ByteRange>> {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (unit, set) = value.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    for range in set.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        if ranges.len() == MAX_RANGES {
            return None;
        }
        ranges.push(parse(range)?);
    }
    (!ranges.is_empty()).then_some(ranges)
}

fn parse(range: &str) -> Option<ByteRange> {
    let (first, last) = range.split_once('-')?;
    match (first.trim_end(), last.trim_start()) {
        ("", n) => number(n).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| ByteRange::FromTo(first, last.saturating_add(1)))
        }
    }
}

/// Parses a number. A number of more than 64 bits becomes `u64::MAX`, which exceeds any object.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The parts of an object to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolvedRanges {
    /// The whole object: respond with 200.
    Whole,
    /// At least one part: respond with 206. No part is empty, and no two overlap.
    Parts(Vec<Range<u64>>),
    /// The object has none of the requested bytes: respond with 416.
    NotSatisfiable,
}

/// Applies requested ranges to an object of a size, in bytes.
///
/// Merges overlapping ranges, and returns `Whole` for more than 16 parts, so that no response is
/// much larger than the object.
#[must_use]
pub fn resolve_ranges(requested: &[ByteRange], size: u64) -> ResolvedRanges {
    let mut parts: Vec<_> = requested.iter().filter_map(|range| range.resolve(size).ok()).collect();
    if parts.is_empty() {
        // The last bytes of an empty object are satisfiable (RFC 9110 section 14.1.2), but
        // Content-Range cannot express an empty part.
        let is_end = |range: &ByteRange| matches!(range, ByteRange::Last(n) if *n > 0);
        return if size == 0 && requested.iter().any(is_end) {
            ResolvedRanges::Whole
        } else {
            ResolvedRanges::NotSatisfiable
        };
    }
    if overlap(&parts) {
        merge(&mut parts);
    }
    if parts.len() > MAX_PARTS { ResolvedRanges::Whole } else { ResolvedRanges::Parts(parts) }
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).any(|pair| pair[0].end >= pair[1].start)
}

fn merge(parts: &mut Vec<Range<u64>>) {
    parts.sort_by_key(|part| part.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(parts.len());
    for part in parts.drain(..) {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    *parts = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<Vec<ByteRange>> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value.parse().unwrap());
        parse_range(&headers)
    }

    fn part(range: Range<u64>) -> ResolvedRanges {
        ResolvedRanges::Parts(vec![range])
    }

    fn resolved(value: &str) -> ResolvedRanges {
        resolve_ranges(&parsed(value).unwrap(), 100)
    }

    #[test]
    fn each_form_of_a_range_is_parsed() {
        assert_eq!(parsed("bytes=0-9"), Some(vec![ByteRange::FromTo(0, 10)]));
        assert_eq!(parsed("bytes=5-"), Some(vec![ByteRange::From(5)]));
        assert_eq!(parsed("bytes=-5"), Some(vec![ByteRange::Last(5)]));
        assert_eq!(
            parsed("Bytes = 1-2 , -3"),
            Some(vec![ByteRange::FromTo(1, 3), ByteRange::Last(3)])
        );
        assert_eq!(
            parsed("bytes=0-99999999999999999999999"),
            Some(vec![ByteRange::FromTo(0, u64::MAX)])
        );
    }

    #[test]
    fn an_invalid_range_is_ignored() {
        for value in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "lines=1-2",
            "bytes=1-2,x",
        ] {
            assert_eq!(parsed(value), None, "{value}");
        }
    }

    #[test]
    fn ranges_are_limited_to_the_size_of_the_object() {
        assert_eq!(resolved("bytes=90-200"), part(90..100));
        assert_eq!(resolved("bytes=-200"), part(0..100));
        assert_eq!(resolved("bytes=100-"), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolved("bytes=-0"), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolved("bytes=500-600,1-2"), part(1..3));
    }

    #[test]
    fn only_a_suffix_range_of_an_empty_object_is_satisfiable() {
        assert_eq!(resolve_ranges(&[ByteRange::From(0)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::FromTo(0, 1)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::Last(0)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::Last(5)], 0), ResolvedRanges::Whole);
    }

    #[test]
    fn parts_keep_the_requested_order_unless_they_overlap() {
        assert_eq!(resolved("bytes=50-59,0-9"), ResolvedRanges::Parts(vec![50..60, 0..10]));
        assert_eq!(resolved("bytes=50-59,0-9,5-20"), ResolvedRanges::Parts(vec![0..21, 50..60]));
        assert_eq!(resolved("bytes=0-9,10-19"), part(0..20));
        assert_eq!(resolved("bytes=0-,0-,0-,-100"), part(0..100));
    }

    #[test]
    fn too_many_ranges_become_the_whole_object() {
        let many = (0..=MAX_PARTS)
            .map(|n| format!("{}-{}", n * 4, n * 4 + 1))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(resolved(&format!("bytes={many}")), ResolvedRanges::Whole);
        let flood = vec!["0-0"; MAX_RANGES + 1].join(",");
        assert_eq!(parsed(&format!("bytes={flood}")), None);
    }
}
