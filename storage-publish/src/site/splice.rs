//! Replaces parts of a file by their places.

use std::ops::Range;

/// A part of a file, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edit {
    start: usize,
    end: usize,
    text: String,
}

impl Edit {
    pub(crate) fn insert(at: usize, text: String) -> Self {
        Self { start: at, end: at, text }
    }

    pub(crate) fn replace(range: Range<usize>, text: String) -> Self {
        Self { start: range.start, end: range.end, text }
    }
}

/// Returns the bytes with the edits. All other bytes stay as they are. Of edits that overlap, the
/// first one counts.
pub(crate) fn splice(bytes: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort();
    edits.dedup();
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut result = Vec::with_capacity(bytes.len() + added);
    let mut at = 0;
    for edit in edits {
        if edit.start < at || edit.end > bytes.len() {
            continue;
        }
        result.extend_from_slice(&bytes[at..edit.start]);
        result.extend_from_slice(edit.text.as_bytes());
        at = edit.end;
    }
    result.extend_from_slice(&bytes[at..]);
    result
}

/// Returns a part of the bytes with the edits within it. The edits are sorted.
pub(crate) fn splice_part(bytes: &[u8], part: Range<usize>, edits: &[Edit]) -> Vec<u8> {
    let first = edits.partition_point(|edit| edit.start < part.start);
    let near = edits[first..].iter().take_while(|edit| edit.start <= part.end);
    let moved = near.filter(|edit| edit.end <= part.end).map(|edit| {
        let range = edit.start - part.start..edit.end - part.start;
        Edit::replace(range, edit.text.clone())
    });
    splice(bytes.get(part.clone()).unwrap_or_default(), moved.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_edits_within_it() {
        let edits = [Edit::insert(1, "-".into()), Edit::insert(3, "+".into())];
        assert_eq!(splice_part(b"abcdef", 2..5, &edits), b"c+de");
    }

    #[test]
    fn edits_replace_and_insert() {
        let edits = vec![
            Edit::replace(4..6, "XYZ".into()),
            Edit::insert(1, "-".into()),
            Edit::insert(1, "-".into()),
            Edit::replace(5..7, "no".into()),
        ];
        assert_eq!(splice(b"abcdefgh", edits), b"a-bcdXYZgh");
    }

    proptest::proptest! {
        #[test]
        fn without_edits_the_bytes_are_equal(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(splice(&bytes, Vec::new()), bytes);
        }
    }
}
