//! Faults within a stream of bytes or entries.

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use storage_core::{ErrorKind, Result};

use super::plan::{Fault, Planned, planned_error};

/// An item of a stream, which has a length and can be split.
pub(super) trait Piece: Send + Sized + 'static {
    fn len(&self) -> u64;
    /// Returns two parts. The first has this length, which is between 0 and the length of the
    /// whole.
    fn split(self, len: u64) -> (Self, Self);
    /// Returns the item with another byte at this position.
    fn corrupted(self, position: usize) -> Self;
}

impl Piece for Bytes {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn split(mut self, len: u64) -> (Self, Self) {
        // It is less than the length, so it fits.
        let first = self.split_to(usize::try_from(len).unwrap_or(self.len()));
        (first, self)
    }

    fn corrupted(self, position: usize) -> Self {
        let mut bytes = BytesMut::from(self);
        bytes[position] ^= 0x55;
        bytes.freeze()
    }
}

/// An item of a listing has the length 1.
macro_rules! items_of_listings {
    ($($item:ty),+) => {$(
        impl Piece for $item {
            fn len(&self) -> u64 {
                1
            }

            fn split(self, _len: u64) -> (Self, Self) {
                unreachable!("an item of a listing is not split")
            }

            fn corrupted(self, _position: usize) -> Self {
                self
            }
        }
    )+};
}

items_of_listings!(storage_core::Entry, storage_core::Part, storage_core::UnfinishedUpload);

type Pieces<T> = BoxStream<'static, Result<T>>;

/// Applies a fault to a stream, if it is one for streams. It fires when the stream reaches it.
pub(super) fn with_fault<T: Piece>(
    pieces: Pieces<T>,
    fault: &Fault,
    planned: &Planned,
) -> Pieces<T> {
    let (left, end) = match *fault {
        Fault::FailMidway(after, kind) => (after, End::Fail(kind)),
        Fault::Truncate(after) => (after, End::Truncate),
        Fault::Stall(after) => (after, End::Stall),
        Fault::Corrupt(position) => return corrupted(pieces, position, planned.clone()),
        _ => return pieces,
    };
    stream::unfold(Cut { pieces, left, rest: None, end, planned: planned.clone() }, Cut::next)
        .boxed()
}

/// A stream that ends after some bytes or entries.
struct Cut<T> {
    pieces: Pieces<T>,
    left: u64,
    /// The second part of the last item.
    rest: Option<T>,
    end: End,
    planned: Planned,
}

enum End {
    Fail(ErrorKind),
    Truncate,
    Stall,
    Over,
}

impl<T: Piece> Cut<T> {
    async fn next(mut self) -> Option<(Result<T>, Self)> {
        if self.left > 0 {
            let piece = self.pieces.next().await?.map(|piece| self.shortened(piece));
            return Some((piece, self));
        }
        match self.end {
            End::Over => None,
            End::Fail(kind) => {
                self.planned.fire();
                self.end = End::Over;
                Some((Err(planned_error(kind)), self))
            }
            End::Stall => {
                self.planned.fire();
                future::pending().await
            }
            End::Truncate => {
                let following = match self.rest.take() {
                    Some(rest) => Ok(rest),
                    // There are no more items to drop, so the fault does not fire.
                    None => self.pieces.next().await?,
                };
                self.end = End::Over;
                match following {
                    Ok(_) => {
                        self.planned.fire();
                        None
                    }
                    Err(error) => Some((Err(error), self)),
                }
            }
        }
    }

    /// Returns the part of an item that may pass.
    fn shortened(&mut self, piece: T) -> T {
        let len = piece.len();
        if len <= self.left {
            self.left -= len;
            return piece;
        }
        let (first, rest) = piece.split(std::mem::take(&mut self.left));
        self.rest = Some(rest);
        first
    }
}

fn corrupted<T: Piece>(pieces: Pieces<T>, position: u64, planned: Planned) -> Pieces<T> {
    let mut start = 0;
    let pieces = pieces.map(move |piece| {
        piece.map(|piece| {
            let end = start + piece.len();
            let within = (start..end)
                .contains(&position)
                .then(|| usize::try_from(position - start).ok())
                .flatten();
            start = end;
            match within {
                Some(within) => {
                    planned.fire();
                    piece.corrupted(within)
                }
                None => piece,
            }
        })
    });
    pieces.boxed()
}
