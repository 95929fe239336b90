//! [`UploadForm`]: an extractor of forms with files.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest};
use storage_serve::form::{self, UploadField};

use crate::error::{Result, StorageError};
use crate::forwarded_body::ForwardedBody;

/// The upper bound for a form without a [`FormLimit`], in bytes.
const DEFAULT_LIMIT: u64 = 2 << 20;

/// The upper bound for the forms of an application, a scope or a resource, in bytes. Set it with
/// `app_data`. Defaults to 2 MiB.
///
/// ```
/// use actix_web::App;
/// use storage_actix::FormLimit;
///
/// let app = App::new().app_data(FormLimit::new(50 << 20));
/// # let _ = app;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FormLimit(u64);

impl FormLimit {
    /// Returns a limit in bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(bytes)
    }
}

/// Extracts a form with files (`multipart/form-data`), which stream to a storage.
///
/// The whole form may have 2 MiB, unless a [`FormLimit`] sets another limit. A form above it fails
/// with `TooLarge`, which is status 413. Limit single files with [`UploadField::max_size`].
///
/// If the client goes away, the form ends with an error, or the future of the handler is dropped.
/// In both cases the save that reads a file of it leaves nothing. A time limit for clients that
/// send nothing is up to the handler, for example `tokio::time::timeout` around what reads the
/// form.
///
/// ```
/// use actix_web::{HttpResponse, web};
/// use storage_actix::{Result, UploadForm};
/// use storage_core::{Storage, keys};
///
/// async fn upload(storage: web::Data<Storage>, mut form: UploadForm) -> Result<String> {
///     let mut title = String::new();
///     while let Some(field) = form.next_field().await? {
///         if field.is_file() {
///             let key = keys::unique("photos", field.file_name())?;
///             storage.save(key, field.max_size(2 << 20)).await?;
///         } else if field.name() == "title" {
///             title = field.text_up_to(200).await?;
///         }
///     }
///     Ok(title)
/// }
/// # let _ = web::post().to(upload);
/// ```
#[derive(Debug)]
pub struct UploadForm(form::UploadForm);

impl UploadForm {
    /// Returns the next field: a file or a text. See
    /// [`UploadForm::next_field`](form::UploadForm::next_field).
    ///
    /// # Errors
    /// `InvalidInput` if the form is malformed or breaks off. `TooLarge` if it exceeds its limit.
    pub async fn next_field(&mut self) -> Result<Option<UploadField>> {
        Ok(self.0.next_field().await?)
    }

    /// Returns the next file, and skips texts. Otherwise as [`next_field`](Self::next_field).
    ///
    /// # Errors
    /// As [`next_field`](Self::next_field).
    pub async fn next_file(&mut self) -> Result<Option<UploadField>> {
        Ok(self.0.next_file().await?)
    }
}

impl FromRequest for UploadForm {
    type Error = StorageError;
    type Future = Ready<Result<Self>>;

    /// Begins to read the form.
    ///
    /// # Errors
    /// Status 400 if the request is not a form with files.
    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let max = request.app_data::<FormLimit>().map_or(DEFAULT_LIMIT, |limit| limit.0);
        let body = ForwardedBody::new(payload.take(), max);
        let form = form::UploadForm::new(content_type.unwrap_or_default(), body);
        ready(form.map(Self).map_err(StorageError::from))
    }
}
