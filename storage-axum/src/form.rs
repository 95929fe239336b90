//! [`UploadForm`]: an extractor of forms with files.

use axum_core::RequestExt;
use axum_core::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use storage_serve::form::{self, UploadField};

use crate::error::{Result, StorageError};

/// Extracts a form with files (`multipart/form-data`), which stream to a storage.
///
/// The whole form may have 2 MiB, the limit of all extractors of axum. Set another limit with
/// `DefaultBodyLimit::max` on the route. A form above it fails with `TooLarge`, which is status
/// 413. Limit single files with [`UploadField::max_size`].
///
/// If the client goes away, the form ends with an error, or the future of the handler is dropped.
/// In both cases the save that reads a file of it leaves nothing. A time limit for clients that
/// send nothing is up to the server, for example `tower_http::timeout::RequestBodyTimeoutLayer`.
///
/// ```
/// use axum::extract::State;
/// use storage_axum::{Result, UploadForm};
/// use storage_core::{Storage, keys};
///
/// async fn upload(State(storage): State<Storage>, mut form: UploadForm) -> Result<String> {
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
/// # let _: axum::Router<Storage> = axum::Router::new().route("/", axum::routing::post(upload));
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

impl<S: Send + Sync> FromRequest<S> for UploadForm {
    type Rejection = StorageError;

    /// Begins to read the form.
    ///
    /// # Errors
    /// Status 400 if the request is not a form with files.
    async fn from_request(request: Request, _state: &S) -> Result<Self> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = request.with_limited_body().into_body().into_data_stream();
        Ok(Self(form::UploadForm::new(&content_type, body)?))
    }
}
