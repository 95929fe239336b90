//! [`BlockingWriter`]: an object that synchronous code writes piece by piece.

use std::io::{self, Write};

use tokio::io::AsyncWriteExt;

use super::runtime::Runtime;
use crate::error::Result;
use crate::metadata::ObjectMeta;
use crate::writer::Writer;

/// An object that is written piece by piece, as a `Write`: see [`Writer`].
///
/// [`finish`](Self::finish) saves the object. If the writer is dropped before that, the old object
/// stays.
///
/// ```
/// # fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage().blocking()?;
/// use std::io::Write;
///
/// let mut writer = storage.writer("report.csv")?;
/// writeln!(writer, "name,age")?;
/// writeln!(writer, "ada,36")?;
/// assert_eq!(writer.finish()?.size, 16);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is saved until `finish` is called"]
pub struct BlockingWriter {
    // Dropped before its runtime, on which drivers remove what is left.
    writer: Writer,
    runtime: Runtime,
}

impl BlockingWriter {
    pub(super) fn new(runtime: Runtime, writer: Writer) -> Self {
        Self { runtime, writer }
    }

    /// Saves the object, and returns its metadata: see [`Writer::finish`].
    pub fn finish(self) -> Result<ObjectMeta> {
        self.runtime.wait(self.writer.finish())?
    }
}

impl Write for BlockingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.wait_io(self.writer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.wait_io(self.writer.flush())
    }
}
