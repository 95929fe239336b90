//! [`Source`]: where a [`Reader`](crate::Reader) reads from. [`Window`]: its bytes in memory.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::metadata::ObjectMeta;
use crate::object::{Guard, Object, WholeBody};
use crate::storage::Storage;
use crate::version;

/// The size of the first window, and of one after a seek, in bytes.
pub(crate) const MIN_WINDOW: u64 = 64 * 1024;
/// The largest window of a remote object, in bytes.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;
/// The largest window of a local file, in bytes: a larger one saves no time.
const MAX_FILE_WINDOW: u64 = 1024 * 1024;

/// What the windows of a reader are read from.
pub(crate) enum Source {
    /// The first window is the whole object.
    Complete { _guard: Option<Guard> },
    /// The open file is the object.
    File { file: Arc<File>, _guard: Option<Guard> },
    /// Ranges of the version with this strong ETag.
    Ranges { etag: ETag },
}

impl Source {
    /// Returns the source of an object that was opened as the first window, and this window.
    pub(crate) async fn of(storage: &Storage, mut object: Object) -> Result<(Self, Window)> {
        let size = object.meta().known_size().ok_or_else(unknown_size)?;
        let first = 0..size.min(MIN_WINDOW);
        match object.take_whole() {
            Some((WholeBody::Bytes(bytes), guard)) => {
                return Ok((Self::Complete { _guard: guard }, Window::new(0, bytes)));
            }
            Some((WholeBody::File(file), guard)) => {
                return Ok((Self::File { file, _guard: guard }, Window::default()));
            }
            None => {}
        }
        if object.range() != first {
            // The body has other bytes, for example if the object is no longer empty.
            return Ok((Self::ranges(storage, object.meta())?, Window::default()));
        }
        let source = match first.end == size {
            true => Self::Complete { _guard: None },
            false => Self::ranges(storage, object.meta())?,
        };
        Ok((source, Window::new(0, object.bytes().await?)))
    }

    fn ranges(storage: &Storage, meta: &ObjectMeta) -> Result<Self> {
        match meta.strong_etag() {
            Some(etag) => Ok(Self::Ranges { etag: etag.clone() }),
            None => Err(Error::unsupported(format!(
                "the object has no strong ETag, so its ranges on {} might be of different \
                 versions: read it as a whole with `open`",
                storage.info().location
            ))),
        }
    }

    pub(crate) fn max_window(&self) -> u64 {
        match self {
            Self::File { .. } => MAX_FILE_WINDOW,
            Self::Complete { .. } | Self::Ranges { .. } => MAX_WINDOW,
        }
    }

    /// Reads a window.
    pub(crate) fn read(
        &self,
        storage: &Storage,
        meta: &ObjectMeta,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Bytes>> {
        match self {
            // The first window is the whole object, so no other one is read.
            Self::Complete { .. } => Box::pin(async { Ok(Bytes::new()) }),
            Self::File { file, .. } => {
                let object = Object::from_shared_file(meta.clone(), range, Arc::clone(file));
                Box::pin(object.bytes())
            }
            Self::Ranges { etag } => {
                let (driver, key) = (Arc::clone(storage.driver()), meta.key.clone());
                let etag = etag.clone();
                Box::pin(async move {
                    let opened = version::open_range(&driver, &key, &etag, range).await;
                    opened.map_err(changed)?.bytes().await
                })
            }
        }
    }
}

/// Adds the reason to an error that shows that the version no longer exists.
fn changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.with_context("the object was deleted while it was read"),
        // Backends that evaluate the range before the condition report a smaller object so.
        ErrorKind::RangeNotSatisfiable => Error::new(
            ErrorKind::PreconditionFailed,
            "the object was replaced by a smaller one while it was read: open it again",
        )
        .with_source(error),
        ErrorKind::PreconditionFailed => {
            error.with_context("the object was replaced while it was read, so open it again")
        }
        _ => error,
    }
}

fn unknown_size() -> Error {
    Error::unsupported(
        "the size of the object is unknown, so it has no positions: read it as a whole with `open`",
    )
}

/// Bytes of an object from a position on.
#[derive(Default)]
pub(crate) struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    pub(crate) fn new(start: u64, bytes: Bytes) -> Self {
        Self { start, bytes }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        (self.start..self.end()).contains(&position)
    }

    /// Returns the bytes from a position on; none if the position is outside of the window.
    pub(crate) fn bytes_at(&self, position: u64) -> &[u8] {
        let offset =
            position.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.bytes.get(offset..)).unwrap_or_default()
    }

    /// Returns the next window of an object of this size. It contains the position, which must be
    /// before the end of the object.
    pub(crate) fn next(&self, position: u64, wanted: usize, max: u64, size: u64) -> Range<u64> {
        let is_sequential = !self.bytes.is_empty() && position == self.end();
        let grown = if is_sequential { 2 * self.bytes.len() as u64 } else { 0 };
        let len = grown.max(wanted as u64).clamp(MIN_WINDOW, max);
        let end = position.saturating_add(len).min(size);
        // A first read near the end is usually followed by a read before it.
        let earliest = if is_sequential { position } else { end.saturating_sub(MIN_WINDOW) };
        position.min(earliest)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn window(range: Range<u64>) -> Window {
        Window::new(range.start, vec![0; usize::try_from(range.end - range.start).unwrap()].into())
    }

    #[test]
    fn windows_double_up_to_the_maximum_while_reading_is_sequential() {
        let size = 100 * MIB;
        let mut read = window(0..64 * KIB);
        let mut sizes = Vec::new();
        for _ in 0..10 {
            let next = read.next(read.end(), 0, MAX_WINDOW, size);
            assert_eq!(next.start, read.end());
            sizes.push((next.end - next.start) / KIB);
            read = window(next);
        }
        assert_eq!(sizes, [128, 256, 512, 1024, 2048, 4096, 8192, 8192, 8192, 8192]);
    }

    #[test]
    fn a_window_after_a_seek_has_64_kib() {
        let read = window(0..MIB);
        assert_eq!(read.next(3 * MIB, 0, MAX_WINDOW, 9 * MIB), 3 * MIB..3 * MIB + 64 * KIB);
        let far = window(4 * MIB..5 * MIB);
        assert_eq!(far.next(7, 0, MAX_WINDOW, 9 * MIB), 7..7 + 64 * KIB);
    }

    #[test]
    fn a_window_has_as_many_bytes_as_the_caller_has_room_for() {
        let none = Window::default();
        assert_eq!(none.next(5, 100_000, MAX_WINDOW, 9 * MIB), 5..100_005);
        assert_eq!(none.next(5, usize::MAX, MAX_WINDOW, 9 * MIB), 5..5 + 8 * MIB);
    }

    #[test]
    fn a_window_near_the_end_begins_before_the_position() {
        let none = Window::default();
        assert_eq!(none.next(MIB - 8, 8, MAX_WINDOW, MIB), MIB - 64 * KIB..MIB);
        // It is not read twice.
        let read = window(0..MIB - 8);
        assert_eq!(read.next(MIB - 8, 0, MAX_WINDOW, MIB), MIB - 8..MIB);
    }
}
