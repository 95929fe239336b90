//! Resumable uploads: who may upload what.

use anystorage::serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
use anystorage::signed_url::SigningKey;
use anystorage::{Storage, keys};
use axum::http::{HeaderMap, StatusCode};
use loco_rs::app::AppContext;
use loco_rs::{Error, Result};

/// The largest video, in bytes.
const MAX_VIDEO: u64 = 10 << 30;

/// Makes resumable uploads to the prefix `videos/` of a storage available to `after_routes`.
///
/// # Errors
/// The storage has no multipart uploads, or the secret has less than 16 bytes.
pub fn with_uploads(ctx: AppContext, storage: Storage, secret: &str) -> Result<AppContext> {
    let key = SigningKey::new(secret).map_err(Error::wrap)?;
    let uploads = Uploads::new(storage, key, |head, file: UploadRequest| async move {
        let user = user_of(&head.headers);
        let user =
            user.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.\n"))?;
        let name = file.file_name.as_deref().unwrap_or("video");
        let key = keys::unique(&format!("videos/{user}"), name)?;
        Ok(Grant::new(key)?.max_size(MAX_VIDEO).types(["video/*"]).sniff())
    });
    ctx.shared_store.insert(uploads.map_err(Error::wrap)?);
    Ok(ctx)
}

/// Returns the id of the user. A real application verifies a session or a token here, for example
/// with `loco_rs::auth::jwt::JWT`.
fn user_of(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-user")?.to_str().ok()?.parse().ok()
}
