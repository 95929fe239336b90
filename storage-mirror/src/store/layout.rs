//! The format of an entry's file. A checksum covers every byte of it.
//!
//! | part | length in bytes | content |
//! |---|---|---|
//! | header | a multiple of 4096 | CRC of the rest, magic, header length, metadata length, metadata, zeros |
//! | body | size of the object | the object |
//! | sums | 8 for each block of the body | the CRC of each block |
//! | footer | 32 | magic, length of the body, CRC of the sums, CRC of the footer up to here |
//!
//! Numbers are little-endian; CRCs are CRC-64/NVME. The body begins on a page boundary and is
//! divided into blocks of 128 KiB, so that a block consists of whole pages. The header has unused
//! space, so that newer metadata can replace the old one in place.

use std::ops::Range;

use crc_fast::CrcAlgorithm;

/// The bytes of a body that one checksum covers, and the size of a read.
pub(crate) const BLOCK: usize = 128 * 1024;

/// The unit of header lengths and of the space that a file takes on the disk, in bytes.
pub(super) const PAGE: usize = 4096;

/// The longest header in bytes. Bounds the metadata, and the memory that a broken length can cost.
pub(super) const MAX_HEADER: usize = 16 * PAGE;

const MAGIC: &[u8; 8] = b"ANYCACH1";
const END_MAGIC: &[u8; 8] = b"ANYCEND1";

/// The offset of the metadata in a header.
const META: usize = 24;

/// The minimum unused space in a header, for newer metadata with a longer validator and other
/// times.
const SLACK: usize = 512;

const FOOTER: usize = 32;

/// The longest body: larger than file systems allow, and small enough that no sum of lengths
/// overflows.
const MAX_BODY: u64 = 1 << 60;

/// The reason why bytes are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

pub(super) fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// The offsets and lengths of the parts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    size: u64,
    /// The header length in pages. One byte, because each stored object has a layout in memory.
    header_pages: u8,
}

impl Layout {
    /// Creates the layout for a header and a body of these lengths. Returns `None` if a length is
    /// invalid.
    pub(super) fn new(header: usize, size: u64) -> Option<Self> {
        let is_possible = header <= MAX_HEADER && header.is_multiple_of(PAGE) && size <= MAX_BODY;
        let header_pages = u8::try_from(header / PAGE).ok()?;
        is_possible.then_some(Self { size, header_pages })
    }

    /// Returns the length of the body.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the offset of the body.
    pub(super) fn body(&self) -> u64 {
        u64::from(self.header_pages) * PAGE as u64
    }

    /// Returns the number of blocks of the body.
    pub(super) fn blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK as u64)
    }

    /// Returns the range of the body that a block covers. Empty past the end.
    pub(super) fn block(&self, index: u64) -> Range<u64> {
        let start = index.saturating_mul(BLOCK as u64).min(self.size);
        start..start.saturating_add(BLOCK as u64).min(self.size)
    }

    /// Returns the offset of the sums and the footer.
    pub(super) fn end(&self) -> u64 {
        self.body() + self.size
    }

    /// Returns the length of the sums and the footer.
    pub(super) fn end_len(&self) -> u64 {
        self.blocks() * 8 + FOOTER as u64
    }

    /// Returns the length of the file.
    pub(super) fn file_len(&self) -> u64 {
        self.end() + self.end_len()
    }

    /// Returns the bytes that the file takes on the disk, in whole pages.
    pub(super) fn weight(&self) -> u64 {
        self.file_len().next_multiple_of(PAGE as u64)
    }

    /// Encodes the sums and the footer.
    pub(super) fn encode_end(&self, sums: &[u64]) -> Vec<u8> {
        let mut end: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let sum_of_sums = crc(&end);
        let at = end.len();
        end.extend_from_slice(END_MAGIC);
        end.extend_from_slice(&self.size.to_le_bytes());
        end.extend_from_slice(&sum_of_sums.to_le_bytes());
        let sum = crc(&end[at..]);
        end.extend_from_slice(&sum.to_le_bytes());
        end
    }

    /// Decodes the sums from the output of [`encode_end`](Self::encode_end), after checking both
    /// checksums.
    pub(super) fn decode_end(&self, end: &[u8]) -> Result<Box<[u64]>, Broken> {
        let (sums, footer) =
            end.split_last_chunk::<FOOTER>().ok_or(Broken("the footer is cut off"))?;
        let word = |at: usize| number(&footer[at..at + 8]);
        if crc(&footer[..24]) != word(24) || footer[..8] != *END_MAGIC || word(8) != self.size {
            return Err(Broken("the footer is broken"));
        }
        if crc(sums) != word(16) {
            return Err(Broken("the checksums are broken"));
        }
        Ok(sums.chunks_exact(8).map(number).collect())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Returns the length of a header for this many bytes of metadata, and `None` if they do not fit.
pub(super) fn header_len(meta: usize) -> Option<usize> {
    let len = META.checked_add(meta)?.checked_add(SLACK)?.next_multiple_of(PAGE);
    (len <= MAX_HEADER).then_some(len)
}

/// Encodes a header of length `len` with this metadata. Returns `None` if it does not fit.
pub(super) fn encode_header(meta: &[u8], len: usize) -> Option<Vec<u8>> {
    if META + meta.len() > len {
        return None;
    }
    let mut header = vec![0; len];
    header[8..16].copy_from_slice(MAGIC);
    header[16..20].copy_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
    header[20..24].copy_from_slice(&u32::try_from(meta.len()).ok()?.to_le_bytes());
    header[META..META + meta.len()].copy_from_slice(meta);
    let sum = crc(&header[8..]);
    header[..8].copy_from_slice(&sum.to_le_bytes());
    Some(header)
}

/// Parses the length of a header from its first bytes. The checksum is not checked yet.
pub(super) fn parse_header_len(start: &[u8]) -> Result<usize, Broken> {
    let len = start.get(16..20).map(number).and_then(|len| usize::try_from(len).ok());
    let is_possible = |len: &usize| (PAGE..=MAX_HEADER).contains(len) && len.is_multiple_of(PAGE);
    match len.filter(is_possible) {
        Some(len) if start[8..16] == *MAGIC => Ok(len),
        _ => Err(Broken("the header is broken")),
    }
}

/// Returns the metadata of a whole header, after checking its checksum.
pub(super) fn decode_header(header: &[u8]) -> Result<&[u8], Broken> {
    const BROKEN: Broken = Broken("the header is broken");
    if header.len() < META || crc(&header[8..]) != number(&header[..8]) {
        return Err(BROKEN);
    }
    let len = usize::try_from(number(&header[20..24])).map_err(|_| BROKEN)?;
    header[META..].get(..len).ok_or(BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_has_space_for_longer_metadata() {
        for len in
            [0, 1, 3000, PAGE - META - SLACK, PAGE - META - SLACK + 1, MAX_HEADER - META - SLACK]
        {
            let meta = vec![b'x'; len];
            let header = encode_header(&meta, header_len(len).unwrap()).unwrap();
            assert_eq!(parse_header_len(&header[..PAGE]).unwrap(), header.len());
            assert_eq!(decode_header(&header).unwrap(), meta);
            assert!(encode_header(&vec![b'y'; len + SLACK], header.len()).is_some());
        }
        assert_eq!(header_len(MAX_HEADER - META - SLACK + 1), None);
        assert_eq!(header_len(usize::MAX), None);
        assert!(encode_header(&[0; PAGE], PAGE).is_none());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_header_is_noticed() {
        let header = encode_header(b"{}", PAGE).unwrap();
        for at in 0..PAGE {
            let mut flipped = header.clone();
            flipped[at] ^= 1;
            let found = parse_header_len(&flipped).and_then(|_| decode_header(&flipped));
            assert!(found.is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_sums_and_the_footer_read_back_and_a_flipped_bit_in_them_is_noticed() {
        for size in [0, 1, BLOCK as u64, BLOCK as u64 * 3 + 5] {
            let layout = Layout::new(PAGE, size).unwrap();
            let sums: Vec<_> = (1..=layout.blocks()).map(|n| n * 0x0101_0203_0405_0607).collect();
            let end = layout.encode_end(&sums);
            assert_eq!(end.len() as u64, layout.end_len());
            assert_eq!(*layout.decode_end(&end).unwrap(), *sums);
            for at in 0..end.len() {
                let mut flipped = end.clone();
                flipped[at] ^= 0x80;
                assert!(layout.decode_end(&flipped).is_err(), "byte {at}");
            }
            assert!(Layout::new(PAGE, size + 1).unwrap().decode_end(&end).is_err());
            assert!(layout.decode_end(&end[..20]).is_err());
        }
    }

    #[test]
    fn the_blocks_cover_each_byte_of_the_body_once() {
        let layout = Layout::new(PAGE, BLOCK as u64 * 2 + 7).unwrap();
        let blocks: Vec<_> = (0..layout.blocks()).map(|index| layout.block(index)).collect();
        let block = BLOCK as u64;
        assert_eq!(blocks, [0..block, block..2 * block, 2 * block..2 * block + 7]);
        assert!(layout.block(3).is_empty() && layout.block(u64::MAX).is_empty());
    }
}
