//! [`Run`]: sorted records in an unnamed temporary file.

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::Path;

use storage_core::{Error, ErrorKind, Result};

use super::batch::Batch;
use super::frame::{Frame, read_frame};
use super::merge::{Merge, Source};
use super::options::Work;

/// The number of bytes that are written at once.
const WRITE_AT_ONCE: usize = 256 * 1024;

/// Sorted records in a file that the operating system removes when it is closed.
#[derive(Debug)]
pub(super) struct Run {
    file: File,
}

impl Run {
    /// Sorts a batch and writes it.
    pub(super) fn write(mut batch: Batch, work: &Work) -> Result<Self> {
        batch.sort();
        let file = work.options.temporary_file()?;
        write_all(&file, batch.frames().map(|frame| Ok(Frames::Bytes(frame))))?;
        Ok(Self { file })
    }

    /// Merges runs, older ones first, into one.
    pub(super) fn merge(runs: Vec<Self>, work: &Work) -> Result<Self> {
        let buffer = work.options.read_buffer();
        let sources = runs.into_iter().map(|run| run.read(buffer)).collect::<Result<_>>()?;
        let mut merge = Merge::new(sources)?;
        let file = work.options.temporary_file()?;
        let frames = std::iter::from_fn(|| work.check().and_then(|()| merge.next()).transpose());
        write_all(&file, frames.map(|frame| frame.map(Frames::Frame)))?;
        Ok(Self { file })
    }

    /// Reads the run from its beginning.
    pub(super) fn read(mut self, buffer: usize) -> Result<Source> {
        self.file.rewind().map_err(file_error)?;
        Ok(Source::File(BufReader::with_capacity(buffer, self.file)))
    }
}

enum Frames<'a> {
    Bytes(&'a [u8]),
    Frame(Frame),
}

fn write_all<'a>(
    mut file: impl Write,
    frames: impl Iterator<Item = Result<Frames<'a>>>,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(WRITE_AT_ONCE);
    for frame in frames {
        match frame? {
            Frames::Bytes(bytes) => buffer.extend_from_slice(bytes),
            Frames::Frame(frame) => frame.write_to(&mut buffer),
        }
        if buffer.len() >= WRITE_AT_ONCE {
            file.write_all(&buffer).map_err(file_error)?;
            buffer.clear();
        }
    }
    file.write_all(&buffer).map_err(file_error)
}

/// Reads a record of a temporary file.
pub(super) fn read_record(reader: &mut BufReader<File>) -> Result<Option<Frame>> {
    read_frame(reader).map_err(file_error)
}

/// Opens a temporary file without a name, in the directory of the system by default.
pub(super) fn temporary_file(directory: Option<&Path>) -> Result<File> {
    let system;
    let directory = match directory {
        Some(directory) => directory,
        None => {
            system = std::env::temp_dir();
            &system
        }
    };
    tempfile::tempfile_in(directory).map_err(|error| {
        let place = format!("cannot create a temporary file in {}", directory.display());
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem => {
                let message = format!("{place}: set TMPDIR to a directory that can be written");
                Error::new(ErrorKind::InvalidConfig, message).with_source(error)
            }
            _ => Error::from(error).with_context(&place),
        }
    })
}

/// Converts an error of reading or writing a temporary file.
pub(crate) fn file_error(error: io::Error) -> Error {
    Error::from(error).with_context("a temporary file for sorting")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let mut batch = Batch::default();
        batch.push(&storage_core::Key::new("a").unwrap()).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let frames = batch.frames().map(|frame| Ok(Frames::Bytes(frame)));
        let error = write_all(full, frames).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("temporary file"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let error = temporary_file(Some(Path::new("/no/such/directory"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }
}
