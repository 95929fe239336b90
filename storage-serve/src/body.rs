//! [`ResponseBody`]: the body of a response.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use http_body::{Frame, SizeHint};
use storage_core::{Error, Object, Result};

use crate::exclusive::Exclusive;

/// The chunks of a range of an object.
pub type Chunks = BoxStream<'static, Result<Bytes>>;

/// Opens a range of the version that is being sent. Fails if it was replaced.
pub type OpenRange = Arc<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Chunks>> + Send + Sync>;

/// The body of a response. Passes on the chunks of a storage without copying them.
///
/// Implements `http_body::Body` for servers, and `Stream` of chunks. It is `Send` and `Sync`,
/// because poem, salvo and warp require both. An error is logged and ends the body. A server then
/// closes the connection, so that the client detects that the body is incomplete. Dropping the body
/// stops reading from the storage.
///
/// ```
/// use futures_util::TryStreamExt;
/// use storage_serve::ResponseBody;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let body = ResponseBody::bytes("hello".into());
/// assert_eq!(body.len(), Some(5));
/// assert_eq!(body.try_collect::<Vec<_>>().await?, ["hello"]);
/// # Ok(()) }
/// ```
pub struct ResponseBody {
    kind: Kind,
    /// The number of remaining bytes, if it is known.
    left: Option<u64>,
}

enum Kind {
    Empty,
    Bytes(Bytes),
    Stream(Exclusive<Chunks>),
    Parts(Parts),
}

impl ResponseBody {
    /// Returns a body of length 0.
    #[must_use]
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, left: Some(0) }
    }

    /// Returns the body of a response to HEAD, or with a status that has no body. Its length is
    /// unknown, so that the server adds no `Content-Length: 0`.
    pub(crate) fn none() -> Self {
        Self { kind: Kind::Empty, left: None }
    }

    /// Returns a body of bytes in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self { kind: if bytes.is_empty() { Kind::Empty } else { Kind::Bytes(bytes) }, left }
    }

    /// Returns the bytes of an object, or of the range of it that was opened.
    #[must_use]
    pub fn object(object: Object) -> Self {
        match object.meta().known_size().map(|_| object.content_length()) {
            Some(0) => Self::empty(),
            left => Self { kind: Kind::Stream(Exclusive::new(object.into_stream().boxed())), left },
        }
    }

    /// Returns a body of exactly `len` bytes, or of unknown length. If the stream is shorter than
    /// `len`, the server closes the connection.
    pub fn stream<S>(chunks: S, len: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self { kind: Kind::Stream(Exclusive::new(chunks.boxed())), left: len }
    }

    /// Returns a body of several parts, each after its head, and the text `end`. A part is opened
    /// when the one before it is complete.
    pub(crate) fn parts(parts: Vec<(Bytes, Range<u64>)>, end: Bytes, open: OpenRange) -> Self {
        // A source may report any size. If the sum overflows, the length is unknown.
        let left = parts.iter().try_fold(end.len() as u64, |sum, (head, range)| {
            sum.checked_add(head.len() as u64)?.checked_add(range.end.checked_sub(range.start)?)
        });
        Self {
            kind: Kind::Parts(Parts {
                parts: parts.into(),
                end: Some(end),
                open,
                state: PartState::Between,
            }),
            left,
        }
    }

    /// Returns the number of remaining bytes, if it is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.left
    }

    /// Returns whether no bytes remain. Returns `false` if that is not known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty) || self.left == Some(0)
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = match &mut self.kind {
            Kind::Empty => None,
            Kind::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Some(Ok(bytes))
            }
            Kind::Stream(chunks) => ready!(chunks.get_mut().poll_next_unpin(cx)),
            Kind::Parts(parts) => ready!(parts.poll_next(cx)),
        };
        match &chunk {
            Some(Ok(chunk)) => {
                self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
            }
            // After an error or the end, the body stays empty.
            Some(Err(error)) => {
                tracing::error!(%error, "a response broke off");
                self.kind = Kind::Empty;
            }
            None => self.kind = Kind::Empty,
        }
        Poll::Ready(chunk)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_next(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The parts of a multipart/byteranges document (RFC 9110 section 14.6).
struct Parts {
    parts: VecDeque<(Bytes, Range<u64>)>,
    end: Option<Bytes>,
    open: OpenRange,
    state: PartState,
}

/// The state of the current part.
enum PartState {
    Between,
    Opening(Exclusive<BoxFuture<'static, Result<Chunks>>>),
    Sending(Exclusive<Chunks>),
}

impl Parts {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match &mut self.state {
                PartState::Between => {
                    let Some((head, range)) = self.parts.pop_front() else {
                        return Poll::Ready(self.end.take().map(Ok));
                    };
                    self.state = PartState::Opening(Exclusive::new((self.open)(range)));
                    return Poll::Ready(Some(Ok(head)));
                }
                PartState::Opening(opening) => match ready!(opening.get_mut().poll_unpin(cx)) {
                    Ok(chunks) => self.state = PartState::Sending(Exclusive::new(chunks)),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                PartState::Sending(chunks) => match ready!(chunks.get_mut().poll_next_unpin(cx)) {
                    Some(chunk) => return Poll::Ready(Some(chunk)),
                    None => self.state = PartState::Between,
                },
            }
        }
    }
}
