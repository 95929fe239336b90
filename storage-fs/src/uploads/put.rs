//! `put_part`: writes the bytes of a part, and then its record.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use storage_core::{
    ChecksumAlgorithm, Checksums, Error, ErrorKind, Key, Part, Payload, Result, UploadId,
    UploadPlan,
};

use super::DATA;
use super::files::Files;
use super::record::{PartRecord, beside_name};
use super::upload::{BESIDE, Held, PARTS, PRIVATE, Upload, random};
use crate::blocking::{self, CallerAlive};
use crate::errors;
use crate::save_stream::{Target, save_stream, write_chunks};

/// Stores a part. A payload in memory takes one trip to the blocking pool.
pub(super) async fn put_part<F: Files>(
    files: &Arc<F>,
    key: &Key,
    id: &UploadId,
    number: u32,
    payload: Payload,
    computes_checksum: bool,
) -> Result<Part> {
    let payload = match computes_checksum {
        true => {
            let of_plan = id.plan().map(UploadPlan::part_algorithm);
            let payload = payload.with_computed_checksum(ChecksumAlgorithm::Crc64Nvme);
            of_plan.into_iter().fold(payload, Payload::with_computed_checksum)
        }
        false => payload,
    };
    let (files, key, id) = (Arc::clone(files), key.clone(), id.clone());
    let (caller, _guard) = CallerAlive::until_dropped();
    let open = move || {
        let upload = Upload::open(&files, &key, &id, &caller)?;
        let upload = upload.ok_or_else(errors::no_such_upload)?;
        upload.offset(number)?;
        Ok(PutTarget { upload: Arc::new(upload), number })
    };
    match payload.into_memory() {
        Ok(memory) => {
            blocking::run(move |caller| {
                let target = open()?;
                let part_size = target.upload.beginning.plan.part_size;
                if memory.len() as u64 > part_size {
                    return Err(errors::part_too_large(part_size));
                }
                let (bytes, checksums) = memory.checked()?;
                let staged = target.write(None, &[bytes])?;
                target.commit(staged, checksums, caller)
            })
            .await
        }
        Err(payload) => {
            let target = blocking::run(move |_| open()).await?;
            let payload = payload.with_max_size(target.upload.beginning.plan.part_size);
            save_stream(target, payload.into_stream()).await
        }
    }
}

/// The part to store.
struct PutTarget<F: Files> {
    upload: Arc<Upload<F>>,
    number: u32,
}

impl<F: Files> Clone for PutTarget<F> {
    fn clone(&self) -> Self {
        Self { upload: Arc::clone(&self.upload), number: self.number }
    }
}

impl<F: Files> Target for PutTarget<F> {
    type Staged = StagedPart<F>;
    type Done = Part;

    fn precheck(&self) -> Result<()> {
        match self.upload.is_in_progress()? {
            true => Ok(()),
            false => Err(errors::no_such_upload()),
        }
    }

    fn write(&self, staged: Option<StagedPart<F>>, chunks: &[Bytes]) -> Result<StagedPart<F>> {
        let mut staged = match staged {
            Some(staged) => staged,
            None => StagedPart::begin(&self.upload, self.number)?,
        };
        staged.write(chunks)?;
        Ok(staged)
    }

    fn commit(
        &self,
        staged: StagedPart<F>,
        checksums: Checksums,
        caller: &CallerAlive,
    ) -> Result<Part> {
        staged.commit(&checksums, caller)
    }
}

/// The bytes of a part that is not acknowledged yet. Dropping it discards them.
struct StagedPart<F: Files> {
    upload: Arc<Upload<F>>,
    number: u32,
    /// The lock file of the upload, which is locked for each batch.
    lock: File,
    size: u64,
    place: Place,
}

/// Where the bytes of a part are written.
enum Place {
    /// At their offset in `data`, where no acknowledged bytes are.
    InData {
        /// The lock of this place, held until the end.
        _lock: File,
        /// [`Held::changes`] at the beginning.
        changes: u64,
        /// `data`, opened before the first byte. The system reports an error of writing back once
        /// to each open file, so one that is opened later may not learn of it.
        opened_first: File,
    },
    /// In a file of their own, because acknowledged bytes, or those of another put, are in `data`.
    Beside { file: File, random: u64, is_committed: bool },
}

impl<F: Files> StagedPart<F> {
    fn begin(upload: &Arc<Upload<F>>, number: u32) -> Result<Self> {
        let lock = upload.lock_file()?.ok_or_else(errors::no_such_upload)?;
        let held = upload.hold_shared(&lock)?;
        let place = match Self::place_in_data(upload, &held, number)? {
            Some(place) => place,
            None => {
                let random = random()?;
                let directory = upload.directory(BESIDE)?;
                let name = beside_name(number, random);
                let file = upload.files.create_file(&directory, &name, PRIVATE);
                let file = file.map_err(|error| upload.gone_or(error, "creating a part"))?;
                Place::Beside { file, random, is_committed: false }
            }
        };
        drop(held);
        Ok(Self { upload: Arc::clone(upload), number, lock, size: 0, place })
    }

    /// Returns the place in `data`, or `None` if other bytes are there or are being written there.
    fn place_in_data(upload: &Upload<F>, held: &Held<'_>, number: u32) -> Result<Option<Place>> {
        let Some(lock) = upload.try_lock_place(number)? else { return Ok(None) };
        let parts = upload.directory(PARTS)?;
        let is_taken = upload.part(&parts, number)?.is_some_and(|part| part.beside.is_none());
        if is_taken {
            return Ok(None);
        }
        let changes = held.changes().map_err(|error| upload.files.error(error, READING_LOCK))?;
        let opened_first = upload.files.open_file(&upload.dir, DATA);
        let opened_first = opened_first
            .map_err(|error| upload.gone_or(error, "opening the data of the upload"))?;
        Ok(Some(Place::InData { _lock: lock, changes, opened_first }))
    }

    fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        let size: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let end = self.size.saturating_add(size);
        if end > self.upload.beginning.plan.part_size {
            return Err(errors::part_too_large(self.upload.beginning.plan.part_size));
        }
        let held = self.upload.hold_shared(&self.lock)?;
        self.check_unchanged(&held)?;
        match &self.place {
            Place::InData { .. } => {
                let offset = self.upload.offset(self.number)? + self.size;
                let mut data = &held.data;
                data.seek(SeekFrom::Start(offset))
                    .map_err(|error| self.upload.files.error(error, "writing a part"))?;
                write_chunks(data, chunks)?;
            }
            Place::Beside { file, .. } => write_chunks(file, chunks)?,
        }
        self.size = end;
        Ok(())
    }

    /// Fails if a completion has changed `data` since this put began to write there.
    fn check_unchanged(&self, held: &Held<'_>) -> Result<()> {
        let Place::InData { changes, .. } = &self.place else { return Ok(()) };
        let now = held.changes().map_err(|error| self.upload.files.error(error, READING_LOCK))?;
        if now == *changes {
            return Ok(());
        }
        let message = "the upload was being completed while this part was received: send it again";
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
    }

    fn commit(mut self, checksums: &Checksums, caller: &CallerAlive) -> Result<Part> {
        let upload = Arc::clone(&self.upload);
        let lock = upload.lock_file()?.ok_or_else(errors::no_such_upload)?;
        let held = upload.hold_shared(&lock)?;
        self.check_unchanged(&held)?;
        if upload.files.is_durable() {
            self.sync(&held)?;
        }
        let beside = match &self.place {
            Place::InData { .. } => None,
            Place::Beside { random, .. } => Some(*random),
        };
        let record = PartRecord::new(self.size, checksums, beside)?;
        let part = record.to_part(self.number)?;
        let parts = upload.directory(PARTS)?;
        {
            let _lock = upload.lock_record(self.number)?;
            let earlier = upload.part(&parts, self.number)?;
            caller.check()?;
            // Until it is known whether the record is in place, the bytes must stay.
            let is_written = upload.write_part(&parts, self.number, &record);
            if let Place::Beside { is_committed, .. } = &mut self.place {
                *is_committed = is_written.is_ok()
                    || !matches!(upload.part(&parts, self.number), Ok(present) if present == earlier);
            }
            is_written?;
            upload.remove_beside(self.number, earlier.and_then(|earlier| earlier.beside));
        }
        if beside.is_some() {
            self.apply(&held, &parts);
        }
        Ok(part)
    }

    fn sync(&self, held: &Held<'_>) -> Result<()> {
        let failed = |error| self.upload.files.error(error, "syncing a part");
        match &self.place {
            Place::InData { opened_first, .. } => {
                held.data.sync_data().map_err(failed)?;
                self.upload.files.sync_opened_first(opened_first).map_err(failed)
            }
            Place::Beside { file, .. } => {
                file.sync_all().map_err(failed)?;
                let directory = self.upload.directory(BESIDE)?;
                self.upload.files.sync_dir(&directory).map_err(failed)
            }
        }
    }

    /// Copies bytes that were written beside into `data`, unless another put writes there. If this
    /// fails, the part is stored nevertheless, and the completion copies it.
    fn apply(&self, held: &Held<'_>, parts: &F::Dir) {
        let applied = match self.upload.try_lock_place(self.number) {
            Ok(Some(_lock)) => self.upload.apply(held, parts, self.number),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            tracing::debug!(part = self.number, %error, "a part stays beside until completion");
        }
    }
}

const READING_LOCK: &str = "reading the lock of the upload";

impl<F: Files> Drop for StagedPart<F> {
    fn drop(&mut self) {
        if let Place::Beside { random, is_committed: false, .. } = self.place {
            self.upload.remove_beside(self.number, Some(random));
        }
    }
}
