//! [`Spool`]: a queue of records that moves to a temporary file when it grows.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::marker::PhantomData;

use futures_core::stream::BoxStream;
use storage_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

use crate::sort::{Record, SortOptions, join, read_all, read_frame, spawn, write_frame};

/// The number of bytes that stay in memory.
const IN_MEMORY: usize = 1024 * 1024;

/// The buffer for reading the file, in bytes.
const READ_BUFFER: usize = 256 * 1024;

/// Records in the order in which they were pushed. Up to 1 MiB stays in memory, more is written to
/// a temporary file without a name.
///
/// Dropping it removes the file.
pub(crate) struct Spool<R> {
    options: SortOptions,
    in_memory: usize,
    frames: Vec<u8>,
    file: Option<File>,
    writing: Option<JoinHandle<Result<File>>>,
    /// Whether writing failed, so that records are absent.
    is_broken: bool,
    len: u64,
    record: PhantomData<fn(R)>,
}

impl<R: Record> Spool<R> {
    /// Creates an empty spool. Of the options it uses the directory.
    pub(crate) fn new(options: SortOptions) -> Self {
        Self {
            options,
            in_memory: IN_MEMORY,
            frames: Vec::new(),
            file: None,
            writing: None,
            is_broken: false,
            len: 0,
            record: PhantomData,
        }
    }

    /// Adds a record at the end. Waits for the disk if it is slower.
    ///
    /// If the future is dropped, the record may be absent.
    ///
    /// # Errors
    /// `StorageFull`, `InvalidConfig` if the temporary directory cannot be used, other kinds of the
    /// operating system. After an error of the file every call fails.
    pub(crate) async fn push(&mut self, record: &R) -> Result<()> {
        if self.frames.len() >= self.in_memory {
            self.finish_writing().await?;
            let frames = std::mem::take(&mut self.frames);
            let (file, options) = (self.file.take(), self.options.clone());
            self.writing = Some(spawn(move || {
                let mut file = match file {
                    Some(file) => file,
                    None => options.temporary_file()?,
                };
                file.write_all(&frames).map_err(file_error)?;
                Ok(file)
            }));
        }
        write_frame(record, &mut self.frames)?;
        self.len += 1;
        Ok(())
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the records in their order. The stream reads on the blocking pool, many records at a
    /// time. An error is its last item.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(crate) async fn finish(mut self) -> Result<BoxStream<'static, Result<R>>> {
        self.finish_writing().await?;
        let rest = Cursor::new(self.frames);
        let mut reader: Box<dyn Read + Send> = match self.file {
            None => Box::new(rest),
            Some(mut file) => {
                let file = join(spawn(move || {
                    file.rewind().map_err(file_error)?;
                    Ok(file)
                }))
                .await?;
                Box::new(BufReader::with_capacity(READ_BUFFER, file).chain(rest))
            }
        };
        Ok(read_all(move || {
            let frame = read_frame(&mut reader).map_err(file_error)?;
            frame.map(|frame| frame.decode()).transpose()
        }))
    }

    async fn finish_writing(&mut self) -> Result<()> {
        if self.is_broken {
            let message = "a temporary file failed before, so that records are absent";
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let file = join(writing).await;
        self.writing = None;
        self.is_broken = file.is_err();
        self.file = Some(file?);
        Ok(())
    }
}

fn file_error(error: std::io::Error) -> Error {
    Error::from(error).with_context("a temporary file of the spool")
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use proptest::prelude::*;
    use storage_core::Key;

    use super::*;

    fn spool(in_memory: usize) -> Spool<Key> {
        Spool { in_memory, ..Spool::new(SortOptions::default()) }
    }

    async fn fill(spool: &mut Spool<Key>, keys: &[Key]) {
        for key in keys {
            spool.push(key).await.unwrap();
        }
    }

    fn many(count: usize) -> Vec<Key> {
        (0..count).map(|number| Key::new(format!("{number}")).unwrap()).collect()
    }

    #[tokio::test]
    async fn few_records_stay_in_memory() {
        let keys = many(1000);
        let options =
            SortOptions { directory: Some("/no/such/directory".into()), ..Default::default() };
        let mut spool = Spool::new(options);
        fill(&mut spool, &keys).await;
        assert_eq!(spool.len(), 1000);
        assert!(spool.file.is_none() && spool.writing.is_none());
        assert_eq!(spool.finish().await.unwrap().try_collect::<Vec<_>>().await.unwrap(), keys);
    }

    #[tokio::test]
    async fn many_records_return_from_the_file_in_their_order() {
        let keys = many(100_000);
        let mut spool = spool(10_000);
        fill(&mut spool, &keys).await;
        assert!(spool.file.is_some() || spool.writing.is_some());
        assert_eq!(spool.finish().await.unwrap().try_collect::<Vec<_>>().await.unwrap(), keys);
    }

    #[tokio::test]
    async fn a_spool_whose_file_failed_returns_no_records() {
        let directory = Some("/no/such/directory".into());
        let options = SortOptions { directory, ..Default::default() };
        let mut spool = Spool { in_memory: 1, ..Spool::new(options) };
        let keys = many(3);
        spool.push(&keys[0]).await.unwrap();
        spool.push(&keys[1]).await.unwrap();
        let error = spool.push(&keys[2]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(spool.push(&keys[2]).await.is_err());
        assert!(spool.finish().await.is_err());
    }

    proptest! {
        #[test]
        fn a_spool_returns_what_was_pushed(
            names in prop::collection::vec("[a-z]{1,40}", 0..200),
            in_memory in 0..500_usize,
        ) {
            let keys: Vec<_> = names.into_iter().map(|name| Key::new(name).unwrap()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read: Vec<Key> = runtime.block_on(async {
                let mut spool = spool(in_memory);
                fill(&mut spool, &keys).await;
                spool.finish().await.unwrap().try_collect().await.unwrap()
            });
            prop_assert_eq!(read, keys);
        }
    }
}
