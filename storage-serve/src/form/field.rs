//! [`UploadField`]: a file or a text of a form.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use multer::Field;
use storage_core::{Error, ErrorKind, Payload, Result};

use super::form_error;

/// A field of a form: a file, or a text.
///
/// Converts to a [`Payload`], so it can be saved: `storage.save(key, field)`. The bytes are not
/// copied, and the save stops reading from the client while the storage is slower.
///
/// The names and the type come from the client, which may send any text.
/// [`keys::unique`](storage_core::keys::unique) makes a safe key of a file name. A save without a
/// content type guesses it from the key or the first bytes.
pub struct UploadField {
    field: OpenField,
    file_name: Option<String>,
    max_size: u64,
}

impl UploadField {
    pub(super) fn new(field: OpenField, file_name: Option<String>) -> Self {
        Self { field, file_name, max_size: u64::MAX }
    }

    /// Returns the name of the field; empty if the client sent none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field.get().and_then(Field::name).unwrap_or_default()
    }

    /// Returns whether the field is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_name.is_some()
    }

    /// Returns the name of the file as the client sent it, converted to UTF-8, for example
    /// `../a.txt`; empty if the field is not a file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file_name.as_deref().unwrap_or_default()
    }

    /// Returns the content type that the client states.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        Some(self.field.get()?.content_type()?.as_ref())
    }

    /// Sets the maximum size in bytes. Defaults to no limit.
    ///
    /// A larger field fails the save with `TooLarge`, which is status 413, and nothing of it is
    /// stored. The save first reads the rest of the field, so that the client receives the response
    /// (RFC 9112 section 9.6) and the next field can be read. The rest counts towards the limit of
    /// the body.
    #[must_use]
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Reads the whole field into memory, if it has at most `max` bytes.
    ///
    /// # Errors
    /// `TooLarge` if it has more. `InvalidInput` if the form breaks off.
    pub async fn bytes_up_to(self, max: u64) -> Result<Bytes> {
        let max = max.min(self.max_size);
        Ok(Payload::from(self.max_size(max)).into_bytes().await?.0)
    }

    /// Reads the whole field as text, if it has at most `max` bytes.
    ///
    /// # Errors
    /// `InvalidInput` if it is not UTF-8. Otherwise as [`bytes_up_to`](Self::bytes_up_to).
    pub async fn text_up_to(self, max: u64) -> Result<String> {
        let bytes = self.bytes_up_to(max).await?;
        String::from_utf8(Vec::from(bytes)).map_err(|cause| {
            Error::new(ErrorKind::InvalidInput, "a field of the form is not UTF-8 text")
                .with_source(cause)
        })
    }

    /// Converts the field to a stream of its bytes. An error is the last item.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let Self { field, max_size, .. } = self;
        stream::try_unfold((field, 0), move |(mut field, mut size)| async move {
            let Some(chunk) = field.chunk().await? else { return Ok(None) };
            size += chunk.len() as u64;
            if size <= max_size {
                return Ok(Some((chunk, (field, size))));
            }
            while field.chunk().await?.is_some() {}
            let message = format!("the file has more than the {max_size} bytes allowed");
            Err(Error::new(ErrorKind::TooLarge, message))
        })
    }
}

impl From<UploadField> for Payload {
    fn from(field: UploadField) -> Self {
        Self::from_stream(field.into_stream())
    }
}

impl fmt::Debug for UploadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadField")
            .field("name", &self.name())
            .field("file_name", &self.file_name)
            .finish_non_exhaustive()
    }
}

/// The field that was dropped before its end, if there is one.
pub(super) type Unread = Arc<Mutex<Option<Field<'static>>>>;

/// A field that returns to its form if it is dropped before its end.
///
/// multer skips the rest of such a field by itself, but counts it as headers of the next one: see
/// [`PacedBody`](super::paced_body::PacedBody).
pub(super) struct OpenField {
    /// `None` after the end.
    field: Option<Field<'static>>,
    unread: Unread,
}

impl OpenField {
    pub(super) fn new(field: Field<'static>, unread: &Unread) -> Self {
        Self { field: Some(field), unread: Arc::clone(unread) }
    }

    /// Takes the field that was dropped before its end.
    pub(super) fn take(unread: &Unread) -> Option<Self> {
        let field = unread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Self::new(field, unread))
    }

    fn get(&self) -> Option<&Field<'static>> {
        self.field.as_ref()
    }

    /// Returns the next bytes, which are at least one, or `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(field) = &mut self.field {
            match field.chunk().await.map_err(form_error) {
                // The parser passes on no bytes before the end of an empty field.
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => self.field = None,
                Err(error) => {
                    self.field = None;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }
}

impl Drop for OpenField {
    fn drop(&mut self) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = self.field.take();
    }
}
