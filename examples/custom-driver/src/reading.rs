//! [`read`]: streams a body, one piece at a time.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use redb::ReadOnlyTable;
use storage_core::Result;

use crate::database::{blocking, failed};
use crate::tables::{PIECE, missing};

type Pieces = ReadOnlyTable<(&'static str, u64), &'static [u8]>;

/// Streams a range of a body. The table belongs to a snapshot, so the pieces stay until the stream
/// is dropped.
pub(crate) fn read(
    pieces: Pieces,
    body: String,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::try_unfold((pieces, body, range), |(pieces, body, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        blocking(move || {
            let bytes = first_bytes(&pieces, &body, &range)?;
            let rest = range.start + bytes.len() as u64..range.end;
            Ok(Some((bytes, (pieces, body, rest))))
        })
        .await
    })
}

/// Returns the bytes of a range that are in the piece of its first byte.
fn first_bytes(pieces: &Pieces, body: &str, range: &Range<u64>) -> Result<Bytes> {
    let number = range.start / PIECE as u64;
    let start = number * PIECE as u64;
    let row = pieces.get((body, number)).map_err(failed)?.ok_or_else(|| missing(number))?;
    let (from, to) = (range.start - start, (range.end - start).min(PIECE as u64));
    // Both are at most the size of a piece, so they fit.
    row.value()
        .get(from as usize..to as usize)
        .map(Bytes::copy_from_slice)
        .ok_or_else(|| missing(number))
}
