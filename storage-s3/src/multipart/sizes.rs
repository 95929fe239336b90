//! [`PartSizes`]: the sizes of the parts of a save.

/// S3's limit for the number of parts ("Amazon S3 multipart upload limits").
pub(crate) const MAX_PARTS: u64 = 10_000;
/// Upper bound for the part size of a payload of unknown size, in bytes (64 MiB).
const MAX_GROWN_PART: u64 = 64 * 1024 * 1024;
/// The part size doubles after this many parts of a payload of unknown size.
const PARTS_PER_DOUBLING: u64 = 1_000;
const MIB: u64 = 1024 * 1024;

/// The size of each part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartSizes {
    /// The option `part_size`.
    part_size: u64,
    first: u64,
    grow: bool,
}

impl PartSizes {
    /// Returns sizes of at least `part_size` for a payload of this size. `may_differ` states
    /// whether the service accepts parts of different sizes.
    pub(crate) fn new(part_size: u64, size: Option<u64>, may_differ: bool) -> Self {
        match size {
            Some(size) => Self {
                part_size,
                first: part_size.max(size.div_ceil(MAX_PARTS).next_multiple_of(MIB)),
                grow: false,
            },
            None => Self { part_size, first: part_size, grow: may_differ },
        }
    }

    /// Returns the size of a part by its number. The first part has the number 1.
    pub(crate) fn size_of(self, number: usize) -> u64 {
        if !self.grow {
            return self.first;
        }
        let doublings = u32::try_from((number as u64 - 1) / PARTS_PER_DOUBLING).unwrap_or(u32::MAX);
        let grown = self.first.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
        grown.min(MAX_GROWN_PART.max(self.first))
    }

    /// Returns how many parts may be in flight. Fewer are allowed if they are large.
    pub(super) fn concurrency(self, number: usize, wanted: usize) -> usize {
        let fit = (wanted as u64 * self.part_size).max(4 * MAX_GROWN_PART) / self.size_of(number);
        wanted.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_known_size_has_at_most_as_many_parts_as_s3_allows() {
        assert_eq!(PartSizes::new(8 * MIB, Some(MIB), true).size_of(1), 8 * MIB);
        let five_tib = 5 << 40;
        let sizes = PartSizes::new(8 * MIB, Some(five_tib), true);
        assert!(sizes.size_of(1) * MAX_PARTS >= five_tib && sizes.size_of(1) < 600 * MIB);
        assert_eq!(sizes.concurrency(1, 8), 1);
    }

    #[test]
    fn the_parts_of_a_payload_of_unknown_size_grow_up_to_a_limit() {
        let sizes = PartSizes::new(8 * MIB, None, true);
        assert_eq!(
            [1, 1000, 1001, 2001, 10_000].map(|n| sizes.size_of(n) / MIB),
            [8, 8, 16, 32, 64]
        );
        assert_eq!(sizes.concurrency(1, 8), 8);
        assert_eq!(PartSizes::new(8 * MIB, None, false).size_of(10_000), 8 * MIB);
        assert_eq!(PartSizes::new(100 * MIB, None, true).size_of(10_000), 100 * MIB);
    }
}
