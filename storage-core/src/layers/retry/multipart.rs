//! Multipart uploads of which failed calls are repeated.

use async_trait::async_trait;

use super::Retry;
use crate::error::{Operation, Result};
use crate::forward_multipart;
use crate::key::Key;
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{
    CompleteOptions, Multipart, MultipartOptions, Part, PartUrlOptions, UploadId,
};
use crate::payload::Payload;

#[async_trait]
impl Multipart for Retry {
    // A caller that lists parts or uploads begins again, because the listing is short or a sweep.
    forward_multipart! { to self.inner: limits, parts, uploads }

    /// An upload whose response was lost stays until it is swept.
    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let multipart = self.inner.multipart()?;
        self.backoff.run(Operation::BeginMultipart, || multipart.begin(key, options)).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let multipart = self.inner.multipart()?;
        let mut attempts = self.backoff.attempts(Operation::PutPart);
        let mut payload = payload;
        loop {
            let replay = payload.replay();
            let error = match multipart.put_part(key, id, number, payload).await {
                Ok(part) => return Ok(part),
                Err(error) => error,
            };
            let Some(replay) = replay else { return Err(error) };
            payload = replay;
            attempts.after(error).await?;
        }
    }

    /// A completion that succeeds twice is one completion, so it may be repeated.
    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let multipart = self.inner.multipart()?;
        let complete = || multipart.complete(key, id, options);
        self.backoff.run(Operation::CompleteMultipart, complete).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        let multipart = self.inner.multipart()?;
        self.backoff.run(Operation::AbortMultipart, || multipart.abort(key, id)).await
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        let multipart = self.inner.multipart()?;
        let make = || multipart.part_url(key, id, number, options);
        self.backoff.run(Operation::Url, make).await
    }
}
