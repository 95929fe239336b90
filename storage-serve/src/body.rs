//! [`ResponseBody`]: the body of an answer.

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

/// The chunks of a range of an object.
pub type Chunks = BoxStream<'static, Result<Bytes>>;

/// Opens a range of the object that is being sent: of that version, or it fails.
pub type OpenRange = Arc<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Chunks>> + Send + Sync>;

/// The body of an answer: bytes as they come from a storage, not copied.
///
/// It is a `http_body::Body` for servers and a `Stream` of chunks for everybody else. An error is
/// its last item, and is logged; a server that meets one ends the connection, so that the client
/// sees that the body is not whole. Dropping it stops the reading.
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
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
}

enum Kind {
    Empty,
    Bytes(Bytes),
    Stream(Chunks),
    Parts(Parts),
}

impl ResponseBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, left: Some(0) }
    }

    /// No body where one of length 0 would be something else: of answers to HEAD, and of those
    /// whose status has none. Its length is unknown, so that no server makes a `Content-Length: 0`
    /// of it.
    pub(crate) fn none() -> Self {
        Self { kind: Kind::Empty, left: None }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self { kind: if bytes.is_empty() { Kind::Empty } else { Kind::Bytes(bytes) }, left }
    }

    /// The body of an object, or of the range of it that was opened.
    #[must_use]
    pub fn object(object: Object) -> Self {
        match object.meta().known_size().map(|_| object.content_length()) {
            Some(0) => Self::empty(),
            left => Self { kind: Kind::Stream(object.into_stream().boxed()), left },
        }
    }

    /// A stream of exactly `len` bytes, or of nobody knows how many. The server it is given to ends
    /// the connection of one that is shorter.
    pub fn stream<S>(chunks: S, len: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self { kind: Kind::Stream(chunks.boxed()), left: len }
    }

    /// Several parts, each with the text that goes before it, and the text at the end. The parts
    /// are opened one after the other.
    pub(crate) fn parts(parts: Vec<(Bytes, Range<u64>)>, end: Bytes, open: OpenRange) -> Self {
        // A source may claim any size; a sum beyond all numbers is not known.
        let left = parts.iter().try_fold(end.len() as u64, |sum, (head, range)| {
            sum.checked_add(head.len() as u64)?.checked_add(range.end.checked_sub(range.start)?)
        });
        Self {
            kind: Kind::Parts(Parts {
                parts: parts.into(),
                end: Some(end),
                open,
                now: Now::Between,
            }),
            left,
        }
    }

    /// How many bytes are still to come, if that is known.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.left
    }

    /// Whether the body is known to have no bytes.
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
            Kind::Stream(chunks) => ready!(chunks.poll_next_unpin(cx)),
            Kind::Parts(parts) => ready!(parts.poll_next(cx)),
        };
        match &chunk {
            Some(Ok(chunk)) => {
                self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64))
            }
            // What a body says after its end or its failure is nobody's business.
            Some(Err(error)) => {
                tracing::error!(%error, "an answer broke off");
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

/// The parts of a multipart/byteranges document.
struct Parts {
    parts: VecDeque<(Bytes, Range<u64>)>,
    end: Option<Bytes>,
    open: OpenRange,
    now: Now,
}

/// Where the sending of parts is.
enum Now {
    Between,
    Opening(BoxFuture<'static, Result<Chunks>>),
    Sending(Chunks),
}

impl Parts {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match &mut self.now {
                Now::Between => {
                    let Some((head, range)) = self.parts.pop_front() else {
                        return Poll::Ready(self.end.take().map(Ok));
                    };
                    self.now = Now::Opening((self.open)(range));
                    return Poll::Ready(Some(Ok(head)));
                }
                Now::Opening(opening) => match ready!(opening.poll_unpin(cx)) {
                    Ok(chunks) => self.now = Now::Sending(chunks),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Now::Sending(chunks) => match ready!(chunks.poll_next_unpin(cx)) {
                    Some(chunk) => return Poll::Ready(Some(chunk)),
                    None => self.now = Now::Between,
                },
            }
        }
    }
}
