//! `save`: stages the payload and commits it.
//!
//! A payload in memory takes one trip to the blocking pool. A stream is written in batches, each
//! while the next one is received.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use rustix::io::Errno;
use storage_core::{
    Checksums, Error, ErrorKind, InMemory, Key, ObjectMeta, Payload, PayloadStream, Result,
    SaveMode, SaveOptions,
};
use tokio::task::JoinHandle;

use super::commit::Commit;
use super::root::{is_directory, is_regular};
use super::shared::Shared;
use super::staged::Staged;
use super::stat::check_version;
use crate::blocking::{self, CallerAlive};
use crate::errors;

/// How many bytes of a stream are gathered before they are written: 1 MiB. Twice as much is in
/// memory at a time, because one batch is received while another is written.
const BATCH_SIZE: usize = 1024 * 1024;

pub(crate) async fn save(
    shared: &Arc<Shared>,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    shared.root.check_new(key)?;
    let target =
        SaveTarget { shared: Arc::clone(shared), key: key.clone(), options: options.clone() };
    match payload.into_memory() {
        Ok(memory) => blocking::run(move |caller| target.save_memory(memory, caller)).await,
        Err(payload) => save_stream(target, payload.into_stream()).await,
    }
}

/// The object to save and the options of the save.
#[derive(Clone)]
struct SaveTarget {
    shared: Arc<Shared>,
    key: Key,
    options: SaveOptions,
}

impl SaveTarget {
    fn save_memory(&self, memory: InMemory, caller: &CallerAlive) -> Result<ObjectMeta> {
        let (bytes, checksums) = memory.checked()?;
        let mut staged = self.stage()?;
        staged.write(&bytes)?;
        self.commit(staged, checksums, caller)
    }

    fn stage(&self) -> Result<Staged> {
        Staged::create(&self.shared.staging, &self.key, self.shared.file_mode.of_new_file())
    }

    fn commit(
        &self,
        staged: Staged,
        checksums: Checksums,
        caller: &CallerAlive,
    ) -> Result<ObjectMeta> {
        let Self { shared, key, options } = self;
        Commit { shared, key, mode: &options.mode, metadata: &options.metadata, checksums, caller }
            .run(staged)
    }

    /// Fails early if the commit would fail, before the stream is received. The commit checks
    /// again.
    fn precheck(&self) -> Result<()> {
        if let Err(Errno::NOTDIR | Errno::LOOP) = self.shared.root.open_parent(&self.key) {
            return Err(errors::parent_is_not_a_directory());
        }
        let present = self.shared.root.lookup(&self.key)?;
        let is_object = present.as_ref().is_some_and(is_regular);
        match &self.options.mode {
            SaveMode::CreateNew if is_object => Err(errors::already_exists()),
            SaveMode::IfMatch(expected) => match is_object {
                true => check_version(&self.shared, &self.key, expected),
                false => {
                    Err(Error::new(ErrorKind::PreconditionFailed, "there is no object to replace"))
                }
            },
            SaveMode::Overwrite
                if present.as_ref().is_some_and(|stat| !is_directory(stat) && !is_object) =>
            {
                Err(errors::not_a_regular_file())
            }
            _ => Ok(()),
        }
    }

    /// Writes a batch to the staged file, which the first batch creates.
    fn write(&self, staged: Option<Staged>, chunks: &[Bytes]) -> Result<Staged> {
        let mut staged = match staged {
            Some(staged) => staged,
            None => {
                let staged = self.stage()?;
                staged.lock();
                staged
            }
        };
        staged.write_chunks(chunks)?;
        Ok(staged)
    }
}

async fn save_stream(target: SaveTarget, mut chunks: PayloadStream) -> Result<ObjectMeta> {
    let checked = target.clone();
    blocking::run(move |_| checked.precheck()).await?;
    let mut writing: Option<JoinHandle<Result<Staged>>> = None;
    loop {
        let received = Batch::receive(&mut chunks).await;
        // Even if receiving failed, wait for the write, so that the staged file is removed before
        // this returns.
        let staged = match writing.take() {
            Some(writing) => Some(finish_write(writing).await),
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
        writing = Some(tokio::task::spawn_blocking(move || target.write(staged, &batch.chunks)));
    }
}

async fn finish_write(writing: JoinHandle<Result<Staged>>) -> Result<Staged> {
    writing.await.unwrap_or_else(|join| Err(Error::unexpected("writing was interrupted", join)))
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
