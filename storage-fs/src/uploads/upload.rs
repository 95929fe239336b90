//! An open upload: its locks, its records, and its removal.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_core::{Key, Result, UploadId, keys};

use super::DATA;
use super::files::Files;
use super::record::{Beginning, PartRecord, UploadRecord, beside_name, is_upload_id, part_number};
use crate::blocking::CallerAlive;
use crate::errors;
use crate::record::{decode, encode};

pub(super) const RECORD: &str = "upload";
pub(super) const LOCK: &str = "lock";
pub(super) const PARTS: &str = "parts";
pub(super) const BESIDE: &str = "beside";
pub(super) const LOCKS: &str = "locks";

/// The permission bits of all files but `data`.
pub(super) const PRIVATE: u32 = 0o600;

/// More bytes than any record has (64 KiB). Another program wrote a larger one.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// The number of lock files for each purpose. Parts whose numbers differ by a multiple of it share
/// one, which costs time and nothing else.
const LOCK_FILES: u32 = 64;

/// How long to wait for a lock (5 min), unless the caller drops its future. A process holds a lock
/// while it writes a batch or completes, which may take long on a slow disk, or if it is stopped.
/// A put that fails must send its bytes again, so waiting is cheaper.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    Shared,
    Exclusive,
}

/// An upload whose directory is open. It may end at any time: [`hold`](Self::hold) prevents that.
pub(super) struct Upload<F: Files> {
    pub(super) files: Arc<F>,
    pub(super) dir: F::Dir,
    pub(super) beginning: Beginning,
    /// Waiting for a lock ends when this caller is gone.
    caller: CallerAlive,
}

/// The lock of an upload that is in progress, and its open data file.
pub(super) struct Held<'a> {
    lock: &'a File,
    pub(super) data: File,
}

impl Held<'_> {
    /// Returns the number of completions that have changed the data file.
    pub(super) fn changes(&self) -> io::Result<u64> {
        Ok(self.lock.metadata()?.len())
    }

    /// Records that a completion is about to change the data file. A put that has written a part
    /// of its bytes there then fails.
    pub(super) fn add_change(&self) -> io::Result<()> {
        self.lock.set_len(self.changes()?.saturating_add(1))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl<F: Files> Upload<F> {
    /// Opens an upload of a key. Returns `None` if the key has no upload of this id.
    pub(super) fn open(
        files: &Arc<F>,
        key: &Key,
        id: &UploadId,
        caller: &CallerAlive,
    ) -> Result<Option<Self>> {
        if !is_upload_id(id.upload()) {
            return Ok(None);
        }
        let failed = |error| files.error(error, "opening the upload");
        let Some(uploads) = present(files, files.uploads()).map_err(failed)? else {
            return Ok(None);
        };
        let upload = Self::open_in(files, &uploads, id.upload()).map_err(failed)?;
        let upload = upload.filter(|upload| upload.beginning.key == *key);
        Ok(upload.map(|upload| Self { caller: caller.clone(), ..upload }))
    }

    /// Opens an upload in the directory of all uploads. Returns `None` if there is no valid one.
    pub(super) fn open_in(
        files: &Arc<F>,
        uploads: &F::Dir,
        name: &str,
    ) -> io::Result<Option<Self>> {
        let Some(dir) = present(files, files.open_dir(uploads, name))? else { return Ok(None) };
        let record: Option<UploadRecord> = read_record(&**files, &dir, RECORD)?;
        let beginning = record.and_then(UploadRecord::into_beginning);
        Ok(beginning.filter(|beginning| beginning.id.upload() == name).map(|beginning| Self {
            files: Arc::clone(files),
            dir,
            beginning,
            caller: CallerAlive::default(),
        }))
    }

    /// Opens the lock file. Returns `None` if the upload is being removed.
    pub(super) fn lock_file(&self) -> Result<Option<File>> {
        let opened = present(&self.files, self.files.open_writable(&self.dir, LOCK));
        opened.map_err(|error| self.files.error(error, "opening the lock of the upload"))
    }

    /// Takes the lock of the upload. Returns `None` if the upload is not in progress any more.
    pub(super) fn hold<'a>(&self, lock: &'a File, mode: LockMode) -> Result<Option<Held<'a>>> {
        self.acquire(lock, mode)?;
        let opened = self.open_data();
        if !matches!(opened, Ok(Some(_))) {
            let _ = lock.unlock();
        }
        Ok(opened?.map(|data| Held { lock, data }))
    }

    /// Opens the data file. Returns `None` if the upload is not in progress any more.
    fn open_data(&self) -> Result<Option<File>> {
        let failed = |error| self.files.error(error, "opening the data of the upload");
        let opened = self.files.open_file(&self.dir, DATA);
        let Some(data) = present(&self.files, opened).map_err(failed)? else { return Ok(None) };
        if self.has_become_object(&data)? {
            return Ok(None);
        }
        // From now on, `data` may change. Opening it for writing may change its mode, so this comes
        // last: it must change neither the object nor what the record of a placing shows.
        self.withdraw_placing().map_err(failed)?;
        present(&self.files, self.files.open_writable(&self.dir, DATA)).map_err(failed)
    }

    /// As [`hold`](Self::hold) for a verb that fails if the upload is not in progress.
    pub(super) fn hold_shared<'a>(&self, lock: &'a File) -> Result<Held<'a>> {
        self.hold(lock, LockMode::Shared)?.ok_or_else(errors::no_such_upload)
    }

    /// Returns whether the upload is in progress.
    pub(super) fn is_in_progress(&self) -> Result<bool> {
        let opened = present(&self.files, self.files.open_file(&self.dir, DATA));
        let opened = opened.map_err(|error| self.files.error(error, "opening the upload"))?;
        opened.map_or(Ok(false), |data| self.has_become_object(&data).map(|is_object| !is_object))
    }

    pub(super) fn directory(&self, name: &str) -> Result<F::Dir> {
        let opened = self.files.open_dir(&self.dir, name);
        opened.map_err(|error| self.gone_or(error, "opening a directory of the upload"))
    }

    /// Returns the record of a part.
    pub(super) fn part(&self, parts: &F::Dir, number: u32) -> Result<Option<PartRecord>> {
        let read = read_record(&*self.files, parts, &number.to_string());
        read.map_err(|error| self.files.error(error, "reading the record of a part"))
    }

    /// Returns the records of all parts, in the order of their numbers.
    pub(super) fn parts(&self) -> Result<Vec<(u32, PartRecord)>> {
        let parts = self.directory(PARTS)?;
        let names = self.files.names(&parts);
        let names = names.map_err(|error| self.gone_or(error, "listing the parts"))?;
        let mut numbers: Vec<_> = names.iter().filter_map(|name| part_number(name)).collect();
        numbers.sort_unstable();
        let mut records = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let Some(record) = self.part(&parts, number)? {
                records.push((number, record));
            }
        }
        Ok(records)
    }

    /// Locks the record of a part, so that only this process replaces it.
    pub(super) fn lock_record(&self, number: u32) -> Result<File> {
        let file = self.open_lock(&format!("record-{}", number % LOCK_FILES))?;
        self.acquire(&file, LockMode::Exclusive)?;
        Ok(file)
    }

    /// Locks the place of a part in `data`, so that only this process writes there. Returns `None`
    /// if another put holds the lock.
    pub(super) fn try_lock_place(&self, number: u32) -> Result<Option<File>> {
        let file = self.open_lock(&format!("place-{}", number % LOCK_FILES))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.lock_error(error)),
        }
    }

    fn open_lock(&self, name: &str) -> Result<File> {
        let locks = self.directory(LOCKS)?;
        let mut opened = self.files.open_writable(&locks, name);
        if matches!(&opened, Err(error) if error.kind() == ErrorKind::NotFound) {
            opened = match self.files.create_file(&locks, name, PRIVATE) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.files.open_writable(&locks, name)
                }
                created => created,
            };
        }
        opened.map_err(|error| self.gone_or(error, "opening the lock of a part"))
    }

    /// Takes a lock, which is released when the file is closed.
    pub(super) fn acquire(&self, file: &File, mode: LockMode) -> Result<()> {
        acquire(file, mode, &self.caller).map_err(|error| self.lock_error(error))
    }

    pub(super) fn lock_error(&self, error: io::Error) -> storage_core::Error {
        match error.kind() {
            ErrorKind::WouldBlock => errors::upload_locked_too_long().with_source(error),
            _ if self.files.means_no_locks(&error) => errors::no_locks_for_uploads(),
            _ => self.files.error(error, "locking the upload"),
        }
    }

    /// Replaces the record of a part. The caller holds the lock of the record, or the lock of the
    /// upload exclusively.
    pub(super) fn write_part(
        &self,
        parts: &F::Dir,
        number: u32,
        record: &PartRecord,
    ) -> Result<()> {
        let name = number.to_string();
        let failed = |error| self.gone_or(error, "writing the record of a part");
        write_record(&*self.files, parts, &name, &encode(record)?).map_err(failed)
    }

    /// Removes the record of a part, and then its bytes if they are not in `data`.
    pub(super) fn discard_part(
        &self,
        parts: &F::Dir,
        number: u32,
        record: &PartRecord,
    ) -> Result<()> {
        let failed = |error| self.files.error(error, "discarding a part");
        self.files.remove_file(parts, &number.to_string()).map_err(failed)?;
        self.remove_beside(number, record.beside);
        Ok(())
    }

    /// Removes a file in `beside`. One that remains is removed with the upload.
    pub(super) fn remove_beside(&self, number: u32, beside: Option<u64>) {
        if let Some(random) = beside
            && let Ok(directory) = self.directory(BESIDE)
        {
            let _ = self.files.remove_file(&directory, &beside_name(number, random));
        }
    }

    /// Returns the offset of a part in `data`.
    pub(super) fn offset(&self, number: u32) -> Result<u64> {
        let index = u64::from(number.saturating_sub(1));
        let part_size = self.beginning.plan.part_size;
        // No file has more bytes than an `i64` can count.
        let end = (index + 1).checked_mul(part_size).filter(|end| i64::try_from(*end).is_ok());
        end.map(|end| end - part_size).ok_or_else(|| errors::part_beyond_any_file(number))
    }

    /// Copies the bytes of a part from `beside` into `data`, and replaces its record. Does nothing
    /// if they are there already.
    ///
    /// The caller holds the lock of the upload, and either that exclusively or the lock of the
    /// part's place.
    pub(super) fn apply(&self, held: &Held<'_>, parts: &F::Dir, number: u32) -> Result<()> {
        let Some(record) = self.part(parts, number)? else { return Ok(()) };
        let Some(random) = record.beside else { return Ok(()) };
        let failed = |error| self.files.error(error, "putting a part that was sent again in place");
        let beside = self.directory(BESIDE)?;
        let mut source =
            self.files.open_file(&beside, &beside_name(number, random)).map_err(failed)?;
        // A longer file would overwrite the next part.
        if source.metadata().map_err(failed)?.len() != record.size {
            return Err(errors::damaged_upload());
        }
        let mut data = &held.data;
        data.seek(SeekFrom::Start(self.offset(number)?)).map_err(failed)?;
        let copied = io::copy(&mut (&mut source).take(record.size), &mut data).map_err(failed)?;
        if copied != record.size {
            return Err(errors::damaged_upload());
        }
        if self.files.is_durable() {
            data.sync_data().map_err(failed)?;
        }
        let _lock = self.lock_record(number)?;
        // Another put may have replaced the part meanwhile.
        if self.part(parts, number)?.as_ref() == Some(&record) {
            self.write_part(parts, number, &PartRecord { beside: None, ..record })?;
            self.remove_beside(number, Some(random));
        }
        Ok(())
    }

    /// Ends the upload: removes `data`, if it exists. The caller holds the lock of the upload
    /// exclusively.
    pub(super) fn remove_data(&self) -> io::Result<()> {
        absent_is_ok(self.files.remove_file(&self.dir, DATA))
    }

    /// Removes the directory of the upload with everything in it. The caller holds the lock of the
    /// upload exclusively, or the upload is not in progress any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        let uploads = match present(&self.files, self.files.uploads())? {
            Some(uploads) => uploads,
            None => return Ok(()),
        };
        remove_directory(&*self.files, &uploads, &self.dir, self.beginning.id.upload())
    }

    /// Converts an error of an operation in the directory of the upload, which may have been
    /// removed meanwhile.
    pub(super) fn gone_or(&self, error: io::Error, action: &'static str) -> storage_core::Error {
        match error.kind() {
            ErrorKind::NotFound => errors::no_such_upload().with_source(error),
            _ => self.files.error(error, action),
        }
    }
}

/// Removes the directory of an upload with everything in it.
///
/// Removes `data` first, after which the upload has ended, and the record last, by which an abort
/// that is repeated finds the rest.
pub(super) fn remove_directory<F: Files>(
    files: &F,
    uploads: &F::Dir,
    dir: &F::Dir,
    name: &str,
) -> io::Result<()> {
    absent_is_ok(files.remove_file(dir, DATA))?;
    for inner in [PARTS, BESIDE, LOCKS] {
        let directory = match files.open_dir(dir, inner) {
            // Anything else of this name, such as a symlink, is removed below.
            Err(error) if files.means_absent(&error) => continue,
            directory => directory?,
        };
        for file in files.names(&directory)? {
            absent_is_ok(files.remove_file(&directory, &file))?;
        }
        drop(directory);
        absent_is_ok(files.remove_dir(dir, inner))?;
    }
    for name in files.names(dir)?.iter().filter(|name| ![RECORD, LOCK].contains(&&***name)) {
        absent_is_ok(files.remove_file(dir, name))?;
    }
    for name in [LOCK, RECORD] {
        absent_is_ok(files.remove_file(dir, name))?;
    }
    absent_is_ok(files.remove_dir(uploads, name))
}

fn absent_is_ok(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Returns `None` in place of an error that means that the file certainly does not exist.
pub(super) fn present<F: Files, T>(files: &Arc<F>, opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if files.means_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a record. Returns `None` if it does not exist or is not valid.
pub(super) fn read_record<F: Files, T: DeserializeOwned>(
    files: &F,
    dir: &F::Dir,
    name: &str,
) -> io::Result<Option<T>> {
    let file = match files.open_file(dir, name) {
        Err(error) if files.means_absent(&error) => return Ok(None),
        opened => opened?,
    };
    read_small(file).map(|bytes| decode(&bytes))
}

/// Reads a file, by one call if it has the size of a part's record. A completion reads up to 10,000
/// of them.
fn read_small(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 256];
    let len = loop {
        match file.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    let is_whole = len < bytes.len();
    bytes.truncate(len);
    if !is_whole {
        file.take(MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Writes a record and renames it into place. Only one process at a time may write it.
pub(super) fn write_record<F: Files>(
    files: &F,
    dir: &F::Dir,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let new = format!("{name}.new");
    let written = write_new(files, dir, &new, bytes).and_then(|()| files.rename(dir, &new, name));
    if written.is_err() {
        let _ = files.remove_file(dir, &new);
        return written;
    }
    if files.is_durable() { files.sync_dir(dir) } else { Ok(()) }
}

fn write_new<F: Files>(files: &F, dir: &F::Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = match files.create_file(dir, name, PRIVATE) {
        // A killed process left it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            files.remove_file(dir, name)?;
            files.create_file(dir, name, PRIVATE)?
        }
        created => created?,
    };
    file.write_all(bytes)?;
    if files.is_durable() { file.sync_all() } else { Ok(()) }
}

/// Returns a random number for the name of a file.
pub(super) fn random() -> Result<u64> {
    keys::random_bytes().map(u64::from_be_bytes)
}

/// Waits for the lock on an open file. Fails with `WouldBlock` after [`LOCK_TIMEOUT`], or if the
/// caller has dropped its future.
pub(super) fn acquire(file: &File, mode: LockMode, caller: &CallerAlive) -> io::Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        let tried = match mode {
            LockMode::Shared => file.try_lock_shared(),
            LockMode::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(TryLockError::WouldBlock)
                if start.elapsed() < LOCK_TIMEOUT && caller.check().is_ok() => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Serialises a record for its file.
pub(super) fn encoded(record: &impl Serialize) -> Result<Vec<u8>> {
    encode(record)
}
