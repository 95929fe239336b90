//! Standard output: lines, JSON, bodies. A closed pipe ends the command quietly.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use anystorage::Object;
use anystorage::internal::{escape_invisible, escape_invisible_in_json};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::exit::Failure;

/// Counts when a write to standard output begins and when it ends, so it is odd during a write.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Returns the number of the write to standard output that is in progress.
pub(crate) fn write_in_progress() -> Option<u64> {
    let writes = WRITES.load(Ordering::Relaxed);
    (writes % 2 == 1).then_some(writes)
}

/// Standard output, locked.
#[derive(Debug)]
pub(crate) enum Output {
    /// Writes each line at once, so that the user sees it.
    Terminal(StdoutLock<'static>),
    Buffered(BufWriter<StdoutLock<'static>>),
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let lock = stdout.lock();
        if terminal {
            Self::Terminal(lock)
        } else {
            Self::Buffered(BufWriter::with_capacity(64 * 1024, lock))
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        WRITES.fetch_add(1, Ordering::Relaxed);
        let written = match self {
            Self::Terminal(lock) => write(lock),
            Self::Buffered(buffer) => write(buffer),
        };
        WRITES.fetch_add(1, Ordering::Relaxed);
        written.map_err(write_failure)
    }

    /// Writes text as one line. Escapes invisible characters, which could forge a line or control a
    /// terminal.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(escape_invisible(text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes JSON as one line. Escapes invisible characters in the syntax of JSON.
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.bytes(escape_invisible_in_json(&value.to_string()).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes bytes unchanged.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(|writer| writer.write_all(bytes))
    }

    /// Writes a body as it streams in.
    pub(crate) async fn body<S>(
        &mut self,
        place: &impl std::fmt::Display,
        chunks: S,
    ) -> Result<(), Failure>
    where
        S: Stream<Item = anystorage::Result<Bytes>>,
    {
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => self.bytes(&chunk)?,
                Err(error) => {
                    // The reader gets the bytes that arrived before the error.
                    self.flush()?;
                    return Err(Failure::at(place, &error));
                }
            }
        }
        self.flush()
    }

    /// Writes the buffered bytes. Without this call a failed write could go unnoticed.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.write(|writer| writer.flush())
    }
}

/// Writes what a dropped operation has left in the buffer.
impl Drop for Output {
    fn drop(&mut self) {
        // There is nowhere to report a failure.
        let _ = self.flush();
    }
}

/// Writes one line to standard output.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(line)?;
    output.flush()
}

/// Returns the failure of a write to standard output.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::output_closed();
    }
    Failure::local("standard output", &error.into())
}

/// Whether standard output is a file, so that standard error may show a progress bar. The bar would
/// disturb a pager or another program at the end of a pipe.
#[cfg(unix)]
pub(crate) fn stdout_is_file() -> bool {
    use std::os::fd::AsFd;
    let copy = io::stdout().as_fd().try_clone_to_owned();
    copy.map(std::fs::File::from).and_then(|file| file.metadata()).is_ok_and(|meta| meta.is_file())
}

/// Returns `false`, because this check exists only on Unix.
#[cfg(not(unix))]
pub(crate) fn stdout_is_file() -> bool {
    false
}

/// Writes an object to standard output, with a progress bar if that goes to a file.
pub(crate) async fn write_object(
    place: &impl std::fmt::Display,
    object: Object,
) -> Result<(), Failure> {
    let progress =
        crate::progress::Progress::bytes(stdout_is_file(), Some(object.content_length()));
    Output::new().body(place, progress.count_bytes(object.into_stream())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_contains_no_control_characters() {
        let escaped = escape_invisible("a\nb\r\u{1b}[31m\u{9b}ü ☺");
        assert_eq!(escaped, "a\\nb\\r\\u{1b}[31m\\u{9b}ü ☺");
        let escaped = escape_invisible("a\u{202e}gpj\u{2028}\u{200b}");
        assert_eq!(escaped, "a\\u{202e}gpj\\u{2028}\\u{200b}");
    }
}
