//! [`PacedBody`]: a body that bounds the headers of a field.
//!
//! multer limits neither the size nor the number of the headers that it keeps in memory. Therefore
//! it receives the body in pieces, and no more than the bytes that are left for the headers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use storage_core::{BoxError, Error, ErrorKind, Result};

/// The body of a request in pieces.
pub(super) struct PacedBody {
    /// The kind of the error, after the body has failed.
    body: Result<BoxStream<'static, Result<Bytes, BoxError>>, ErrorKind>,
    rest: Bytes,
    /// How many bytes may still be read for the headers of a field. `usize::MAX` inside of one.
    headers_left: Arc<AtomicUsize>,
    /// Whether the reader has to process the last piece before it gets the next one.
    pauses: bool,
}

impl PacedBody {
    pub(super) fn new<S, E>(body: S, headers_left: Arc<AtomicUsize>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let body = body.map(|chunk| chunk.map_err(Into::into)).boxed();
        Self { body: Ok(body), rest: Bytes::new(), headers_left, pauses: false }
    }
}

impl Stream for PacedBody {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.headers_left.load(Ordering::Relaxed);
        if left == 0 && self.body.is_ok() {
            self.body = Err(ErrorKind::InvalidInput);
            self.rest = Bytes::new();
            return Poll::Ready(Some(Err("the headers of a field are too large".into())));
        }
        while self.rest.is_empty() {
            let body = match &mut self.body {
                Ok(body) => body,
                // A handler may request the next field after the save of one has failed.
                Err(kind) => {
                    let error = Error::new(*kind, "the form has failed before");
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            match ready!(body.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(error)) => {
                    let is_too_large = super::is_too_large(error.as_ref());
                    self.body = Err(match is_too_large {
                        true => ErrorKind::TooLarge,
                        false => ErrorKind::InvalidInput,
                    });
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
        let size = self.rest.len().min(left);
        let piece = self.rest.split_to(size);
        if left != usize::MAX {
            self.headers_left.store(left - size, Ordering::Relaxed);
        }
        self.pauses = true;
        Poll::Ready(Some(Ok(piece)))
    }
}
