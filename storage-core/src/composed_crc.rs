//! [`compose_crc`]: the CRC of an object from those of its parts. Feature `checksums`.

use crate::checksum::{Checksum, ChecksumAlgorithm};

/// Returns the CRC of an object from the checksum and the size of each part, in order. Its
/// algorithm is that of the parts, and CRC-64/NVME if there are none. Returns `None` if the CRC of
/// a part is not known, or has another algorithm.
pub fn compose_crc<'a>(
    parts: impl IntoIterator<Item = (Option<&'a Checksum>, u64)>,
) -> Option<Checksum> {
    let mut parts = parts.into_iter().peekable();
    let algorithm = match parts.peek() {
        Some((first, _)) => first.as_ref()?.algorithm(),
        None => ChecksumAlgorithm::Crc64Nvme,
    };
    let mut whole = Whole::new(algorithm)?;
    for (checksum, size) in parts {
        let checksum = checksum.filter(|sum| sum.algorithm() == algorithm)?;
        let value = checksum.value().iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        whole.append(value, size);
    }
    let value = whole.crc.to_be_bytes();
    Some(Checksum::computed(algorithm, &value[value.len() - algorithm.value_len()..]))
}

/// The CRC of the parts so far.
struct Whole {
    field: Field,
    crc: u64,
    /// The size of the part before, which most parts have, and x to the power of its bits.
    last: Option<(u64, u64)>,
}

impl Whole {
    /// Returns the CRC of no bytes, or `None` if the algorithm is no CRC.
    fn new(algorithm: ChecksumAlgorithm) -> Option<Self> {
        let field = match algorithm {
            ChecksumAlgorithm::Crc64Nvme => Field { polynomial: 0x9a6c_9329_ac4b_c9b5, bits: 64 },
            ChecksumAlgorithm::Crc32c => Field { polynomial: 0x82f6_3b78, bits: 32 },
            _ => return None,
        };
        Some(Self { field, crc: 0, last: None })
    }

    /// Appends a part: the CRC of what precedes is multiplied by x for each bit that follows.
    fn append(&mut self, next: u64, size: u64) {
        let power = match self.last {
            Some((last, power)) if last == size => power,
            _ => self.field.power_of_bytes(size),
        };
        self.last = Some((size, power));
        self.crc = self.field.multiply(power, self.crc) ^ next;
    }
}

/// Polynomials modulo that of a CRC, whose highest term is left out. The lowest term is the highest
/// of the bits.
#[derive(Clone, Copy)]
struct Field {
    polynomial: u64,
    bits: u32,
}

impl Field {
    /// Returns x to the power of the bits in so many bytes, by repeated squaring.
    /// `crc_fast::checksum_combine` computes with matrices, which takes 200 times as long.
    fn power_of_bytes(self, mut bytes: u64) -> u64 {
        let one = 1 << (self.bits - 1);
        let (mut power, mut square) = (one, one >> 8);
        while bytes > 0 {
            if bytes & 1 == 1 {
                power = self.multiply(power, square);
            }
            square = self.multiply(square, square);
            bytes >>= 1;
        }
        power
    }

    fn multiply(self, first: u64, mut second: u64) -> u64 {
        let mut product = 0;
        for bit in (0..self.bits).rev() {
            if first >> bit & 1 == 1 {
                product ^= second;
            }
            let carry = second & 1;
            second = (second >> 1) ^ if carry == 1 { self.polynomial } else { 0 };
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_any_size_is_appended_as_the_library_does() {
        use crc_fast::{CrcAlgorithm, checksum_combine};
        for (algorithm, theirs) in [
            (ChecksumAlgorithm::Crc64Nvme, CrcAlgorithm::Crc64Nvme),
            (ChecksumAlgorithm::Crc32c, CrcAlgorithm::Crc32Iscsi),
        ] {
            for size in [0, 1, 8 << 20, 5 << 30, (1 << 40) + 12_345] {
                let mut whole = Whole::new(algorithm).unwrap();
                for part in [0x1234_5678, 77] {
                    let expected = checksum_combine(theirs, whole.crc, part, size);
                    whole.append(part, size);
                    assert_eq!(whole.crc, expected, "{algorithm:?}, {size}");
                }
            }
        }
    }

    #[test]
    fn the_checksum_of_the_whole_is_that_of_its_parts_together() {
        let bytes: Vec<u8> =
            (0..100_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let equal: Vec<_> = (1..1_000).map(|number| 100 * number).collect();
        for cuts in [vec![0], vec![1, 50_000, 99_999], vec![100_000], vec![30, 30], equal] {
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            for algorithm in [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32c] {
                let parts = starts.clone().zip(ends.clone()).map(|(start, end)| {
                    let part = &bytes[start..end];
                    (Checksum::of(algorithm, part), part.len() as u64)
                });
                let parts: Vec<_> = parts.collect();
                let parts = parts.iter().map(|(checksum, size)| (Some(checksum), *size));
                assert_eq!(compose_crc(parts), Some(Checksum::of(algorithm, &bytes)));
            }
        }
    }

    #[test]
    fn a_part_with_another_checksum_or_none_leaves_that_of_the_whole_unknown() {
        let crc = Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"a");
        let sha256 = Checksum::of(ChecksumAlgorithm::Sha256, b"a");
        let crc32c = Checksum::of(ChecksumAlgorithm::Crc32c, b"a");
        for second in [None, Some(&sha256), Some(&crc32c)] {
            assert_eq!(compose_crc([(Some(&crc), 1), (second, 1)]), None);
            assert_eq!(compose_crc([(second, 1), (Some(&crc), 1)]), None);
        }
        assert_eq!(compose_crc([(Some(&sha256), 1)]), None);
    }
}
