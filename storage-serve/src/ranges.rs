//! The Range header (RFC 9110, section 14.2): which bytes of an object to send.

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;
use storage_core::ByteRange;

/// How many ranges a request may name, ...
const MAX_ASKED: usize = 64;
/// ... and how many parts an answer may have. For more, the whole object is one answer that costs
/// less.
const MAX_PARTS: usize = 16;

/// The ranges that a request names. `None` if it names none, in another unit, not well, or too many
/// of them: then the whole object is to be sent, as RFC 9110 has it.
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
        if ranges.len() == MAX_ASKED {
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

/// A number beyond all objects is a number.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What is to be sent of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedRanges {
    /// All of it, as status 200.
    Whole,
    /// These parts, as status 206: at least one, not empty, none overlapping another.
    Parts(Vec<Range<u64>>),
    /// Status 416: no byte that was asked for is there.
    NotSatisfiable,
}

/// Applies ranges to an object of a size. What overlaps is sent once, and so many parts that the
/// whole object would be less trouble are the whole object: no request makes an answer much larger
/// than the object.
#[must_use]
pub fn resolve_ranges(asked: &[ByteRange], size: u64) -> ResolvedRanges {
    let mut parts: Vec<_> = asked.iter().filter_map(|range| range.resolve(size).ok()).collect();
    if parts.is_empty() {
        // The end of nothing is nothing (RFC 9110, section 14.1.2), and no header can name it as a
        // part.
        let is_end = |range: &ByteRange| matches!(range, ByteRange::Last(n) if *n > 0);
        return if size == 0 && asked.iter().any(is_end) {
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

    fn of(value: &str) -> Option<Vec<ByteRange>> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value.parse().unwrap());
        parse_range(&headers)
    }

    fn part(range: Range<u64>) -> ResolvedRanges {
        ResolvedRanges::Parts(vec![range])
    }

    fn selected(value: &str) -> ResolvedRanges {
        resolve_ranges(&of(value).unwrap(), 100)
    }

    #[test]
    fn each_form_of_a_range_is_read() {
        assert_eq!(of("bytes=0-9"), Some(vec![ByteRange::FromTo(0, 10)]));
        assert_eq!(of("bytes=5-"), Some(vec![ByteRange::From(5)]));
        assert_eq!(of("bytes=-5"), Some(vec![ByteRange::Last(5)]));
        assert_eq!(of("Bytes = 1-2 , -3"), Some(vec![ByteRange::FromTo(1, 3), ByteRange::Last(3)]));
        assert_eq!(
            of("bytes=0-99999999999999999999999"),
            Some(vec![ByteRange::FromTo(0, u64::MAX)])
        );
    }

    #[test]
    fn what_is_not_well_formed_is_ignored() {
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
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn ranges_end_with_the_object() {
        assert_eq!(selected("bytes=90-200"), part(90..100));
        assert_eq!(selected("bytes=-200"), part(0..100));
        assert_eq!(selected("bytes=100-"), ResolvedRanges::NotSatisfiable);
        assert_eq!(selected("bytes=-0"), ResolvedRanges::NotSatisfiable);
        assert_eq!(selected("bytes=500-600,1-2"), part(1..3));
    }

    #[test]
    fn of_nothing_only_the_end_can_be_had() {
        assert_eq!(resolve_ranges(&[ByteRange::From(0)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::FromTo(0, 1)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::Last(0)], 0), ResolvedRanges::NotSatisfiable);
        assert_eq!(resolve_ranges(&[ByteRange::Last(5)], 0), ResolvedRanges::Whole);
    }

    #[test]
    fn parts_come_in_the_order_asked_for_unless_they_overlap() {
        assert_eq!(selected("bytes=50-59,0-9"), ResolvedRanges::Parts(vec![50..60, 0..10]));
        assert_eq!(selected("bytes=50-59,0-9,5-20"), ResolvedRanges::Parts(vec![0..21, 50..60]));
        assert_eq!(selected("bytes=0-9,10-19"), part(0..20));
        assert_eq!(selected("bytes=0-,0-,0-,-100"), part(0..100));
    }

    #[test]
    fn a_flood_of_ranges_is_the_whole_object() {
        let many = (0..=MAX_PARTS)
            .map(|n| format!("{}-{}", n * 4, n * 4 + 1))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(selected(&format!("bytes={many}")), ResolvedRanges::Whole);
        let flood = vec!["0-0"; MAX_ASKED + 1].join(",");
        assert_eq!(of(&format!("bytes={flood}")), None);
    }
}
