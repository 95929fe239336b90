//! [`ForwardedBody`]: the payload of a request, for readers in other threads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::dev::Payload;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::future::{Either, select};
use futures_util::{StreamExt, pin_mut};
use http_body::Frame;
use storage_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

/// A chunk, an error, or the end of the payload as `None`. A channel that closes before the end is
/// an error.
type Message = Option<Result<Bytes>>;

/// The payload of a request, which a task in the thread of the request passes on.
///
/// The channel holds at most one chunk. Dropping the body ends the task, which drops the payload.
pub(crate) struct ForwardedBody {
    messages: mpsc::Receiver<Message>,
    has_ended: bool,
}

impl ForwardedBody {
    /// Passes on a payload of at most `max` bytes. A larger one fails with `TooLarge`.
    pub(crate) fn new(payload: Payload, max: u64) -> Self {
        let (sender, messages) = mpsc::channel(1);
        actix_web::rt::spawn(forward(payload, sender, max));
        Self { messages, has_ended: false }
    }
}

async fn forward(mut payload: Payload, sender: mpsc::Sender<Message>, max: u64) {
    let mut left = max;
    loop {
        let next = {
            let closed = sender.closed();
            pin_mut!(closed);
            match select(payload.next(), closed).await {
                Either::Left((next, _)) => next,
                // The body was dropped before the client sent another chunk.
                Either::Right(_) => return,
            }
        };
        let message = next.map(|chunk| match chunk {
            Ok(chunk) if chunk.len() as u64 > left => {
                let message = format!("the request has more than the {max} bytes allowed");
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            Ok(chunk) => {
                left -= chunk.len() as u64;
                Ok(chunk)
            }
            Err(error) => {
                let text = error.to_string();
                Err(Error::new(ErrorKind::InvalidInput, "the request broke off").with_source(text))
            }
        });
        let is_last = !matches!(message, Some(Ok(_)));
        if sender.send(message).await.is_err() || is_last {
            return;
        }
    }
}

impl Stream for ForwardedBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = match ready!(self.messages.poll_recv(cx)) {
            Some(next) => next,
            None => {
                let message = "the task that passes on the request ended";
                Some(Err(Error::new(ErrorKind::Unexpected, message)))
            }
        };
        self.has_ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl http_body::Body for ForwardedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_next(cx).map_ok(Frame::data)
    }
}
