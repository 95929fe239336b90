//! [`BodyEvent`]: what [`Object::inspect`](crate::Object::inspect) reports of a body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use crate::error::{Error, Result};

/// What [`Object::inspect`](crate::Object::inspect) reports of a body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum BodyEvent<'a> {
    /// The body is in memory or in a file and has this many bytes. It does not stream, so this is
    /// its only event. It is reported at once, whether or not the body is read.
    Ready(u64),
    /// A chunk of a body that streams.
    Chunk(&'a Bytes),
    /// The body failed. This is its last event.
    Failed(&'a Error),
    /// The body ended. This is its last event.
    Ended,
}

/// The chunks of a body, reported to a closure as they pass.
pub(crate) struct Inspected<F> {
    chunks: BoxStream<'static, Result<Bytes>>,
    /// `None` after the last event, so that what the closure holds is released then.
    inspect: Option<F>,
}

impl<F> Inspected<F> {
    pub(crate) fn new(chunks: BoxStream<'static, Result<Bytes>>, inspect: F) -> Self {
        Self { chunks, inspect: Some(inspect) }
    }
}

impl<F: FnMut(BodyEvent<'_>) + Send + Unpin> Stream for Inspected<F> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(self.chunks.poll_next_unpin(cx));
        if let Some(inspect) = &mut self.inspect {
            match &chunk {
                Some(Ok(chunk)) => inspect(BodyEvent::Chunk(chunk)),
                Some(Err(error)) => inspect(BodyEvent::Failed(error)),
                None => inspect(BodyEvent::Ended),
            }
        }
        if !matches!(chunk, Some(Ok(_))) {
            self.inspect = None;
        }
        Poll::Ready(chunk)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::stream;

    use super::*;
    use crate::error::ErrorKind;
    use crate::key::Key;
    use crate::metadata::ObjectMeta;
    use crate::object::Object;

    /// Returns the object of these chunks, and the events of its body.
    fn inspected(object: Object) -> (Object, Arc<Mutex<Vec<String>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&events);
        let object = object.inspect(move |event| {
            noted.lock().unwrap().push(match event {
                BodyEvent::Ready(bytes) => format!("ready {bytes}"),
                BodyEvent::Chunk(chunk) => format!("chunk {}", chunk.len()),
                BodyEvent::Failed(error) => format!("failed {:?}", error.kind()),
                BodyEvent::Ended => "ended".to_owned(),
            });
        });
        (object, events)
    }

    fn meta(size: u64) -> ObjectMeta {
        ObjectMeta::new(Key::new("a").unwrap(), size)
    }

    fn streaming(chunks: Vec<Result<Bytes>>) -> Object {
        Object::from_stream(meta(5), 0..5, stream::iter(chunks))
    }

    #[tokio::test]
    async fn inspect_reports_each_chunk_and_the_end() {
        let (object, events) = inspected(streaming(vec![
            Ok(Bytes::from_static(b"he")),
            Ok(Bytes::from_static(b"llo")),
        ]));
        assert!(events.lock().unwrap().is_empty());
        assert_eq!(object.text().await.unwrap(), "hello");
        assert_eq!(*events.lock().unwrap(), ["chunk 2", "chunk 3", "ended"]);
        // The closure has been dropped.
        assert_eq!(Arc::strong_count(&events), 1);
    }

    #[tokio::test]
    async fn inspect_reports_an_error_as_the_last_event() {
        let lost = Error::new(ErrorKind::Timeout, "lost");
        let (object, events) = inspected(streaming(vec![Ok(Bytes::from_static(b"he")), Err(lost)]));
        let mut chunks = object.into_stream();
        while chunks.next().await.is_some_and(|chunk| chunk.is_ok()) {}
        assert_eq!(*events.lock().unwrap(), ["chunk 2", "failed Timeout"]);
        // The closure has been dropped, although the stream has not.
        assert_eq!(Arc::strong_count(&events), 1);
        drop(chunks);
    }

    #[tokio::test]
    async fn inspect_reports_a_body_in_memory_at_once() {
        let (object, events) =
            inspected(Object::from_bytes(meta(5), 1..3, Bytes::from_static(b"el")));
        assert_eq!(*events.lock().unwrap(), ["ready 2"]);
        assert_eq!(object.text().await.unwrap(), "el");
        assert_eq!(*events.lock().unwrap(), ["ready 2"]);
    }

    #[tokio::test]
    async fn dropping_an_inspected_body_drops_the_closure() {
        let (object, events) = inspected(streaming(Vec::new()));
        drop(object);
        assert!(events.lock().unwrap().is_empty());
        assert_eq!(Arc::strong_count(&events), 1);
    }
}
