//! `begin`: creates an upload with the headers of the object.

use storage_core::{Checksums, Key, MultipartOptions, Result, UploadId, UploadPlan};

use crate::multipart::upload::Upload;
use crate::multipart::{id, nonce};
use crate::shared::Shared;
use crate::{headers, object_options};

/// Creates an upload. If the future is dropped, the request continues, and the driver aborts the
/// upload when its id is known, because the caller never receives it.
pub(super) async fn begin(s3: &Shared, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
    let nonce = nonce::new()?;
    let plan = UploadPlan::new(options)?.with_nonce(nonce.clone());
    let mut headers = object_options::headers(s3, &options.metadata)?;
    let checksums: Checksums = options.checksum.iter().cloned().collect();
    headers::insert_checksums(&mut headers, &checksums)?;
    nonce::insert(&mut headers, &nonce, key)?;
    let policy = s3.checksum_policy.of_resumable_uploads(options.checksum.as_ref());
    let upload = Upload::create(&s3.client, key, headers, policy).await?;
    let id = id::encode(&upload.remote().id, Some(plan))?;
    upload.into_remote();
    Ok(id)
}
