//! Whether `data` has become the object, also after a kill between two steps.
//!
//! Where the file system can rename a file into a vacant place, this is one step, and `data` is
//! gone after it. Elsewhere the file is put in its place by a hard link, and its name `data` is
//! removed after that. Between the two steps, `data` exists and is the object. The number of its
//! names does not show this: other programs make hard links too, such as a copy by `cp -al`, and
//! the object may be deleted before the upload is looked at again.
//!
//! So a record is written before the link. It contains the number of names and the time of the last
//! change of the inode, which a link and the removal of a name change. If the record exists and
//! both are as it says, the link was not made. If they differ, `data` is the object, or was.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage_core::Result;

use super::DATA;
use super::files::Files;
use super::record::object_etag;
use super::upload::{Upload, present, read_record, write_record};
use crate::record::encode;

/// The name of the record.
const PLACING: &str = "placing";

/// How long to wait between the record and the link (20 ms), so that the time of the change by the
/// link differs: clock ticks last up to 10 ms.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// What a link changes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Links {
    /// How many names the file has.
    pub(crate) count: u64,
    /// When the inode last changed, in seconds and nanoseconds. The time of the last change of the
    /// content on systems that do not report it (Windows).
    pub(crate) changed: (i64, i64),
}

/// Announces that the data of an upload is about to be put in its place by a hard link.
pub(crate) struct Placing {
    record: Box<dyn PlacingRecord>,
}

/// The record of a placing, as a file in the directory of an upload.
trait PlacingRecord: Send {
    /// Writes the record, and returns its content.
    fn announce(&self, data: &File) -> io::Result<Links>;
    fn links(&self, data: &File) -> io::Result<Links>;
    fn withdraw(&self) -> io::Result<()>;
}

struct InDirectory<F: Files> {
    files: Arc<F>,
    dir: F::Dir,
}

impl<F: Files> PlacingRecord for InDirectory<F> {
    fn announce(&self, data: &File) -> io::Result<Links> {
        let links = self.files.links(data)?;
        let record = encode(&links).map_err(io::Error::other)?;
        write_record(&*self.files, &self.dir, PLACING, &record)?;
        Ok(links)
    }

    fn links(&self, data: &File) -> io::Result<Links> {
        self.files.links(data)
    }

    fn withdraw(&self) -> io::Result<()> {
        withdraw(&*self.files, &self.dir)
    }
}

impl Placing {
    /// Returns the announcement for the upload in a directory.
    pub(crate) fn new<F: Files>(files: &Arc<F>, dir: &F::Dir) -> io::Result<Self> {
        let dir = files.clone_dir(dir)?;
        Ok(Self { record: Box::new(InDirectory { files: Arc::clone(files), dir }) })
    }

    /// Calls `place`, which makes a hard link of the file. If it fails and the link was not made,
    /// the upload is in progress as before.
    ///
    /// A network file system may report an error after it has made the link. The record then stays,
    /// and shows that the upload has ended.
    pub(crate) fn place(
        &self,
        data: &File,
        place: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.record.announce(data)?;
        std::thread::sleep(CLOCK_TICK);
        let placed = place();
        if placed.is_err()
            && self.record.links(data).is_ok_and(|links| links == before)
            && let Err(error) = self.record.withdraw()
        {
            // It shows that no link was made, until the next verb removes it.
            tracing::debug!(%error, "the record of a placing could not be removed");
        }
        placed
    }
}

impl Debug for Placing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Placing").finish_non_exhaustive()
    }
}

impl<F: Files> Upload<F> {
    /// Returns whether the file `data` has become the object.
    pub(super) fn has_become_object(&self, data: &File) -> Result<bool> {
        let failed = |error| self.files.error(error, "reading the state of the upload");
        let placing = || read_record(&*self.files, &self.dir, PLACING).map_err(failed);
        let recorded: Option<Links> = placing()?;
        let links = self.files.links(data).map_err(failed)?;
        match recorded {
            None if links.count == 1 => Ok(false),
            Some(before) if before != links => match placing()? == Some(before) {
                true => Ok(true),
                // Either a put has withdrawn the record, because the upload is in progress, and may
                // have written before `links` was read. Or the directory is being removed: `data`
                // is removed before the record.
                false => {
                    let data = present(&self.files, self.files.open_file(&self.dir, DATA));
                    Ok(data.map_err(failed)?.is_none())
                }
            },
            // Hard links of unfinished uploads, of which one was put back after the completion.
            _ => self.is_object_present(),
        }
    }

    /// Returns whether the object under the key is the one of this upload.
    pub(super) fn is_object_present(&self) -> Result<bool> {
        use storage_core::ErrorKind::{NotFound, PermissionDenied};
        let expected = object_etag(self.beginning.id.upload())?;
        match self.files.stat(&self.beginning.key) {
            Ok(object) => Ok(object.etag == Some(expected)),
            // The object of another user may be closed to this process. A save replaces it too.
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the record of a placing that did not take place, before `data` changes. The caller
    /// holds the lock of the upload.
    pub(super) fn withdraw_placing(&self) -> io::Result<()> {
        withdraw(&*self.files, &self.dir)
    }
}

/// Removes the record of a placing, if there is one.
///
/// Empties it first, which counts as no record. So after a loss of power the record does not come
/// back with its content, beside data that has changed. This also holds for another put, which
/// finds no record any more and does not sync the directory.
fn withdraw<F: Files>(files: &F, dir: &F::Dir) -> io::Result<()> {
    let record = match files.open_writable(dir, PLACING) {
        Err(error) if files.means_absent(&error) => return Ok(()),
        opened => opened?,
    };
    record.set_len(0)?;
    if files.is_durable() {
        record.sync_all()?;
    }
    drop(record);
    match files.remove_file(dir, PLACING) {
        // Another put has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
