//! `save`: staging the payload, in one trip to the blocking pool where it is small or in memory,
//! else in large steps that overlap with receiving.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use rustix::io::Errno;
use storage_core::{
    Checksums, Error, ErrorKind, InMemory, Key, ObjectMeta, Payload, PayloadStream, Result,
    SaveMode, SaveOptions,
};
use tokio::task::JoinHandle;

use crate::blocking::{self, Waiting};
use crate::commit::Commit;
use crate::driver::Shared;
use crate::errors;
use crate::open;
use crate::root::{is_directory, is_regular};
use crate::staged::Staged;

/// How much is gathered before it is written: one trip to the blocking pool, a few system calls.
/// Twice as much is in memory at a time, since one batch is received while another is written.
const BATCH: usize = 1024 * 1024;

pub(crate) async fn save(
    fs: Arc<Shared>,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    fs.root.check_new(key)?;
    let place = Place { fs, key: key.clone(), options: options.clone() };
    match payload.into_memory() {
        Ok(memory) => blocking::run(move |waiting| place.save_memory(memory, waiting)).await,
        Err(payload) => save_stream(place, payload.into_stream()).await,
    }
}

/// Where the payload goes, and how.
#[derive(Clone)]
struct Place {
    fs: Arc<Shared>,
    key: Key,
    options: SaveOptions,
}

impl Place {
    fn save_memory(&self, memory: InMemory, waiting: &Waiting) -> Result<ObjectMeta> {
        let (bytes, checksums) = memory.checked()?;
        let mut staged =
            Staged::create(&self.fs.staging, &self.key, self.fs.file_mode.of_new_file())?;
        staged.write(&bytes)?;
        self.commit(staged, checksums, waiting)
    }

    fn commit(
        &self,
        staged: Staged,
        checksums: Checksums,
        waiting: &Waiting,
    ) -> Result<ObjectMeta> {
        let Self { fs, key, options } = self;
        Commit { fs, key, mode: &options.mode, metadata: &options.metadata, checksums, waiting }
            .run(staged)
    }

    /// Says what the commit would say, before an upload is received in vain. The commit decides.
    fn foresee(&self) -> Result<()> {
        if let Err(Errno::NOTDIR | Errno::LOOP) = self.fs.root.open_parent(&self.key) {
            return Err(errors::not_a_directory());
        }
        let present = self.fs.root.look(&self.key)?;
        let is_object = present.as_ref().is_some_and(is_regular);
        match &self.options.mode {
            SaveMode::CreateNew if is_object => Err(errors::already_exists()),
            SaveMode::IfMatch(wanted) => match is_object {
                true => open::check_version(&self.fs, &self.key, wanted),
                false => {
                    Err(Error::new(ErrorKind::PreconditionFailed, "there is no object to replace"))
                }
            },
            SaveMode::Overwrite
                if present.as_ref().is_some_and(|stat| !is_directory(stat) && !is_object) =>
            {
                Err(errors::in_the_way())
            }
            _ => Ok(()),
        }
    }

    fn write(&self, staged: Option<Staged>, chunks: &[Bytes]) -> Result<Staged> {
        let mut staged = match staged {
            Some(staged) => staged,
            None => {
                let staged =
                    Staged::create(&self.fs.staging, &self.key, self.fs.file_mode.of_new_file())?;
                staged.lock();
                staged
            }
        };
        staged.write_chunks(chunks)?;
        Ok(staged)
    }
}

async fn save_stream(place: Place, mut chunks: PayloadStream) -> Result<ObjectMeta> {
    let foresee = place.clone();
    blocking::run(move |_| foresee.foresee()).await?;
    let mut writing: Option<JoinHandle<Result<Staged>>> = None;
    loop {
        let received = Batch::receive(&mut chunks).await;
        // What is being written is waited for in any case: then, when we answer, it is done or
        // gone.
        let staged = match writing.take() {
            Some(writing) => Some(joined(writing).await),
            None => None,
        };
        let batch = received?;
        let staged = staged.transpose()?;
        if batch.is_last {
            let checksums = chunks.checksums().cloned().unwrap_or_default();
            return blocking::run(move |waiting| {
                let staged = place.write(staged, &batch.chunks)?;
                place.commit(staged, checksums, waiting)
            })
            .await;
        }
        let place = place.clone();
        writing = Some(tokio::task::spawn_blocking(move || place.write(staged, &batch.chunks)));
    }
}

async fn joined(writing: JoinHandle<Result<Staged>>) -> Result<Staged> {
    writing.await.unwrap_or_else(|join| Err(Error::unexpected("writing was interrupted", join)))
}

struct Batch {
    chunks: Vec<Bytes>,
    is_last: bool,
}

impl Batch {
    async fn receive(stream: &mut PayloadStream) -> Result<Self> {
        let mut batch = Self { chunks: Vec::new(), is_last: false };
        let mut size = 0;
        while size < BATCH {
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
