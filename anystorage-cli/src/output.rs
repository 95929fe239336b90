//! Standard output: lines, JSON, bodies. A pipe that nobody reads any more ends the command
//! quietly.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anystorage::Object;
use anystorage::internal::{escape_invisible, escape_invisible_in_json};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::exit::Failure;

/// Standard output, locked.
#[derive(Debug)]
pub(crate) enum Output {
    /// Line by line, for somebody who watches.
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

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Terminal(lock) => lock,
            Self::Buffered(buffer) => buffer,
        }
    }

    /// Writes a text as one line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(one_line(text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes JSON as one line. Its invisible characters are escaped as JSON has it, so it stays
    /// valid.
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.bytes(escape_invisible_in_json(&value.to_string()).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer().write_all(bytes).map_err(failed)
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
                    // What came before the trouble is the reader's all the same.
                    self.flush()?;
                    return Err(Failure::at(place, &error));
                }
            }
        }
        self.flush()
    }

    /// Writes out what is buffered. Without it, a failure to write could go unnoticed.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer().flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::closed();
    }
    Failure::local("standard output", &error.into())
}

/// Returns a text whose invisible characters are escaped: they could forge a line or command a
/// terminal.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape_invisible(text)
}

/// Whether standard output goes to a file: then standard error may show a progress bar. A pager or
/// another program at the end of a pipe would be disturbed by it.
#[cfg(unix)]
pub(crate) fn goes_to_file() -> bool {
    use std::os::fd::AsFd;
    let copy = io::stdout().as_fd().try_clone_to_owned();
    copy.map(std::fs::File::from).and_then(|file| file.metadata()).is_ok_and(|meta| meta.is_file())
}

/// See above; here nobody can tell.
#[cfg(not(unix))]
pub(crate) fn goes_to_file() -> bool {
    false
}

/// Writes an object to standard output, with a progress bar if that goes to a file.
pub(crate) async fn write_object(
    place: &impl std::fmt::Display,
    object: Object,
) -> Result<(), Failure> {
    let progress = crate::progress::Progress::bytes(goes_to_file(), Some(object.content_length()));
    Output::new().body(place, progress.watch(object.into_stream())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_characters() {
        assert_eq!(one_line("a\nb\r\u{1b}[31m\u{9b}ü ☺"), "a\\nb\\r\\u{1b}[31m\\u{9b}ü ☺");
        assert_eq!(one_line("a\u{202e}gpj\u{2028}\u{200b}"), "a\\u{202e}gpj\\u{2028}\\u{200b}");
    }
}
