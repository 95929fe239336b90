//! Reading a form of files, one part after the other and in bounded memory, whatever a client
//! sends.
//!
//! multer limits the whole form. It holds the headers of a part in memory, however long they are,
//! and it takes from the body whatever is there. So the body is handed to it in pieces ([`Paced`]),
//! and no more than [`MAX_PART_HEADERS`] bytes of it while it looks for the headers of a part.

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

/// The most bytes of one file.
pub(crate) const MAX_FILE: u64 = 10 << 20;
/// The most bytes of a form with all its files. What a browser sends beyond is not read, and it may
/// see a broken connection instead of the response.
const MAX_FORM: u64 = 4 * MAX_FILE;
/// The most parts of a form, files and other fields: an empty file costs a client 100 bytes, and
/// the storage a request.
const MAX_PARTS: usize = 100;
/// The most bytes of the headers of a part.
const MAX_PART_HEADERS: usize = 8 << 10;

/// A form that is being received.
pub(crate) struct Form {
    parts: Multipart<'static>,
    headers_left: Arc<AtomicUsize>,
    seen: usize,
}

/// A file of the form.
pub(crate) struct UploadedFile {
    /// As the client has it, which may be a path or hostile.
    pub(crate) name: String,
    /// To be read to its end, or to an error, before the next file. A file with more than
    /// [`MAX_FILE`] bytes ends in [`is_too_large`], after all of it has been received.
    pub(crate) content: BoxStream<'static, Result<Bytes>>,
}

impl Form {
    /// # Errors
    /// `InvalidInput` if the headers are not those of a form with files.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Result<Self> {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
        let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(MAX_FORM));
        let headers_left = Arc::new(AtomicUsize::new(MAX_PART_HEADERS));
        let body = Paced {
            body: body.into_data_stream(),
            rest: Bytes::new(),
            headers_left: Arc::clone(&headers_left),
            pauses: false,
        };
        Ok(Self {
            parts: Multipart::with_constraints(body, boundary, limits),
            headers_left,
            seen: 0,
        })
    }

    /// Returns the next file, and passes over fields that are not files.
    ///
    /// # Errors
    /// `InvalidInput` if the form is malformed or ends too early; `TooLarge` with a source, or for
    /// too many parts, beyond the limits above.
    pub(crate) async fn next_file(&mut self) -> Result<Option<UploadedFile>> {
        loop {
            self.headers_left.store(MAX_PART_HEADERS, Ordering::Relaxed);
            let part = self.parts.next_field().await.map_err(unreadable)?;
            self.headers_left.store(usize::MAX, Ordering::Relaxed);
            let Some(part) = part else { return Ok(None) };
            self.seen += 1;
            if self.seen > MAX_PARTS {
                let cause = format!("more than {MAX_PARTS} parts");
                return Err(Error::new(ErrorKind::TooLarge, "the form has too many parts")
                    .with_source(cause));
            }
            match file_name(part.headers()) {
                FileName::Given(name) => {
                    return Ok(Some(UploadedFile { name, content: content(part) }));
                }
                FileName::Absent => drop(pass_over(part).await?),
                // Browsers send an empty part without a file name where no file was chosen. Content
                // without a name is lost to its sender if it is passed over without a word.
                FileName::Empty if pass_over(part).await? == 0 => {}
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
async fn pass_over(mut part: Field<'static>) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = part.chunk().await.map_err(unreadable)? {
        size += chunk.len() as u64;
    }
    Ok(size)
}

/// The content of a file. The part is owned by its stream: what drops the save drops its source
/// too, and nothing can take the beginning of a file for the whole.
fn content(part: Field<'static>) -> BoxStream<'static, Result<Bytes>> {
    let chunks = stream::try_unfold((part, 0), |(mut part, mut size)| async move {
        let Some(chunk) = part.chunk().await.map_err(unreadable)? else { return Ok(None) };
        size += chunk.len() as u64;
        if size <= MAX_FILE {
            return Ok(Some((chunk, (part, size))));
        }
        // The rest is read all the same: for the files behind it, and since a connection that is
        // closed on unread bytes may lose the response (RFC 9112, section 9.6).
        pass_over(part).await?;
        Err(Error::new(ErrorKind::TooLarge, "the file is too large"))
    });
    chunks.boxed()
}

/// Whether an error is that of one file with more than [`MAX_FILE`] bytes, and not of the whole
/// form.
pub(crate) fn is_too_large(error: &Error) -> bool {
    error.kind() == ErrorKind::TooLarge && std::error::Error::source(error).is_none()
}

fn unreadable(cause: multer::Error) -> Error {
    let kind = match cause {
        multer::Error::StreamSizeExceeded { .. } => ErrorKind::TooLarge,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, "the form cannot be read to its end").with_source(cause)
}

/// The body of the request, one piece at a time.
struct Paced {
    body: BodyDataStream,
    rest: Bytes,
    /// How many bytes may still be taken in search of the headers of a part; `usize::MAX` inside a
    /// part.
    headers_left: Arc<AtomicUsize>,
    /// Whether the reader is to look at what it has before it gets more.
    pauses: bool,
}

impl Stream for Paced {
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
