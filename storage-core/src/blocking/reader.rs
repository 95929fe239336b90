//! [`BlockingReader`]: an object that synchronous code reads at any position.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::pin::Pin;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeek};

use super::runtime::Runtime;
use crate::metadata::ObjectMeta;
use crate::reader::Reader;

/// An object that is read at any position, as a `Read`, `BufRead` and `Seek`: see [`Reader`].
///
/// ```
/// # fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage().blocking()?;
/// # storage.save("a.bin", "0123456789")?;
/// use std::io::{Read, Seek, SeekFrom};
///
/// let mut reader = storage.reader("a.bin")?;
/// reader.seek(SeekFrom::End(-3))?;
/// let mut end = String::new();
/// reader.read_to_string(&mut end)?;
/// assert_eq!(end, "789");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BlockingReader {
    runtime: Runtime,
    reader: Reader,
}

impl BlockingReader {
    pub(super) fn new(runtime: Runtime, reader: Reader) -> Self {
        Self { runtime, reader }
    }

    /// Returns the metadata of the object.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        self.reader.meta()
    }
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Bytes in memory need no runtime.
        let ready = self.reader.buffered();
        if ready.is_empty() {
            return self.runtime.wait_io(self.reader.read(buffer));
        }
        let read = ready.len().min(buffer.len());
        buffer[..read].copy_from_slice(&ready[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for BlockingReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.reader.buffered().is_empty() {
            self.runtime.wait_io(self.reader.fill_buf())?;
        }
        Ok(self.reader.buffered())
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl Seek for BlockingReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        // It sends no request and completes at once.
        Pin::new(&mut self.reader).start_seek(position)?;
        Ok(self.reader.position())
    }
}
