//! `save`: stages the payload and commits it.
//!
//! A payload in memory takes one trip to the blocking pool. A stream is written in
//! [batches](crate::save_stream).

use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use storage_core::{
    Checksums, Error, ErrorKind, InMemory, Key, ObjectMeta, Payload, Result, SaveMode, SaveOptions,
};

use super::commit::Commit;
use super::root::{is_directory, is_regular};
use super::shared::Shared;
use super::staged::Staged;
use super::stat::check_version;
use crate::blocking::{self, CallerAlive};
use crate::errors;
use crate::save_stream::{Target, save_stream};

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
}

impl Target for SaveTarget {
    type Staged = Staged;
    type Done = ObjectMeta;

    fn precheck(&self) -> Result<()> {
        precheck(&self.shared, &self.key, &self.options.mode)
    }

    fn write(&self, staged: Option<Staged>, chunks: &[Bytes]) -> Result<Staged> {
        let mut staged = match staged {
            Some(staged) => staged,
            None => {
                let mut staged = self.stage()?;
                staged.begin_long_write();
                staged
            }
        };
        staged.write_chunks(chunks)?;
        Ok(staged)
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
}

/// Fails early if the commit would fail. The commit checks again.
pub(crate) fn precheck(shared: &Shared, key: &Key, mode: &SaveMode) -> Result<()> {
    if let Err(Errno::NOTDIR | Errno::LOOP) = shared.root.open_parent(key) {
        return Err(errors::parent_is_not_a_directory());
    }
    let present = shared.root.lookup(key)?;
    let is_object = present.as_ref().is_some_and(is_regular);
    match mode {
        SaveMode::CreateNew if is_object => Err(errors::already_exists()),
        SaveMode::IfMatch(expected) => match is_object {
            true => check_version(shared, key, expected),
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
