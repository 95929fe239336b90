//! Saves a stream in batches. While one batch is written, the next one is received.

use std::io::{self, IoSlice, Write};

use bytes::Bytes;
use futures_util::StreamExt;
use storage_core::internal::run_blocking;
use storage_core::{Checksums, PayloadStream, Result};

use crate::blocking::{self, CallerAlive};

/// How many bytes of a stream are collected before they are written: 1 MiB. Twice as much is in
/// memory at a time, because one batch is received while another is written.
const BATCH_SIZE: usize = 1024 * 1024;

/// What a stream is written to.
pub(crate) trait Target: Clone + Send + 'static {
    /// A file that is not visible yet. Dropping it removes it.
    type Staged: Send + 'static;

    /// What describes the result.
    type Done: Send + 'static;

    /// Fails early if the commit would fail, before the stream is received. The commit checks
    /// again.
    fn precheck(&self) -> Result<()>;

    /// Writes a batch to the staged file, which the first batch creates.
    fn write(&self, staged: Option<Self::Staged>, chunks: &[Bytes]) -> Result<Self::Staged>;

    /// Makes the staged file the object, or the part of an upload.
    fn commit(
        &self,
        staged: Self::Staged,
        checksums: Checksums,
        caller: &CallerAlive,
    ) -> Result<Self::Done>;
}

/// Writes a stream to a target, and commits it.
pub(crate) async fn save_stream<T: Target>(
    target: T,
    mut chunks: PayloadStream,
) -> Result<T::Done> {
    let checked = target.clone();
    blocking::run(move |_| checked.precheck()).await?;
    let mut writing = None;
    loop {
        let received = Batch::receive(&mut chunks).await;
        // Even if receiving failed, wait for the write, so that the staged file is removed before
        // this returns.
        let staged = match writing.take() {
            Some(writing) => Some(writing.await),
            None => None,
        };
        let batch = received?;
        let staged = staged.transpose()?;
        if batch.is_last {
            let checksums = chunks.checksums().cloned().unwrap_or_default();
            return blocking::run(move |caller| {
                let staged = target.write(staged, &batch.chunks)?;
                target.commit(staged, checksums, caller)
            })
            .await;
        }
        let target = target.clone();
        writing = Some(run_blocking(move || target.write(staged, &batch.chunks)));
    }
}

/// Writes chunks with as few system calls as possible.
pub(crate) fn write_chunks(mut file: impl Write, chunks: &[Bytes]) -> Result<()> {
    let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut slices = &mut slices[..];
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Chunks of a stream that are written together.
struct Batch {
    chunks: Vec<Bytes>,
    is_last: bool,
}

impl Batch {
    async fn receive(stream: &mut PayloadStream) -> Result<Self> {
        let mut batch = Self { chunks: Vec::new(), is_last: false };
        let mut size = 0;
        while size < BATCH_SIZE {
            let Some(chunk) = stream.next().await.transpose()? else {
                batch.is_last = true;
                break;
            };
            size += chunk.len();
            batch.chunks.push(chunk);
        }
        Ok(batch)
    }
}
