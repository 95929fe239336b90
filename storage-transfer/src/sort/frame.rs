//! A record as bytes: the length of its key, the length of its value, the key, the value.

use std::io::{self, ErrorKind, Read};

use storage_core::{Error, Result};

const HEADER: usize = 8;

/// The maximum length of a key or a value. Larger lengths mean that the file is damaged.
const MAX_FIELD: usize = 1 << 24;

/// A record that is not decoded yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    key_len: usize,
}

impl Frame {
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.key_len..]
    }

    fn memory(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// Decodes the record, and returns it with the memory of the frame.
    pub(crate) fn decode<R: super::Record>(&self) -> Result<(R, usize)> {
        Ok((R::decode(self.key(), self.value())?, self.memory()))
    }

    /// Appends the frame as it is written to a file.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let lengths = [self.key_len, self.bytes.len() - self.key_len];
        for length in lengths {
            // `read_frame` and `write_frame` allow no longer field.
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// Appends a record to `out`, and returns the number of bytes.
pub(crate) fn write_frame<R: super::Record>(record: &R, out: &mut Vec<u8>) -> Result<usize> {
    let start = out.len();
    let key = record.sort_key();
    out.extend_from_slice(&[0; HEADER]);
    out.extend_from_slice(key);
    record.encode_value(out);
    let value_len = out.len() - start - HEADER - key.len();
    for (at, length) in [(start, key.len()), (start + 4, value_len)] {
        let length = u32::try_from(length).ok().filter(|length| *length as usize <= MAX_FIELD);
        let Some(length) = length else {
            out.truncate(start);
            return Err(Error::new(
                storage_core::ErrorKind::TooLarge,
                "a record of a temporary file has more than 16 MiB",
            ));
        };
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(out.len() - start)
}

/// Reads a record; `None` at the end.
pub(crate) fn read_frame(reader: &mut (impl Read + ?Sized)) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER];
    match reader.read(&mut header)? {
        0 => return Ok(None),
        n => reader.read_exact(&mut header[n..])?,
    }
    let (key_len, value_len) = lengths(&header);
    if key_len.max(value_len) > MAX_FIELD {
        return Err(io::Error::new(ErrorKind::InvalidData, "a temporary file is damaged"));
    }
    let mut bytes = vec![0; key_len + value_len];
    reader.read_exact(&mut bytes)?;
    Ok(Some(Frame { bytes, key_len }))
}

/// Returns the lengths of the key and of the value.
fn lengths(header: &[u8; HEADER]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = *header;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}
