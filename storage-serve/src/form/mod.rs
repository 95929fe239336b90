//! Forms with files (`multipart/form-data`, RFC 7578), which stream to a storage. Needs the feature
//! `form`.
//!
//! The crates for frameworks contain extractors that make an [`UploadForm`] of a request. Use this
//! module for other frameworks.
//!
//! ```
//! use bytes::Bytes;
//! use futures_util::stream;
//! use storage_core::{Result, Storage, keys};
//! use storage_serve::form::UploadForm;
//!
//! async fn save_files(storage: &Storage, mut form: UploadForm) -> Result<()> {
//!     while let Some(file) = form.next_file().await? {
//!         let key = keys::unique("photos", file.file_name())?;
//!         storage.save(key, file.max_size(2 << 20)).await?;
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
//! let storage = storage_core::Memory::storage();
//! let content_type = "multipart/form-data; boundary=x";
//! let body = "--x\r\ncontent-disposition: form-data; name=f; filename=a.txt\r\n\r\nhello\r\n--x--";
//! let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(body))]);
//! save_files(&storage, UploadForm::new(content_type, body)?).await?;
//! assert_eq!(storage.list("photos/").keys().await?.len(), 1);
//! # Ok(()) }
//! ```

mod field;
mod paced_body;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_core::Stream;
use multer::Multipart;
use storage_core::{BoxError, Error, ErrorKind, Result};

pub use field::UploadField;

use crate::file_name::{FileName, file_name};
use field::{OpenField, Unread};
use paced_body::PacedBody;

/// Upper bound for the number of files of a form. An empty file costs a client 100 bytes and the
/// storage a request.
const MAX_FILES: usize = 100;

/// Upper bound for the number of files and texts of a form.
const MAX_FIELDS: usize = 1000;

/// Upper bound for the headers of a field, in bytes.
const MAX_FIELD_HEADERS: usize = 8 << 10;

/// A form that is received from a client, one field after the other.
///
/// Memory is bounded: a form has at most 100 files and 1000 fields, and the headers of a field have
/// at most 8 KiB. The number of bytes is not bounded: limit the body, and each file with
/// [`UploadField::max_size`].
///
/// A form that breaks off ends with an error, so that the save of an incomplete file fails and
/// leaves nothing.
pub struct UploadForm {
    fields: Multipart<'static>,
    /// How many bytes of headers the next field may have. `usize::MAX` inside of a field.
    headers_left: Arc<AtomicUsize>,
    unread: Unread,
    fields_seen: usize,
    files_seen: usize,
}

impl UploadForm {
    /// Begins to read a form from the value of its header `Content-Type` and the chunks of its
    /// body.
    ///
    /// # Errors
    /// `InvalidInput` if the content type is not that of a form with files.
    pub fn new<S, E>(content_type: &str, body: S) -> Result<Self>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let boundary = multer::parse_boundary(content_type).map_err(form_error)?;
        let headers_left = Arc::new(AtomicUsize::new(MAX_FIELD_HEADERS));
        let body = PacedBody::new(body, Arc::clone(&headers_left));
        let fields = Multipart::new(body, boundary);
        Ok(Self { fields, headers_left, unread: Unread::default(), fields_seen: 0, files_seen: 0 })
    }

    /// Returns the next field: a file or a text. `None` after the last one.
    ///
    /// Skips the rest of the previous field, which must have been dropped, and the empty fields
    /// that browsers send if no file was chosen.
    ///
    /// If the future is dropped, call it again.
    ///
    /// # Errors
    /// - `InvalidInput` if the form is malformed or breaks off, if a file has content but no name,
    ///   or if the previous field was not dropped.
    /// - `TooLarge` if the form has too many fields, or exceeds the limit of the body. Each call
    ///   after a body that exceeded its limit fails in this way.
    pub async fn next_field(&mut self) -> Result<Option<UploadField>> {
        while let Some(mut unread) = OpenField::take(&self.unread) {
            while unread.chunk().await?.is_some() {}
        }
        loop {
            self.headers_left.store(MAX_FIELD_HEADERS, Ordering::Relaxed);
            let field = self.fields.next_field().await.map_err(form_error)?;
            self.headers_left.store(usize::MAX, Ordering::Relaxed);
            let Some(field) = field else { return Ok(None) };
            let name = file_name(field.headers());
            self.fields_seen += 1;
            self.files_seen += usize::from(name != FileName::Absent);
            if self.fields_seen > MAX_FIELDS || self.files_seen > MAX_FILES {
                let message = format!(
                    "the form has more than {MAX_FILES} files or more than {MAX_FIELDS} fields"
                );
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            let mut field = OpenField::new(field, &self.unread);
            let name = match name {
                FileName::Given(name) => Some(name),
                FileName::Absent => None,
                FileName::Empty if field.chunk().await?.is_none() => continue,
                // The content must not be lost silently.
                FileName::Empty => {
                    let message = "a file of the form has no name";
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
            };
            return Ok(Some(UploadField::new(field, name)));
        }
    }

    /// Returns the next file, and skips texts. Otherwise as [`next_field`](Self::next_field).
    ///
    /// # Errors
    /// As [`next_field`](Self::next_field).
    pub async fn next_file(&mut self) -> Result<Option<UploadField>> {
        while let Some(field) = self.next_field().await? {
            if field.is_file() {
                return Ok(Some(field));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for UploadForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadForm").field("fields_seen", &self.fields_seen).finish_non_exhaustive()
    }
}

/// Converts an error of the parser. A limit of the body is `TooLarge`.
fn form_error(cause: multer::Error) -> Error {
    let kind = match &cause {
        multer::Error::StreamReadFailed(source) if is_too_large(source.as_ref()) => {
            ErrorKind::TooLarge
        }
        _ => ErrorKind::InvalidInput,
    };
    let message = match (&cause, kind) {
        (multer::Error::LockFailure, _) => "the previous field must be read or dropped first",
        (_, ErrorKind::TooLarge) => "the form is too large",
        _ => "the form cannot be read to its end",
    };
    Error::new(kind, message).with_source(cause)
}

/// Returns whether a body failed because it exceeds its limit.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    // Bounded, because a chain of sources that contains a circle would not end.
    causes.take(16).any(|cause| {
        cause.is::<http_body_util::LengthLimitError>()
            || cause.downcast_ref::<Error>().is_some_and(|it| it.kind() == ErrorKind::TooLarge)
    })
}
