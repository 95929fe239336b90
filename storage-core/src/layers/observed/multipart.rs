//! Multipart uploads with a span, metrics and log events for each call.

use async_trait::async_trait;

use super::Observed;
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
impl Multipart for Observed {
    // A sweep lists uploads, and a resumed upload its parts: their callers report what they do.
    forward_multipart! { to self.inner: limits, parts, uploads }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let begin = self.inner.multipart()?.begin(key, options);
        self.observe(Operation::BeginMultipart, key.as_str(), begin).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let multipart = self.inner.multipart()?;
        let put = |payload| multipart.put_part(key, id, number, payload);
        self.observe_sending(Operation::PutPart, key, payload, put, |part| part.size).await
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let complete = self.inner.multipart()?.complete(key, id, options);
        self.observe(Operation::CompleteMultipart, key.as_str(), complete).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        let abort = self.inner.multipart()?.abort(key, id);
        self.observe(Operation::AbortMultipart, key.as_str(), abort).await
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        let make = self.inner.multipart()?.part_url(key, id, number, options);
        self.observe(Operation::Url, key.as_str(), make).await
    }
}
