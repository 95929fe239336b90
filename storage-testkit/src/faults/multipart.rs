//! Faults in the calls of multipart uploads.

use async_trait::async_trait;
use storage_core::internal::stream_or_error;
use storage_core::{
    CompleteOptions, Key, Link, Multipart, MultipartOptions, ObjectMeta, Operation, Part,
    PartStream, PartUrlOptions, Payload, Prefix, Result, UploadId, UploadStream, forward_multipart,
};

use super::driver::{Faulty, after, before, faulty_payload};

#[async_trait]
impl Multipart for Faulty {
    forward_multipart! { to self.inner: limits }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let begin = self.inner.multipart()?.begin(key, options);
        self.call(Operation::BeginMultipart, key.as_str(), begin).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let due = self.faults.of_call(Operation::PutPart, key.as_str());
        before(&due).await?;
        let payload = faulty_payload(payload, &due);
        after(&due, self.inner.multipart()?.put_part(key, id, number, payload).await)
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        let parts = self.inner.multipart().map(|multipart| multipart.parts(key, id));
        self.listing(Operation::ListParts, key.as_str(), stream_or_error(parts))
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let complete = self.inner.multipart()?.complete(key, id, options);
        self.call(Operation::CompleteMultipart, key.as_str(), complete).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        let abort = self.inner.multipart()?.abort(key, id);
        self.call(Operation::AbortMultipart, key.as_str(), abort).await
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        let uploads = self.inner.multipart().map(|multipart| multipart.uploads(prefix));
        self.listing(Operation::ListMultipart, prefix.as_str(), stream_or_error(uploads))
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        let make = self.inner.multipart()?.part_url(key, id, number, options);
        self.call(Operation::Url, key.as_str(), make).await
    }
}
