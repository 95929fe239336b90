//! The settings of an [`Uploads`](super::Uploads).

use std::sync::Arc;

use futures_core::future::BoxFuture;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use http::request::Parts;
use storage_core::signed_url::SigningKey;

use super::engine::Engine;
use super::grant::{Grant, Refusal, UploadRequest};
use super::s3;
use super::token::Token;
use crate::cors::Cors;

/// The function of the application that decides about each new upload.
pub(super) type Authorize =
    dyn Fn(Parts, UploadRequest) -> BoxFuture<'static, Result<Grant, Refusal>> + Send + Sync;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) engine: Engine,
    pub(super) signing_key: SigningKey,
    pub(super) authorize: Arc<Authorize>,
    /// Without a slash at its end.
    pub(super) mount_path: String,
    pub(super) max_size: Option<u64>,
    pub(super) cors: Option<Cors>,
    pub(super) s3: s3::Settings,
    /// Where a client goes after a form.
    pub(super) form_redirect: Option<HeaderValue>,
}

impl Settings {
    /// Returns the URL of an upload, as a path without scheme and host.
    ///
    /// # Errors
    /// If the mount path is malformed.
    pub(super) fn location(&self, token: &Token) -> Result<HeaderValue, InvalidHeaderValue> {
        HeaderValue::try_from(format!("{}/{}", self.mount_path, token.sign(&self.signing_key)))
    }
}
