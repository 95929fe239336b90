//! Reads a form with files, one part after the other, in bounded memory.
//!
//! multer limits the size of the whole form, but not the size of the headers of a part, which it
//! keeps in memory. Therefore [`PacedBody`] passes the body to multer in pieces, and no more than
//! [`MAX_PART_HEADERS`] bytes while multer reads the headers of a part.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use anystorage::{Error, ErrorKind, Result};
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use multer::{Constraints, Field, Multipart, SizeLimit};

use crate::file_name::{FileName, file_name};

/// Upper bound for one file, in bytes.
pub(crate) const MAX_FILE: u64 = 10 << 20;
/// Upper bound for a whole form, in bytes. What a browser sends beyond it is not read, so it may
/// see a broken connection instead of the response.
const MAX_FORM: u64 = 4 * MAX_FILE;
/// Upper bound for the number of parts of a form. An empty file costs a client 100 bytes and the
/// storage a request.
const MAX_PARTS: usize = 100;
/// Upper bound for the headers of a part, in bytes.
const MAX_PART_HEADERS: usize = 8 << 10;

/// A form that is received from a client.
pub(crate) struct Form {
    parts: Multipart<'static>,
    headers_left: Arc<AtomicUsize>,
    count: usize,
}

/// A file of the form.
pub(crate) struct UploadedFile {
    /// The name from the client, which may be a path or hostile.
    pub(crate) name: String,
    /// The content, which must be read to its end or to an error before the next file. A file with
    /// more than [`MAX_FILE`] bytes is received and then ends in an error that [`is_too_large`].
    pub(crate) content: BoxStream<'static, Result<Bytes>>,
}

impl Form {
    /// Begins to read a form.
    ///
    /// # Errors
    /// `InvalidInput` if the headers are not those of a form with files.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Result<Self> {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(form_error)?;
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(MAX_FORM));
        let headers_left = Arc::new(AtomicUsize::new(MAX_PART_HEADERS));
        let body = PacedBody {
            body: body.into_data_stream(),
            rest: Bytes::new(),
            headers_left: Arc::clone(&headers_left),
            pauses: false,
        };
        Ok(Self {
            parts: Multipart::with_constraints(body, boundary, limits),
            headers_left,
            count: 0,
        })
    }

    /// Returns the next file. Skips fields that are not files.
    ///
    /// # Errors
    /// `InvalidInput` if the form is malformed or ends too early. `TooLarge` with a source if it
    /// exceeds [`MAX_FORM`] or [`MAX_PARTS`].
    pub(crate) async fn next_file(&mut self) -> Result<Option<UploadedFile>> {
        loop {
            self.headers_left.store(MAX_PART_HEADERS, Ordering::Relaxed);
            let part = self.parts.next_field().await.map_err(form_error)?;
            self.headers_left.store(usize::MAX, Ordering::Relaxed);
            let Some(part) = part else { return Ok(None) };
            self.count += 1;
            if self.count > MAX_PARTS {
                let cause = format!("more than {MAX_PARTS} parts");
                return Err(Error::new(ErrorKind::TooLarge, "the form has too many parts")
                    .with_source(cause));
            }
            match file_name(part.headers()) {
                FileName::Given(name) => {
                    return Ok(Some(UploadedFile { name, content: content(part) }));
                }
                FileName::Absent => drop(skip(part).await?),
                // Browsers send an empty part with an empty name if no file was chosen. Content
                // with an empty name must not be lost silently.
                FileName::Empty if skip(part).await? == 0 => {}
                FileName::Empty => {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        "a file of the form has no name",
                    ));
                }
            }
        }
    }
}

/// Reads a part to its end. Returns its size.
async fn skip(mut part: Field<'static>) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = part.chunk().await.map_err(form_error)? {
        size += chunk.len() as u64;
    }
    Ok(size)
}

/// Returns the content of a file as a stream that owns the part.
fn content(part: Field<'static>) -> BoxStream<'static, Result<Bytes>> {
    let chunks = stream::try_unfold((part, 0), |(mut part, mut size)| async move {
        let Some(chunk) = part.chunk().await.map_err(form_error)? else { return Ok(None) };
        size += chunk.len() as u64;
        if size <= MAX_FILE {
            return Ok(Some((chunk, (part, size))));
        }
        // The rest is read, because further files may follow, and because closing a connection with
        // unread bytes may lose the response (RFC 9112, section 9.6).
        skip(part).await?;
        Err(Error::new(ErrorKind::TooLarge, "the file is too large"))
    });
    chunks.boxed()
}

/// Whether an error means that one file has more than [`MAX_FILE`] bytes. The whole form has
/// another error.
pub(crate) fn is_too_large(error: &Error) -> bool {
    error.kind() == ErrorKind::TooLarge && std::error::Error::source(error).is_none()
}

fn form_error(cause: multer::Error) -> Error {
    let kind = match cause {
        multer::Error::StreamSizeExceeded { .. } => ErrorKind::TooLarge,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, "the form cannot be read to its end").with_source(cause)
}

/// The body of the request in pieces.
struct PacedBody {
    body: BodyDataStream,
    rest: Bytes,
    /// How many bytes may still be read for the headers of a part. `usize::MAX` inside of a part.
    headers_left: Arc<AtomicUsize>,
    /// Whether the reader has to process the last piece before it gets the next one.
    pauses: bool,
}

impl Stream for PacedBody {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.headers_left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Some(Err("the headers of a part are too large".into())));
        }
        if self.rest.is_empty() {
            match ready!(self.body.poll_next_unpin(cx)) {
                Some(chunk) => self.rest = chunk?,
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
