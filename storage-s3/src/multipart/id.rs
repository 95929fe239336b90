//! Ids of uploads: the service's own id, as an [`UploadId`] contains it.
//!
//! A service may use any text. It is encoded in base64url (RFC 4648, section 5), whose characters
//! an id may have.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storage_core::{Error, ErrorKind, Key, Result, UploadId, UploadPlan};

use crate::client::{Client, FailedRequest};
use crate::multipart::remote::{RemoteUpload, is_gone};

/// Returns the id of an upload of the service.
///
/// # Errors
/// `InvalidInput` if the service's own id is empty or too long.
pub(super) fn encode(service_id: &str, plan: Option<UploadPlan>) -> Result<UploadId> {
    UploadId::new(URL_SAFE_NO_PAD.encode(service_id), plan)
}

/// Returns the upload that an id denotes, or `None` if no service can have sent it.
pub(super) fn decode(client: &Client, key: &Key, id: &UploadId) -> Option<RemoteUpload> {
    let bytes = URL_SAFE_NO_PAD.decode(id.upload()).ok()?;
    // A DELETE with an empty id would delete the object at some services.
    let service_id = String::from_utf8(bytes).ok().filter(|id| !id.is_empty())?;
    Some(RemoteUpload { client: client.clone(), key: key.clone(), id: service_id })
}

/// Does the same as [`decode`], for a verb that needs an upload.
///
/// # Errors
/// `NotFound`.
pub(super) fn required(client: &Client, key: &Key, id: &UploadId) -> Result<RemoteUpload> {
    decode(client, key, id).ok_or_else(no_such_upload)
}

/// Returns the error of a verb that needs an upload: `NotFound` if the service has no such upload.
pub(super) fn error(failed: FailedRequest) -> Error {
    if is_gone(&failed) { no_such_upload().with_source(failed.error) } else { failed.error }
}

/// Returns the error of an upload that is lost.
pub(super) fn no_such_upload() -> Error {
    let message = "the key has no unfinished upload of this id: it was completed and its object \
                   replaced, or it was aborted, or a lifecycle rule of the bucket ended it; begin \
                   another";
    Error::new(ErrorKind::NotFound, message)
}
